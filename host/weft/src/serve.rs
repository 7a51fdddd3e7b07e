//! From the environment and stdin to an answer.

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::path::Path;
use std::time::Instant;

use weft_cni::{Command, Environment, Error, NetworkConfig, Version};
use weft_engine::Clock;
use weft_json::Value;
use weft_meta::incoming::Incoming;
use weft_meta::log::{Keys, Level, Log};
use weft_meta::{Node, add, check, del, gc, status};

/// What is printed, and where.
pub(crate) enum Answer {
    /// Nothing, exit 0.
    Nothing,
    /// On stderr, exit 0: nobody asked for anything.
    About(String),
    /// On stdout, exit 0.
    Result(String),
    /// On stdout, exit 1.
    Error(String),
}

/// Serves one request.
pub(crate) fn serve(called: Option<&OsStr>, lookup: impl Fn(&str) -> Option<OsString>, stdin: impl Read) -> Answer {
    let called = called.and_then(|path| Path::new(path).file_name()).and_then(OsStr::to_str).unwrap_or("weft");
    let environment = match Environment::parse(&lookup) {
        Ok(Some(environment)) => environment,
        Ok(None) => return Answer::About(weft_cni::about(&format!("weft {}", env!("CARGO_PKG_VERSION")))),
        Err(error) => return failed(&error, Version::CURRENT),
    };
    let mut config = Vec::new();
    // Read to its end also for VERSION, or the runtime's write may fail.
    let read = stdin.take(weft_cni::MAX_CONFIG as u64 + 1).read_to_end(&mut config);
    if let Err(error) = read {
        return failed(&Error::io(format!("reading the configuration from stdin: {error}")), Version::CURRENT);
    }
    if environment.command == Command::Version {
        let version = weft_cni::requested_version(&config);
        return Answer::Result(weft_cni::pretty(&weft_cni::version_reply(version.as_str(), &Version::SUPPORTED)));
    }
    let path = lookup("CNI_PATH").and_then(|path| path.into_string().ok()).unwrap_or_default();
    match request(environment, &config, called, path) {
        Ok(Some(result)) => Answer::Result(weft_cni::pretty(&result)),
        Ok(None) => Answer::Nothing,
        Err(error) => failed(&error, weft_cni::requested_version(&config)),
    }
}

fn failed(error: &Error, version: Version) -> Answer {
    Answer::Error(weft_cni::pretty(&error.to_json(version.as_str())))
}

fn request(environment: Environment, config: &[u8], called: &str, path: String) -> Result<Option<Value>, Error> {
    let started = Instant::now();
    let config = NetworkConfig::parse(config)?;
    config.check_verb(environment.command)?;
    let keys: Keys = weft_json::from_value(&Value::Object(config.object.clone()))?;
    let log = Log::open(&keys);
    let incoming = Incoming::new(environment, config, called, path)?;
    let node = Node::here(Clock::Signal)?;
    let result = verb(&node, &incoming, &log);
    let took = started.elapsed().as_secs_f64() * 1e3;
    let Incoming { command, network, container_id, ifname, kind, .. } = &incoming;
    let about =
        format!("{command} network={network} container={container_id} ifname={ifname} delegate={kind} ms={took:.2}");
    match &result {
        Ok(_) => log.write(Level::Verbose, format_args!("{about}")),
        Err(error) => log.write(Level::Error, format_args!("{about} code={} error={error}", error.code)),
    }
    result
}

fn verb(node: &Node, incoming: &Incoming, log: &Log) -> Result<Option<Value>, Error> {
    match incoming.command {
        Command::Add => add::add(node, incoming, log).map(Some),
        Command::Del => del::del(node, incoming, log).map(|()| None),
        Command::Check => check::check(node, incoming, log).map(|()| None),
        Command::Gc => gc::gc(node, incoming, log).map(|()| None),
        Command::Status => status::status(node, incoming, log).map(|()| None),
        Command::Version => Ok(None),
    }
}
