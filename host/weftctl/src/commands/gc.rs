//! `weftctl gc`: removes what nobody needs any more.

use anyhow::Result;
use serde::Serialize;
use std::fmt::Write as _;
use weft_meta::log::Log;
use weft_meta::survey;
use weft_meta::survey::Standing;

use crate::{node, output};

/// Remove attachments whose namespace is gone (or that are of another boot), with their addresses and rules.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Also remove bridges, gateway addresses, forwarding and tables that weft made and nobody uses.
    #[arg(long)]
    shared: bool,
    #[command(flatten)]
    node: node::Arguments,
}

#[derive(Serialize)]
struct Report {
    attachments: Vec<String>,
    shared: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let node = arguments.node.open()?;
    let mut report = Report { attachments: Vec::new(), shared: Vec::new() };
    for known in survey::known(&node)? {
        if !matches!(known.standing, Standing::Orphaned | Standing::Void) {
            continue;
        }
        survey::remove(&node, &Log::default(), &known)?;
        if let Some(key) = &known.key {
            report.attachments.push(format!("{} {} {}", key.network, key.container_id, key.ifname));
        }
    }
    if arguments.shared {
        report.shared = survey::collect_shared(&node)?;
    }
    output::result(arguments.node.output, &report, |report| {
        let mut text = String::new();
        for attachment in &report.attachments {
            let _ = writeln!(text, "removed attachment {attachment}");
        }
        for object in &report.shared {
            let _ = writeln!(text, "{object}");
        }
        if text.is_empty() {
            text.push_str("nothing to remove\n");
        }
        text
    })
}
