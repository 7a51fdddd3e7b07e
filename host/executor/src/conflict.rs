//! What stands in the way of a wanted state, by name.

use weft_contract::types::{IpPrefix, LinkName, Place};

use crate::text::show;

/// Something that exists, or doesn't, so that the wanted state can't be reached without breaking what isn't ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// The name of a link that is to be created is taken.
    #[error("{} already has an interface named {} (a {found}); remove it, or choose another name", place(.link), .link.name)]
    NameTaken {
        /// The name.
        link: LinkName,
        /// The kind of the link that has it.
        found: String,
    },
    /// A link that would be adopted is something else.
    #[error("{} is a {found}, not a {wanted}; remove it, or name another link", show(.link))]
    NotThatKind {
        /// The link.
        link: LinkName,
        /// The kind that is wanted.
        wanted: String,
        /// Its kind.
        found: String,
    },
    /// A link that would be adopted differs in what can't be changed under its users.
    #[error("{} exists with {property} {found}, wanted is {wanted}; name another link, or change this one", show(.link))]
    PropertyDiffers {
        /// The link.
        link: LinkName,
        /// Which property.
        property: &'static str,
        /// What is wanted.
        wanted: String,
        /// What is.
        found: String,
    },
    /// A pair that would be adopted leads elsewhere.
    #[error("{} exists, but is not one end of a pair whose other end is {}", show(.link), show(.peer))]
    OtherEnd {
        /// The end that exists.
        link: LinkName,
        /// Where the other should be.
        peer: LinkName,
    },
    /// A shared link that is to join one master has another.
    #[error("{} already belongs to {found}, wanted is {wanted}", show(.link))]
    OtherMaster {
        /// The link.
        link: LinkName,
        /// The master that is wanted.
        wanted: String,
        /// Its master.
        found: String,
    },
    /// An address is wanted alone and isn't.
    #[error(
        "{} already has an IP address different from {wanted}: {found}; \
         remove that address, or have it replaced (forceAddress of a bridge)", show(.link)
    )]
    OtherAddress {
        /// The link.
        link: LinkName,
        /// The address that is wanted.
        wanted: IpPrefix,
        /// One that is there.
        found: IpPrefix,
    },
    /// A link that the plan builds on isn't there.
    #[error("there is no {} ({wanted_as})", show(.link))]
    Missing {
        /// The link.
        link: LinkName,
        /// What it is wanted as.
        wanted_as: String,
    },
    /// VLANs are wanted on a port of a bridge that doesn't tell them apart.
    #[error("{} is to have VLANs on {bridge}, which doesn't filter VLANs (vlan_filtering is 0)", show(.port))]
    NotFiltering {
        /// The port.
        port: LinkName,
        /// The bridge.
        bridge: String,
    },
    /// A setting that doesn't exist.
    #[error("there is no setting {key} {}", match .place { Place::Sandbox => "in the sandbox", Place::Host => "on the host" })]
    SettingMissing {
        /// Where it was looked for.
        place: Place,
        /// The key.
        key: String,
    },
}

fn place(link: &LinkName) -> &'static str {
    match link.place {
        Place::Sandbox => "the sandbox",
        Place::Host => "the host",
    }
}
