//! Answers with a plan whose parts contradict each other, in the `way` that the configuration names.

use serde::Deserialize;
use weft_sdk::plan::{Link, LinkKind, LinkRoute, Outcome, Report};
use weft_sdk::types::{AssignedAddress, IpAddress, IpPrefix, LinkRef, Route};
use weft_sdk::{Delegate, Error, Plan, Request};

/// See the crate.
pub struct Guest;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Way {
    /// A route through a label that no link has.
    UndeclaredLabel,
    /// Two links of one name in one place.
    SameName,
    /// Two links of one label.
    SameLabel,
    /// A pair whose ends don't name each other.
    LonelyVeth,
    /// A prefix longer than an address.
    LongPrefix,
    /// An address of a result at an interface that it doesn't have.
    MissingInterface,
}

#[derive(Deserialize)]
struct Config {
    way: Way,
}

impl Delegate for Guest {
    fn add(request: &Request) -> Result<Plan, Error> {
        let Config { way } = request.config()?;
        let dummy = |label: &str| Link { name: Some("twice".to_owned()), ..Link::in_sandbox(label, LinkKind::Dummy) };
        let prefix = IpPrefix { address: IpAddress::V4(0x0a00_0000), length: 8 };
        let mut plan = Plan::default();
        match way {
            Way::UndeclaredLabel => {
                plan.routes.push(LinkRoute { link: LinkRef::label("nowhere"), route: Route::to(prefix) });
            }
            Way::SameName => plan.links = vec![dummy("one"), dummy("two")],
            Way::SameLabel => plan.links = vec![dummy("one"), Link { name: None, ..dummy("one") }],
            Way::LonelyVeth => plan.links.push(Link::in_sandbox("one", LinkKind::Veth("two".to_owned()))),
            Way::LongPrefix => {
                let route = Route::to(IpPrefix { length: 33, ..prefix });
                plan.links.push(dummy("one"));
                plan.routes.push(LinkRoute { link: LinkRef::label("one"), route });
            }
            Way::MissingInterface => {
                let addresses = vec![AssignedAddress { prefix, gateway: None, at: Some(7) }];
                plan.outcome = Outcome::Replaced(Report { addresses, ..Report::default() });
            }
        }
        Ok(plan)
    }
}

weft_sdk::export!(Guest as delegate);
