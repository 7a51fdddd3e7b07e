//! Never answers.

use weft_sdk::{Delegate, Error, Plan, Request};

/// See the crate.
pub struct Guest;

impl Delegate for Guest {
    fn add(_: &Request) -> Result<Plan, Error> {
        loop {
            std::hint::black_box(());
        }
    }
}

weft_sdk::export!(Guest as delegate);
