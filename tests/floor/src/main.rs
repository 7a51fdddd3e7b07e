//! The floor under a bridge plugin with host-local addresses: the same effects in the kernel and on disk, by one small
//! static program with hand-built netlink messages, one configuration shape and no error handling worth the name.
//! Benchmarks measure weft against it; it is no plugin for use.
//!
//! ADD: the bridge if it is missing, a veth pair whose peer is born in the netns, address, up, default route, a lease
//! file as host-local writes it, a CNI result. DEL: RTM_DELLINK with ack, the lease file.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a CNI plugin answers on its output")]

mod lease;
mod message;

use std::fs::File;
use std::io::{Error, ErrorKind, Read as _, Result};
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd as _;
use std::process::ExitCode;

use message::{ACK, Batch, CREATE, EXCLUSIVE, Socket, link};

const UP: u32 = libc::IFF_UP as u32;

/// What the configuration says, as far as we read it.
struct Network {
    name: String,
    bridge: String,
    data: String,
    subnet: Ipv4Addr,
    prefix: u8,
}

impl Network {
    fn gateway(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.subnet) + 1)
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(result) => {
            print!("{result}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("{{\"cniVersion\":\"1.0.0\",\"code\":999,\"msg\":\"{error}\"}}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<String> {
    let mut configuration = String::new();
    std::io::stdin().read_to_string(&mut configuration)?;
    let network = network(&configuration).ok_or_else(|| Error::new(ErrorKind::InvalidInput, "configuration"))?;
    let (container, interface) = (variable("CNI_CONTAINERID")?, variable("CNI_IFNAME")?);
    match variable("CNI_COMMAND")?.as_str() {
        "ADD" => add(&network, &container, &interface),
        "DEL" => del(&network, &container, &interface).map(|()| String::new()),
        other => Err(Error::new(ErrorKind::InvalidInput, other)),
    }
}

fn variable(name: &str) -> Result<String> {
    std::env::var(name).map_err(|_| Error::new(ErrorKind::InvalidInput, name))
}

fn network(configuration: &str) -> Option<Network> {
    let text = |key: &str| {
        let (_, rest) = configuration.split_once(&format!("\"{key}\":\""))?;
        rest.split_once('"').map(|(value, _)| value.to_owned())
    };
    let subnet = text("subnet")?;
    let (subnet, prefix) = subnet.split_once('/')?;
    Some(Network {
        name: text("name")?,
        bridge: text("bridge")?,
        data: text("dataDir")?,
        subnet: subnet.parse().ok()?,
        prefix: prefix.parse().ok()?,
    })
}

fn add(network: &Network, container: &str, interface: &str) -> Result<String> {
    let path = variable("CNI_NETNS")?;
    let netns = File::open(&path)?;
    let host = Socket::open()?;
    let (bridge, bridge_mac) = ensure_bridge(&host, network)?;
    let address = lease::reserve(network, container, interface)?;

    let random = random()?;
    let veth = format!("veth{:02x}{:02x}{:02x}{:02x}", random[0], random[1], random[2], random[3]);
    let (mac, veth_mac) = (local_mac(&random[4..10]), local_mac(&random[10..16]));
    let mut batch = Batch::new();
    batch.message(libc::RTM_NEWLINK, ACK | CREATE | EXCLUSIVE, &link(0, UP, UP)).name(libc::IFLA_IFNAME, &veth);
    batch.attribute(libc::IFLA_ADDRESS, &veth_mac).attribute(libc::IFLA_MASTER, &bridge.to_ne_bytes());
    batch.nest(libc::IFLA_LINKINFO, &[], |info| {
        info.name(libc::IFLA_INFO_KIND, "veth").nest(libc::IFLA_INFO_DATA, &[], |data| {
            // 1: VETH_INFO_PEER.
            data.nest(1, &link(0, 0, 0), |peer| {
                peer.name(libc::IFLA_IFNAME, interface).attribute(libc::IFLA_ADDRESS, &mac);
                peer.attribute(libc::IFLA_NET_NS_FD, &netns.as_raw_fd().to_ne_bytes());
            });
        });
    });
    host.exchange(&mut batch)?;

    enter(&netns)?;
    let sandbox = Socket::open()?;
    let mut batch = Batch::new();
    batch.message(libc::RTM_GETLINK, 0, &link(0, 0, 0)).name(libc::IFLA_IFNAME, interface);
    let (index, _) = sandbox.exchange(&mut batch)?.ok_or_else(|| Error::from(ErrorKind::NotFound))?;
    let mut batch = Batch::new();
    batch.message(libc::RTM_NEWLINK, ACK, &link(index, UP, UP));
    new_address(&mut batch, index, address, network.prefix);
    // struct rtmsg: AF_INET, 0.0.0.0/0, main table, protocol boot, scope universe, unicast.
    batch.message(libc::RTM_NEWROUTE, ACK | CREATE, &[2, 0, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0]);
    batch.attribute(libc::RTA_GATEWAY, &network.gateway().octets()).attribute(libc::RTA_OIF, &index.to_ne_bytes());
    sandbox.exchange(&mut batch)?;

    let (prefix, gateway) = (network.prefix, network.gateway());
    Ok(format!(
        concat!(
            r#"{{"cniVersion":"1.0.0","interfaces":[{{"name":"{}","mac":"{}"}},{{"name":"{}","mac":"{}"}},"#,
            r#"{{"name":"{}","mac":"{}","sandbox":"{}"}}],"ips":[{{"interface":2,"address":"{}/{}","gateway":"{}"}}],"#,
            r#""routes":[{{"dst":"0.0.0.0/0"}}],"dns":{{}}}}"#
        ),
        network.bridge,
        text(bridge_mac),
        veth,
        text(veth_mac),
        interface,
        text(mac),
        path,
        address,
        prefix,
        gateway
    ))
}

/// Index and MAC of the bridge, made with the gateway's address if it is not there.
fn ensure_bridge(host: &Socket, network: &Network) -> Result<(u32, [u8; 6])> {
    let mut get = Batch::new();
    get.message(libc::RTM_GETLINK, 0, &link(0, 0, 0)).name(libc::IFLA_IFNAME, &network.bridge);
    match host.exchange(&mut get) {
        Ok(Some(found)) => return Ok(found),
        Err(error) if error.raw_os_error() != Some(libc::ENODEV) => return Err(error),
        Ok(None) | Err(_) => {}
    }
    let mut batch = Batch::new();
    batch.message(libc::RTM_NEWLINK, ACK | CREATE, &link(0, UP, UP)).name(libc::IFLA_IFNAME, &network.bridge);
    batch.nest(libc::IFLA_LINKINFO, &[], |info| {
        info.name(libc::IFLA_INFO_KIND, "bridge");
    });
    host.exchange(&mut batch)?;
    let found = host.exchange(&mut get)?.ok_or_else(|| Error::from(ErrorKind::NotFound))?;
    let mut batch = Batch::new();
    new_address(&mut batch, found.0, network.gateway(), network.prefix);
    host.exchange(&mut batch)?;
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "1")?;
    Ok(found)
}

fn new_address(batch: &mut Batch, index: u32, address: Ipv4Addr, prefix: u8) {
    // struct ifaddrmsg: AF_INET, prefix, flags, scope universe, index.
    let mut fixed = [2, prefix, 0, 0, 0, 0, 0, 0];
    fixed[4..].copy_from_slice(&index.to_ne_bytes());
    let broadcast = u32::from(address) | u32::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
    batch.message(libc::RTM_NEWADDR, ACK | CREATE, &fixed).attribute(libc::IFA_LOCAL, &address.octets());
    batch.attribute(libc::IFA_ADDRESS, &address.octets()).attribute(libc::IFA_BROADCAST, &broadcast.to_be_bytes());
}

fn del(network: &Network, container: &str, interface: &str) -> Result<()> {
    enter(&File::open(variable("CNI_NETNS")?)?)?;
    let mut batch = Batch::new();
    batch.message(libc::RTM_DELLINK, ACK, &link(0, 0, 0)).name(libc::IFLA_IFNAME, interface);
    Socket::open()?.exchange(&mut batch)?;
    lease::release(network, container, interface)
}

fn enter(netns: &File) -> Result<()> {
    // SAFETY: plain system call on a descriptor that is open.
    #[allow(unsafe_code, reason = "std has no setns")]
    let failed = unsafe { libc::setns(netns.as_raw_fd(), libc::CLONE_NEWNET) } != 0;
    if failed { Err(Error::last_os_error()) } else { Ok(()) }
}

fn random() -> Result<[u8; 16]> {
    let mut bytes = [0; 16];
    // SAFETY: the kernel writes at most the buffer's length into it.
    #[allow(unsafe_code, reason = "std has no getrandom")]
    let got = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    if got == 16 { Ok(bytes) } else { Err(Error::last_os_error()) }
}

/// Unicast, locally administered.
fn local_mac(random: &[u8]) -> [u8; 6] {
    let mut mac = [0; 6];
    mac.copy_from_slice(random);
    mac[0] = mac[0] & 0xfe | 2;
    mac
}

fn text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_is_read_by_its_keys() {
        let read = network(
            r#"{"cniVersion":"1.0.0","name":"n","type":"bridge","bridge":"b0","ipam":{"type":"host-local","subnet":"10.1.0.0/16","dataDir":"/d"}}"#,
        )
        .unwrap();
        assert_eq!((read.name.as_str(), read.bridge.as_str(), read.data.as_str()), ("n", "b0", "/d"));
        assert_eq!((read.gateway(), read.prefix), (Ipv4Addr::new(10, 1, 0, 1), 16));
        assert!(network(r#"{"name":"n"}"#).is_none());
    }
}
