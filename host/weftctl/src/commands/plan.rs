//! `weftctl plan`: what a request would do on this node now. Nothing is changed.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::mpsc;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use weft_cni::{Environment, NetworkConfig};
use weft_meta::add::{self, Preview, PreviewPart};
use weft_meta::incoming::Incoming;
use weft_meta::log::Log;
use weft_meta::{Node, survey};

use crate::{node, output};

/// Show what a request would do on this node now, changing nothing.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The verb: ADD, or DEL of an attachment that is remembered.
    #[arg(long, default_value = "ADD", value_name = "VERB")]
    command: String,
    /// The network configuration (or configuration list), as a runtime has it.
    #[arg(long, value_name = "FILE")]
    conf: PathBuf,
    /// The sandbox's network namespace; without one the plan is made for an empty sandbox.
    #[arg(long, value_name = "PATH")]
    netns: Option<PathBuf>,
    /// As the runtime would name the container.
    #[arg(long, default_value = "weftctl-plan", value_name = "ID")]
    container_id: String,
    /// The interface in the sandbox.
    #[arg(long, default_value = "eth0", value_name = "NAME")]
    ifname: String,
    /// CNI_ARGS: `KEY=VALUE;KEY=VALUE`.
    #[arg(long, default_value = "", value_name = "ARGS")]
    args: String,
    #[command(flatten)]
    node: node::Arguments,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let node = arguments.node.open()?;
    let text = std::fs::read(&arguments.conf).with_context(|| format!("--conf {}", arguments.conf.display()))?;
    match arguments.command.to_ascii_uppercase().as_str() {
        "ADD" => add(arguments, &node, &text),
        "DEL" => del(arguments, &node, &text),
        other => bail!("--command {other}: a plan can be made for ADD and DEL"),
    }
}

/// Made of a configuration list: what the runtime calls one after the other is one list of delegates here.
fn config(text: &[u8], path: &std::path::Path) -> Result<NetworkConfig> {
    let config = NetworkConfig::parse(text).map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
    if !config.is_list() {
        return Ok(config);
    }
    let wrapped = json!({
        "cniVersion": config.cni_version.as_str(),
        "name": config.name,
        "type": "weft",
        "delegates": [Value::Object(config.object)],
    });
    NetworkConfig::parse(wrapped.to_string().as_bytes()).map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))
}

fn incoming(arguments: &Arguments, text: &[u8], netns: &str) -> Result<Incoming> {
    let config = config(text, &arguments.conf)?;
    let path = arguments.node.cni_bin_dir.display().to_string();
    let lookup = |name: &str| -> Option<OsString> {
        Some(match name {
            "CNI_COMMAND" => "ADD".into(),
            "CNI_CONTAINERID" => arguments.container_id.clone().into(),
            "CNI_NETNS" => netns.into(),
            "CNI_IFNAME" => arguments.ifname.clone().into(),
            "CNI_ARGS" => arguments.args.clone().into(),
            "CNI_PATH" => path.clone().into(),
            _ => return None,
        })
    };
    let environment = Environment::parse(lookup)?.context("no request")?;
    let kind = if config.kind.is_empty() { "weft".to_owned() } else { config.kind.clone() };
    Ok(Incoming::new(environment, config, &kind, path)?)
}

fn add(arguments: &Arguments, node: &Node, text: &[u8]) -> Result<()> {
    let (netns, _sandbox) = match &arguments.netns {
        Some(netns) => (netns.display().to_string(), None),
        None => {
            let sandbox = EmptySandbox::new()?;
            (sandbox.path.clone(), Some(sandbox))
        }
    };
    let incoming = incoming(arguments, text, &netns)?;
    let preview = add::preview(node, &incoming, &Log::default())?;
    let value = as_json(&preview, &incoming)?;
    output::result(arguments.node.output, &value, |_| as_text(&preview))
}

fn as_json(preview: &Preview, incoming: &Incoming) -> Result<Value> {
    let mut attachments = Vec::new();
    for attachment in &preview.attachments {
        let mut parts = Vec::new();
        for part in &attachment.parts {
            parts.push(match part {
                PreviewPart::Native(program) => json!({ "native": program }),
                PreviewPart::Component(planned) => json!({
                    "component": planned.plan.delegate,
                    "wanted": planned.plan.wanted,
                    "steps": planned.steps,
                }),
            });
        }
        attachments.push(json!({"network": attachment.network, "ifname": attachment.ifname, "parts": parts}));
    }
    Ok(json!({"attachments": attachments, "result": preview.result.to_json(incoming.version).ok()}))
}

fn as_text(preview: &Preview) -> String {
    let mut text = String::new();
    for attachment in &preview.attachments {
        let _ = writeln!(text, "{} as {}", attachment.network, attachment.ifname);
        for part in &attachment.parts {
            match part {
                PreviewPart::Native(program) => {
                    let _ = writeln!(text, "  run {} (what it does isn't known before)", program.display());
                }
                PreviewPart::Component(planned) => {
                    let _ = writeln!(text, "  {}", planned.plan.delegate);
                    for step in &planned.steps {
                        let shared = if step.shared { "  (shared, stays)" } else { "" };
                        let _ = writeln!(text, "    {}{shared}", step.operation);
                    }
                    for ip in &planned.result.ips {
                        let _ = writeln!(text, "    -> address {}", ip.address);
                    }
                }
            }
        }
    }
    text
}

fn del(arguments: &Arguments, node: &Node, text: &[u8]) -> Result<()> {
    let config = config(text, &arguments.conf)?;
    let known = survey::known(node)?;
    let found = known.iter().find(|known| {
        known.key.as_ref().is_some_and(|key| {
            key.network == config.name && key.container_id == arguments.container_id && key.ifname == arguments.ifname
        })
    });
    let Some(found) = found else {
        bail!(
            "no attachment of container {} to {} as {} is remembered; weftctl list shows all",
            arguments.container_id,
            config.name,
            arguments.ifname
        );
    };
    let operations = survey::undo_of(found);
    let value = json!({ "operations": operations });
    output::result(arguments.node.output, &value, |_| {
        operations.iter().fold(String::new(), |mut text, operation| {
            let _ = writeln!(text, "{operation}");
            text
        })
    })
}

/// A network namespace with nothing in it, for as long as this value lives: the one of a thread that waits.
struct EmptySandbox {
    path: String,
    _stop: mpsc::Sender<()>,
}

impl EmptySandbox {
    fn new() -> Result<Self> {
        let (made, ready) = mpsc::channel();
        let (stop, stopped) = mpsc::channel::<()>();
        std::thread::spawn(move || {
            let result = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET);
            let _ = made.send(result.map(|()| nix::unistd::gettid()));
            // Until the sender is dropped.
            let _ = stopped.recv();
        });
        let thread = ready
            .recv()
            .context("making an empty namespace")?
            .context("making an empty namespace needs root, or give one with --netns")?;
        Ok(Self { path: format!("/proc/{}/task/{thread}/ns/net", std::process::id()), _stop: stop })
    }
}
