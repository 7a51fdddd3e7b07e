//! The kernel as one attachment sees it: the host's namespace and the sandbox's, a socket for each.
//!
//! Owns: sockets, and which index a name has. Must not: decide what to look at or change (`observe`, `apply`, `facts`).

use std::collections::BTreeMap;

use nix::errno::Errno;
use weft_contract::types::{LinkName, Place};
use weft_executor::KernelError;

use crate::error::{Refusal, plain};
use crate::link::{self, RawLink};
use crate::netns::Netns;
use crate::socket::{Protocol, Socket};
use crate::wire::Request;

/// The kernel that weft looks at and changes. Sockets are opened when they are first needed and kept: closing one to
/// nf_tables after deletions makes the caller wait for some 15 ms.
///
/// It goes into the sandbox on the calling thread (see [`Netns`]), so it must not be used on a thread that runs
/// asynchronous tasks.
pub struct System {
    home: Option<Netns>,
    sandbox: Option<Netns>,
    sides: [Side; 2],
    pub(crate) netfilter: Option<Socket>,
}

/// What is known of a namespace.
#[derive(Default)]
struct Side {
    socket: Option<Socket>,
    /// By name: links that were seen.
    indexes: BTreeMap<String, u32>,
    /// By index: names that were seen; None: there was none.
    names: BTreeMap<u32, Option<String>>,
    /// The number by which the other namespace goes here; None: not asked yet, or it has none.
    other: Option<Option<i32>>,
}

// === impl System ===

impl System {
    /// The host is the namespace of the calling thread. No sandbox: what is to be removed there is gone already, and
    /// everything else there is an error.
    pub fn new(sandbox: Option<Netns>) -> Self {
        Self { home: None, sandbox, sides: Default::default(), netfilter: None }
    }

    /// The sandbox's namespace.
    pub fn sandbox(&self) -> Option<&Netns> {
        self.sandbox.as_ref()
    }

    pub(crate) fn has(&self, place: Place) -> bool {
        place == Place::Host || self.sandbox.is_some()
    }

    /// The places there are.
    pub(crate) fn places(&self) -> impl Iterator<Item = Place> + use<> {
        [Some(Place::Host), self.sandbox.as_ref().map(|_| Place::Sandbox)].into_iter().flatten()
    }

    /// The namespace of a place, for requests that name one.
    pub(crate) fn netns(&mut self, place: Place) -> Result<&Netns, KernelError> {
        if self.home.is_none() {
            self.home = Some(
                Netns::current()
                    .map_err(|error| plain("open the host's network namespace", error.to_string(), Errno::ENOENT))?,
            );
        }
        let netns = match place {
            Place::Host => self.home.as_ref(),
            Place::Sandbox => self.sandbox.as_ref(),
        };
        netns.ok_or_else(no_sandbox)
    }

    /// Runs something in the namespace of a place.
    pub(crate) fn inside<T>(&mut self, place: Place, f: impl FnOnce() -> T) -> Result<T, KernelError> {
        if place == Place::Host {
            return Ok(f());
        }
        self.netns(Place::Host)?;
        match (&self.sandbox, &self.home) {
            (Some(sandbox), Some(home)) => sandbox
                .inside_from(home, f)
                .map_err(|error| plain("enter the sandbox", error.to_string(), Errno::EPERM)),
            _ => Err(no_sandbox()),
        }
    }

    /// Runs something in the namespace of a place, and opens the place's socket on the same way there.
    pub(crate) fn inside_with_socket<T>(&mut self, place: Place, f: impl FnOnce() -> T) -> Result<T, KernelError> {
        if self.side(place).socket.is_some() {
            return self.inside(place, f);
        }
        let (socket, value) = self.inside(place, || (Socket::open(Protocol::Route), f()))?;
        self.side(place).socket = Some(socket.map_err(|refusal| refusal.explain("open a netlink socket", ""))?);
        Ok(value)
    }

    /// The socket of a place.
    pub(crate) fn socket(&mut self, place: Place) -> Result<&mut Socket, KernelError> {
        if self.side(place).socket.is_none() {
            self.inside_with_socket(place, || ())?;
        }
        self.side(place).socket.as_mut().ok_or_else(|| plain("open a netlink socket", "it is not there", Errno::EBADF))
    }

    fn side(&mut self, place: Place) -> &mut Side {
        match place {
            Place::Host => &mut self.sides[0],
            Place::Sandbox => &mut self.sides[1],
        }
    }

    /// Forgets which index a name has: between two operations of a long-lived process others may have been at work.
    pub(crate) fn forget(&mut self) {
        for side in &mut self.sides {
            side.indexes.clear();
            side.names.clear();
        }
    }

    pub(crate) fn forget_link(&mut self, at: &LinkName) {
        let side = self.side(at.place);
        if let Some(index) = side.indexes.remove(&at.name) {
            side.names.remove(&index);
        }
    }

    pub(crate) fn knows(&mut self, at: &LinkName) -> bool {
        self.side(at.place).indexes.contains_key(&at.name)
    }

    /// Looks links up, several in one go; None: there is none.
    pub(crate) fn look_up(&mut self, place: Place, requests: &[Request]) -> Result<Vec<Option<RawLink>>, KernelError> {
        if requests.is_empty() {
            return Ok(Vec::new());
        }
        let answers = self.socket(place)?.ask(requests);
        let side = self.side(place);
        answers
            .into_iter()
            .map(|answer| match answer {
                Ok(reply) => {
                    let link = link::parse(&reply);
                    if let Some(link) = &link {
                        side.indexes.insert(link.name.clone(), link.index);
                        side.names.insert(link.index, Some(link.name.clone()));
                    }
                    Ok(link)
                }
                Err(refusal) if is_absent(&refusal) => Ok(None),
                Err(refusal) => Err(refusal.explain(format!("look up links of the {}", spoken(place)), "")),
            })
            .collect()
    }

    /// A link by name.
    pub(crate) fn find(&mut self, at: &LinkName) -> Result<Option<RawLink>, KernelError> {
        if !is_name(&at.name) {
            return Ok(None);
        }
        Ok(self.look_up(at.place, &[link::get_by_name(&at.name)])?.pop().flatten())
    }

    /// The index of a link; None: there is none.
    pub(crate) fn index(&mut self, at: &LinkName) -> Result<Option<u32>, KernelError> {
        match self.side(at.place).indexes.get(&at.name) {
            Some(index) => Ok(Some(*index)),
            None => Ok(self.find(at)?.map(|link| link.index)),
        }
    }

    /// The names of links, where there are any.
    pub(crate) fn name_all(&mut self, place: Place, indexes: impl Iterator<Item = u32>) -> Result<(), KernelError> {
        let mut unknown: Vec<u32> = indexes.filter(|index| !self.side(place).names.contains_key(index)).collect();
        unknown.sort_unstable();
        unknown.dedup();
        let requests: Vec<Request> = unknown.iter().map(|index| link::get_by_index(*index)).collect();
        let links = self.look_up(place, &requests)?;
        for (index, link) in unknown.into_iter().zip(links) {
            self.side(place).names.insert(index, link.map(|link| link.name));
        }
        Ok(())
    }

    /// The name of a link; None: there is none.
    pub(crate) fn name(&mut self, place: Place, index: u32) -> Result<Option<String>, KernelError> {
        self.name_all(place, std::iter::once(index))?;
        Ok(self.side(place).names.get(&index).cloned().flatten())
    }

    /// Where a link's parent or peer is and what it is called; None: it has none, or it is out of sight.
    pub(crate) fn lower(&mut self, place: Place, link: &RawLink) -> Result<Option<LinkName>, KernelError> {
        let Some(index) = link.lower else { return Ok(None) };
        let there = match link.lower_netns {
            None => place,
            Some(number) if self.other_number(place)? == Some(number) => match place {
                Place::Host => Place::Sandbox,
                Place::Sandbox => Place::Host,
            },
            Some(_) => return Ok(None),
        };
        Ok(self.name(there, index)?.map(|name| LinkName { place: there, name }))
    }

    /// The number by which the other of the two namespaces goes in this one.
    fn other_number(&mut self, place: Place) -> Result<Option<i32>, KernelError> {
        if let Some(number) = self.side(place).other {
            return Ok(number);
        }
        let other = match place {
            Place::Host if self.sandbox.is_none() => return Ok(None),
            Place::Host => Place::Sandbox,
            Place::Sandbox => Place::Host,
        };
        // NETNSA_NSID, NETNSA_FD; `struct rtgenmsg` is one byte, padded.
        const NETNSA_NSID: u16 = 1;
        const NETNSA_FD: u16 = 3;
        let descriptor = self.netns(other)?.raw();
        let request = Request::new(nix::libc::RTM_GETNSID, 0, &[0; 4]).bytes(NETNSA_FD, &descriptor.to_ne_bytes());
        let number = match self.socket(place)?.ask_one(request) {
            Ok(reply) => crate::wire::attribute(&reply.payload, 4, NETNSA_NSID)
                .map(|value| crate::wire::u32_at(value, 0) as i32)
                .filter(|number| *number >= 0),
            Err(_) => None,
        };
        self.side(place).other = Some(number);
        Ok(number)
    }
}

/// Whether the kernel says that there is no such thing.
pub(crate) fn is_absent(refusal: &Refusal) -> bool {
    [Errno::ENODEV, Errno::ENOENT, Errno::ESRCH, Errno::EADDRNOTAVAIL].iter().any(|errno| refusal.is(*errno))
}

/// Whether the kernel could have a link of this name.
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() < nix::libc::IFNAMSIZ && !name.contains(['/', '\0'])
}

pub(crate) fn no_sandbox() -> KernelError {
    plain("enter the sandbox", "this attachment has none (any more)", Errno::ENOENT)
}

/// For people.
pub(crate) fn spoken(place: Place) -> &'static str {
    match place {
        Place::Host => "host",
        Place::Sandbox => "sandbox",
    }
}
