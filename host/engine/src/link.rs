//! Puts the functions of granted capabilities into a linker, and holds what one call knows.

use std::error::Error;
use std::fmt;
use std::ptr::NonNull;

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, LinkerInstance};
use weft_contract::devices::DeviceFacts;
use weft_contract::log::Level;
use weft_contract::types::{self, IpAddress, IpFamily, LinkName, LinkSelector, Place};

use crate::caps;
use crate::gate::Capability;
use crate::host::{Answer, Host, Refusal};
use crate::limits::Meter;

/// Bytes of a log message that are kept.
const LOG_LINE: usize = 4 << 10;
/// Messages of one call that are kept.
const LOG_LINES: u32 = 256;

/// The data of a call's store.
pub(crate) struct State {
    host: NonNull<dyn Host>,
    pub(crate) meter: Meter,
    logged: u32,
    /// Of WASI, given out in this call.
    handles: u32,
    /// What was written to WASI's stdout and stderr and is no whole line yet.
    console: [Vec<u8>; 2],
}

impl State {
    /// # Safety
    /// The state, and the store it is put into, must be gone when the borrow of `host` ends, and the caller must not
    /// use `host` while they exist.
    #[allow(unsafe_code, reason = "a store's data must be 'static, a host is borrowed for one call")]
    pub(crate) unsafe fn new(host: &mut dyn Host, meter: Meter) -> Self {
        // SAFETY: only the lifetime changes; the caller promises that the pointer isn't used beyond it.
        let host =
            unsafe { std::mem::transmute::<NonNull<dyn Host + '_>, NonNull<dyn Host + 'static>>(NonNull::from(host)) };
        Self { host, meter, logged: 0, handles: 0, console: [Vec::new(), Vec::new()] }
    }

    fn host(&mut self) -> &mut dyn Host {
        // SAFETY: `new` requires that the host outlives this state and is used through it only; `&mut self` makes this
        // the only reference.
        #[allow(unsafe_code, reason = "see `new`")]
        unsafe {
            self.host.as_mut()
        }
    }

    /// Counts a handle; false: there were that many already.
    pub(crate) fn take_handle(&mut self, limit: u32) -> bool {
        self.handles = self.handles.saturating_add(1);
        self.handles <= limit
    }

    pub(crate) fn log(&mut self, level: Level, message: &str) {
        self.logged = self.logged.saturating_add(1);
        if self.logged <= LOG_LINES {
            let end = message.floor_char_boundary(LOG_LINE);
            self.host().log(level, &message[..end]);
        }
    }

    /// Logs what is written to stdout, or to stderr, line by line.
    pub(crate) fn print(&mut self, is_error: bool, bytes: &[u8]) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let line = &mut self.console[usize::from(is_error)];
            line.extend_from_slice(part);
            if part.ends_with(b"\n") || line.len() > LOG_LINE {
                self.flush(is_error);
            }
        }
    }

    fn flush(&mut self, is_error: bool) {
        let line = std::mem::take(&mut self.console[usize::from(is_error)]);
        let text = String::from_utf8_lossy(&line);
        if !text.trim_end().is_empty() {
            self.log(if is_error { Level::Warn } else { Level::Info }, text.trim_end());
        }
    }

    /// Says what is left to say, and how much of what the component had to say was left out.
    pub(crate) fn finish(&mut self) {
        self.flush(false);
        self.flush(true);
        if self.logged > LOG_LINES {
            let message = format!("{} more messages were left out", self.logged - LOG_LINES);
            self.host().log(Level::Warn, &message);
        }
    }
}

/// A refusal that ends the call.
#[derive(Debug)]
pub(crate) enum Ended {
    Told(types::Error),
    Aborted { function: &'static str, source: Box<dyn Error + Send + Sync> },
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Told(error) => write!(f, "{error:?}"),
            Self::Aborted { function, source } => write!(f, "{function}: {source}"),
        }
    }
}
impl Error for Ended {}

/// For functions whose type has an error.
fn told<T>(function: &'static str, answer: Answer<T>) -> wasmtime::Result<(Result<T, types::Error>,)> {
    match answer {
        Ok(value) => Ok((Ok(value),)),
        Err(Refusal::Tell(error)) => Ok((Err(error),)),
        Err(Refusal::Abort(source)) => Err(wasmtime::Error::new(Ended::Aborted { function, source })),
    }
}

/// For functions whose type has none.
fn plain<T>(function: &'static str, answer: Answer<T>) -> wasmtime::Result<(T,)> {
    answer.map(|value| (value,)).map_err(|refusal| {
        wasmtime::Error::new(match refusal {
            Refusal::Tell(error) => Ended::Told(error),
            Refusal::Abort(source) => Ended::Aborted { function, source },
        })
    })
}

fn bounded<T: serde::Serialize + ?Sized>(argument: &'static str, value: &T) -> wasmtime::Result<()> {
    caps::check(argument, value).map_err(wasmtime::Error::new)
}

type Caller<'a> = StoreContextMut<'a, State>;

/// Links one capability.
pub(crate) fn link(linker: &mut Linker<State>, capability: Capability) -> wasmtime::Result<()> {
    let mut instance = linker.instance(&capability.interface())?;
    match capability {
        Capability::Facts => facts(&mut instance),
        Capability::Files => files(&mut instance),
        Capability::Leases => leases(&mut instance),
        Capability::Devices => devices(&mut instance),
        Capability::Log => log(&mut instance),
    }
}

fn facts(instance: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    instance.func_wrap("link", |mut caller: Caller<'_>, (which,): (LinkSelector,)| {
        bounded("facts.link: which", &which)?;
        plain("facts.link", caller.data_mut().host().link(&which))
    })?;
    instance.func_wrap("default-link", |mut caller: Caller<'_>, (place, family): (Place, IpFamily)| {
        plain("facts.default-link", caller.data_mut().host().default_link(place, family))
    })?;
    instance.func_wrap("routes", |mut caller: Caller<'_>, (link,): (LinkName,)| {
        bounded("facts.routes: link", &link)?;
        plain("facts.routes", caller.data_mut().host().routes(&link))
    })?;
    instance.func_wrap("tables-in-use", |mut caller: Caller<'_>, (place,): (Place,)| {
        plain("facts.tables-in-use", caller.data_mut().host().tables_in_use(place))
    })?;
    instance.func_wrap("sysctl", |mut caller: Caller<'_>, (place, key): (Place, String)| {
        bounded("facts.sysctl: key", &key)?;
        plain("facts.sysctl", caller.data_mut().host().sysctl(place, &key))
    })
}

fn files(instance: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    instance.func_wrap("read", |mut caller: Caller<'_>, (pointer, fallback): (String, Option<String>)| {
        bounded("files.read: pointer", &pointer)?;
        bounded("files.read: fallback", &fallback)?;
        told("files.read", caller.data_mut().host().read_file(&pointer, fallback.as_deref()))
    })
}

fn leases(instance: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    instance.func_wrap("reserve", |mut caller: Caller<'_>, (set, address): (u32, IpAddress)| {
        told("leases.reserve", caller.data_mut().host().reserve(set, address))
    })?;
    instance.func_wrap("first-free", |mut caller: Caller<'_>, (first, last): (IpAddress, IpAddress)| {
        told("leases.first-free", caller.data_mut().host().first_free(first, last))
    })?;
    instance.func_wrap("last-reserved", |mut caller: Caller<'_>, (set,): (u32,)| {
        told("leases.last-reserved", caller.data_mut().host().last_reserved(set))
    })?;
    instance.func_wrap("held", |mut caller: Caller<'_>, (): ()| told("leases.held", caller.data_mut().host().held()))
}

fn devices(instance: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    instance.func_wrap("device", |mut caller: Caller<'_>, (id,): (String,)| {
        bounded("devices.device: id", &id)?;
        told("devices.device", caller.data_mut().host().device(&id))
    })?;
    instance.func_wrap("functions", |mut caller: Caller<'_>, (physical,): (String,)| {
        bounded("devices.functions: physical", &physical)?;
        told::<Vec<DeviceFacts>>("devices.functions", caller.data_mut().host().functions(&physical))
    })?;
    instance.func_wrap("claim", |mut caller: Caller<'_>, (id,): (String,)| {
        bounded("devices.claim: id", &id)?;
        told("devices.claim", caller.data_mut().host().claim(&id))
    })
}

fn log(instance: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    instance.func_wrap("write", |mut caller: Caller<'_>, (level, message): (Level, String)| {
        caller.data_mut().log(level, &message);
        Ok(())
    })
}
