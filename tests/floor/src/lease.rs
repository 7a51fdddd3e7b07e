//! Address leases as host-local keeps them: a file per address that holds the container id and interface, the last one
//! handed out in `last_reserved_ip.0`, all under a lock file.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Result, Write as _};
use std::net::Ipv4Addr;
use std::path::PathBuf;

use crate::Network;

fn folder(network: &Network) -> PathBuf {
    PathBuf::from(&network.data).join(&network.name)
}

fn lock(folder: &PathBuf) -> Result<File> {
    let open = || OpenOptions::new().create(true).append(true).open(folder.join("lock"));
    let file = match open() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            fs::create_dir_all(folder)?;
            open()?
        }
        other => other?,
    };
    file.lock()?;
    Ok(file)
}

/// The next free address after the last one handed out.
pub(crate) fn reserve(network: &Network, container: &str, interface: &str) -> Result<Ipv4Addr> {
    let folder = folder(network);
    let _lock = lock(&folder)?;
    let last = folder.join("last_reserved_ip.0");
    let first = u32::from(network.subnet) + 2;
    let end = u32::from(network.subnet) | u32::MAX.checked_shr(u32::from(network.prefix)).unwrap_or(0);
    let start = fs::read_to_string(&last)
        .ok()
        .and_then(|text| text.parse::<Ipv4Addr>().ok())
        .map_or(first, |ip| u32::from(ip) + 1);
    for candidate in (start..end).chain(first..start) {
        let address = Ipv4Addr::from(candidate);
        match OpenOptions::new().write(true).create_new(true).open(folder.join(address.to_string())) {
            Ok(mut file) => {
                file.write_all(format!("{container}\r\n{interface}").as_bytes())?;
                fs::write(last, address.to_string())?;
                return Ok(address);
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(ErrorKind::StorageFull.into())
}

/// Removes every lease of this interface.
pub(crate) fn release(network: &Network, container: &str, interface: &str) -> Result<()> {
    let folder = folder(network);
    let _lock = lock(&folder)?;
    let wanted = format!("{container}\r\n{interface}");
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        if fs::read_to_string(&path).is_ok_and(|content| content == wanted) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_go_round_and_come_back() {
        let data = std::env::temp_dir().join(format!("weft-floor-{}", std::process::id()));
        let network = Network {
            name: "n".into(),
            bridge: "b".into(),
            data: data.to_string_lossy().into_owned(),
            subnet: Ipv4Addr::new(10, 0, 0, 0),
            prefix: 29,
        };
        let all: Vec<_> = (0..5).map(|n| reserve(&network, &format!("c{n}"), "eth0").unwrap().octets()[3]).collect();
        assert_eq!(all, [2, 3, 4, 5, 6]);
        assert!(reserve(&network, "c9", "eth0").is_err());
        release(&network, "c1", "eth0").unwrap();
        assert_eq!(reserve(&network, "c9", "eth0").unwrap().octets()[3], 3);
        fs::remove_dir_all(data).unwrap();
    }
}
