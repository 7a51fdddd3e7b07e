//! One request on its way: what it came with, what has been seen, planned and done for it, and how to take that back.
//!
//! Owns: the means (components, kernel, pools, journal) and the order between remembering and doing: every effect is
//! journalled first. In a dry run there is no journal and nothing is done: pools are only peeked at, executables
//! don't run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use weft_cni::CniResult;
use weft_cni::Error;
use weft_contract::plan::Plan;
use weft_contract::requests::{Addressing, Allocation, Request};
use weft_contract::types::{IpFamily, LinkName, Place};
use weft_engine::{CallError, Clock, Component, Directory, Engine, Grants, Limits};
use weft_executor::Kernel as _;
use weft_executor::diff::diff;
use weft_executor::operation::{Operation, Step};
use weft_executor::scope::scope;
use weft_executor::state::{Observed, Scope};
use weft_executor::wanted::Wanted;
use weft_json::Value;
use weft_kernel::System;
use weft_store::State;
use weft_store::journal::Attachment as Journal;
use weft_store::leases::{Owner, Pool};

use crate::asking::Asking;
use crate::convert;
use crate::delegates::{Object, text};
use crate::errors;
use crate::files::FileError;
use crate::incoming::Incoming;
use crate::log::Log;
use crate::native;
use crate::random::Random;
use crate::record::{Effect, Lease, Native, Record};
use crate::settings::Settings;

/// Where host-local keeps its addresses unless `dataDir` says otherwise.
const NETWORKS: &str = "/var/lib/cni/networks";

/// How long a lock is waited for: longer than any holder may take, shorter than a runtime's patience.
pub(crate) const LOCK_WAIT: Duration = Duration::from_secs(60);

/// What every request on this node shares.
pub struct Node {
    /// Components beside the executable.
    pub directory: Directory,
    /// The administrator's settings.
    pub settings: Settings,
    /// Journals.
    pub state: State,
    /// What interrupts components.
    pub clock: Clock,
}

impl Node {
    /// The node as the running executable sees it.
    pub fn here(clock: Clock) -> Result<Self, Error> {
        let directory = Directory::beside(Path::new("/proc/self/exe"))
            .map_err(|error| Error::io(format!("finding weft's own directory: {error}")))?;
        Self::at(directory, clock)
    }

    /// The node whose components lie in a directory.
    pub fn at(directory: Directory, clock: Clock) -> Result<Self, Error> {
        let settings = Settings::read(directory.path())?;
        let state = State::open(&settings.state_directory);
        Ok(Self { directory, settings, state, clock })
    }
}

/// See the module.
pub struct Session<'a> {
    pub(crate) node: &'a Node,
    pub(crate) incoming: &'a Incoming,
    pub(crate) log: &'a Log,
    pub(crate) kernel: System,
    pub(crate) journal: Option<Journal<Record>>,
    pub(crate) effects: Vec<Effect>,
    engine: Option<Engine>,
    components: BTreeMap<String, Option<Component>>,
    seen: Observed,
    looked: Scope,
    natives: usize,
    pub(crate) random: Random,
    /// Where the configuration of the element that is being planned stands, for errors.
    pub(crate) at: String,
}

// === impl Session ===

impl<'a> Session<'a> {
    /// A session; without a journal it is a dry run.
    pub fn new(
        node: &'a Node,
        incoming: &'a Incoming,
        log: &'a Log,
        kernel: System,
        journal: Option<Journal<Record>>,
    ) -> Self {
        Self {
            node,
            incoming,
            log,
            kernel,
            journal,
            effects: Vec::new(),
            engine: None,
            components: BTreeMap::new(),
            seen: Observed::default(),
            looked: Scope::default(),
            natives: 0,
            random: Random::default(),
            at: String::new(),
        }
    }

    /// Ends the session. A process that is about to end leaves taking apart what it has to the kernel, which does it all
    /// at once; locks go with it.
    pub(crate) fn finish(self) {
        if self.node.clock == Clock::Signal {
            std::mem::forget(self);
        }
    }

    /// Whether nothing may be changed.
    pub fn is_dry(&self) -> bool {
        self.journal.is_none()
    }

    pub(crate) fn record(&mut self, record: Record) -> Result<(), Error> {
        match &mut self.journal {
            Some(journal) => journal.append(&record).map_err(errors::of_store),
            None => Ok(()),
        }
    }

    /// What was seen, with what is planned on top.
    pub fn observed(&self) -> &Observed {
        &self.seen
    }

    /// Whose the attachment is, in what the kernel can label: container and interface, which are unique on a node.
    pub fn owner(&self, ifname: &str) -> String {
        format!("{}/{ifname}", self.incoming.container_id)
    }

    // --- components ---

    /// The component of a type, loaded once; None: there is none.
    pub fn component(&mut self, kind: &str) -> Result<Option<Component>, Error> {
        if let Some(known) = self.components.get(kind) {
            return Ok(known.clone());
        }
        let found = self.load(kind)?;
        self.components.insert(kind.to_owned(), found.clone());
        Ok(found)
    }

    fn load(&mut self, kind: &str) -> Result<Option<Component>, Error> {
        let directory = &self.node.directory;
        let Some(index) = directory.find(kind).map_err(errors::of_load)? else { return Ok(None) };
        let engine = match &self.engine {
            Some(engine) => engine.clone(),
            None => {
                let engine = Engine::new(self.node.clock).map_err(|error| Error::internal(error.to_string()))?;
                self.engine.insert(engine).clone()
            }
        };
        engine.load(directory, &index, &Grants::usual(index.kind)).map(Some).map_err(errors::of_load)
    }

    /// The executable of a type, where executables are allowed.
    pub fn executable(&self, kind: &str) -> Result<PathBuf, Error> {
        let components = self.node.directory.wasm(kind);
        if !self.node.settings.native_plugins {
            return Err(Error::plugin_not_found(format!(
                "plugin {kind:?}: no component {}, and native plugins are switched off (nativePlugins in settings.json)",
                components.display()
            )));
        }
        native::find(kind, &self.incoming.path).map_err(|error| Error {
            msg: format!("{}; no component {} either", error.msg, components.display()),
            ..error
        })
    }

    /// The request that a component is given.
    pub fn request(
        &self,
        config: &Object,
        ifname: &str,
        previous: Option<&CniResult>,
        addressing: Addressing,
    ) -> Result<Request, Error> {
        let config_text = serde_json::to_string(config).map_err(|error| Error::decode(error.to_string()))?;
        Ok(Request {
            container_id: self.incoming.container_id.clone(),
            interface_name: ifname.to_owned(),
            network: text(config, "name", "")?.unwrap_or(&self.incoming.network).to_owned(),
            config: config_text,
            args: convert::settings(&self.incoming.args),
            previous: previous.map(|previous| convert::previous(previous, &self.incoming.netns)),
            addressing,
        })
    }

    fn asking<T>(
        &mut self,
        component: &Component,
        config: &Object,
        draft: Option<&mut weft_store::leases::Draft>,
        owner: &Owner,
        call: impl FnOnce(&mut Asking<'_>, &Limits) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        let config = Value::Object(config.clone());
        let limits = Limits { deadline: self.node.settings.deadline(), ..Limits::default() };
        let mut asking = Asking {
            component: component.name(),
            config: &config,
            at: &self.at,
            allowed: &self.node.settings.allowed_paths,
            kernel: &mut self.kernel,
            seen: &self.seen,
            draft,
            owner,
            log: self.log,
        };
        call(&mut asking, &limits)
    }

    /// Asks a rewriter.
    pub fn rewrite(&mut self, component: &Component, config: &Object, request: &Request) -> Result<String, CallError> {
        let owner = self.lease_owner(&request.interface_name);
        self.asking(component, config, None, &owner, |asking, limits| component.rewrite(request, asking, limits))
    }

    /// Asks a delegate.
    pub fn add(&mut self, component: &Component, config: &Object, request: &Request) -> Result<Plan, CallError> {
        let owner = self.lease_owner(&request.interface_name);
        self.asking(component, config, None, &owner, |asking, limits| component.add(request, asking, limits))
    }

    fn lease_owner(&self, ifname: &str) -> Owner {
        Owner::new(&self.incoming.container_id, ifname)
    }

    // --- addresses ---

    /// Asks an IPAM component, with the network's pool locked, and makes what it reserved real: journalled, then on
    /// disk. In a dry run nothing becomes real.
    pub fn allocate(
        &mut self,
        component: &Component,
        config: &Object,
        network: &str,
        ifname: &str,
        request: &Request,
    ) -> Result<Allocation, Error> {
        let name = component.name().to_owned();
        let at = self.at.clone();
        let of_call = |error| errors::of_call(&name, &at, error);
        let data_dir = self.data_dir(config)?;
        let boot = self.node.state.boot().map_err(errors::of_store)?.clone();
        let pool = Pool::open(&data_dir, network, &boot).map_err(errors::of_store)?;
        let owner = self.lease_owner(ifname);
        let deadline = Some(Instant::now() + LOCK_WAIT);
        if self.is_dry() {
            let mut draft = pool.peek(deadline).map_err(errors::of_store)?;
            return self
                .asking(component, config, Some(&mut draft), &owner, |asking, limits| {
                    component.allocate(request, asking, limits)
                })
                .map_err(of_call);
        }
        let mut locked = pool.lock(deadline).map_err(errors::of_store)?;
        let allocation = self
            .asking(component, config, Some(&mut locked), &owner, |asking, limits| {
                component.allocate(request, asking, limits)
            })
            .map_err(of_call)?;
        let addresses: Vec<_> = locked.reservations().iter().map(|reservation| reservation.ip).collect();
        if !addresses.is_empty() {
            let lease = Lease { data_dir, network: network.to_owned(), ifname: ifname.to_owned(), addresses };
            self.effects.push(Effect::Lease(lease.clone()));
            self.record(Record::Lease(lease))?;
            locked.commit(&owner).map_err(errors::of_store)?;
        }
        Ok(allocation)
    }

    fn data_dir(&self, config: &Object) -> Result<PathBuf, Error> {
        data_dir(config, &self.at, &self.node.settings)
    }

    // --- executables ---

    /// Runs an executable with ADD and remembers it; in a dry run an empty result is taken for its answer.
    pub fn native(
        &mut self,
        program: &Path,
        config: &Object,
        ifname: &str,
        previous: Option<&CniResult>,
    ) -> Result<CniResult, Error> {
        let version = self.incoming.version_of(config)?;
        if self.is_dry() {
            return Ok(CniResult::default());
        }
        let native = Native {
            position: self.natives,
            program: program.to_owned(),
            config: Value::Object(config.clone()),
            ifname: ifname.to_owned(),
        };
        self.natives += 1;
        self.effects.push(Effect::Native(native.clone(), None));
        self.record(Record::Native(native.clone()))?;
        let previous = previous.map(|previous| previous.to_json(version)).transpose()?;
        let output = self.run_native("ADD", &native, previous.as_ref(), &self.incoming.netns)?;
        // What it changed isn't known here.
        self.seen = Observed::default();
        self.looked = Scope::default();
        let value: Value = serde_json::from_slice(&output).map_err(|error| {
            Error::decode(format!("{} printed a result that is no JSON: {error}", program.display()))
        })?;
        if let Some(Effect::Native(_, result)) = self.effects.last_mut() {
            *result = Some(value.clone());
        }
        self.record(Record::NativeResult { position: native.position, result: value.clone() })?;
        CniResult::parse(&value, version).map_err(|error| Error::invalid_result(&program.display().to_string(), &error))
    }

    /// Runs an executable with any verb.
    pub fn run_native(
        &self,
        command: &str,
        native: &Native,
        previous: Option<&Value>,
        netns: &str,
    ) -> Result<Vec<u8>, Error> {
        let mut config = native.config.clone();
        if let (Value::Object(object), Some(previous)) = (&mut config, previous) {
            weft_json::set(object, "prevResult", previous.clone());
        }
        let stdin = serde_json::to_vec(&config).map_err(|error| Error::decode(error.to_string()))?;
        native::run(&native::Call {
            program: &native.program,
            command,
            container_id: &self.incoming.container_id,
            netns,
            ifname: &native.ifname,
            args: &self.incoming.args_text,
            path: &self.incoming.path_text,
            stdin: &stdin,
            deadline: Duration::from_secs(self.node.settings.native_deadline_seconds),
        })
    }

    // --- the kernel ---

    /// What it takes to reach a wanted state from what was seen, which afterwards has it on top.
    pub fn difference(&mut self, delegate: &str, wanted: &Wanted) -> Result<Vec<Step>, Error> {
        self.look(scope(wanted))?;
        let steps = diff(wanted, &self.seen).map_err(|conflict| errors::of_conflict(delegate, &conflict))?;
        for step in &steps {
            self.seen.apply(&step.operation).map_err(|error| {
                Error::internal(format!("{delegate}: {} can't follow what is there: {error}", step.operation))
            })?;
        }
        Ok(steps)
    }

    /// Looks at what wasn't looked at yet.
    fn look(&mut self, scope: Scope) -> Result<(), Error> {
        let rest = scope.without(&self.looked);
        if rest == Scope::default() {
            return Ok(());
        }
        let found = self.kernel.observe(&rest).map_err(errors::of_kernel)?;
        self.seen.merge(found);
        self.looked.merge(rest);
        Ok(())
    }

    /// The names of the default-route links, where the plan has a parent to check.
    pub fn default_links(&mut self, plan: &Plan) -> Result<BTreeSet<String>, Error> {
        use weft_contract::plan::LinkKind;
        let has_parent = plan
            .links
            .iter()
            .any(|link| matches!(link.kind, LinkKind::Macvlan(_) | LinkKind::Ipvlan(_) | LinkKind::Vlan(_)));
        if !has_parent {
            return Ok(BTreeSet::new());
        }
        let mut names = BTreeSet::new();
        for family in [IpFamily::V4, IpFamily::V6] {
            let link = self.kernel.default_link(Place::Host, family).map_err(errors::of_kernel)?;
            names.extend(link.map(|link| link.link.name));
        }
        Ok(names)
    }

    /// Journals operations and carries them out. `delegates` says which delegate each belongs to.
    pub(crate) fn carry_out(&mut self, steps: Vec<Step>, delegates: &[String]) -> Result<(), Failed> {
        if steps.is_empty() || self.is_dry() {
            return Ok(());
        }
        self.effects.push(Effect::Steps(steps.clone()));
        self.record(Record::Steps { steps: steps.clone() }).map_err(Failed::Before)?;
        let operations: Vec<Operation> = steps.iter().map(|step| step.operation.clone()).collect();
        self.kernel.apply(&operations).map_err(|failure| Failed::Step {
            delegate: delegates.get(failure.index).cloned().unwrap_or_default(),
            step: steps.get(failure.index).cloned().map(Box::new),
            failure,
        })
    }

    /// The version of the request's result.
    pub fn version(&self) -> weft_cni::Version {
        self.incoming.version
    }

    /// The path of the sandbox, as results show it.
    pub fn netns_path(&self) -> &str {
        &self.incoming.netns
    }

    /// Whether a link exists now.
    pub fn link_exists(&mut self, place: Place, name: &str) -> Result<bool, Error> {
        let at = LinkName { place, name: name.to_owned() };
        let scope = Scope { links: [at.clone()].into(), ..Scope::default() };
        Ok(self.kernel.observe(&scope).map_err(errors::of_kernel)?.links.contains_key(&at))
    }
}

/// Why operations were not carried out.
pub(crate) enum Failed {
    /// None was begun.
    Before(Error),
    /// One failed.
    Step {
        /// Whose it is.
        delegate: String,
        /// Which.
        step: Option<Box<Step>>,
        /// Why.
        failure: weft_executor::Failure,
    },
}

impl Failed {
    /// Whether another process made the same shared object at the same time.
    pub(crate) fn is_race(&self) -> bool {
        match self {
            Self::Step { step: Some(step), failure, .. } => {
                step.shared && failure.error.errno == nix::errno::Errno::EEXIST as i32
            }
            _ => false,
        }
    }

    /// As the runtime sees it.
    pub(crate) fn into_error(self) -> Error {
        match self {
            Self::Before(error) => error,
            Self::Step { delegate, step, failure } => {
                let operation = step.map(|step| step.operation.to_string()).unwrap_or_default();
                errors::of_failure(&delegate, &operation, &failure)
            }
        }
    }
}

/// The directory of the address stores that a configuration's `ipam` part uses, within what is allowed.
pub(crate) fn data_dir(config: &Object, at: &str, settings: &Settings) -> Result<PathBuf, Error> {
    let named = match weft_json::get(config, "ipam") {
        Some(Value::Object(ipam)) => text(ipam, "dataDir", &[at, "/ipam"].concat())?.filter(|path| !path.is_empty()),
        _ => None,
    };
    let Some(named) = named else { return Ok(PathBuf::from(NETWORKS)) };
    let path = PathBuf::from(named);
    crate::files::directory(&path, &settings.allowed_paths).map_err(|error| {
        let (found, allowed) = match error {
            FileError::Outside { path, allowed } => {
                (path, format!("a directory below {allowed} (allowedPaths in weft's settings.json)"))
            }
            error => (named.to_owned(), format!("a directory that weft may use: {error}")),
        };
        Error::invalid_config(&[at, "/ipam/dataDir"].concat(), &found, &allowed)
    })?;
    Ok(path)
}
