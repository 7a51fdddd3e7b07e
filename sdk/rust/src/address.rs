//! Addresses and prefixes: arithmetic, text and the standard library's types.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::de::{self, Deserializer, Visitor};

use crate::types::{IpAddress, IpFamily, IpPrefix, Ipv6Address};

/// What may stand where an address is asked for.
pub const ADDRESS: &str = "an address such as 10.1.2.3 or 2001:db8::3";
/// What may stand where a prefix is asked for.
pub const PREFIX: &str = "an address with its prefix length such as 10.1.2.0/24 or 2001:db8::/64";
/// What may stand where a MAC address is asked for.
pub const MAC: &str = "a MAC address such as 0a:58:0a:01:02:03";

// === impl IpAddress ===

impl IpAddress {
    /// Reads the usual text forms; no leading zeros, no zone.
    pub fn parse(text: &str) -> Option<Self> {
        text.parse::<IpAddr>().ok().map(Self::from)
    }

    /// Which family it belongs to.
    pub fn family(self) -> IpFamily {
        match self {
            Self::V4(_) => IpFamily::V4,
            Self::V6(_) => IpFamily::V6,
        }
    }

    /// Bits in an address of this family.
    pub fn width(self) -> u8 {
        match self {
            Self::V4(_) => 32,
            Self::V6(_) => 128,
        }
    }

    /// As a number.
    pub fn bits(self) -> u128 {
        match self {
            Self::V4(bits) => u128::from(bits),
            Self::V6(Ipv6Address { high, low }) => u128::from(high) << 64 | u128::from(low),
        }
    }

    /// The address of a family that has this number; bits that it has no room for are lost.
    pub fn from_bits(family: IpFamily, bits: u128) -> Self {
        match family {
            IpFamily::V4 => Self::V4(bits as u32),
            IpFamily::V6 => Self::V6(Ipv6Address { high: (bits >> 64) as u64, low: bits as u64 }),
        }
    }

    /// The address after it; none after the last.
    pub fn next(self) -> Option<Self> {
        let next = Self::from_bits(self.family(), self.bits().wrapping_add(1));
        (next.bits() != 0).then_some(next)
    }
}

impl From<IpAddr> for IpAddress {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self::V4(v4.to_bits()),
            IpAddr::V6(v6) => Self::from_bits(IpFamily::V6, v6.to_bits()),
        }
    }
}

impl From<IpAddress> for IpAddr {
    fn from(address: IpAddress) -> Self {
        match address {
            IpAddress::V4(bits) => Self::V4(Ipv4Addr::from_bits(bits)),
            IpAddress::V6(_) => Self::V6(Ipv6Addr::from_bits(address.bits())),
        }
    }
}

impl fmt::Display for IpAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        IpAddr::from(*self).fmt(f)
    }
}

// === impl IpPrefix ===

impl IpPrefix {
    /// Reads `ADDRESS/LENGTH`; host bits are kept.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, length) = text.split_once('/')?;
        let address = IpAddress::parse(address)?;
        let length: u8 = length.parse().ok()?;
        (length <= address.width()).then_some(Self { address, length })
    }

    /// The prefix of one address.
    pub fn host(address: IpAddress) -> Self {
        Self { address, length: address.width() }
    }

    /// Every address of a family: where a default route leads.
    pub fn any(family: IpFamily) -> Self {
        Self { address: IpAddress::from_bits(family, 0), length: 0 }
    }

    /// Bits that tell the addresses of the network apart.
    pub fn host_bits(self) -> u8 {
        self.address.width().saturating_sub(self.length)
    }

    fn host_mask(self) -> u128 {
        match self.host_bits() {
            128 => u128::MAX,
            bits => (1 << bits) - 1,
        }
    }

    /// The same prefix with its host bits cleared.
    pub fn network(self) -> Self {
        Self { address: IpAddress::from_bits(self.address.family(), self.address.bits() & !self.host_mask()), ..self }
    }

    /// The last address of the network: IPv4's broadcast address.
    pub fn last(self) -> IpAddress {
        IpAddress::from_bits(self.address.family(), self.address.bits() | self.host_mask())
    }

    /// Whether an address lies in this prefix's network.
    pub fn contains(self, address: IpAddress) -> bool {
        address.family() == self.address.family()
            && address.bits() & !self.host_mask() == self.address.bits() & !self.host_mask()
    }
}

impl fmt::Display for IpPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

// === MAC addresses ===

/// Reads six octets, `0a:58:0a:01:00:05` or the same with dashes.
pub fn parse_mac(text: &str) -> Option<u64> {
    let text = text.as_bytes();
    if text.len() != 17 {
        return None;
    }
    let separator = text[2];
    if separator != b':' && separator != b'-' {
        return None;
    }
    let mut mac = 0;
    for (at, &character) in text.iter().enumerate() {
        if at % 3 == 2 {
            if character != separator {
                return None;
            }
            continue;
        }
        mac = mac << 4 | u64::from(char::from(character).to_digit(16)?);
    }
    Some(mac)
}

// === serde ===

/// Text that a function turns into a value, or says what it should have been.
struct Text<T>(fn(&str) -> Option<T>, &'static str);

impl<T> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.1)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.0)(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

impl<'de> de::Deserialize<'de> for IpAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text(Self::parse, ADDRESS))
    }
}

impl<'de> de::Deserialize<'de> for IpPrefix {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text(Self::parse, PREFIX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> IpPrefix {
        IpPrefix::parse(text).unwrap()
    }

    fn address(text: &str) -> IpAddress {
        IpAddress::parse(text).unwrap()
    }

    #[test]
    fn prefixes_are_read_written_and_masked() {
        assert_eq!(prefix("10.1.2.3/24").network().to_string(), "10.1.2.0/24");
        assert_eq!(prefix("10.1.2.3/24").last().to_string(), "10.1.2.255");
        assert_eq!(prefix("2001:db8::5/64").network().to_string(), "2001:db8::/64");
        assert_eq!(prefix("2001:db8::5/64").last().to_string(), "2001:db8::ffff:ffff:ffff:ffff");
        assert_eq!(prefix("2001:db8::1/0").network(), IpPrefix::any(IpFamily::V6));
        assert_eq!(prefix("10.0.0.1/32").network().last().to_string(), "10.0.0.1");
        for bad in ["10.1.2.3", "10.1.2.3/33", "::1/129", "10.1.2/24", "10.1.2.3/-1", "10.1.2.3/", "010.1.2.3/8"] {
            assert_eq!(IpPrefix::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_network_knows_its_addresses() {
        assert!(prefix("10.1.2.3/24").contains(address("10.1.2.255")));
        assert!(!prefix("10.1.2.3/24").contains(address("10.1.3.0")));
        assert!(!prefix("0.0.0.0/0").contains(address("::1")));
        assert!(prefix("::/0").contains(address("ffff::")));
    }

    #[test]
    fn counting_stops_at_the_last_address() {
        assert_eq!(address("10.0.0.255").next(), Some(address("10.0.1.0")));
        assert_eq!(address("2001:db8::ffff:ffff:ffff:ffff").next(), Some(address("2001:db8:0:1::")));
        assert_eq!(address("255.255.255.255").next(), None);
        assert_eq!(address("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff").next(), None);
    }

    #[test]
    fn macs_are_six_octets() {
        assert_eq!(parse_mac("0a:58:0A:01:00:05"), Some(0x0a58_0a01_0005));
        assert_eq!(parse_mac("0a-58-0a-01-00-05"), Some(0x0a58_0a01_0005));
        for bad in
            ["", "0a:58:0a:01:00", "0a:58:0a:01:00:05:06", "a:58:0a:01:00:05", "0a:58:0a:01:00:0g", "0a:58-0a:01:00:05"]
        {
            assert_eq!(parse_mac(bad), None, "{bad}");
        }
    }
}
