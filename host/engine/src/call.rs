//! Calls components: each call in a store of its own, under limits, with nothing left over.

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use wasmtime::component::{ComponentExportIndex, ComponentNamedList, InstancePre, Lift, Linker, Lower};
use wasmtime::{Store, Trap, UpdateDeadline};
use weft_contract::plan::Plan;
use weft_contract::requests::{Allocation, Request};
use weft_contract::types;

pub use crate::caps::CapExceeded;
use crate::clock::Clock;
use crate::directory::Kind;
use crate::gate::{Capability, GateError, interface};
use crate::host::Host;
use crate::limits::{Exceeded, Limits, Meter};
use crate::link::{Ended, State};
use crate::{Engine, caps, link, wasi};

/// A component that is loaded and linked; it holds nothing of a call. Cheap to clone.
#[derive(Clone)]
pub struct Component {
    engine: Engine,
    name: String,
    kind: Kind,
    pre: InstancePre<State>,
    function: ComponentExportIndex,
}

impl fmt::Debug for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Component").field("name", &self.name).field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
#[error("component {component} {why}")]
pub struct CallError {
    /// The component's type.
    pub component: String,
    /// What happened.
    pub why: Failure,
}

/// What ended a call; completes "component bridge ...".
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It ran too long.
    #[error("exceeded its {} deadline", Seconds(*.0))]
    Deadline(Duration),
    /// It asked for more memory, tables or instances than a call may have.
    #[error("exceeded its {0}")]
    Memory(String),
    /// It called itself too deeply.
    #[error("exceeded its stack of 512 KiB")]
    Stack,
    /// It broke off: a panic, an access outside its memory, a division by zero. What it had to say went to the log.
    #[error("crashed: {0}")]
    Trap(String),
    /// It answered with an error, which is the answer.
    #[error("answered with an error: {0:?}")]
    Guest(types::Error),
    /// It handed over more than the contract allows.
    #[error("broke the contract: {0}")]
    Cap(#[from] CapExceeded),
    /// It handed over something that isn't what its type says: text that isn't UTF-8, a list outside its memory, or
    /// more than 4 MiB at once.
    #[error("broke the contract: {0}")]
    Malformed(String),
    /// It was asked for something that components of its kind don't do.
    #[error("is of kind {}, not {}", .is.name(), .asked.name())]
    Kind {
        /// What it is.
        is: Kind,
        /// What it was taken for.
        asked: Kind,
    },
    /// A function of the host failed.
    #[error("could not be answered by the host: {function}: {why}")]
    Host {
        /// Which: `facts.link`.
        function: &'static str,
        /// Why.
        why: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The engine failed: no address space for a memory, no timer.
    #[error("could not be run: {0}")]
    Internal(String),
}

struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.subsec_millis() {
            0 => write!(f, "{} s", self.0.as_secs()),
            _ => write!(f, "{} ms", self.0.as_millis()),
        }
    }
}

impl Component {
    /// Links a component to exactly these capabilities and, if it imports WASI, to a closed one.
    pub(crate) fn link(
        engine: Engine,
        component: &wasmtime::component::Component,
        name: String,
        kind: Kind,
        capabilities: &[Capability],
        wasi: bool,
    ) -> Result<Self, GateError> {
        let mismatch =
            |error: wasmtime::Error| GateError::Types { component: name.clone(), detail: format!("{error:#}") };
        let mut linker = Linker::new(&engine.wasmtime);
        for capability in capabilities {
            link::link(&mut linker, *capability).map_err(mismatch)?;
        }
        if wasi {
            wasi::link(&mut linker, &engine.wasmtime, component).map_err(mismatch)?;
        }
        let pre = linker.instantiate_pre(component).map_err(mismatch)?;
        let function = component
            .get_export_index(None, &*interface(kind.name()))
            .and_then(|exported| component.get_export_index(Some(&exported), kind.function()));
        let Some(function) = function else {
            let detail = format!("it exports no {} of {}", kind.function(), interface(kind.name()));
            return Err(GateError::Types { component: name, detail });
        };
        Ok(Self { engine, name, kind, pre, function })
    }

    /// The type it serves.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is for.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Asks a delegate what state it wants.
    pub fn add(&self, request: &Request, host: &mut dyn Host, limits: &Limits) -> Result<Plan, CallError> {
        let plan = self.call::<_, Plan>(Kind::Delegate, request, host, limits)?;
        self.within(caps::check("plan", &plan))?;
        Ok(plan)
    }

    /// Asks an IPAM component for addresses.
    pub fn allocate(&self, request: &Request, host: &mut dyn Host, limits: &Limits) -> Result<Allocation, CallError> {
        let allocation = self.call::<_, Allocation>(Kind::Ipam, request, host, limits)?;
        self.within(caps::check("allocation", &allocation))?;
        Ok(allocation)
    }

    /// Asks a rewriter for the configuration to run instead, JSON.
    pub fn rewrite(&self, request: &Request, host: &mut dyn Host, limits: &Limits) -> Result<String, CallError> {
        let configuration = self.call::<_, String>(Kind::Rewriter, request, host, limits)?;
        self.within(caps::check_text("configuration", &configuration, caps::CONFIG))?;
        Ok(configuration)
    }

    fn within(&self, checked: Result<(), CapExceeded>) -> Result<(), CallError> {
        checked.map_err(|exceeded| self.failed(Failure::Cap(exceeded)))
    }

    fn failed(&self, why: Failure) -> CallError {
        CallError { component: self.name.clone(), why }
    }

    fn call<'r, P, R>(&self, asked: Kind, request: &'r P, host: &mut dyn Host, limits: &Limits) -> Result<R, CallError>
    where
        (&'r P,): ComponentNamedList + Lower,
        (Result<R, types::Error>,): ComponentNamedList + Lift + 'static,
        (R,): 'static,
    {
        if self.kind != asked {
            return Err(self.failed(Failure::Kind { is: self.kind, asked }));
        }
        // SAFETY: the state goes into the store below, which is dropped or forgotten before this function returns, and
        // `host` isn't used here in between.
        #[allow(unsafe_code, reason = "a store's data must be 'static, a host is borrowed for one call")]
        let state = unsafe { State::new(host, Meter::new(limits.memory)) };
        let mut store = Store::new(&self.engine.wasmtime, state);
        store.limiter(|state| &mut state.meter);
        store.set_hostcall_fuel(caps::TRANSFER);
        let deadline = Instant::now() + limits.deadline;
        store.set_epoch_deadline(1);
        // The epoch belongs to the engine: it may have advanced for another call.
        let allowed = limits.deadline;
        store.epoch_deadline_callback(move |_| match Instant::now() >= deadline {
            true => Err(wasmtime::Error::new(DeadlinePassed(allowed))),
            false => Ok(UpdateDeadline::Continue(1)),
        });
        let armed = self.engine.clock.arm(&self.engine.wasmtime, limits.deadline).map_err(|error: io::Error| {
            self.failed(Failure::Internal(format!("no timer for its deadline: {error}")))
        })?;
        let answer = self.run::<P, R>(&mut store, request);
        drop(armed);
        store.data_mut().finish();
        if self.engine.clock == Clock::Signal {
            // A process that is about to end has its memory taken back all at once.
            std::mem::forget(store);
        }
        match answer {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                self.within(caps::check("error", &error))?;
                Err(self.failed(Failure::Guest(error)))
            }
            Err(why) => Err(self.failed(why)),
        }
    }

    fn run<'r, P, R>(&self, store: &mut Store<State>, request: &'r P) -> Result<Result<R, types::Error>, Failure>
    where
        (&'r P,): ComponentNamedList + Lower,
        (Result<R, types::Error>,): ComponentNamedList + Lift + 'static,
    {
        let failed = |error| Failure::of(error, Failure::Internal);
        let instance = self.pre.instantiate(&mut *store).map_err(failed)?;
        let function = instance
            .get_typed_func::<(&'r P,), (Result<R, types::Error>,)>(&mut *store, &self.function)
            .map_err(failed)?;
        // What neither trapped nor was stopped failed on the way between memories.
        let (answer,) = function.call(store, (request,)).map_err(|error| Failure::of(error, Failure::Malformed))?;
        Ok(answer)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("deadline of {0:?} passed")]
struct DeadlinePassed(Duration);

impl Failure {
    /// From what wasmtime returned; `other` for what none of ours and no trap is behind.
    fn of(error: wasmtime::Error, other: fn(String) -> Self) -> Self {
        if let Some(DeadlinePassed(allowed)) = error.downcast_ref() {
            return Self::Deadline(*allowed);
        }
        if let Some(exceeded) = error.downcast_ref::<Exceeded>() {
            return Self::Memory(exceeded.to_string());
        }
        if let Some(exceeded) = error.downcast_ref::<CapExceeded>() {
            return Self::Cap(exceeded.clone());
        }
        if let Some(refused) = error.downcast_ref::<wasi::Refused>() {
            return Self::Trap(refused.to_string());
        }
        match error.downcast_ref::<Trap>() {
            Some(Trap::StackOverflow) => return Self::Stack,
            Some(trap) => return Self::Trap(trap.to_string()),
            None => {}
        }
        match error.downcast::<Ended>() {
            Ok(Ended::Told(error)) => Self::Guest(error),
            Ok(Ended::Aborted { function, source }) => Self::Host { function, why: source },
            // Its context is a backtrace of the component.
            Err(error) => other(error.root_cause().to_string()),
        }
    }
}
