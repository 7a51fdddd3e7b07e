//! Answers with a list of `items` items, a million unless the configuration says otherwise.

use serde::Deserialize;
use weft_sdk::types::IpFamily;
use weft_sdk::{Delegate, Error, Plan, Request};

/// See the crate.
pub struct Guest;

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    items: Option<u32>,
}

impl Delegate for Guest {
    fn add(request: &Request) -> Result<Plan, Error> {
        let config: Config = request.config()?;
        let forwarding = vec![IpFamily::V4; config.items.unwrap_or(1_000_000) as usize];
        Ok(Plan { forwarding, ..Plan::default() })
    }
}

weft_sdk::export!(Guest as delegate);
