//! Answers with a string of `bytes` bytes, 100 MB unless the configuration says otherwise.

use serde::Deserialize;
use weft_sdk::types::Setting;
use weft_sdk::{Delegate, Error, Plan, Request};

/// See the crate.
pub struct Guest;

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    bytes: Option<u32>,
}

impl Delegate for Guest {
    fn add(request: &Request) -> Result<Plan, Error> {
        let config: Config = request.config()?;
        let value = "a".repeat(config.bytes.unwrap_or(100_000_000) as usize);
        Ok(Plan { extra: vec![Setting { name: "huge".to_owned(), value }], ..Plan::default() })
    }
}

weft_sdk::export!(Guest as delegate);
