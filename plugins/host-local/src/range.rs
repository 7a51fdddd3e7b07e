//! Ranges of addresses, checked and complete: where each begins and ends, and which of its addresses is the gateway's.

use serde::Deserialize;
use weft_sdk::Error;
use weft_sdk::netconf::indexed;
use weft_sdk::types::{IpAddress, IpFamily, IpPrefix};

/// A range as the configuration has it.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Written {
    pub(crate) subnet: Option<IpPrefix>,
    pub(crate) range_start: Option<IpAddress>,
    pub(crate) range_end: Option<IpAddress>,
    pub(crate) gateway: Option<IpAddress>,
}

/// Addresses `first` to `last` of a subnet; the gateway is never given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) subnet: IpPrefix,
    pub(crate) first: IpAddress,
    pub(crate) last: IpAddress,
    pub(crate) gateway: IpAddress,
}

/// Ranges of one family that don't overlap, of which an attachment gets one address. Never empty.
pub(crate) type RangeSet = Vec<Range>;

impl Range {
    pub(crate) fn contains(&self, address: IpAddress) -> bool {
        address.family() == self.first.family() && (self.first.bits()..=self.last.bits()).contains(&address.bits())
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.contains(other.first) || self.contains(other.last) || other.contains(self.first)
    }

    fn text(&self) -> String {
        [self.first.to_string().as_str(), "-", &self.last.to_string()].concat()
    }

    fn read(written: &Written, pointer: &str) -> Result<Self, Error> {
        let wrong = |key: &str, found: &dyn std::fmt::Display, allowed: &str| {
            Error::invalid(&[pointer, key].concat(), &found.to_string(), allowed)
        };
        let subnet = written.subnet.ok_or_else(|| wrong("/subnet", &"nothing", "a network such as 10.1.2.0/24"))?;
        if subnet.network() != subnet {
            let allowed = ["the network itself, ", &subnet.network().to_string()].concat();
            return Err(wrong("/subnet", &subnet, &allowed));
        }
        if subnet.address.family() == IpFamily::V6 && subnet.address.bits() >> 32 == 0xffff {
            return Err(wrong("/subnet", &subnet, "an IPv4 network written as one, or an IPv6 network"));
        }
        if subnet.host_bits() < 2 {
            return Err(wrong("/subnet", &subnet, "a network with at least two bits for hosts, /30 or /126"));
        }
        let second = IpAddress::from_bits(subnet.address.family(), subnet.address.bits() + 1);
        let usable = match subnet.address.family() {
            // The last one is the broadcast address.
            IpFamily::V4 => IpAddress::from_bits(IpFamily::V4, subnet.last().bits() - 1),
            IpFamily::V6 => subnet.last(),
        };
        let first = written.range_start.unwrap_or(second);
        let last = written.range_end.unwrap_or(usable);
        let inside = ["an address in ", &subnet.to_string()].concat();
        if !subnet.contains(first) {
            return Err(wrong("/rangeStart", &first, &inside));
        }
        if !subnet.contains(last) {
            return Err(wrong("/rangeEnd", &last, &inside));
        }
        if last.bits() < first.bits() {
            let allowed = ["an address from rangeStart on, ", &first.to_string()].concat();
            return Err(wrong("/rangeEnd", &last, &allowed));
        }
        Ok(Self { subnet, first, last, gateway: written.gateway.unwrap_or(second) })
    }
}

/// What stands at a set's pointer.
#[derive(Clone, Copy)]
pub(crate) enum Form {
    /// The only range itself.
    Plain,
    /// A list of ranges.
    List,
}

/// One set, at its pointer.
pub(crate) fn read_set(ranges: &[Written], pointer: &str, form: Form) -> Result<RangeSet, Error> {
    let mut set: RangeSet = Vec::new();
    for (at, written) in ranges.iter().enumerate() {
        let place = match form {
            Form::Plain => pointer.to_owned(),
            Form::List => indexed(pointer, at),
        };
        let range = Range::read(written, &place)?;
        if let Some(first) = set.first()
            && first.first.family() != range.first.family()
        {
            let allowed = "a network of the same family as the others of its set; another family is another set";
            return Err(Error::invalid(&[&place, "/subnet"].concat(), &range.subnet.to_string(), allowed));
        }
        if let Some(other) = set.iter().find(|other| other.overlaps(&range)) {
            return Err(overlap(&place, &range, other));
        }
        set.push(range);
    }
    if set.is_empty() {
        return Err(Error::invalid(pointer, "[]", "a list with one range at least"));
    }
    Ok(set)
}

/// Refuses a set that has addresses of an earlier one.
pub(crate) fn check_apart(set: &RangeSet, earlier: &[RangeSet], pointer: &str) -> Result<(), Error> {
    for range in set {
        if let Some(other) = earlier.iter().flatten().find(|other| other.overlaps(range)) {
            return Err(overlap(pointer, range, other));
        }
    }
    Ok(())
}

fn overlap(pointer: &str, range: &Range, other: &Range) -> Error {
    Error::invalid(pointer, &range.text(), &["addresses outside of the range ", &other.text()].concat())
}

/// A set as an error shows it.
pub(crate) fn set_text(set: &RangeSet) -> String {
    set.iter().map(Range::text).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Option<IpAddress> {
        (!text.is_empty()).then(|| IpAddress::parse(text).unwrap())
    }

    fn written(subnet: &str, first: &str, last: &str, gateway: &str) -> Written {
        Written {
            subnet: IpPrefix::parse(subnet),
            range_start: address(first),
            range_end: address(last),
            gateway: address(gateway),
        }
    }

    fn read(subnet: &str, first: &str, last: &str) -> Result<String, String> {
        let result = Range::read(&written(subnet, first, last, ""), "/r");
        result.map(|range| [&range.text(), " ", &range.gateway.to_string()].concat()).map_err(|error| match error {
            Error::InvalidConfig(config) => config.pointer,
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn what_is_left_out_follows_from_the_subnet() {
        assert_eq!(read("10.1.2.0/24", "", "").unwrap(), "10.1.2.1-10.1.2.254 10.1.2.1");
        assert_eq!(read("10.1.2.128/26", "", "").unwrap(), "10.1.2.129-10.1.2.190 10.1.2.129");
        assert_eq!(read("10.1.2.0/30", "", "").unwrap(), "10.1.2.1-10.1.2.2 10.1.2.1");
        let whole = "2001:db8:1::1-2001:db8:1:0:ffff:ffff:ffff:ffff 2001:db8:1::1";
        assert_eq!(read("2001:db8:1::/64", "", "").unwrap(), whole);
        assert_eq!(read("10.1.2.0/24", "10.1.2.9", "").unwrap(), "10.1.2.9-10.1.2.254 10.1.2.1");
        assert_eq!(read("10.1.2.0/24", "10.1.2.0", "10.1.2.255").unwrap(), "10.1.2.0-10.1.2.255 10.1.2.1");
        let range = Range::read(&written("10.1.2.0/24", "", "", "192.0.2.1"), "/r").unwrap();
        assert_eq!(Some(range.gateway), address("192.0.2.1"));
    }

    #[test]
    fn ranges_that_are_none_are_refused() {
        for (subnet, first, last, pointer) in [
            ("", "", "", "/r/subnet"),
            ("10.1.2.3/24", "", "", "/r/subnet"),
            ("10.1.2.0/31", "", "", "/r/subnet"),
            ("10.1.2.0/32", "", "", "/r/subnet"),
            ("2001:db8::/127", "", "", "/r/subnet"),
            ("2001:db8::/128", "", "", "/r/subnet"),
            ("::ffff:10.1.2.0/120", "", "", "/r/subnet"),
            ("10.1.2.0/24", "10.1.3.0", "", "/r/rangeStart"),
            ("10.1.2.0/24", "2001:db8::1", "", "/r/rangeStart"),
            ("10.1.2.0/24", "", "10.1.1.255", "/r/rangeEnd"),
            ("10.1.2.0/24", "10.1.2.50", "10.1.2.40", "/r/rangeEnd"),
        ] {
            assert_eq!(read(subnet, first, last).unwrap_err(), pointer, "{subnet} {first} {last}");
        }
    }

    #[test]
    fn overlaps_are_found_in_every_arrangement() {
        let range = |first: &str, last: &str| Range::read(&written("10.1.0.0/16", first, last, ""), "").unwrap();
        let middle = range("10.1.2.10", "10.1.2.20");
        for (first, last, expected) in [
            ("10.1.2.1", "10.1.2.9", false),
            ("10.1.2.1", "10.1.2.10", true),
            ("10.1.2.12", "10.1.2.13", true),
            ("10.1.2.10", "10.1.2.20", true),
            ("10.1.2.1", "10.1.2.30", true),
            ("10.1.2.20", "10.1.2.30", true),
            ("10.1.2.21", "10.1.2.30", false),
        ] {
            let other = range(first, last);
            assert_eq!((middle.overlaps(&other), other.overlaps(&middle)), (expected, expected), "{first}-{last}");
        }
    }

    #[test]
    fn a_set_is_of_one_family_and_not_empty() {
        let pointer = |ranges: &[Written]| match read_set(ranges, "/s", Form::List) {
            Err(Error::InvalidConfig(error)) => error.pointer,
            other => panic!("{other:?}"),
        };
        assert_eq!(pointer(&[]), "/s");
        let mixed = [written("10.1.2.0/24", "", "", ""), written("2001:db8::/64", "", "", "")];
        assert_eq!(pointer(&mixed), "/s/1/subnet");
        let twice = [written("10.1.2.0/24", "", "", ""), written("10.1.2.0/25", "", "", "")];
        assert_eq!(pointer(&twice), "/s/1");
    }
}
