//! Addresses as text, in JSON and for people, and as the standard library's types.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::types::{IpAddress, IpFamily, IpPrefix, Ipv6Address};

// === impl IpAddress ===

impl IpAddress {
    /// Which family it belongs to.
    pub fn family(&self) -> IpFamily {
        match self {
            Self::V4(_) => IpFamily::V4,
            Self::V6(_) => IpFamily::V6,
        }
    }

    /// Bits in an address of this family.
    pub fn width(&self) -> u8 {
        match self {
            Self::V4(_) => 32,
            Self::V6(_) => 128,
        }
    }
}

impl From<IpAddr> for IpAddress {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self::V4(v4.to_bits()),
            IpAddr::V6(v6) => {
                let bits = v6.to_bits();
                Self::V6(Ipv6Address { high: (bits >> 64) as u64, low: bits as u64 })
            }
        }
    }
}

impl From<IpAddress> for IpAddr {
    fn from(address: IpAddress) -> Self {
        match address {
            IpAddress::V4(bits) => Self::V4(Ipv4Addr::from_bits(bits)),
            IpAddress::V6(Ipv6Address { high, low }) => {
                Self::V6(Ipv6Addr::from_bits((u128::from(high) << 64) | u128::from(low)))
            }
        }
    }
}

impl fmt::Display for IpAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        IpAddr::from(*self).fmt(f)
    }
}

impl FromStr for IpAddress {
    type Err = std::net::AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(text.parse::<IpAddr>()?.into())
    }
}

// === impl IpPrefix ===

/// A prefix that is not `ADDRESS/LENGTH`, or whose length its family does not have.
#[derive(Debug, PartialEq, Eq)]
pub struct PrefixError(String);

impl fmt::Display for PrefixError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not a prefix such as 10.1.0.0/16 or 2001:db8::/64", self.0)
    }
}

impl std::error::Error for PrefixError {}

impl IpPrefix {
    /// The prefix of one address.
    pub fn host(address: IpAddress) -> Self {
        Self { address, length: address.width() }
    }

    /// The same prefix with its host bits cleared.
    pub fn network(&self) -> Self {
        let host_bits = u32::from(self.address.width() - self.length.min(self.address.width()));
        let address = match IpAddr::from(self.address) {
            IpAddr::V4(v4) => {
                IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & u32::MAX.checked_shl(host_bits).unwrap_or(0)))
            }
            IpAddr::V6(v6) => {
                IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & u128::MAX.checked_shl(host_bits).unwrap_or(0)))
            }
        };
        Self { address: address.into(), length: self.length }
    }

    /// Whether an address lies in this prefix's network.
    pub fn contains(&self, address: IpAddress) -> bool {
        address.family() == self.address.family()
            && Self { address, length: self.length }.network().address == self.network().address
    }
}

impl fmt::Display for IpPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

impl FromStr for IpPrefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (address, length) = text.split_once('/')?;
            let address: IpAddress = address.parse().ok()?;
            let length: u8 = length.parse().ok()?;
            (length <= address.width()).then_some(Self { address, length })
        };
        parse().ok_or_else(|| PrefixError(text.to_owned()))
    }
}

macro_rules! textual {
    ($($type:ty),*) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
    )*};
}
textual!(IpAddress, IpPrefix);

// === MAC addresses ===

/// A MAC address for people: `0a:58:0a:01:00:05`.
pub fn format_mac(mac: u64) -> String {
    let [_, _, a, b, c, d, e, f] = mac.to_be_bytes();
    format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
}

/// Reads `0a:58:0a:01:00:05` or the same with dashes, as Go's `net.ParseMAC` does for six octets.
pub fn parse_mac(text: &str) -> Option<u64> {
    let separator = if text.contains('-') { '-' } else { ':' };
    let mut octets = text.split(separator);
    let mut mac = 0;
    for _ in 0..6 {
        let octet = octets.next().filter(|octet| octet.len() == 2)?;
        mac = mac << 8 | u64::from(u8::from_str_radix(octet, 16).ok()?);
    }
    octets.next().is_none().then_some(mac)
}

/// Serde for a field that holds a MAC address.
pub mod mac {
    use super::*;

    /// As `aa:bb:cc:dd:ee:ff`.
    pub fn serialize<S: Serializer>(mac: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format_mac(*mac))
    }

    /// From `aa:bb:cc:dd:ee:ff`.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_mac(&text).ok_or_else(|| de::Error::custom(format!("{text:?} is not a MAC address")))
    }
}

/// Serde for a field that may hold a MAC address.
pub mod optional_mac {
    use super::*;

    /// As `aa:bb:cc:dd:ee:ff` or null.
    pub fn serialize<S: Serializer>(mac: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
        mac.map(format_mac).serialize(serializer)
    }

    /// From `aa:bb:cc:dd:ee:ff` or null.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
        let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
        let mac = parse_mac(&text).ok_or_else(|| de::Error::custom(format!("{text:?} is not a MAC address")))?;
        Ok(Some(mac))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_read_written_and_masked() {
        let prefix: IpPrefix = "10.1.2.3/24".parse().unwrap();
        assert_eq!(prefix.network().to_string(), "10.1.2.0/24");
        assert!(prefix.contains("10.1.2.255".parse().unwrap()));
        assert!(!prefix.contains("10.1.3.0".parse().unwrap()));
        assert!(!prefix.contains("::1".parse().unwrap()));
        let whole: IpPrefix = "2001:db8::1/0".parse().unwrap();
        assert_eq!(whole.network().to_string(), "::/0");
        assert!("10.1.2.3/33".parse::<IpPrefix>().is_err());
        assert!("10.1.2.3".parse::<IpPrefix>().is_err());
    }

    #[test]
    fn json_shows_addresses_as_text() {
        let json = serde_json::to_string(&"2001:db8::5/64".parse::<IpPrefix>().unwrap()).unwrap();
        assert_eq!(json, "\"2001:db8::5/64\"");
        assert_eq!(serde_json::from_str::<IpPrefix>(&json).unwrap().to_string(), "2001:db8::5/64");
    }

    #[test]
    fn macs_are_six_octets() {
        assert_eq!(parse_mac("0a:58:0A:01:00:05").map(format_mac).as_deref(), Some("0a:58:0a:01:00:05"));
        assert_eq!(parse_mac("0a-58-0a-01-00-05").map(format_mac).as_deref(), Some("0a:58:0a:01:00:05"));
        for bad in ["", "0a:58:0a:01:00", "0a:58:0a:01:00:05:06", "a:58:0a:01:00:05", "0a:58:0a:01:00:0g"] {
            assert_eq!(parse_mac(bad), None, "{bad}");
        }
    }
}
