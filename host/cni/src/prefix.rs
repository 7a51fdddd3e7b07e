//! An address in its network, as results write it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Deserializer};

/// An address with the length of its network's prefix: `10.1.2.3/24`. Host bits are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Prefix {
    /// The address, host bits included.
    pub address: IpAddr,
    /// At most 32 or 128.
    pub length: u8,
}

/// A text that is no prefix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an address with a prefix length")]
pub struct PrefixError(String);

const ALLOWED: &str = "an address with a prefix length, such as 10.1.0.2/16 or 2001:db8::2/64";

// === impl Prefix ===

impl FromStr for Prefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let parse = || {
            let (address, length) = text.split_once('/')?;
            let address: IpAddr = address.parse().ok()?;
            let digits = length.bytes().all(|byte| byte.is_ascii_digit());
            let length: u8 = length.parse().ok()?;
            let width = if address.is_ipv4() { 32 } else { 128 };
            (digits && length <= width).then_some(Self { address, length })
        };
        parse().ok_or_else(|| PrefixError(text.chars().take(64).collect()))
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

impl<'de> Deserialize<'de> for Prefix {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(|_| weft_json::invalid(&format!("{text:?}"), ALLOWED))
    }
}

/// An address, or an empty text where Go's library has no address.
#[derive(Default)]
pub(crate) struct MaybeIp(pub(crate) Option<IpAddr>);

impl<'de> Deserialize<'de> for MaybeIp {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        if text.is_empty() {
            return Ok(Self(None));
        }
        let address = text.parse().map_err(|_| weft_json::invalid(&format!("{text:?}"), "an IPv4 or IPv6 address"))?;
        Ok(Self(Some(address)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes() {
        for good in ["10.1.2.3/24", "0.0.0.0/0", "::/0", "2001:db8::1/128", "255.255.255.255/32"] {
            assert_eq!(good.parse::<Prefix>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "10.1.2.3",
            "10.1.2.3/",
            "10.1.2.3/33",
            "::/129",
            "010.1.2.3/8",
            "1.2.3/8",
            "::/+1",
            "::/ 1",
            "::/256",
            "a/8",
        ] {
            assert!(bad.parse::<Prefix>().is_err(), "{bad}");
        }
    }
}
