//! Takes memory until there is none.

use weft_sdk::{Delegate, Error, Plan, Request};

/// See the crate.
pub struct Guest;

impl Delegate for Guest {
    fn add(_: &Request) -> Result<Plan, Error> {
        let mut all = Vec::new();
        loop {
            all.push(vec![1_u8; 1 << 20]);
            std::hint::black_box(&all);
        }
    }
}

weft_sdk::export!(Guest as delegate);
