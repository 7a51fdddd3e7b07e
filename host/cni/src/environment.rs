//! What the runtime says in environment variables.
//!
//! | verb | required |
//! |---|---|
//! | ADD, CHECK | CNI_CONTAINERID CNI_NETNS CNI_IFNAME CNI_PATH |
//! | DEL | CNI_CONTAINERID CNI_IFNAME CNI_PATH |
//! | GC, STATUS | CNI_PATH |
//! | VERSION | |
//!
//! An empty variable counts as missing; VERSION looks at no other. CNI_ARGS is `KEY=VALUE;KEY=VALUE`, with exactly one `=` a pair.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use crate::Error;
use crate::name::{self, NAME_RULE};

/// A verb.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are the verbs")]
pub enum Command {
    Add,
    Del,
    Check,
    Gc,
    Status,
    Version,
}

/// A request, apart from the network configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    /// CNI_COMMAND.
    pub command: Command,
    /// CNI_CONTAINERID; empty for GC, STATUS and VERSION.
    pub container_id: String,
    /// CNI_NETNS, a path; none only for DEL of a container whose namespace is gone, and for GC, STATUS and VERSION.
    pub netns: Option<String>,
    /// CNI_IFNAME; empty for GC, STATUS and VERSION.
    pub ifname: String,
    /// CNI_ARGS in their order, `IgnoreUnknown` included.
    pub args: Vec<(String, String)>,
    /// CNI_PATH, without empty entries.
    pub path: Vec<PathBuf>,
    /// CNI_NETNS_OVERRIDE is `1` or `true`: CNI_NETNS may be the plugin's own.
    pub netns_override: bool,
}

// === impl Command ===

impl Command {
    const ALL: [Self; 6] = [Self::Add, Self::Del, Self::Check, Self::Gc, Self::Status, Self::Version];

    /// As CNI_COMMAND has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Del => "DEL",
            Self::Check => "CHECK",
            Self::Gc => "GC",
            Self::Status => "STATUS",
            Self::Version => "VERSION",
        }
    }

    fn parse(text: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|command| command.as_str() == text).ok_or_else(|| {
            let verbs = Self::ALL.map(Self::as_str).join(", ");
            Error::environment(format!("unknown CNI_COMMAND {text:?}: it must be one of {verbs}"))
        })
    }

    /// Whether the request is about one attachment.
    pub fn has_attachment(self) -> bool {
        matches!(self, Self::Add | Self::Del | Self::Check)
    }

    fn required(self) -> &'static [&'static str] {
        match self {
            Self::Add | Self::Check => &["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"],
            Self::Del => &["CNI_CONTAINERID", "CNI_IFNAME", "CNI_PATH"],
            Self::Gc | Self::Status => &["CNI_PATH"],
            Self::Version => &[],
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

// === impl Environment ===

impl Environment {
    /// Reads the request from variables. None: there is no CNI_COMMAND, so no runtime calls; print
    /// [`crate::about`] on stderr and exit 0.
    ///
    /// # Errors
    /// Code 4: an unknown verb, variables that are missing (all of them are named), malformed or not UTF-8.
    pub fn parse(lookup: impl Fn(&str) -> Option<OsString>) -> Result<Option<Self>, Error> {
        let read = |name: &str| text(name, lookup(name));
        let command = read("CNI_COMMAND")?;
        if command.is_empty() {
            return Ok(None);
        }
        let command = Command::parse(&command)?;
        let missing: Vec<_> = command
            .required()
            .iter()
            .copied()
            .filter(|name| lookup(name).is_none_or(|value| value.is_empty()))
            .collect();
        if !missing.is_empty() {
            let plural = if missing.len() == 1 { "variable" } else { "variables" };
            return Err(Error::environment(format!("{command} needs the environment {plural} {}", missing.join(", "))));
        }
        let mut environment = Self {
            command,
            container_id: String::new(),
            netns: None,
            ifname: String::new(),
            args: Vec::new(),
            path: Vec::new(),
            netns_override: false,
        };
        if command == Command::Version {
            return Ok(Some(environment));
        }
        environment.args = parse_args(&read("CNI_ARGS")?)?;
        environment.path =
            std::env::split_paths(&read("CNI_PATH")?).filter(|entry| !entry.as_os_str().is_empty()).collect();
        environment.netns_override = is_true(&read("CNI_NETNS_OVERRIDE")?);
        if command.has_attachment() {
            environment.container_id = read("CNI_CONTAINERID")?;
            environment.ifname = read("CNI_IFNAME")?;
            environment.netns = Some(read("CNI_NETNS")?).filter(|path| !path.is_empty());
            environment.check_names()?;
        }
        Ok(Some(environment))
    }

    fn check_names(&self) -> Result<(), Error> {
        if !name::is_name(&self.container_id) {
            let id = &self.container_id;
            return Err(Error::environment(format!(
                "CNI_CONTAINERID {id:?} is no container id: allowed are {NAME_RULE}"
            )));
        }
        match name::interface_name_problem(&self.ifname) {
            Some(problem) => {
                Err(Error::environment(format!("CNI_IFNAME {:?} is no interface name: {problem}", self.ifname)))
            }
            None => Ok(()),
        }
    }

    /// The value of a key of CNI_ARGS, the last one if it is there twice.
    pub fn arg(&self, key: &str) -> Option<&str> {
        self.args.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// Whether CNI_ARGS lets a plugin ignore keys that it doesn't know.
    pub fn ignore_unknown(&self) -> bool {
        self.arg("IgnoreUnknown").is_some_and(is_true)
    }

    /// CNI_ARGS as it was, to hand on.
    pub fn args_text(&self) -> String {
        self.args.iter().map(|(key, value)| [key, "=", value].concat()).collect::<Vec<_>>().join(";")
    }
}

fn is_true(text: &str) -> bool {
    text == "1" || text.eq_ignore_ascii_case("true")
}

/// A variable's text; empty if it isn't set.
fn text(name: &str, value: Option<OsString>) -> Result<String, Error> {
    value.unwrap_or_default().into_string().map_err(|value| {
        let shown: String = value.to_string_lossy().chars().take(64).collect();
        Error::environment(format!("{name} is not UTF-8: {shown:?}"))
    })
}

fn parse_args(text: &str) -> Result<Vec<(String, String)>, Error> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let args: Vec<(String, String)> = text
        .split(';')
        .map(|pair| match pair.split_once('=') {
            Some((key, value)) if !key.is_empty() && !value.contains('=') => Ok((key.to_owned(), value.to_owned())),
            _ => {
                let shown: String = pair.chars().take(64).collect();
                Err(Error::environment(format!(
                    "CNI_ARGS has {shown:?}: allowed are KEY=VALUE pairs, separated by `;`"
                )))
            }
        })
        .collect::<Result<_, _>>()?;
    if let Some((_, value)) = args.iter().find(|(key, value)| {
        key == "IgnoreUnknown" && !is_true(value) && value != "0" && !value.eq_ignore_ascii_case("false")
    }) {
        return Err(Error::environment(format!(
            "CNI_ARGS has IgnoreUnknown={value}: allowed are 1, 0, true and false"
        )));
    }
    Ok(args)
}
