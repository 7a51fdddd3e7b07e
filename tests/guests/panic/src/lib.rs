//! Gives up in the middle, with words for the log.

#![allow(clippy::panic, reason = "what it is for")]

use weft_sdk::{Delegate, Error, Plan, Request};

/// See the crate.
pub struct Guest;

impl Delegate for Guest {
    fn add(request: &Request) -> Result<Plan, Error> {
        panic!("the guest gave up on {}", request.container_id)
    }
}

weft_sdk::export!(Guest as delegate);
