//! What components get to see: the answers behind their capabilities, for one call of one attachment.
//!
//! Owns: nothing but the borrowed means to answer. Facts come from what is planned already, else from the kernel; files
//! are read under confinement; addresses come from the transaction that is open on the pool; messages go to the log.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use weft_contract::facts::LinkFacts;
use weft_contract::log::Level;
use weft_contract::types::{ConfigError, Error, IpAddress, IpFamily, LinkName, LinkSelector, Place, Route};
use weft_engine::{Answer, Host, Refusal};
use weft_executor::state::Observed;
use weft_json::Value;
use weft_kernel::System;
use weft_store::leases::{Draft, Owner};

use crate::files::{self, FileError};
use crate::log::{self, Log};

/// See the module.
pub(crate) struct Asking<'a> {
    /// Who asks, for the log.
    pub component: &'a str,
    /// The configuration it was given.
    pub config: &'a Value,
    /// Where that stands in the request's.
    pub at: &'a str,
    /// Below which files may be read.
    pub allowed: &'a [PathBuf],
    /// To look at.
    pub kernel: &'a mut System,
    /// What is planned on top of what was seen.
    pub seen: &'a Observed,
    /// The pool's transaction; None: no address store belongs to this call.
    pub draft: Option<&'a mut Draft>,
    /// In the pool's terms.
    pub owner: &'a Owner,
    /// Where messages go.
    pub log: &'a Log,
}

fn abort(error: impl std::error::Error + Send + Sync + 'static) -> Refusal {
    Refusal::Abort(Box::new(error))
}

impl Asking<'_> {
    fn draft(&mut self) -> Answer<&mut Draft> {
        self.draft.as_deref_mut().ok_or_else(|| Refusal::not_offered("leases"))
    }
}

impl Host for Asking<'_> {
    fn link(&mut self, which: &LinkSelector) -> Answer<Option<LinkFacts>> {
        if let LinkSelector::Named(name) = which
            && let Some(link) = self.seen.links.get(name)
        {
            return Ok(Some(crate::convert::facts(name, link)));
        }
        self.kernel.link_by(which).map_err(abort)
    }

    fn default_link(&mut self, place: Place, family: IpFamily) -> Answer<Option<LinkFacts>> {
        self.kernel.default_link(place, family).map_err(abort)
    }

    fn routes(&mut self, link: &LinkName) -> Answer<Vec<Route>> {
        self.kernel.routes(link).map_err(abort)
    }

    fn tables_in_use(&mut self, place: Place) -> Answer<Vec<u32>> {
        self.kernel.tables_in_use(place).map_err(abort)
    }

    fn sysctl(&mut self, place: Place, key: &str) -> Answer<Option<String>> {
        self.kernel.sysctl(place, key).map_err(abort)
    }

    fn read_file(&mut self, pointer: &str, fallback: Option<&str>) -> Answer<Vec<u8>> {
        let tell = |error| Err(Refusal::Tell(error));
        let (pointer, path) = match weft_json::pointer_get(self.config, pointer) {
            Some((pointer, Value::String(path))) if !path.is_empty() => (pointer, path.as_str()),
            Some((pointer, other)) if !other.is_null() && other.as_str() != Some("") => {
                let found = weft_json::render(other);
                return tell(Error::InvalidConfig(ConfigError { pointer, found, allowed: "a path".into() }));
            }
            _ => match fallback {
                Some(fallback) => (pointer.to_owned(), fallback),
                None => return tell(Error::NotFound(format!("{}{pointer} names no file", self.at))),
            },
        };
        files::read(Path::new(path), self.allowed).map_err(|error| {
            Refusal::Tell(match error {
                FileError::Missing(path) => {
                    Error::NotFound(format!("{}{pointer}: no such file: {}", self.at, path.display()))
                }
                FileError::Outside { path, allowed } => Error::InvalidConfig(ConfigError {
                    pointer,
                    found: path,
                    allowed: format!("a file below {allowed} (allowedPaths in weft's settings.json)"),
                }),
                FileError::Unusable(why) => Error::NotFound(format!("{}{pointer}: {why}", self.at)),
            })
        })
    }

    fn reserve(&mut self, set: u32, address: IpAddress) -> Answer<bool> {
        self.draft()?.reserve(set, address.into()).map_err(abort)
    }

    fn first_free(&mut self, first: IpAddress, last: IpAddress) -> Answer<Option<IpAddress>> {
        Ok(self.draft()?.first_free(first.into(), last.into()).map_err(abort)?.map(IpAddress::from))
    }

    fn last_reserved(&mut self, set: u32) -> Answer<Option<IpAddress>> {
        Ok(self.draft()?.last_reserved(set).map_err(abort)?.map(IpAddress::from))
    }

    fn held(&mut self) -> Answer<Vec<IpAddress>> {
        let owner = self.owner;
        let held: Vec<IpAddr> = self.draft()?.held(owner).map_err(abort)?;
        Ok(held.into_iter().map(IpAddress::from).collect())
    }

    fn log(&mut self, level: Level, message: &str) {
        let level = match level {
            Level::Error => log::Level::Error,
            Level::Warn | Level::Info => log::Level::Verbose,
            Level::Debug => log::Level::Debug,
        };
        self.log.write(level, format_args!("{}: {message}", self.component));
    }
}
