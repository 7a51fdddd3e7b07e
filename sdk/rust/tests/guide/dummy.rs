//! A dummy link in the sandbox, with the addresses that it is given.

use weft_sdk::plan::{Address, Link, LinkKind, Outcome, Report, Reported};
use weft_sdk::requests::Addressing;
use weft_sdk::types::{AssignedAddress, LinkRef};
use weft_sdk::{Delegate, Error, Plan, Request};

/// See the crate.
pub struct Dummy;

#[derive(serde::Deserialize)]
struct Config {
    mtu: Option<u32>,
}

impl Delegate for Dummy {
    fn add(request: &Request) -> Result<Plan, Error> {
        let config: Config = request.config()?;
        let given = match &request.addressing {
            Addressing::Ready(allocation) => allocation.clone(),
            Addressing::Off | Addressing::Pending => Default::default(),
        };
        let link = Link {
            mtu: config.mtu,
            up: Some(true),
            addresses: given.addresses.iter().map(|address| Address::new(address.prefix)).collect(),
            ..Link::in_sandbox("container", LinkKind::Dummy)
        };
        let addresses = given.addresses.iter().map(|address| AssignedAddress { at: Some(0), ..*address }).collect();
        let interfaces = vec![Reported::Link(LinkRef::label("container"))];
        let report = Report { interfaces, addresses, routes: Vec::new(), dns: given.dns };
        Ok(Plan { links: vec![link], outcome: Outcome::Replaced(report), ..Plan::default() })
    }
}

weft_sdk::export!(Dummy as delegate);

#[cfg(test)]
mod tests {
    use super::*;
    use weft_sdk::testing::{FakeHost, request};

    #[test]
    fn the_mtu_is_the_configuration_s() {
        let request = request(r#"{ "name": "net", "type": "dummy", "MTU": 1400 }"#);
        let plan = FakeHost::new().run(&request, Dummy::add).unwrap();
        assert_eq!(plan.links[0].mtu, Some(1400));
    }

    #[test]
    fn what_is_no_mtu_is_refused_with_its_place() {
        let request = request(r#"{ "name": "net", "type": "dummy", "mtu": "big" }"#);
        let Err(Error::InvalidConfig(wrong)) = FakeHost::new().run(&request, Dummy::add) else { panic!() };
        assert_eq!((wrong.pointer.as_str(), wrong.found.as_str()), ("/mtu", "\"big\""));
    }
}
