//! `cargo xtask bench add`: prepares the programs outside, measures inside namespaces of its own, judges.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use super::call::milliseconds;
use super::competitor::{Competitor, FLOOR, GO, GO_PLUGINS, WEFT};
use super::series::Measured;
use super::{bars, lab, report, storm};
use crate::run::{Workspace, call};
use crate::setup::{self, Need};
use crate::toolchain;

/// What `cargo xtask bench add` takes.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Samples of each ADD and DEL.
    #[arg(long, default_value_t = 80)]
    rounds: usize,
    /// How to print what was measured.
    #[arg(long, value_enum, default_value = "table")]
    output: Output,
    /// Exit with 1 if a budget is missed, with 2 if it cannot be said.
    #[arg(long)]
    check: bool,
    /// A directory with Go's multus, flannel, bridge and host-local, to compare the two flannel networks with.
    #[arg(long, value_name = "DIR")]
    go_chain: Option<PathBuf>,
    /// Where the programs were prepared: set when this program starts itself in namespaces of its own.
    #[arg(long, hide = true, value_name = "DIR")]
    inside: Option<PathBuf>,
}

#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq)]
enum Output {
    /// For people.
    Table,
    /// Every sample.
    Json,
}

/// The delegates that weft is installed for, under the names of the reference plugins.
const REPLACED: &str = "bridge,host-local";
/// Rounds that are not counted.
const WARM_UP: usize = 5;
const STORMS: usize = 5;
const MEMORY_SAMPLES: usize = 5;
const FLANNEL_ROUNDS: usize = 30;
/// The kernel frees what a DEL removed some time after it; the next sample shall not pay for that.
const SETTLE: Duration = Duration::from_millis(30);

pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let Some(scratch) = &options.inside else {
        let scratch = prepare(workspace)?;
        match lab::enter(&["--inside".as_ref(), scratch.as_os_str()])? {}
    };
    lab::hide_state()?;
    let _precedence = lab::Precedence::take();
    let mut bench =
        Bench { scratch: scratch.clone(), measured: Measured::default(), absent: Vec::new(), containers: 0 };
    bench.all(workspace, options)?;
    let bars = bars::judge(&bench.measured);
    match options.output {
        Output::Table => print!("{}", report::table(&bench.measured, &bars, &bench.absent)),
        Output::Json => println!("{:#}", report::json(&bench.measured, &bars, &bench.absent)),
    }
    Ok(ExitCode::from(if options.check { bars::exit_code(&bars) } else { 0 }))
}

/// Builds and installs what is measured, into a fresh folder.
fn prepare(workspace: &Workspace) -> Result<PathBuf> {
    setup::ensure(Need::Bench)?;
    let native = toolchain::native(None)?;
    let mut build = workspace.cargo(["build", "--locked", "--quiet", "--package", "weft-floor", "--profile", "lean"]);
    native.apply(&mut build);
    call(&mut build)?;
    let scratch = workspace.target.join("bench");
    if scratch.exists() {
        std::fs::remove_dir_all(&scratch).with_context(|| format!("remove {}", scratch.display()))?;
    }
    let programs = scratch.join("floor");
    std::fs::create_dir_all(&programs).with_context(|| format!("create {}", programs.display()))?;
    for program in ["weft-floor", "weft-hello", "weft-maxrss"] {
        std::fs::copy(workspace.target.join(native.triple()).join("lean").join(program), programs.join(program))
            .with_context(|| format!("copy {program}"))?;
    }
    if workspace.dist().join("weftctl").exists() {
        install(workspace, &scratch)?;
    }
    Ok(scratch)
}

/// weft as a user installs it, with one component more: the one whose plan is empty.
fn install(workspace: &Workspace, scratch: &Path) -> Result<()> {
    let dist = scratch.join("dist");
    call(Command::new("cp").arg("-r").arg(workspace.dist()).arg(&dist))?;
    let empty = workspace.components().join("empty.wasm");
    let mut replaced = REPLACED.to_owned();
    if empty.exists() {
        std::fs::copy(&empty, dist.join("components/empty.wasm")).context("copy empty.wasm")?;
        replaced.push_str(",empty");
    }
    let mut weftctl = Command::new(dist.join("weftctl"));
    call(
        weftctl
            .args(["install", "--replace", &replaced, "--cni-bin-dir"])
            .arg(plugins(scratch))
            .stdout(std::io::stderr()),
    )
}

fn plugins(scratch: &Path) -> PathBuf {
    scratch.join("plugins")
}

struct Bench {
    scratch: PathBuf,
    measured: Measured,
    /// Who or what could not be measured, and why.
    absent: Vec<String>,
    containers: usize,
}

impl Bench {
    fn all(&mut self, workspace: &Workspace, options: &Options) -> Result<()> {
        let netns = lab::make_netns(&self.scratch.join("netns"), storm::ATTACHMENTS)?;
        let mut competitors = Vec::new();
        for competitor in self.candidates()? {
            competitor.prove(&netns[0]).with_context(|| format!("{} does not do the work", competitor.name))?;
            std::thread::sleep(SETTLE);
            competitors.push(competitor);
        }
        eprintln!("ADD and DEL, {} rounds", options.rounds);
        self.rounds(&competitors, &netns, options.rounds, ("add", "del"))?;
        eprintln!("hello-world, VERSION and an empty ADD");
        self.start_up(&netns, options.rounds)?;
        eprintln!("memory");
        for competitor in &competitors {
            for _ in 0..MEMORY_SAMPLES {
                let container = self.container();
                let megabytes = competitor.memory(&container, &netns[0], &self.floor("weft-maxrss"))?;
                self.measured.push(&format!("memory.{}", competitor.name), megabytes);
            }
        }
        eprintln!("two flannel networks");
        self.flannels(workspace, options, &netns)?;
        eprintln!("storms");
        self.storms(&competitors, &netns);
        Ok(())
    }

    fn floor(&self, program: &str) -> PathBuf {
        self.scratch.join("floor").join(program)
    }

    fn container(&mut self) -> String {
        self.containers += 1;
        format!("bench{}", self.containers)
    }

    /// Who is there to be measured with bridge + host-local.
    fn candidates(&mut self) -> Result<Vec<Competitor>> {
        let plugins = plugins(&self.scratch);
        let all = [
            (
                WEFT,
                plugins.join("bridge"),
                plugins.clone(),
                "weft: nothing in target/dist; `cargo xtask dist` builds it",
            ),
            (
                GO,
                Path::new(GO_PLUGINS).join("bridge"),
                GO_PLUGINS.into(),
                "go: no /usr/lib/cni/bridge; apt-get install containernetworking-plugins",
            ),
            (FLOOR, self.floor("weft-floor"), self.scratch.clone(), "floor: was not built"),
        ];
        let mut there = Vec::new();
        for (name, program, plugins, absent) in all {
            if program.exists() {
                there.push(Competitor::bridge(name, program, &plugins, &self.scratch)?);
            } else {
                self.absent.push(absent.to_owned());
            }
        }
        Ok(there)
    }

    /// Everyone in turn, in another order each round, so that none always follows the same.
    fn rounds(
        &mut self,
        competitors: &[Competitor],
        netns: &[PathBuf],
        rounds: usize,
        names: (&str, &str),
    ) -> Result<()> {
        let mut next = netns.iter().cycle();
        for round in 0..WARM_UP + rounds {
            let mut attached = Vec::new();
            for turn in 0..competitors.len() {
                let competitor = &competitors[(round + turn) % competitors.len()];
                let netns = next.next().context("no network namespaces")?;
                let (took, made) = competitor.add(&self.container(), netns)?;
                attached.push((competitor, took, made));
                std::thread::sleep(SETTLE / 6);
            }
            for (competitor, added, made) in attached {
                let deleted = competitor.del(&made)?;
                if round >= WARM_UP {
                    self.measured.push(&format!("{}.{}", names.0, competitor.name), milliseconds(added));
                    self.measured.push(&format!("{}.{}", names.1, competitor.name), milliseconds(deleted));
                }
                std::thread::sleep(SETTLE);
            }
        }
        Ok(())
    }

    /// What weft costs before it does anything.
    fn start_up(&mut self, netns: &[PathBuf], rounds: usize) -> Result<()> {
        let scratch = self.scratch.clone();
        let plain = |name, program: PathBuf, kind: &str| {
            let configuration = json!({"cniVersion": "1.0.0", "name": format!("bench-{kind}"), "type": kind});
            Competitor::new(name, program, OsString::from(plugins(&scratch)), configuration, &scratch)
        };
        let hello = plain("hello", self.floor("weft-hello"), "hello")?;
        let weft = plugins(&scratch).join("weft");
        let empty = plugins(&scratch).join("empty");
        let weft = weft.exists().then(|| plain(WEFT, weft, "version")).transpose()?;
        let empty = empty.exists().then(|| plain(WEFT, empty, "empty")).transpose()?;
        if empty.is_none() {
            self.absent.push("empty ADD: weft is not installed or there is no target/components/empty.wasm".to_owned());
        }
        for round in 0..WARM_UP + rounds {
            let mut samples = vec![("hello", hello.version(&netns[0])?)];
            if let Some(weft) = &weft {
                samples.push(("version.weft", weft.version(&netns[0])?));
            }
            if let Some(empty) = &empty {
                let (took, attached) = empty.add(&self.container(), &netns[0])?;
                empty.del(&attached)?;
                samples.push(("empty.weft", took));
                std::thread::sleep(SETTLE / 6);
            }
            for (name, took) in samples.into_iter().filter(|_| round >= WARM_UP) {
                self.measured.push(name, milliseconds(took));
            }
        }
        Ok(())
    }

    /// The configuration that users copy, run as it is: its files lie where it says, in folders that only we see.
    fn flannels(&mut self, workspace: &Workspace, options: &Options, netns: &[PathBuf]) -> Result<()> {
        let seed = workspace.root.join("conf/two-flannels");
        let file = seed.join("10-two-flannels.conf");
        let configuration = std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        let configuration: serde_json::Value =
            serde_json::from_str(&configuration).with_context(|| format!("{} is not JSON", file.display()))?;
        std::fs::create_dir_all("/run/flannel").context("create /run/flannel")?;
        for name in ["subnet.env", "subnet2.env"] {
            std::fs::copy(seed.join(name), Path::new("/run/flannel").join(name))
                .with_context(|| format!("copy {name}"))?;
        }
        let chain = |directory: &Path| {
            let mut path = directory.as_os_str().to_owned();
            path.push(":");
            path.push(GO_PLUGINS);
            path
        };
        let weft = plugins(&self.scratch);
        let mut all = vec![(WEFT, weft.join("weft"), weft.clone().into_os_string())];
        match &options.go_chain {
            Some(directory) => all.push((GO, directory.join("multus"), chain(directory))),
            None => self.absent.push("two flannel networks by Go: no --go-chain DIR was given".to_owned()),
        }
        let mut there = Vec::new();
        for (name, program, path) in all {
            if program.exists() {
                there.push(Competitor::new(name, program, path, configuration.clone(), &self.scratch)?);
            } else {
                self.absent.push(format!("two flannel networks by {name}: there is no {}", program.display()));
            }
        }
        self.rounds(&there, netns, FLANNEL_ROUNDS.min(options.rounds), ("flannel-add", "flannel-del"))
    }

    fn storms(&mut self, competitors: &[Competitor], netns: &[PathBuf]) {
        for turn in 0..STORMS {
            for at in 0..competitors.len() {
                let competitor = &competitors[(turn + at) % competitors.len()];
                let storm = storm::run(competitor, netns);
                let name = competitor.name;
                self.measured.push(&format!("storm.{name}"), storm.throughput());
                self.measured.push(&format!("storm-add.{name}"), storm::ATTACHMENTS as f64 / storm.add.as_secs_f64());
                self.measured.push(&format!("storm-del.{name}"), storm::ATTACHMENTS as f64 / storm.del.as_secs_f64());
                self.measured.push(&format!("failures.{name}"), storm.failures.len() as f64);
                if let Some(first) = storm.failures.first() {
                    eprintln!("{name}: {} of a storm failed, the first so:\n{first}", storm.failures.len());
                }
                std::thread::sleep(SETTLE * 10);
            }
        }
    }
}
