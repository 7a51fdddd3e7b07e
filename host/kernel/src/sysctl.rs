//! Kernel settings under `/proc/sys`. `net/` there shows the namespace of the thread that looks, so the caller goes
//! inside first. Must not: reach outside `/proc/sys`.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use weft_executor::KernelError;
use weft_executor::state::same_value;

use crate::error::plain;

/// The value of a key, trimmed; None: there is no such key.
pub(crate) fn read(key: &str) -> Result<Option<String>, KernelError> {
    let path = path(key)?;
    match contents(&path) {
        Ok(value) => Ok(Some(value)),
        Err(error) if is_absent(&error) => Ok(None),
        // Some can only be written.
        Err(error) if error.raw_os_error() == Some(Errno::EACCES as i32) => Ok(None),
        Err(error) => Err(failed("read", key, &error)),
    }
}

/// Writes a value. One that can't be written but is there already is as good, as where `/proc/sys` is read-only and right.
/// Lenient: a key that is missing or refuses is passed over.
pub(crate) fn write(key: &str, value: &str, lenient: bool) -> Result<(), KernelError> {
    let path = path(key)?;
    match File::options().write(true).open(&path).and_then(|mut file| file.write_all(value.as_bytes())) {
        Ok(()) => Ok(()),
        Err(error) if lenient && is_refused(&error) => Ok(()),
        Err(_) if contents(&path).is_ok_and(|now| same_value(&now, value)) => Ok(()),
        Err(error) => Err(failed("write", key, &error)),
    }
}

/// A setting's text, trimmed: the kernel gives all of it to one read.
fn contents(path: &Path) -> std::io::Result<String> {
    let mut buffer = [0; 4096];
    let length = File::open(path)?.read(&mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..length]).trim().to_owned())
}

/// The file of a key. Every part must be a plain name: a key can't climb out of `/proc/sys`.
fn path(key: &str) -> Result<PathBuf, KernelError> {
    let plain_names =
        key.split('/').all(|part| !part.is_empty() && part != "." && part != ".." && !part.contains('\0'));
    if !plain_names {
        return Err(plain(
            format!("setting {key:?}"),
            "a key is a path below /proc/sys such as net/ipv4/ip_forward",
            Errno::EINVAL,
        ));
    }
    Ok(PathBuf::from("/proc/sys").join(key))
}

fn is_absent(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error().map(Errno::from_raw), Some(Errno::ENOENT | Errno::ENOTDIR))
}

fn is_refused(error: &std::io::Error) -> bool {
    is_absent(error)
        || matches!(error.raw_os_error().map(Errno::from_raw), Some(Errno::EACCES | Errno::EPERM | Errno::EROFS))
}

fn failed(verb: &str, key: &str, error: &std::io::Error) -> KernelError {
    let errno = Errno::from_raw(error.raw_os_error().unwrap_or(0));
    let hint = match errno {
        Errno::ENOENT | Errno::ENOTDIR => ": this kernel or link has no such setting (IPv6 switched off?)",
        Errno::EROFS => ": /proc/sys is mounted read-only; run weft where it is writable",
        Errno::EINVAL => ": the setting doesn't take this value",
        Errno::EACCES | Errno::EPERM => ": needs CAP_NET_ADMIN, or is fixed outside the first namespace",
        _ => "",
    };
    KernelError {
        what: format!("{verb} /proc/sys/{key}"),
        cause: format!("{}{hint}", errno.desc()),
        errno: errno as i32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_stays_below_proc_sys() {
        for key in ["../../etc/passwd", "net/../../x", "/etc/passwd", "net//x", "", "net/.", "net/a\0b"] {
            assert_eq!(write(key, "1", true).unwrap_err().errno, Errno::EINVAL as i32, "{key:?}");
            assert_eq!(read(key).unwrap_err().errno, Errno::EINVAL as i32, "{key:?}");
        }
        assert_eq!(read("net/none/such"), Ok(None));
        assert!(read("kernel/ostype").unwrap().is_some());
        assert_eq!(write("net/none/such", "1", true), Ok(()));
        assert!(write("net/none/such", "1", false).is_err());
    }
}
