//! Brings the sandbox's `lo` up.
//!
//! The result shows `lo` with the addresses that the kernel gives it when it goes up; after other delegates (`previous`
//! is there) the result is theirs, unchanged. Other addresses on `lo` are nobody's business.

use weft_sdk::facts;
use weft_sdk::plan::{Link, LinkKind, Outcome, Report, Reported};
use weft_sdk::types::{AssignedAddress, IpAddress, IpPrefix, Ipv6Address, LinkName, LinkRef, LinkSelector, Place};
use weft_sdk::{Delegate, Error, Plan, Request};

/// See the crate.
pub struct Loopback;

const LABEL: &str = "lo";
const NO_IPV6: &str = "net/ipv6/conf/lo/disable_ipv6";

impl Delegate for Loopback {
    fn add(request: &Request) -> Result<Plan, Error> {
        let lo = LinkName { place: Place::Sandbox, name: "lo".to_owned() };
        let link = Link { up: Some(true), ..Link::in_sandbox(LABEL, LinkKind::Existing(LinkSelector::Named(lo))) };
        let outcome = match request.previous {
            Some(_) => Outcome::Extended(Vec::new()),
            None => Outcome::Replaced(report()),
        };
        Ok(Plan { links: vec![link], outcome, ..Plan::default() })
    }
}

fn report() -> Report {
    let at_lo = |address, length| AssignedAddress { prefix: IpPrefix { address, length }, gateway: None, at: Some(0) };
    let mut addresses = vec![at_lo(IpAddress::V4(0x7f00_0001), 8)];
    if facts::sysctl(Place::Sandbox, NO_IPV6).is_some_and(|value| value.trim() == "0") {
        addresses.push(at_lo(IpAddress::V6(Ipv6Address { high: 0, low: 1 }), 128));
    }
    Report { interfaces: vec![Reported::Link(LinkRef::label(LABEL))], addresses, ..Report::default() }
}

weft_sdk::export!(Loopback as delegate);

#[cfg(test)]
mod tests {
    use super::*;
    use weft_sdk::requests::PreviousResult;
    use weft_sdk::testing::{FakeHost, request};
    use weft_sdk::types::Dns;

    const CONFIG: &str = r#"{ "cniVersion": "1.0.0", "name": "lo", "type": "loopback" }"#;

    fn shown(host: FakeHost) -> Vec<String> {
        let mut host = host;
        let plan = host.run(&request(CONFIG), Loopback::add).unwrap();
        assert_eq!(plan.links.len(), 1);
        assert_eq!(plan.links[0].up, Some(true));
        let Outcome::Replaced(report) = plan.outcome else { panic!("{:?}", plan.outcome) };
        assert_eq!(report.interfaces, [Reported::Link(LinkRef::label("lo"))]);
        assert!(report.addresses.iter().all(|address| address.at == Some(0)));
        report.addresses.iter().map(|address| address.prefix.to_string()).collect()
    }

    #[test]
    fn both_families_where_ipv6_is_on() {
        assert_eq!(shown(FakeHost::new().sysctl(Place::Sandbox, NO_IPV6, "0\n")), ["127.0.0.1/8", "::1/128"]);
    }

    #[test]
    fn ipv4_alone_where_ipv6_is_off_or_missing() {
        assert_eq!(shown(FakeHost::new().sysctl(Place::Sandbox, NO_IPV6, "1")), ["127.0.0.1/8"]);
        assert_eq!(shown(FakeHost::new().sysctl(Place::Host, NO_IPV6, "0")), ["127.0.0.1/8"]);
    }

    #[test]
    fn a_previous_result_stays() {
        let mut request = request(CONFIG);
        let dns = Dns::default();
        request.previous =
            Some(PreviousResult { interfaces: Vec::new(), addresses: Vec::new(), routes: Vec::new(), dns });
        let plan = FakeHost::new().run(&request, Loopback::add).unwrap();
        assert_eq!(plan.outcome, Outcome::Extended(Vec::new()));
        assert_eq!(plan.links[0].up, Some(true));
    }
}
