//! Which boot this is, and what is certainly older.
//!
//! A file's time alone doesn't say in which boot it was written: a machine may start with a wrong clock (no battery:
//! 1970; a real-time clock in local time) that is set right later. So a file counts as older than this boot only if it
//! is older than both of two witnesses that fail in different ways:
//! - now minus the time since boot, which is right once the clock is right, and too late if the clock was put
//!   forward after files were written or while a machine's snapshot was stored;
//! - the change time of the root of process 1's `/proc`: the clock as it stood when user space began, before any lease
//!   of this boot can have been written, right or wrong.
//!
//! Any file of this boot is younger than the earlier of the two, whichever way the clock was stepped once. A clock that
//! said 1970 at boot makes nothing certain. In a PID namespace of its own the second witness is the container's, not the
//! boot's, so nothing is certain there either. In doubt a lease stays: an address lost until the next GC is better than
//! one used twice.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use nix::time::{ClockId, clock_gettime};

use crate::error::{Error, Result};

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// The root of the `/proc` that process 1 sees: another mount of proc would be younger.
const WITNESS: &str = "/proc/1/root/proc";
/// The inode of the first PID namespace, fixed in the kernel (PROC_PID_INIT_INO).
const FIRST_PID_NAMESPACE: u64 = 0xEFFF_FFFC;
/// Clocks tick coarsely, and a real-time clock is off by seconds.
const MARGIN: Duration = Duration::from_secs(5);
/// A clock that shows less than this at boot was not set (a day in 1970).
const UNSET: Duration = Duration::from_secs(365 * 24 * 3600);

/// A boot of the machine.
#[derive(Clone, Debug)]
pub struct Boot {
    id: String,
    certainly_before: OnceLock<Option<SystemTime>>,
}

impl Boot {
    /// The boot that is running. Reads the boot id only; the clocks are looked at when first needed.
    pub fn current() -> Result<Self> {
        let id = std::fs::read_to_string(BOOT_ID).map_err(|source| Error::Io {
            action: "read",
            path: BOOT_ID.into(),
            source,
        })?;
        Ok(Self { id: id.trim().to_owned(), certainly_before: OnceLock::new() })
    }

    /// A boot that a test makes up. `certainly_before` `None`: of no file it is certain.
    pub fn fixed(id: &str, certainly_before: Option<SystemTime>) -> Self {
        Self { id: id.to_owned(), certainly_before: OnceLock::from(certainly_before) }
    }

    /// The kernel's boot id, a UUID.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// A file last written before this moment was certainly written in an earlier boot.
    pub fn certainly_before(&self) -> Option<SystemTime> {
        *self.certainly_before.get_or_init(|| {
            let up = clock_gettime(ClockId::CLOCK_BOOTTIME).ok().map(Duration::from)?;
            let namespace = std::fs::metadata("/proc/self/ns/pid").ok()?.ino();
            let began = (namespace == FIRST_PID_NAMESPACE).then(|| change_time(Path::new(WITNESS))).flatten();
            certainly_before(SystemTime::now(), up, began)
        })
    }
}

fn change_time(path: &Path) -> Option<SystemTime> {
    let seconds = u64::try_from(std::fs::metadata(path).ok()?.ctime()).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// The rule of the module. `up`: time since boot; `began`: the clock when user space began, if known.
fn certainly_before(now: SystemTime, up: Duration, began: Option<SystemTime>) -> Option<SystemTime> {
    let earliest = now.checked_sub(up)?.min(began?);
    let set = earliest.duration_since(SystemTime::UNIX_EPOCH).is_ok_and(|since| since > UNSET);
    if set { earliest.checked_sub(MARGIN) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    /// The machine really booted at T; `began` is what its clock said then; leases of this boot were written at `wrote`
    /// by its clock. None of them may be called older than the boot.
    #[test]
    fn no_lease_of_this_boot_is_older_whatever_the_clock_did() {
        const T: u64 = 2_000_000_000;
        const UP: u64 = 86_400;
        for (case, now, began, wrote) in [
            ("right clock", T + UP, T, vec![T + 1, T + UP]),
            ("an hour behind, then set", T + UP, T - 3600, vec![T - 3599, T + 60]),
            ("an hour ahead, then set", T + UP, T + 3600, vec![T + 3601, T + 60]),
            ("still behind", T + UP - 3600, T - 3600, vec![T - 3599, T + UP - 3600]),
            ("1970, then set", T + UP, 3, vec![30, T + 60]),
            ("still 1970", UP, 0, vec![30]),
            ("stored for a day as a snapshot", T + UP + 86_400, T, vec![T + 1]),
        ] {
            if let Some(before) = certainly_before(at(now), Duration::from_secs(UP), Some(at(began))) {
                for lease in wrote {
                    assert!(at(lease) >= before, "{case}: a lease written at {lease} counts as older");
                }
            }
        }
    }

    #[test]
    fn leases_of_the_boot_before_are_older_where_the_clock_was_set() {
        const T: u64 = 2_000_000_000;
        let up = Duration::from_secs(100);
        assert!(certainly_before(at(T + 100), up, Some(at(T))).is_some_and(|before| at(T - 6) < before));
        assert!(certainly_before(at(T + 100), up, Some(at(T + 3600))).is_some_and(|before| at(T - 6) < before));
        assert_eq!(certainly_before(at(T + 100), up, Some(at(10))), None, "a clock that was not set");
        assert_eq!(certainly_before(at(T + 100), up, None), None, "no witness");
        assert_eq!(certainly_before(at(10), up, Some(at(T))), None, "time since boot longer than the clock's time");
    }

    #[test]
    fn what_this_machine_wrote_now_is_not_older() {
        let boot = Boot::current().unwrap();
        assert_eq!(boot.id().len(), 36);
        let file = tempfile::NamedTempFile::new().unwrap();
        let written = file.as_file().metadata().unwrap().modified().unwrap();
        assert!(boot.certainly_before().is_none_or(|before| written > before));
    }
}
