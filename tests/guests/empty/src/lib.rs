//! Wants nothing: what a call costs.

use weft_sdk::{Delegate, Error, Plan, Request};

/// See the crate.
pub struct Guest;

impl Delegate for Guest {
    fn add(_: &Request) -> Result<Plan, Error> {
        Ok(Plan::default())
    }
}

weft_sdk::export!(Guest as delegate);
