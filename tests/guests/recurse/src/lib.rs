//! Calls itself until the stack is gone.

use weft_sdk::{Delegate, Error, Plan, Request};

/// See the crate.
pub struct Guest;

impl Delegate for Guest {
    fn add(request: &Request) -> Result<Plan, Error> {
        Err(Error::TryAgain(deeper(request.config.len() as u64).to_string()))
    }
}

/// Without end: the sum of the whole way down is asked for, so that no call can be left out.
#[allow(unconditional_recursion, reason = "what it is for")]
fn deeper(level: u64) -> u64 {
    std::hint::black_box(deeper(level + 1)) + level
}

weft_sdk::export!(Guest as delegate);
