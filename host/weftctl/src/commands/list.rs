//! `weftctl list`: the attachments that weft remembers.

use anyhow::Result;
use serde::Serialize;
use std::fmt::Write as _;
use weft_meta::survey;
use weft_meta::survey::Standing;

use crate::{node, output};

/// List the attachments that weft remembers.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    node: node::Arguments,
}

#[derive(Serialize)]
struct Row {
    network: String,
    container: String,
    ifname: String,
    #[serde(rename = "type")]
    kind: String,
    standing: Standing,
    addresses: Vec<String>,
    delegates: Vec<String>,
    netns: String,
    age_seconds: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let node = arguments.node.open()?;
    let rows: Vec<Row> = survey::known(&node)?.into_iter().map(row).collect();
    output::result(arguments.node.output, &rows, |rows| table(rows))
}

fn row(known: survey::Known) -> Row {
    let (network, container, ifname, kind) = match known.key {
        Some(key) => (key.network, key.container_id, key.ifname, key.kind),
        None => Default::default(),
    };
    Row {
        network,
        container,
        ifname,
        kind,
        standing: known.standing,
        addresses: known.addresses,
        delegates: known
            .delegates
            .into_iter()
            .map(|(delegate, network, ifname)| format!("{delegate}:{network}:{ifname}"))
            .collect(),
        netns: known.netns,
        age_seconds: known.age.as_secs(),
        problem: known.problem,
    }
}

fn table(rows: &[Row]) -> String {
    let mut cells = vec![["NETWORK", "CONTAINER", "INTERFACE", "TYPE", "STATE", "ADDRESSES", "AGE"].map(str::to_owned)];
    for row in rows {
        let container: String = row.container.chars().take(16).collect();
        cells.push([
            row.network.clone(),
            container,
            row.ifname.clone(),
            row.kind.clone(),
            serde_json::to_string(&row.standing).unwrap_or_default().trim_matches('"').to_owned(),
            row.addresses.join(","),
            format!("{}s", row.age_seconds),
        ]);
    }
    let width = |column: usize| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..7).map(width).collect();
    cells.iter().fold(String::new(), |mut text, row| {
        let line = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}  ")).collect::<String>();
        let _ = writeln!(text, "{}", line.trim_end());
        text
    })
}
