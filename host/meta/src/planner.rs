//! From an element of a chain to the state it wants: the component, its rewrites, its addresses, its plan.
//!
//! Owns: the order in which components are asked (rewriter, IPAM, delegate), what they are given, and the check of what
//! they answer (confinement, contradictions, conflicts with the node as it is). Everything here happens before the
//! first change of the kernel; the one effect is reserving addresses, which the journal names beforehand.

use std::collections::BTreeSet;

use weft_cni::CniResult;
use weft_cni::Error;
use weft_contract::plan;
use weft_contract::requests::{Addressing, Allocation};
use weft_engine::{Component, Kind};
use weft_executor::confine::{Allowed, confine};
use weft_executor::operation::Step;
use weft_executor::resolve::{Choices, Identity};
use weft_executor::wanted::Wanted;
use weft_json::Value;

use crate::convert;
use crate::delegates::{self, Element, Object};
use crate::errors;
use crate::record::Plan;
use crate::session::Session;

/// How often a configuration may be rewritten.
const REWRITES: usize = 4;

/// Links that a plugin's configuration need not name: what it uses where the key is left out.
const DEFAULT_LINKS: [(&str, &str); 1] = [("bridge", "cni0")];

/// What an element of a chain is.
pub enum Part {
    /// A component, after all rewriting.
    Component(Box<Ready>),
    /// An executable.
    Native(std::path::PathBuf),
}

/// A component that is ready to be asked.
pub struct Ready {
    kind: String,
    component: Component,
    /// The final configuration.
    config: Object,
    /// Links that the original configuration names.
    links: BTreeSet<String>,
}

impl Ready {
    /// The final configuration.
    pub fn config(&self) -> &Object {
        &self.config
    }
}

/// What a delegate wants and what has to be done for it.
pub struct Planned {
    /// For the journal and CHECK.
    pub plan: Plan,
    /// Operations, in order, none of them done yet.
    pub steps: Vec<Step>,
    /// What the runtime, or the next element, sees.
    pub result: CniResult,
}

/// Finds out what runs an element: a component, if need be after rewriting its configuration, or an executable.
pub fn resolve(session: &mut Session<'_>, element: &Element, ifname: &str) -> Result<Part, Error> {
    let mut kind = element.kind.clone();
    let mut config = element.config.clone();
    session.at.clone_from(&element.pointer);
    let mut links = names(&element.config);
    links.extend(DEFAULT_LINKS.iter().filter(|(of, _)| *of == kind).map(|(_, link)| (*link).to_owned()));
    for _ in 0..=REWRITES {
        let Some(component) = session.component(&kind)? else {
            return Ok(Part::Native(session.executable(&kind)?));
        };
        if component.kind() != Kind::Rewriter {
            links.extend(DEFAULT_LINKS.iter().filter(|(of, _)| *of == kind).map(|(_, link)| (*link).to_owned()));
            return Ok(Part::Component(Box::new(Ready { kind, component, config, links })));
        }
        let request = session.request(&config, ifname, None, Addressing::Off)?;
        let text = session
            .rewrite(&component, &config, &request)
            .map_err(|error| errors::of_call(&kind, &session.at, error))?;
        // Pointers into what a component made lead nowhere in the request's configuration.
        let of = if session.at.is_empty() { String::new() } else { format!(" of {}", session.at) };
        session.at = format!("(what {kind} made{of}) ");
        let rewritten: Value = serde_json::from_str(&text)
            .map_err(|error| Error::decode(format!("{kind} answered with a configuration that is no JSON: {error}")))?;
        let Value::Object(rewritten) = rewritten else {
            return Err(Error::decode(format!("{kind} answered with a configuration that is no JSON object")));
        };
        kind = match delegates::text(&rewritten, "type", &session.at)? {
            Some(kind) if !kind.is_empty() && !kind.contains('/') => kind.to_owned(),
            other => {
                let found = other.map_or_else(|| "nothing".to_owned(), |other| format!("{other:?}"));
                let pointer = [&session.at, "/type"].concat();
                return Err(delegates::invalid(&pointer, &found, "a plugin's name without a path"));
            }
        };
        config = rewritten;
    }
    Err(Error::internal(format!(
        "{}: its configuration was rewritten more than {REWRITES} times, lastly for {kind}",
        element.kind
    )))
}

/// Asks a component what it wants and works out what that takes.
pub fn plan(
    session: &mut Session<'_>,
    ready: Ready,
    network: &str,
    ifname: &str,
    previous: Option<&CniResult>,
) -> Result<Planned, Error> {
    let Ready { kind, component, config, links } = ready;
    let addressing = match ipam_type(&config)? {
        Some(ipam) => Addressing::Ready(allocate(session, &ipam, &config, network, ifname)?),
        None => Addressing::Off,
    };
    if component.kind() == Kind::Ipam {
        return Err(Error::invalid_config(
            &[&session.at, "/type"].concat(),
            &kind,
            "a delegate; this one only gives out addresses (ipam)",
        ));
    }
    let request = session.request(&config, ifname, previous, addressing)?;
    let plan =
        session.add(&component, &config, &request).map_err(|error| errors::of_call(&kind, &session.at, error))?;
    let wanted = settle(session, &kind, &plan, ifname, links, previous)?;
    let steps = session.difference(&kind, &wanted)?;
    let result =
        convert::outcome(&plan, &wanted, session.observed(), previous, session.netns_path(), session.version())
            .map_err(|error| errors::of_outcome(&kind, error))?;
    let plan = Plan { delegate: kind, network: network.to_owned(), ifname: ifname.to_owned(), wanted };
    Ok(Planned { plan, steps, result })
}

/// Runs the `ipam` part of a configuration: a component against the address store, or an executable.
pub fn allocate(
    session: &mut Session<'_>,
    kind: &str,
    config: &Object,
    network: &str,
    ifname: &str,
) -> Result<Allocation, Error> {
    let Some(component) = session.component(kind)? else {
        let program = session.executable(kind)?;
        let result = session.native(&program, config, ifname, None)?;
        return convert::allocation(&result).map_err(|error| error.context(kind));
    };
    if component.kind() != Kind::Ipam {
        return Err(Error::invalid_config(
            &[&session.at, "/ipam/type"].concat(),
            kind,
            "a component that gives out addresses",
        ));
    }
    let request = session.request(config, ifname, None, Addressing::Off)?;
    session.allocate(&component, config, network, ifname, &request)
}

/// The `type` of the `ipam` part; none: no addresses are wanted.
pub fn ipam_type(config: &Object) -> Result<Option<String>, Error> {
    let Some(Value::Object(ipam)) = weft_json::get(config, "ipam") else { return Ok(None) };
    Ok(delegates::text(ipam, "type", "/ipam")?.filter(|kind| !kind.is_empty()).map(str::to_owned))
}

fn settle(
    session: &mut Session<'_>,
    kind: &str,
    plan: &plan::Plan,
    ifname: &str,
    mut links: BTreeSet<String>,
    previous: Option<&CniResult>,
) -> Result<Wanted, Error> {
    for interface in previous.into_iter().flat_map(|previous| &previous.interfaces) {
        if interface.sandbox.as_deref().unwrap_or_default().is_empty() {
            links.insert(interface.name.clone());
        }
    }
    let allowed = Allowed { host_links: links, parents: session.default_links(plan)? };
    let identity = Identity { owner: session.owner(ifname), ifname: ifname.to_owned() };
    let wanted =
        weft_executor::resolve::resolve(plan, &identity, &mut Choices::default(), &mut || session.random.next())
            .map_err(|error| errors::of_plan(kind, error))?;
    confine(&wanted, &allowed).map_err(|error| errors::of_plan(kind, error))?;
    Ok(wanted)
}

/// Every text of a configuration that could be a link's name.
fn names(config: &Object) -> BTreeSet<String> {
    fn walk(value: &Value, names: &mut BTreeSet<String>) {
        match value {
            Value::String(text) if (1..=15).contains(&text.len()) => {
                names.insert(text.clone());
            }
            Value::Array(values) => values.iter().for_each(|value| walk(value, names)),
            Value::Object(object) => object.values().for_each(|value| walk(value, names)),
            _ => {}
        }
    }
    let mut names = BTreeSet::new();
    config.values().for_each(|value| walk(value, &mut names));
    names
}
