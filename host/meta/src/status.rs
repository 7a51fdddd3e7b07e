//! STATUS: whether an ADD of this configuration could be served now.
//!
//! Owns: what is looked at: that every delegate has a component that loads or an executable, that state and address
//! directories can be written, that the kernel answers. Nothing is planned: a plan needs a container.

use std::path::{Path, PathBuf};

use weft_cni::Error;
use weft_contract::types::{IpFamily, Place};
use weft_json::Value;
use weft_kernel::System;

use crate::delegates::Element;
use crate::incoming::Incoming;
use crate::log::Log;
use crate::planner;
use crate::record::Native;
use crate::session::{Node, Session, data_dir};

/// Runs a STATUS: code 50 with everything that stands in the way.
pub fn status(node: &Node, incoming: &Incoming, log: &Log) -> Result<(), Error> {
    let mut session = Session::new(node, incoming, log, System::new(None), None);
    let mut problems = Vec::new();
    problems.extend(writable(&node.settings.state_directory).err());
    if let Err(error) = session.kernel.default_link(Place::Host, IpFamily::V4) {
        problems.push(error.to_string());
    }
    for attachment in incoming.attachments()? {
        for element in &attachment.chain {
            if let Some(error) = element_status(&mut session, element) {
                // A code of a plugin's own says more than ours.
                if matches!(error.code, 50 | 51) {
                    return Err(error);
                }
                problems.push(error.msg);
            }
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(Error::not_available(problems.join("; "))) }
}

fn element_status(session: &mut Session<'_>, element: &Element) -> Option<Error> {
    let component = match session.component(&element.kind) {
        Ok(component) => component,
        Err(error) => return Some(error),
    };
    if component.is_none() {
        return native(session, element).err();
    }
    let ipam = match planner::ipam_type(&element.config) {
        Ok(Some(ipam)) => ipam,
        Ok(None) => return None,
        Err(error) => return Some(error),
    };
    match session.component(&ipam) {
        Ok(Some(_)) => {
            let directory = data_dir(&element.config, &element.pointer, &session.node.settings);
            directory.and_then(|directory| writable(&directory).map_err(Error::not_available)).err()
        }
        Ok(None) => session.executable(&ipam).err(),
        Err(error) => Some(error),
    }
}

fn native(session: &mut Session<'_>, element: &Element) -> Result<(), Error> {
    let program = session.executable(&element.kind)?;
    let version = session.incoming.version_of(&element.config)?;
    if !version.supports(weft_cni::Command::Status) {
        return Ok(());
    }
    let config = Value::Object(element.config.clone());
    let native = Native { position: 0, program, config, ifname: String::new() };
    session.run_native("STATUS", &native, None, "").map(drop)
}

/// Whether a directory, or the nearest ancestor that exists, can be written.
fn writable(directory: &Path) -> Result<(), String> {
    let mut existing: PathBuf = directory.to_owned();
    while !existing.exists() {
        if !existing.pop() {
            break;
        }
    }
    let flags = nix::unistd::AccessFlags::W_OK | nix::unistd::AccessFlags::X_OK;
    nix::unistd::access(&existing, flags)
        .map_err(|error| format!("{} can't be written: {}", existing.display(), error.desc()))
}
