//! Lays hands on a link of the node that is none of its business.

use weft_sdk::plan::{Link, LinkKind};
use weft_sdk::types::{LinkName, LinkSelector, Place};
use weft_sdk::{Delegate, Error, Plan, Request};

/// See the crate.
pub struct Guest;

impl Delegate for Guest {
    fn add(_: &Request) -> Result<Plan, Error> {
        let docker = LinkName { place: Place::Host, name: "docker0".to_owned() };
        let kind = LinkKind::Existing(LinkSelector::Named(docker));
        let link = Link { mtu: Some(576), ..Link::on_host("stolen", kind) };
        Ok(Plan { links: vec![link], ..Plan::default() })
    }
}

weft_sdk::export!(Guest as delegate);
