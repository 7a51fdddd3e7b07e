//! DEL: takes back what ADD did, from its journal; without one, what an attachment of this name would look like.
//!
//! Owns: what DEL needs, which is little: no component, no live namespace, no original configuration. A missing
//! namespace, interface, address, journal or plugin is no error; only what is there and can't be removed is.
//!
//! Without a journal (made by other plugins before weft took over, or the journal's directory was cleared): the interface
//! in the sandbox is removed, with the netfilter elements that carry its name, and the addresses that the host-local layout
//! has for this owner are given back; executables in the chain are called with DEL, and so are the originals of those
//! that weft replaced, which may have made the attachment and know what else they made (iptables rules).

use std::path::Path;
use std::time::Instant;

use weft_cni::Error;
use weft_contract::types::{LinkName, Place};
use weft_executor::Kernel as _;
use weft_executor::operation::Operation;
use weft_executor::state::Scope;
use weft_json::Value;
use weft_kernel::{Netns, System};
use weft_store::leases::{Owner, Pool};

use crate::delegates::{Attachment, Element};
use crate::errors;
use crate::incoming::Incoming;
use crate::log::{Level, Log};
use crate::planner::{self, Part};
use crate::record::{Native, Record, Story};
use crate::session::{LOCK_WAIT, Node, Session, data_dir};
use crate::undo::{self, join};

/// Runs a DEL.
pub fn del(node: &Node, incoming: &Incoming, log: &Log) -> Result<(), Error> {
    let deadline = Some(Instant::now() + LOCK_WAIT);
    let _shared = node.state.share_existing(deadline).map_err(errors::of_store)?;
    let sandbox = sandbox(incoming);
    match node.state.find::<Record>(&incoming.key(), deadline).map_err(errors::of_store)? {
        Some(journal) => {
            let entry = journal.entry();
            let mut session = Session::new(node, incoming, log, System::new(sandbox), None);
            let mut told = false;
            if let Some(entry) = entry {
                let story = Story::read(entry.records);
                told = entry.void || entry.problem.is_none() && story.result.is_some();
                undo::story(&mut session, &story, entry.void)?;
            }
            if !told {
                // Of another version, damaged, or cut off: what it doesn't tell of is found by its shape.
                structural(&mut session)?;
            }
            journal.remove().map_err(errors::of_store)
        }
        None => structural(&mut Session::new(node, incoming, log, System::new(sandbox), None)),
    }
}

/// The namespace of a request, if there is one; one that is gone or was never one holds nothing to remove.
fn sandbox(incoming: &Incoming) -> Option<Netns> {
    if incoming.netns.is_empty() {
        return None;
    }
    let netns = Netns::open(Path::new(&incoming.netns)).ok()??;
    // The node's own namespace is never a container's.
    let own = Netns::current().ok()?;
    (!netns.same_as(&own) || incoming.netns_override).then_some(netns)
}

/// Removes what an attachment of this name looks like.
fn structural(session: &mut Session<'_>) -> Result<(), Error> {
    let incoming = session.incoming;
    if incoming.is_ipam() {
        return release(session, &incoming.config, &incoming.network, &incoming.ifname);
    }
    let mut failures = Vec::new();
    // A configuration that can't be read names nothing that could be removed.
    for attachment in incoming.attachments()?.iter().rev() {
        if let Err(error) = structural_attachment(session, attachment) {
            failures.push(error);
        }
    }
    join(failures)
}

fn structural_attachment(session: &mut Session<'_>, attachment: &Attachment) -> Result<(), Error> {
    let mut failures = Vec::new();
    for element in attachment.chain.iter().rev() {
        call_original(session, element, &attachment.ifname);
        let result = match planner::resolve(session, element, &attachment.ifname) {
            Ok(Part::Native(program)) => {
                let native = Native {
                    position: 0,
                    program,
                    config: Value::Object(element.config.clone()),
                    ifname: attachment.ifname.clone(),
                };
                session.run_native("DEL", &native, None, &session.incoming.netns).map(drop)
            }
            Ok(Part::Component(ready)) => release(session, ready.config(), &attachment.network, &attachment.ifname),
            // A rewriter whose file is gone (flannel's daemon stopped), or no such plugin any more: the addresses are
            // where the configuration, or the default, says.
            Err(_) => release(session, &element.config, &attachment.network, &attachment.ifname),
        };
        failures.extend(result.err());
    }
    failures.extend(remove_interface(session, &attachment.ifname).err());
    failures.extend(remove_elements(session, &attachment.ifname).err());
    join(failures)
}

/// Calls the executable whose place weft took, if it was kept and there is a namespace for it to look into. What it
/// can't do is no reason to stop: the essentials don't depend on it.
fn call_original(session: &Session<'_>, element: &Element, ifname: &str) {
    let program = session.node.directory.path().join("originals").join(&element.kind);
    if !session.node.settings.native_plugins || session.kernel.sandbox().is_none() || !program.is_file() {
        return;
    }
    let config = Value::Object(element.config.clone());
    let native = Native { position: 0, program, config, ifname: ifname.to_owned() };
    if let Err(error) = session.run_native("DEL", &native, None, &session.incoming.netns) {
        session.log.write(Level::Error, format_args!("the replaced plugin could not clear up: {error}"));
    }
}

/// Removes masquerades and guards that carry this attachment's name.
fn remove_elements(session: &mut Session<'_>, ifname: &str) -> Result<(), Error> {
    let owner = session.owner(ifname);
    let operations = session.kernel.removals_of(&owner).map_err(errors::of_kernel)?;
    session.kernel.apply(&operations).map_err(|failure| {
        let operation = operations.get(failure.index).map(Operation::to_string).unwrap_or_default();
        errors::of_failure("", &operation, &failure)
    })
}

/// Removes the interface, if it is of a kind that was made for a container.
fn remove_interface(session: &mut Session<'_>, ifname: &str) -> Result<(), Error> {
    if session.kernel.sandbox().is_none() {
        return Ok(());
    }
    let at = LinkName { place: Place::Sandbox, name: ifname.to_owned() };
    let scope = Scope { links: [at.clone()].into(), ..Scope::default() };
    let seen = session.kernel.observe(&scope).map_err(errors::of_kernel)?;
    let Some(link) = seen.links.get(&at) else { return Ok(()) };
    if !matches!(link.kind.name(), "veth" | "macvlan" | "ipvlan" | "vlan" | "dummy" | "tun") {
        return Ok(());
    }
    let creation = Operation::CreateLink {
        at: at.clone(),
        kind: link.kind.clone(),
        mac: link.mac,
        mtu: Some(link.mtu),
        up: link.up,
    };
    let operation = Operation::DeleteLink { at, creation: Box::new(creation) };
    session
        .kernel
        .apply(std::slice::from_ref(&operation))
        .map_err(|failure| errors::of_failure("", &operation.to_string(), &failure))
}

/// Gives back what the host-local layout has for this owner.
fn release(session: &Session<'_>, config: &crate::delegates::Object, network: &str, ifname: &str) -> Result<(), Error> {
    if !matches!(planner::ipam_type(config), Ok(Some(kind)) if kind == "host-local")
        && weft_json::get(config, "delegate").is_none()
        && !session.incoming.is_ipam()
    {
        return Ok(());
    }
    let Ok(data_dir) = data_dir(config, "", &session.node.settings) else { return Ok(()) };
    let boot = session.node.state.boot().map_err(errors::of_store)?;
    let pool = Pool::open(&data_dir, network, boot).map_err(errors::of_store)?;
    let owner = Owner::new(&session.incoming.container_id, ifname);
    pool.release(&owner, Some(Instant::now() + LOCK_WAIT)).map(drop).map_err(errors::of_store)
}
