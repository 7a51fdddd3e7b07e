//! Says that it was built for a version of the contract that there isn't.

#![cfg(target_arch = "wasm32")]
#![allow(unsafe_code, reason = "what export! does, with another stamp")]

use weft_sdk::bindings::delegate;
use weft_sdk::{Error, Plan, Request};

struct Guest;

impl delegate::exports::weft::cni::delegate::Guest for Guest {
    fn add(_: Request) -> Result<Plan, Error> {
        Ok(Plan::default())
    }
}

delegate::export_delegate!(Guest with_types_in delegate);

// SAFETY: a custom section of WebAssembly is data that the code never sees; the name is nobody else's.
#[used]
#[unsafe(link_section = "weft:contract")]
static CONTRACT: [u8; 5] = *b"9.9.9";
