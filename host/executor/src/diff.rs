//! From what is to what is wanted: the operations between, or what stands in the way.
//!
//! Owns: the order of operations. First nf_tables elements, which name sources and ports that need not exist yet, so
//! that no packet is ever let through without them (and the undo, in reverse, removes the links first). Then settings
//! that don't belong to a new link, then links: each after its master and parent, its settings before its addresses and these
//! before it goes up; of a pair the first end (the host's) entirely before the second, so that nothing flows before VLANs
//! and isolation of the port are set. Then routes, those without a gateway first.
//!
//! Invariants: nothing is done that is so already; a shared link is adopted as it is, flags are only turned on; steps on what
//! outlives the attachment are marked shared. A link of the attachment's own that exists is taken for the wanted one
//! only if its kind and its MAC (which weft picked at random) are the wanted ones.

use std::collections::{BTreeMap, BTreeSet};

use weft_contract::plan::{Address, BridgePort, Detection, Life, Others};
use weft_contract::types::{IpAddress, IpPrefix, LinkName, Place, Route};

pub use crate::conflict::Conflict;
use crate::operation::{Operation, Property, Step, VethEnd};
use crate::resolve::creation_order;
use crate::routes;
use crate::scope::is_own;
use crate::state::{self, Kind, Masquerade, Observed, PortFlags, forwarding_key, link_of_key, same_value};
use crate::vlans::{self, Memberships};
use crate::wanted::{Link, Sysctl, Wanted, WantedKind};

/// The queue of a new link, in packets.
pub(crate) const DEFAULT_QUEUE: u32 = 1000;
/// The MTU of a new link that stands on no other, in bytes.
pub(crate) const DEFAULT_MTU: u32 = 1500;

/// The steps that make `observed`, which must be what [`scope`](crate::scope::scope) (or `scope_full`) names, into
/// `wanted`, in the order in which they can be carried out.
pub fn diff(wanted: &Wanted, observed: &Observed) -> Result<Vec<Step>, Conflict> {
    let declared = wanted.links.iter().map(|link| (&link.at, link)).collect();
    let mut differ = Differ { wanted, observed, declared, new: BTreeSet::new(), steps: Vec::new() };
    differ.find_new()?;
    differ.find_missing()?;
    differ.masquerades();
    differ.guards();
    differ.settings()?;
    differ.links()?;
    differ.routes();
    Ok(differ.steps)
}

struct Differ<'a> {
    wanted: &'a Wanted,
    observed: &'a Observed,
    declared: BTreeMap<&'a LinkName, &'a Link>,
    /// Links that are to be created.
    new: BTreeSet<&'a LinkName>,
    steps: Vec<Step>,
}

// === impl Differ: what is to be created ===

impl<'a> Differ<'a> {
    fn find_new(&mut self) -> Result<(), Conflict> {
        for link in &self.wanted.links {
            let found = self.observed.links.get(&link.at);
            let new = match (&link.kind, found) {
                (WantedKind::Existing, None) => return Err(missing(&link.at, "a link that is to be changed")),
                (WantedKind::Existing, Some(_)) => false,
                (WantedKind::Veth { peer }, found) => self.veth_is_new(link, found, peer)?,
                (WantedKind::Made(_), None) => true,
                (WantedKind::Made(kind), Some(found)) => {
                    let taken = Conflict::NameTaken { link: link.at.clone(), found: found.kind.name().to_owned() };
                    match fits(&link.at, kind, &found.kind) {
                        Err(_) if is_own(link) => return Err(taken),
                        Ok(()) if is_own(link) && is_another(link, found) => return Err(taken),
                        other => other?,
                    }
                    false
                }
            };
            if new {
                self.new.insert(&link.at);
            }
        }
        Ok(())
    }

    fn veth_is_new(&self, link: &Link, found: Option<&state::Link>, peer: &LinkName) -> Result<bool, Conflict> {
        let other = self.observed.links.get(peer);
        let Some(found) = found else {
            // The other end, if it exists, is judged in its turn.
            return Ok(true);
        };
        let is_pair = other.is_some_and(|other| are_ends(found, other));
        if is_own(link) {
            let other_mac = self.declared.get(peer).zip(other).is_some_and(|(wanted, other)| is_another(wanted, other));
            if is_pair && !is_another(link, found) && !other_mac {
                return Ok(false);
            }
            return Err(Conflict::NameTaken { link: link.at.clone(), found: found.kind.name().to_owned() });
        }
        fits(&link.at, &Kind::Veth, &found.kind)?;
        if is_pair { Ok(false) } else { Err(Conflict::OtherEnd { link: link.at.clone(), peer: peer.clone() }) }
    }

    fn find_missing(&self) -> Result<(), Conflict> {
        let check = |at: LinkName, wanted_as: &dyn Fn() -> String| {
            if self.declared.contains_key(&at) || self.observed.links.contains_key(&at) {
                return Ok(());
            }
            Err(Conflict::Missing { link: at, wanted_as: wanted_as() })
        };
        for link in &self.wanted.links {
            let here = |name: &str| LinkName { place: link.at.place, name: name.to_owned() };
            if let Some(master) = &link.master {
                check(here(master), &|| format!("the master of {}", link.at.name))?;
            }
            if let (WantedKind::Made(kind), true) = (&link.kind, self.new.contains(&link.at))
                && let Some(parent) = kind.parent()
            {
                check(parent, &|| format!("the parent of {}", link.at.name))?;
            }
        }
        for (at, route) in &self.wanted.routes {
            check(at.clone(), &|| format!("the way to {}", route.destination))?;
        }
        for guard in &self.wanted.guards {
            check(LinkName { place: Place::Host, name: guard.port.clone() }, &|| "a guarded port".to_owned())?;
        }
        Ok(())
    }

    fn push(&mut self, shared: bool, operation: Operation) {
        self.steps.push(Step { operation, shared });
    }
}

// === impl Differ: everything but links ===

impl Differ<'_> {
    fn masquerades(&mut self) {
        let (wanted, filter) = (self.wanted, &self.observed.filter);
        if !wanted.masquerades.is_empty() && !filter.masquerade_table {
            self.push(true, Operation::CreateMasqueradeTable);
        }
        let mut chains: BTreeSet<&Vec<IpPrefix>> = filter.exceptions.iter().collect();
        for masquerade in &wanted.masquerades {
            let (source, except) = (masquerade.source, &masquerade.except);
            if chains.insert(except) {
                self.push(true, Operation::CreateExceptions { except: except.clone() });
            }
            let aim = Masquerade { except: except.clone(), owner: wanted.owner.clone() };
            match filter.masquerades.get(&source) {
                Some(found) if *found == aim => continue,
                // Left over by an attachment that had the address before. Its removal is only taken back if this
                // one fails: shared.
                Some(Masquerade { except, owner }) => {
                    let (except, owner) = (except.clone(), owner.clone());
                    self.push(true, Operation::RemoveMasquerade { source, except, owner });
                }
                None => {}
            }
            self.push(false, Operation::AddMasquerade { source, except: aim.except, owner: aim.owner });
        }
    }

    fn guards(&mut self) {
        let (wanted, filter) = (self.wanted, &self.observed.filter);
        if !wanted.guards.is_empty() && !filter.guard_table {
            self.push(true, Operation::CreateGuardTable);
        }
        for guard in &wanted.guards {
            let port = || guard.port.clone();
            let aim = state::Guard { mac: guard.mac, owner: wanted.owner.clone() };
            match filter.guards.get(&guard.port) {
                Some(found) if *found == aim => continue,
                Some(state::Guard { mac, owner }) => {
                    let (mac, owner) = (*mac, owner.clone());
                    self.push(true, Operation::RemoveGuard { port: port(), mac, owner });
                }
                None => {}
            }
            self.push(false, Operation::AddGuard { port: port(), mac: aim.mac, owner: aim.owner });
        }
    }

    /// Forwarding, and settings of the sandbox that don't go with a new link.
    fn settings(&mut self) -> Result<(), Conflict> {
        for family in &self.wanted.forwarding {
            let (place, key) = (Place::Host, forwarding_key(*family).to_owned());
            let found = self.observed.sysctls.get(&(place, key.clone()));
            let was = found.ok_or_else(|| Conflict::SettingMissing { place, key: key.clone() })?;
            if was == "0" {
                let (was, now) = (Some(was.clone()), "1".to_owned());
                self.push(true, Operation::WriteSysctl { place, key, was, now, lenient: false });
            }
        }
        for sysctl in &self.wanted.sysctls {
            if !self.goes_with_new(sysctl) {
                self.setting(sysctl, false, false)?;
            }
        }
        Ok(())
    }

    fn goes_with_new(&self, sysctl: &Sysctl) -> bool {
        let of = |name: &str| LinkName { place: sysctl.place, name: name.to_owned() };
        link_of_key(&sysctl.key).is_some_and(|name| self.new.contains(&of(name)))
    }

    /// `unseen`: that a key wasn't seen doesn't mean that it isn't there.
    fn setting(&mut self, sysctl: &Sysctl, unseen: bool, shared: bool) -> Result<(), Conflict> {
        let Sysctl { place, key, value, lenient } = sysctl.clone();
        let of = |name: &str| self.observed.links.get(&LinkName { place, name: name.to_owned() });
        let unseen = unseen || link_of_key(&key).and_then(of).is_some_and(state::Link::is_predicted);
        let was = self.observed.sysctls.get(&(place, key.clone())).cloned();
        match &was {
            Some(was) if same_value(was, &value) => return Ok(()),
            None if !unseen && lenient => return Ok(()),
            None if !unseen => return Err(Conflict::SettingMissing { place, key }),
            _ => {}
        }
        self.push(shared, Operation::WriteSysctl { place, key, was, now: value, lenient });
        Ok(())
    }

    fn routes(&mut self) {
        let (wanted, observed) = (self.wanted, self.observed);
        let is_wanted = |at: &LinkName, found: &Route| {
            routes::through(&wanted.routes, at).any(|route| routes::satisfies(found, route))
        };
        for (at, found) in &observed.routes {
            let meant = routes::through(&wanted.absent_routes, at).any(|absent| routes::is_meant(found, absent));
            if meant && !is_wanted(at, found) {
                self.push(self.is_shared(at), Operation::RemoveRoute { at: at.clone(), route: found.clone() });
            }
        }
        let missing = |(at, route): &&(LinkName, Route)| {
            !routes::through(&observed.routes, at).any(|found| routes::satisfies(found, route))
        };
        let mut add: Vec<_> = wanted.routes.iter().filter(missing).collect();
        add.sort_by_key(|(_, route)| route.gateway.is_some());
        for (at, route) in add {
            self.push(self.is_shared(at), Operation::AddRoute { at: at.clone(), route: route.clone() });
        }
    }

    fn is_shared(&self, at: &LinkName) -> bool {
        self.declared.get(at).is_some_and(|link| link.life != Life::Attachment)
    }
}

// === impl Differ: links ===

/// What a new link has from its creation on.
struct Birth {
    up: bool,
    master: Option<String>,
}

impl<'a> Differ<'a> {
    fn links(&mut self) -> Result<(), Conflict> {
        let links = &self.wanted.links;
        // A circle was refused by `resolve`; should there be one, the kernel refuses it.
        let order = creation_order(links).unwrap_or_else(|_| (0..links.len()).collect());
        let mut created: BTreeSet<&LinkName> = BTreeSet::new();
        for link in order.into_iter().map(|index| &links[index]) {
            if created.contains(&link.at) {
                continue;
            }
            match &link.kind {
                _ if !self.new.contains(&link.at) => self.settle(link, None)?,
                WantedKind::Veth { peer } => {
                    let Some(other) = self.declared.get(peer).copied() else { continue };
                    created.extend([&link.at, &other.at]);
                    self.create_pair(link, other)?;
                }
                WantedKind::Made(kind) => self.create(link, kind)?,
                WantedKind::Existing => {}
            }
        }
        Ok(())
    }

    fn create(&mut self, link: &'a Link, kind: &Kind) -> Result<(), Conflict> {
        let up = link.up == Some(true) && link.master.is_none() && !self.has_settings(link);
        let (at, kind) = (link.at.clone(), kind.clone());
        let create = Operation::CreateLink { at, kind, mac: link.mac, mtu: link.mtu, up };
        self.push(link.life != Life::Attachment, create);
        self.settle(link, Some(Birth { up, master: None }))
    }

    fn create_pair(&mut self, one: &'a Link, other: &'a Link) -> Result<(), Conflict> {
        let rank = |link: &Link| (link.at.place == Place::Host, link.master.is_some());
        let (first, second) = if rank(other) > rank(one) { (other, one) } else { (one, other) };
        let up = first.up == Some(true) && !self.has_settings(first);
        let end = |link: &Link, master: &Option<String>, up| VethEnd {
            at: link.at.clone(),
            mac: link.mac,
            mtu: link.mtu,
            master: master.clone(),
            up,
        };
        let create = Operation::CreateVeth { first: end(first, &first.master, up), second: end(second, &None, false) };
        self.push(first.life != Life::Attachment, create);
        self.settle(first, Some(Birth { up, master: first.master.clone() }))?;
        self.settle(second, Some(Birth { up: false, master: None }))
    }

    /// Settings that a new link must have before it goes up.
    fn has_settings(&self, link: &Link) -> bool {
        !link.sysctls.is_empty() || self.sandbox_settings(&link.at).next().is_some()
    }

    fn sandbox_settings(&self, at: &LinkName) -> impl Iterator<Item = &'a Sysctl> {
        let at = at.clone();
        let of_it = move |sysctl: &&Sysctl| sysctl.place == at.place && link_of_key(&sysctl.key) == Some(&at.name);
        self.wanted.sysctls.iter().filter(of_it)
    }

    /// Brings a link that exists by now to what is wanted of it. `birth`: it is new, and this is how it was created.
    fn settle(&mut self, link: &'a Link, birth: Option<Birth>) -> Result<(), Conflict> {
        let shared = link.life != Life::Attachment;
        let is_new = birth.is_some();
        let current = match (birth, self.observed.links.get(&link.at)) {
            (Some(birth), _) => newborn(link, birth),
            (None, Some(found)) => found.clone(),
            (None, None) => return Ok(()),
        };
        let adopted = shared && !is_new && link.kind != WantedKind::Existing;
        for sysctl in &link.sysctls {
            self.setting(sysctl, is_own(link) || is_new, shared)?;
        }
        if is_new {
            let own: Vec<_> = self.sandbox_settings(&link.at).collect();
            for sysctl in own {
                self.setting(sysctl, true, shared)?;
            }
        }
        let set = |differ: &mut Self, was: Property, now: Property| {
            if was != now {
                differ.push(shared, Operation::SetLink { at: link.at.clone(), was, now });
            }
        };
        if !adopted {
            if let Some(mtu) = link.mtu {
                set(self, Property::Mtu(current.mtu), Property::Mtu(mtu));
            }
            if let (Some(was), Some(mac)) = (current.mac, link.mac) {
                set(self, Property::Mac(was), Property::Mac(mac));
            }
            if let Some(length) = link.transmit_queue_length {
                let was = Property::TransmitQueueLength(current.transmit_queue_length);
                set(self, was, Property::TransmitQueueLength(length));
            }
        }
        let flag = |wish: Option<bool>| wish.filter(|on| *on || !adopted);
        if let Some(on) = flag(link.promiscuous) {
            set(self, Property::Promiscuous(current.promiscuous), Property::Promiscuous(on));
        }
        if let Some(on) = flag(link.all_multicast) {
            set(self, Property::AllMulticast(current.all_multicast), Property::AllMulticast(on));
        }
        self.master(link, &current, adopted, is_new)?;
        self.addresses(link, &current, shared)?;
        if let Some(up) = flag(link.up) {
            set(self, Property::Up(current.up), Property::Up(up));
        }
        Ok(())
    }

    fn master(&mut self, link: &Link, current: &state::Link, adopted: bool, is_new: bool) -> Result<(), Conflict> {
        let shared = link.life != Life::Attachment;
        let at = &link.at;
        let (mut flags, mut vlans) = (current.port.unwrap_or_default(), vlans::expand(&current.vlans));
        if is_new {
            vlans = vlans::default(self.bridge(at.place, current.master.as_deref()).and_then(|bridge| bridge.1));
        }
        let moves = link.master.is_some() && link.master != current.master;
        if moves {
            if let (true, Some(found), Some(wanted)) = (adopted, &current.master, &link.master) {
                let (wanted, found) = (wanted.clone(), found.clone());
                return Err(Conflict::OtherMaster { link: at.clone(), wanted, found });
            }
            // A port that comes back to its bridge has this bridge's defaults: what differs from them is put away first, so
            // that the undo puts it back last.
            if flags != PortFlags::default() {
                let (was, now) = (Property::Port(flags), Property::Port(PortFlags::default()));
                self.push(shared, Operation::SetLink { at: at.clone(), was, now });
            }
            if let Some((true, default)) = self.bridge(at.place, current.master.as_deref()) {
                self.vlans(at, &vlans, &vlans::default(default), shared);
            }
            let (was, now) = (Property::Master(current.master.clone()), Property::Master(link.master.clone()));
            self.push(shared, Operation::SetLink { at: at.clone(), was, now });
            flags = PortFlags::default();
            vlans = vlans::default(self.bridge(at.place, link.master.as_deref()).and_then(|bridge| bridge.1));
        }
        let Some(port) = &link.port else { return Ok(()) };
        let wanted = PortFlags {
            hairpin: port.hairpin || adopted && flags.hairpin,
            isolated: port.isolated || adopted && flags.isolated,
        };
        if wanted != flags {
            let (was, now) = (Property::Port(flags), Property::Port(wanted));
            self.push(shared, Operation::SetLink { at: at.clone(), was, now });
        }
        let master = link.master.as_deref().or(current.master.as_deref());
        self.port_vlans(at, port, master, &vlans, shared)
    }

    fn port_vlans(
        &mut self,
        at: &LinkName,
        port: &BridgePort,
        master: Option<&str>,
        current: &Memberships,
        shared: bool,
    ) -> Result<(), Conflict> {
        match self.bridge(at.place, master) {
            Some((true, default)) => {
                if let Some(wanted) = vlans::wanted(port, default) {
                    self.vlans(at, current, &wanted, shared);
                }
                Ok(())
            }
            _ if port.vlans.is_empty() => Ok(()),
            _ => Err(Conflict::NotFiltering { port: at.clone(), bridge: master.unwrap_or("no bridge").to_owned() }),
        }
    }

    fn vlans(&mut self, at: &LinkName, from: &Memberships, to: &Memberships, shared: bool) {
        let (remove, add) = vlans::between(from, to);
        for vlan in remove {
            self.push(shared, Operation::RemovePortVlan { at: at.clone(), vlan });
        }
        for vlan in add {
            self.push(shared, Operation::AddPortVlan { at: at.clone(), vlan });
        }
    }

    /// Whether a bridge filters VLANs, and the one that a new port gets; None: not a bridge.
    fn bridge(&self, place: Place, name: Option<&str>) -> Option<(bool, Option<u16>)> {
        let at = LinkName { place, name: name?.to_owned() };
        match (self.observed.links.get(&at).map(|link| &link.kind), self.declared.get(&at).map(|link| &link.kind)) {
            (Some(Kind::Bridge { vlan_filtering, default_vlan }), _) => Some((*vlan_filtering, *default_vlan)),
            (None, Some(WantedKind::Made(Kind::Bridge { vlan_filtering, default_vlan }))) => {
                Some((*vlan_filtering, default_vlan.or(Some(1))))
            }
            _ => None,
        }
    }

    fn addresses(&mut self, link: &Link, current: &state::Link, shared: bool) -> Result<(), Conflict> {
        let is_ours = |found: &IpPrefix| link.addresses.iter().any(|address| address.prefix == *found);
        let mut removed: BTreeSet<state::Address> = BTreeSet::new();
        for Address { prefix, others, .. } in &link.addresses {
            for found in current.addresses.iter().filter(|found| !is_ours(&found.prefix)) {
                // The kernel takes an IPv6 address only once, whatever its prefix.
                let twice = matches!(prefix.address, IpAddress::V6(_)) && found.prefix.address == prefix.address;
                match others {
                    Others::Replace if twice || interferes(&found.prefix, prefix) => {
                        removed.insert(*found);
                    }
                    Others::Refuse if interferes(&found.prefix, prefix) => {
                        let (wanted, found) = (*prefix, found.prefix);
                        return Err(Conflict::OtherAddress { link: link.at.clone(), wanted, found });
                    }
                    _ if twice => {
                        let (wanted, found) = (*prefix, found.prefix);
                        return Err(Conflict::OtherAddress { link: link.at.clone(), wanted, found });
                    }
                    _ => {}
                }
            }
        }
        for address in removed {
            self.push(shared, Operation::RemoveAddress { at: link.at.clone(), address });
        }
        for Address { prefix, detection, bare, .. } in &link.addresses {
            if !current.has_address(*prefix) {
                let no_detection = *detection == Detection::Skip;
                let address = state::Address { prefix: *prefix, bare: *bare, no_detection };
                self.push(shared, Operation::AddAddress { at: link.at.clone(), address });
            }
        }
        Ok(())
    }
}

/// The state of a link right after its creation, as far as this depends on the creation; the rest is the kernel's usual.
fn newborn(link: &Link, birth: Birth) -> state::Link {
    state::Link {
        index: 0,
        kind: Kind::Other(String::new()),
        up: birth.up,
        mtu: link.mtu.unwrap_or(DEFAULT_MTU),
        mac: link.mac,
        master: birth.master,
        peer_index: None,
        transmit_queue_length: DEFAULT_QUEUE,
        promiscuous: false,
        all_multicast: false,
        port: None,
        vlans: Vec::new(),
        addresses: Vec::new(),
    }
}

/// Any IPv4 address, or an IPv6 one whose network overlaps.
pub(crate) fn interferes(found: &IpPrefix, wanted: &IpPrefix) -> bool {
    match (found.address, wanted.address) {
        (IpAddress::V4(_), IpAddress::V4(_)) => true,
        _ => found.contains(wanted.address) || wanted.contains(found.address),
    }
}

/// Whether a link that has the name of an own one is somebody else's.
fn is_another(wanted: &Link, found: &state::Link) -> bool {
    wanted.mac.is_some() && found.mac != wanted.mac
}

pub(crate) fn are_ends(one: &state::Link, other: &state::Link) -> bool {
    one.kind == Kind::Veth
        && other.kind == Kind::Veth
        && one.peer_index == Some(other.index)
        && other.peer_index == Some(one.index)
}

/// Whether a link that exists can be adopted as one of this kind.
fn fits(at: &LinkName, wanted: &Kind, found: &Kind) -> Result<(), Conflict> {
    let differs = |property: &'static str, wanted: String, found: String| {
        if wanted == found {
            Ok(())
        } else {
            Err(Conflict::PropertyDiffers { link: at.clone(), property, wanted, found })
        }
    };
    let number = |number: u16| number.to_string();
    match (wanted, found) {
        (
            Kind::Bridge { vlan_filtering, default_vlan },
            Kind::Bridge { vlan_filtering: filters, default_vlan: default },
        ) => {
            differs("vlan_filtering", u8::from(*vlan_filtering).to_string(), u8::from(*filters).to_string())?;
            match default_vlan {
                Some(wanted) => differs("default VLAN", number(*wanted), number(default.unwrap_or(0))),
                None => Ok(()),
            }
        }
        (Kind::Vlan { parent, id, protocol }, Kind::Vlan { parent: other, id: found, protocol: spoken }) => {
            differs("parent", parent.clone(), other.clone())?;
            differs("VLAN", number(*id), number(*found))?;
            differs("protocol", format!("{protocol:?}"), format!("{spoken:?}"))
        }
        (Kind::Macvlan { parent, mode }, Kind::Macvlan { parent: other, mode: found }) => {
            differs("parent", parent.clone(), other.clone())?;
            differs("mode", format!("{mode:?}"), format!("{found:?}"))
        }
        (Kind::Ipvlan { parent, mode }, Kind::Ipvlan { parent: other, mode: found }) => {
            differs("parent", parent.clone(), other.clone())?;
            differs("mode", format!("{mode:?}"), format!("{found:?}"))
        }
        (Kind::Vrf { table }, Kind::Vrf { table: found }) => differs("table", table.to_string(), found.to_string()),
        (wanted, found) if wanted == found => Ok(()),
        (wanted, found) => Err(Conflict::NotThatKind {
            link: at.clone(),
            wanted: wanted.name().to_owned(),
            found: found.name().to_owned(),
        }),
    }
}

fn missing(at: &LinkName, wanted_as: &str) -> Conflict {
    Conflict::Missing { link: at.clone(), wanted_as: wanted_as.to_owned() }
}
