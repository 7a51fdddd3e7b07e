//! The kernel's answers for people: number, extended message, and what to do where that is known.

use nix::errno::Errno;
use weft_executor::KernelError;

/// A request that the kernel refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The error number, positive.
    pub(crate) errno: i32,
    /// Its extended message (NLMSGERR_ATTR_MSG), or empty.
    pub(crate) message: String,
}

// === impl Refusal ===

impl Refusal {
    pub(crate) fn number(errno: i32) -> Self {
        Self { errno, message: String::new() }
    }

    pub(crate) fn is(&self, errno: Errno) -> bool {
        self.errno == errno as i32
    }

    /// The error for people. `hint` is what to do, or empty.
    pub(crate) fn explain(&self, what: impl Into<String>, hint: &str) -> KernelError {
        let mut cause = match self.message.as_str() {
            "" => Errno::from_raw(self.errno).desc().to_owned(),
            message => format!("{} ({})", message.trim_end_matches('.'), Errno::from_raw(self.errno).desc()),
        };
        let general = match Errno::from_raw(self.errno) {
            Errno::EPERM => "needs CAP_NET_ADMIN in the namespace's user namespace",
            Errno::ENOBUFS => "the kernel had more to say than the socket could hold",
            _ => "",
        };
        for hint in [hint, general] {
            if !hint.is_empty() {
                cause.push_str(": ");
                cause.push_str(hint);
            }
        }
        KernelError { what: what.into(), cause, errno: self.errno }
    }
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Self {
        Self::number(errno as i32)
    }
}

impl From<std::io::Error> for Refusal {
    fn from(error: std::io::Error) -> Self {
        Self { errno: error.raw_os_error().unwrap_or(Errno::EIO as i32), message: String::new() }
    }
}

/// An error that the kernel never saw.
pub(crate) fn plain(what: impl Into<String>, cause: impl Into<String>, errno: Errno) -> KernelError {
    KernelError { what: what.into(), cause: cause.into(), errno: errno as i32 }
}
