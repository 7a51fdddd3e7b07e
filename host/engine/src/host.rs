//! What the functions behind the capabilities do: implemented by whoever runs components.
//!
//! The engine checks that a component was granted a capability and that its arguments are within bounds, then asks. Which
//! attachment is meant is known to the implementor; a component can't name one.

use std::error::Error;

use weft_contract::devices::DeviceFacts;
use weft_contract::facts::LinkFacts;
use weft_contract::log::Level;
use weft_contract::types::{self, IpAddress, IpFamily, LinkName, LinkSelector, Place, Route};

/// Why a question isn't answered.
#[derive(Debug)]
pub enum Refusal {
    /// The component is told, where the function's type allows it, and may go on. Functions without an error in the
    /// contract end the call with this one.
    Tell(types::Error),
    /// The call ends: the host itself failed.
    Abort(Box<dyn Error + Send + Sync>),
}

/// What a question is answered with.
pub type Answer<T> = Result<T, Refusal>;

/// The implementor doesn't have what it was asked for.
#[derive(Debug, thiserror::Error)]
#[error("{0} is not offered here")]
pub struct NotOffered(&'static str);

impl Refusal {
    /// The answer of a host that lacks a function.
    pub fn not_offered(function: &'static str) -> Self {
        Self::Abort(Box::new(NotOffered(function)))
    }
}

/// The functions of all capabilities. Each is asked only by components that were granted its capability.
#[allow(unused_variables, reason = "the defaults answer nothing")]
pub trait Host {
    /// `facts.link`
    fn link(&mut self, which: &LinkSelector) -> Answer<Option<LinkFacts>> {
        Err(Refusal::not_offered("facts.link"))
    }
    /// `facts.default-link`
    fn default_link(&mut self, place: Place, family: IpFamily) -> Answer<Option<LinkFacts>> {
        Err(Refusal::not_offered("facts.default-link"))
    }
    /// `facts.routes`
    fn routes(&mut self, link: &LinkName) -> Answer<Vec<Route>> {
        Err(Refusal::not_offered("facts.routes"))
    }
    /// `facts.tables-in-use`
    fn tables_in_use(&mut self, place: Place) -> Answer<Vec<u32>> {
        Err(Refusal::not_offered("facts.tables-in-use"))
    }
    /// `facts.sysctl`
    fn sysctl(&mut self, place: Place, key: &str) -> Answer<Option<String>> {
        Err(Refusal::not_offered("facts.sysctl"))
    }
    /// `files.read`; whether the fallback was granted is for the implementor to check, see [`crate::Index::grants`].
    fn read_file(&mut self, pointer: &str, fallback: Option<&str>) -> Answer<Vec<u8>> {
        Err(Refusal::not_offered("files.read"))
    }
    /// `leases.reserve`
    fn reserve(&mut self, set: u32, address: IpAddress) -> Answer<bool> {
        Err(Refusal::not_offered("leases.reserve"))
    }
    /// `leases.first-free`
    fn first_free(&mut self, first: IpAddress, last: IpAddress) -> Answer<Option<IpAddress>> {
        Err(Refusal::not_offered("leases.first-free"))
    }
    /// `leases.last-reserved`
    fn last_reserved(&mut self, set: u32) -> Answer<Option<IpAddress>> {
        Err(Refusal::not_offered("leases.last-reserved"))
    }
    /// `leases.held`
    fn held(&mut self) -> Answer<Vec<IpAddress>> {
        Err(Refusal::not_offered("leases.held"))
    }
    /// `devices.device`
    fn device(&mut self, id: &str) -> Answer<DeviceFacts> {
        Err(Refusal::not_offered("devices.device"))
    }
    /// `devices.functions`
    fn functions(&mut self, physical: &str) -> Answer<Vec<DeviceFacts>> {
        Err(Refusal::not_offered("devices.functions"))
    }
    /// `devices.claim`
    fn claim(&mut self, id: &str) -> Answer<bool> {
        Err(Refusal::not_offered("devices.claim"))
    }
    /// `log.write`; a message is cut at 4 KiB and comes at most 256 times a call, then once more with the number of
    /// those left out.
    fn log(&mut self, level: Level, message: &str) {}
}

/// A host that offers nothing but silence.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoHost;

impl Host for NoHost {}
