//! A plan in which nothing is open any more: every label is a place and a name, every MAC that weft picks is picked.
//!
//! Owns: plain values, journalled as they are; CHECK compares them with the kernel and `diff` reaches them. They say
//! nothing of how.

use serde::{Deserialize, Serialize};
use weft_contract::plan::{Address, BridgePort, Life, Others};
use weft_contract::types::{IpFamily, IpPrefix, LinkName, MacAddress, Place, Route};

use crate::diff::interferes;
use crate::routes;
use crate::state::Kind;

/// The state that an attachment (or a network of the overlay) wants.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// Whose it is: written into what the kernel can label (nf_tables elements), so that another's is never removed.
    pub owner: String,
    /// Links, in the order of the plan.
    pub links: Vec<Link>,
    /// Routes by the link they leave through.
    pub routes: Vec<(LinkName, Route)>,
    /// Routes that must not be there, by the fields given; table absent: main.
    pub absent_routes: Vec<(LinkName, Route)>,
    /// Settings of the sandbox: whole keys, value, lenient.
    pub sysctls: Vec<Sysctl>,
    /// Families that the node forwards.
    pub forwarding: Vec<IpFamily>,
    /// Sources that leave under the node's address.
    pub masquerades: Vec<Masquerade>,
    /// Bridge ports with the one MAC that may enter.
    pub guards: Vec<Guard>,
}

/// A link with everything that is wanted of it; see the contract's `link`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// As the plan calls it.
    pub label: String,
    /// Where it ends up, under which name.
    pub at: LinkName,
    /// What it is.
    pub kind: WantedKind,
    /// Until when.
    pub life: Life,
    /// None: no wish.
    pub up: Option<bool>,
    /// None: no wish.
    pub mtu: Option<u32>,
    /// None: no wish. For a link that is to be created, weft's pick where the plan left it open and it matters.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "weft_contract::text::optional_mac")]
    pub mac: Option<MacAddress>,
    /// None: no wish.
    pub master: Option<String>,
    /// None: no wish.
    pub port: Option<BridgePort>,
    /// Wanted addresses with how to treat others and duplicates.
    pub addresses: Vec<Address>,
    /// Whole keys (`net/ipv6/conf/<name>/accept_ra`), written before it goes up.
    pub sysctls: Vec<Sysctl>,
    /// None: no wish.
    pub transmit_queue_length: Option<u32>,
    /// None: no wish.
    pub promiscuous: Option<bool>,
    /// None: no wish.
    pub all_multicast: Option<bool>,
}

/// What a wanted link is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WantedKind {
    /// One end of a pair; where the other end is wanted.
    Veth {
        /// The other end.
        peer: LinkName,
    },
    /// A link that weft can create from this.
    Made(Kind),
    /// One that exists and is changed as said.
    Existing,
}

/// A setting; lenient: where the key is missing or refuses, go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sysctl {
    /// Whose `/proc/sys`.
    pub place: Place,
    /// The whole key, with slashes.
    pub key: String,
    /// What it should hold.
    pub value: String,
    /// Go on where it can't be written.
    pub lenient: bool,
}

/// A source that leaves under the node's address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Masquerade {
    /// One address or a network.
    pub source: IpPrefix,
    /// Destinations that are left alone, besides multicast; sorted, without repeats.
    pub except: Vec<IpPrefix>,
}

/// A bridge port with the one source MAC that may enter by it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guard {
    /// The port's name on the host.
    pub port: String,
    /// The MAC.
    #[serde(with = "weft_contract::text::mac")]
    pub mac: MacAddress,
}

// === impl Wanted ===

impl Wanted {
    /// Drops what a later delegate of the same attachment wants otherwise: the later wish holds. What both want
    /// alike may be dropped, too.
    pub fn yield_to(&mut self, later: &Self) {
        for link in &mut self.links {
            let at = link.at.clone();
            for over in later.links.iter().filter(|over| over.at == at) {
                link.yield_to(over);
            }
        }
        let settings: Vec<&Sysctl> = later.links.iter().flat_map(|link| &link.sysctls).chain(&later.sysctls).collect();
        let stands = |own: &Sysctl| !settings.iter().any(|over| (over.place, &over.key) == (own.place, &own.key));
        self.sysctls.retain(&stands);
        self.links.iter_mut().for_each(|link| link.sysctls.retain(&stands));
        let absent = &later.absent_routes;
        self.routes.retain(|(at, route)| !routes::through(absent, at).any(|absent| routes::is_meant(route, absent)));
        let added = &later.routes;
        self.absent_routes
            .retain(|(at, absent)| !routes::through(added, at).any(|route| routes::is_meant(route, absent)));
        self.masquerades.retain(|own| !later.masquerades.iter().any(|over| over.source == own.source));
        self.guards.retain(|own| !later.guards.iter().any(|over| over.port == own.port));
    }
}

impl Link {
    fn yield_to(&mut self, later: &Self) {
        fn over<T, U>(own: &mut Option<T>, later: &Option<U>) {
            if later.is_some() {
                *own = None;
            }
        }
        over(&mut self.up, &later.up);
        over(&mut self.mtu, &later.mtu);
        over(&mut self.mac, &later.mac);
        over(&mut self.master, &later.master);
        over(&mut self.port, &later.port);
        over(&mut self.transmit_queue_length, &later.transmit_queue_length);
        over(&mut self.promiscuous, &later.promiscuous);
        over(&mut self.all_multicast, &later.all_multicast);
        let replaced = |own: &Address| {
            later.addresses.iter().any(|over| {
                over.others == Others::Replace && over.prefix != own.prefix && interferes(&own.prefix, &over.prefix)
            })
        };
        self.addresses.retain(|own| !replaced(own));
    }
}
