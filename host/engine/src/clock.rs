//! What interrupts a component: one absolute timer a call, that advances the engine's epoch.
//!
//! Whoever is running when the epoch advances looks at its own deadline (see `call`), so timers of concurrent calls
//! disturb nobody, and neither does one that fires late.

use std::sync::OnceLock;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::signal::{SaFlags, SigAction, SigEvent, SigHandler, SigSet, SigevNotify, Signal, sigaction};
use nix::sys::timer::{Expiration, Timer, TimerSetTimeFlags};
use nix::time::ClockId;

/// How a deadline makes itself felt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// By SIGALRM: a few microseconds a call. The process must leave that signal to this crate, and a system call that
    /// is under way in any thread when a deadline passes may end with EINTR. All engines of the process with this clock
    /// are one: the first that is made. For short-lived programs.
    Signal,
    /// By a helper thread for each call: some 60 microseconds. For everything else, tests included.
    Thread,
}

/// What a handler can reach. Advancing the epoch is an atomic addition, which a signal handler may do.
static ALARMED: OnceLock<wasmtime::Engine> = OnceLock::new();

extern "C" fn on_alarm(_signal: libc::c_int) {
    if let Some(engine) = ALARMED.get() {
        engine.increment_epoch();
    }
}

/// A running timer; dropping it stops it.
pub(crate) enum Armed {
    Signal(#[allow(dead_code, reason = "dropping it deletes the timer")] Timer),
    Thread { stop: Option<SyncSender<()>>, thread: Option<JoinHandle<()>> },
}

impl Clock {
    /// The engine whose epoch this clock advances, which is the given one unless the process has another already.
    pub(crate) fn engine(
        self,
        make: impl FnOnce() -> wasmtime::Result<wasmtime::Engine>,
    ) -> wasmtime::Result<wasmtime::Engine> {
        match self {
            Self::Thread => make(),
            Self::Signal => {
                if let Some(engine) = ALARMED.get() {
                    return Ok(engine.clone());
                }
                let made = make()?;
                let engine = ALARMED.get_or_init(|| made).clone();
                let action = SigAction::new(SigHandler::Handler(on_alarm), SaFlags::SA_RESTART, SigSet::empty());
                // SAFETY: the handler only reads an initialised static and adds to an atomic, both of which are
                // async-signal-safe; it touches no lock and allocates nothing.
                #[allow(unsafe_code, reason = "installing a signal handler")]
                unsafe { sigaction(Signal::SIGALRM, &action) }.map_err(std::io::Error::from)?;
                Ok(engine)
            }
        }
    }

    /// Advances the epoch once, this long from now, unless the answer is dropped before.
    pub(crate) fn arm(self, engine: &wasmtime::Engine, after: Duration) -> std::io::Result<Armed> {
        match self {
            Self::Signal => {
                let event = SigEvent::new(SigevNotify::SigevSignal { signal: Signal::SIGALRM, si_value: 0 });
                let mut timer = Timer::new(ClockId::CLOCK_MONOTONIC, event)?;
                // Zero would disarm it.
                let after = after.max(Duration::from_nanos(1));
                timer.set(Expiration::OneShot(after.into()), TimerSetTimeFlags::empty())?;
                Ok(Armed::Signal(timer))
            }
            Self::Thread => {
                let (stop, stopped) = sync_channel::<()>(0);
                let engine = engine.clone();
                let thread = std::thread::Builder::new().name("weft-deadline".into()).spawn(move || {
                    if stopped.recv_timeout(after) == Err(RecvTimeoutError::Timeout) {
                        engine.increment_epoch();
                    }
                })?;
                Ok(Armed::Thread { stop: Some(stop), thread: Some(thread) })
            }
        }
    }
}

impl Drop for Armed {
    fn drop(&mut self) {
        if let Self::Thread { stop, thread } = self {
            // The thread wakes when its channel closes.
            drop(stop.take());
            if let Some(thread) = thread.take() {
                let _ = thread.join();
            }
        }
    }
}
