//! Asks for a capability that no host has.

use weft_sdk::{Delegate, Error, Plan, Request};

#[allow(unsafe_code, missing_docs, unreachable_pub, clippy::all, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({
        inline: "
            package guest:made-up@1.0.0;
            interface shell { run: func(command: string) -> string; }
            world made-up { import shell; }
        ",
    });
}

/// See the crate.
pub struct Guest;

impl Delegate for Guest {
    fn add(_: &Request) -> Result<Plan, Error> {
        Err(Error::TryAgain(bindings::guest::made_up::shell::run("id")))
    }
}

weft_sdk::export!(Guest as delegate);
