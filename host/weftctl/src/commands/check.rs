//! `weftctl check`: whether attachments still are as they were made, whatever their configuration's version.

use anyhow::{Result, bail};
use serde::Serialize;
use std::fmt::Write as _;
use weft_meta::log::Log;
use weft_meta::survey;

use crate::{node, output};

/// Compare attachments with what their ADD made; exit 1 if something differs.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only attachments of this container.
    #[arg(long, value_name = "ID")]
    container_id: Option<String>,
    /// Only attachments to this network.
    #[arg(long, value_name = "NAME")]
    network: Option<String>,
    #[command(flatten)]
    node: node::Arguments,
}

#[derive(Serialize)]
struct Row {
    network: String,
    container: String,
    ifname: String,
    problems: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let node = arguments.node.open()?;
    let mut rows = Vec::new();
    for known in survey::known(&node)? {
        let key = known.key.clone();
        let wanted = |only: &Option<String>, value: Option<&String>| only.is_none() || only.as_ref() == value;
        if !wanted(&arguments.container_id, key.as_ref().map(|key| &key.container_id))
            || !wanted(&arguments.network, key.as_ref().map(|key| &key.network))
        {
            continue;
        }
        let problems = survey::examine(&node, &Log::default(), &known)?;
        let named =
            |pick: fn(&weft_store::Key) -> &String| key.as_ref().map(pick).cloned().unwrap_or_else(|| "?".into());
        rows.push(Row {
            network: named(|key| &key.network),
            container: named(|key| &key.container_id),
            ifname: named(|key| &key.ifname),
            problems,
        });
    }
    let broken = rows.iter().filter(|row| !row.problems.is_empty()).count();
    output::result(arguments.node.output, &rows, |rows| {
        if rows.is_empty() {
            return "no attachments to check\n".to_owned();
        }
        rows.iter().fold(String::new(), |mut text, row| {
            let verdict = if row.problems.is_empty() { "ok" } else { "DIFFERS" };
            let _ = writeln!(text, "{} {} {}: {verdict}", row.network, row.container, row.ifname);
            for problem in &row.problems {
                let _ = writeln!(text, "  {problem}");
            }
            text
        })
    })?;
    match broken {
        0 => Ok(()),
        1 => bail!("1 attachment is not as it was made"),
        _ => bail!("{broken} attachments are not as they were made"),
    }
}
