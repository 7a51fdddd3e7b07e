//! A host for native tests: what the capabilities answer is set before, what the plugin did is seen after.
//!
//! ```
//! use weft_sdk::testing::{FakeHost, request};
//!
//! let request = request(r#"{ "name": "net", "subnetFile": "/etc/subnet.env" }"#);
//! let mut host = FakeHost::new().file("/etc/subnet.env", "FLANNEL_MTU=1450\n");
//! let text = host.run(&request, |_| weft_sdk::files::read("/subnetFile", None)).unwrap();
//! assert_eq!(text, b"FLANNEL_MTU=1450\n");
//! ```

use std::cell::RefCell;

use crate::facts::LinkFacts;
use crate::json;
use crate::requests::{Addressing, Request};
use crate::types::{IpAddress, IpFamily, LinkName, LinkSelector, Place, Route, Setting};

thread_local! {
    static CURRENT: RefCell<FakeHost> = RefCell::new(FakeHost::new());
}

/// A request as it comes for container `c1`, interface `eth0`, with nothing before it and no addresses; the fields can
/// be changed.
///
/// # Panics
/// If the configuration isn't JSON.
pub fn request(config: &str) -> Request {
    let network = text_at(config, "/name").unwrap_or_else(|| "net".to_owned());
    Request {
        container_id: "c1".to_owned(),
        interface_name: "eth0".to_owned(),
        network,
        config: config.to_owned(),
        args: Vec::new(),
        previous: None,
        addressing: Addressing::Off,
    }
}

/// One name and value of CNI_ARGS.
pub fn arg(name: &str, value: &str) -> Setting {
    Setting { name: name.to_owned(), value: value.to_owned() }
}

/// A link of kind `dummy` that is up.
pub fn link_facts(place: Place, name: &str) -> LinkFacts {
    LinkFacts {
        link: LinkName { place, name: name.to_owned() },
        kind: "dummy".to_owned(),
        up: true,
        mtu: 1500,
        mac: None,
        master: None,
        parent: None,
        peer: None,
        table: None,
        addresses: Vec::new(),
        promiscuous: false,
        all_multicast: false,
        transmit_queue_length: 1000,
    }
}

/// The string at a JSON pointer of a configuration.
#[allow(clippy::panic, reason = "a test's own mistake")]
fn text_at(config: &str, pointer: &str) -> Option<String> {
    let parsed = json::parse(config).unwrap_or_else(|at| panic!("the test's configuration is no JSON from byte {at}"));
    let mut value = &parsed;
    for token in pointer.split('/').skip(1) {
        value = match value {
            json::Value::Object(object) => object.get(&token.replace("~1", "/").replace("~0", "~"))?,
            json::Value::Array(items) => items.get(token.parse::<usize>().ok()?)?,
            _ => return None,
        };
    }
    value.as_str().map(str::to_owned)
}

/// What a host would know.
#[derive(Clone, Debug, Default)]
pub struct FakeHost {
    config: String,
    links: Vec<LinkFacts>,
    defaults: Vec<(Place, IpFamily, LinkName)>,
    routes: Vec<(LinkName, Route)>,
    tables: Vec<(Place, u32)>,
    sysctls: Vec<(Place, String, String)>,
    files: Vec<(String, Vec<u8>)>,
    devices: Vec<crate::devices::DeviceFacts>,
    reserved: Vec<IpAddress>,
    held: Vec<IpAddress>,
    last: Vec<(u32, IpAddress)>,
    messages: Vec<(log::Level, String)>,
}

impl FakeHost {
    /// One that has nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a link.
    pub fn link(mut self, link: LinkFacts) -> Self {
        self.links.push(link);
        self
    }

    /// Lets the default route of a family leave through a link that was added.
    pub fn default_link(mut self, family: IpFamily, link: &LinkName) -> Self {
        self.defaults.push((link.place, family, link.clone()));
        self
    }

    /// Adds a route through a link.
    pub fn route(mut self, link: &LinkName, route: Route) -> Self {
        self.routes.push((link.clone(), route));
        self
    }

    /// Lets a table be in use.
    pub fn table_in_use(mut self, place: Place, table: u32) -> Self {
        self.tables.push((place, table));
        self
    }

    /// Adds a setting, its key as under `/proc/sys`.
    pub fn sysctl(mut self, place: Place, key: &str, value: &str) -> Self {
        self.sysctls.push((place, key.to_owned(), value.to_owned()));
        self
    }

    /// Adds a file by its path. Which files a plugin may read is not checked.
    pub fn file(mut self, path: &str, content: &str) -> Self {
        self.files.push((path.to_owned(), content.as_bytes().to_vec()));
        self
    }

    /// Adds a device.
    pub fn device(mut self, device: crate::devices::DeviceFacts) -> Self {
        self.devices.push(device);
        self
    }

    /// Lets somebody else have addresses.
    ///
    /// # Panics
    /// If one isn't an address.
    pub fn reserved(mut self, addresses: &[&str]) -> Self {
        self.reserved.extend(addresses.iter().map(|text| address(text)));
        self
    }

    /// Lets this attachment have an address.
    ///
    /// # Panics
    /// If it isn't an address.
    pub fn held(mut self, text: &str) -> Self {
        self.held.push(address(text));
        self.reserved.push(address(text));
        self
    }

    /// Sets the last reserved address of a set.
    ///
    /// # Panics
    /// If it isn't an address.
    pub fn last_reserved(mut self, set: u32, text: &str) -> Self {
        self.remember(set, address(text));
        self
    }

    /// Calls a plugin with this host behind the capabilities.
    pub fn run<T>(&mut self, request: &Request, plugin: impl FnOnce(&Request) -> T) -> T {
        self.config = request.config.clone();
        CURRENT.with_borrow_mut(|current| std::mem::swap(current, self));
        let answer = plugin(request);
        CURRENT.with_borrow_mut(|current| std::mem::swap(current, self));
        answer
    }

    /// Ends the attachment: what it held is free again; the last reserved addresses stay.
    pub fn release(&mut self) {
        let held = std::mem::take(&mut self.held);
        self.reserved.retain(|address| !held.contains(address));
    }

    /// Lets another attachment ask next.
    pub fn next_attachment(&mut self) {
        self.held.clear();
    }

    /// What this attachment holds.
    pub fn holding(&self) -> Vec<String> {
        self.held.iter().map(IpAddress::to_string).collect()
    }

    /// What the plugin logged.
    pub fn messages(&self) -> &[(log::Level, String)] {
        &self.messages
    }

    fn remember(&mut self, set: u32, address: IpAddress) {
        self.last.retain(|(other, _)| *other != set);
        self.last.push((set, address));
    }

    fn find(&self, which: &LinkSelector) -> Option<&LinkFacts> {
        self.links.iter().find(|link| match which {
            LinkSelector::Named(name) => link.link == *name,
            LinkSelector::Mac(mac) => link.mac == Some(*mac),
            LinkSelector::Pci(id) | LinkSelector::Auxiliary(id) => {
                self.devices.iter().any(|device| device.id == *id && device.links.contains(&link.link.name))
            }
            LinkSelector::KernelPath(path) => path.ends_with(&["/net/", &link.link.name].concat()),
        })
    }
}

#[allow(clippy::panic, reason = "a test's own mistake")]
fn address(text: &str) -> IpAddress {
    IpAddress::parse(text).unwrap_or_else(|| panic!("{text:?} is not an address"))
}

pub(crate) mod facts {
    use super::*;

    /// A link as it is.
    pub fn link(which: &LinkSelector) -> Option<LinkFacts> {
        CURRENT.with_borrow(|host| host.find(which).cloned())
    }

    /// The link of the default route.
    pub fn default_link(place: Place, family: IpFamily) -> Option<LinkFacts> {
        CURRENT.with_borrow(|host| {
            let (_, _, name) = host.defaults.iter().find(|(at, of, _)| (*at, *of) == (place, family))?;
            host.find(&LinkSelector::Named(name.clone())).cloned()
        })
    }

    /// Every route through a link, of every table.
    pub fn routes(link: &LinkName) -> Vec<Route> {
        CURRENT
            .with_borrow(|host| host.routes.iter().filter(|(name, _)| name == link).map(|(_, route)| *route).collect())
    }

    /// Tables that a route, a rule or a vrf uses.
    pub fn tables_in_use(place: Place) -> Vec<u32> {
        CURRENT.with_borrow(|host| host.tables.iter().filter(|(at, _)| *at == place).map(|(_, table)| *table).collect())
    }

    /// A setting's value, if it exists.
    pub fn sysctl(place: Place, key: &str) -> Option<String> {
        CURRENT.with_borrow(|host| {
            let found = host.sysctls.iter().find(|(at, name, _)| *at == place && name == key)?;
            Some(found.2.clone())
        })
    }
}

pub(crate) mod files {
    use super::*;
    use crate::types::Error;

    /// The file whose path stands at a JSON pointer of the configuration, or else the fallback.
    pub fn read(pointer: &str, fallback: Option<&str>) -> Result<Vec<u8>, Error> {
        CURRENT.with_borrow(|host| {
            let path = text_at(&host.config, pointer).filter(|path| !path.is_empty());
            let path = path.or_else(|| fallback.map(str::to_owned));
            let path = path.ok_or_else(|| Error::NotFound(format!("no path at {pointer}")))?;
            let found = host.files.iter().find(|(name, _)| *name == path);
            let missing = || Error::NotFound(format!("open {path}: no such file or directory"));
            found.map(|(_, content)| content.clone()).ok_or_else(missing)
        })
    }
}

pub(crate) mod leases {
    use super::*;
    use crate::types::Error;

    /// False: somebody has it.
    pub fn reserve(set: u32, address: IpAddress) -> Result<bool, Error> {
        CURRENT.with_borrow_mut(|host| {
            if host.reserved.contains(&address) {
                return Ok(false);
            }
            host.reserved.push(address);
            host.held.push(address);
            host.remember(set, address);
            Ok(true)
        })
    }

    /// The lowest address from first to last that nobody has.
    pub fn first_free(first: IpAddress, last: IpAddress) -> Result<Option<IpAddress>, Error> {
        CURRENT.with_borrow(|host| {
            let mut at = Some(first);
            while let Some(address) = at.filter(|address| address.bits() <= last.bits()) {
                if !host.reserved.contains(&address) {
                    return Ok(Some(address));
                }
                at = address.next();
            }
            Ok(None)
        })
    }

    /// The last address of a set that was reserved.
    pub fn last_reserved(set: u32) -> Result<Option<IpAddress>, Error> {
        CURRENT.with_borrow(|host| Ok(host.last.iter().find(|(of, _)| *of == set).map(|(_, address)| *address)))
    }

    /// What this attachment has already.
    pub fn held() -> Result<Vec<IpAddress>, Error> {
        CURRENT.with_borrow(|host| Ok(host.held.clone()))
    }
}

pub(crate) mod devices {
    use super::*;
    use crate::devices::DeviceFacts;
    use crate::types::Error;

    /// By PCI address or auxiliary name.
    pub fn device(id: &str) -> Result<DeviceFacts, Error> {
        CURRENT.with_borrow(|host| {
            let found = host.devices.iter().find(|device| device.id == id);
            found.cloned().ok_or_else(|| Error::NotFound(format!("no device {id}")))
        })
    }

    /// The functions of a physical one.
    pub fn functions(physical: &str) -> Result<Vec<DeviceFacts>, Error> {
        CURRENT.with_borrow(|host| {
            let of = |device: &&DeviceFacts| device.physical.as_deref() == Some(physical);
            Ok(host.devices.iter().filter(of).cloned().collect())
        })
    }

    /// Hold it; false: another attachment has it.
    pub fn claim(id: &str) -> Result<bool, Error> {
        CURRENT.with_borrow_mut(|host| {
            let found = host.devices.iter_mut().find(|device| device.id == id);
            let device = found.ok_or_else(|| Error::NotFound(format!("no device {id}")))?;
            Ok(!std::mem::replace(&mut device.claimed, true))
        })
    }
}

pub(crate) mod log {
    use super::*;
    pub(crate) use crate::log::Level;

    /// Kept for [`FakeHost::messages`].
    pub fn write(level: Level, message: &str) {
        CURRENT.with_borrow_mut(|host| host.messages.push((level, message.to_owned())));
    }
}
