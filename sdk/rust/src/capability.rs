//! The capabilities: the host's functions in a component, the fake host's in a native test.

macro_rules! capability {
    ($(#[$doc:meta])* $name:ident: { $($function:ident),* } { $($type:ident),* }) => {
        $(#[$doc])*
        pub mod $name {
            #[cfg(target_arch = "wasm32")]
            pub use crate::bindings::shared::weft::cni::$name::{$($function),*};
            #[allow(unused_imports, reason = "not every capability has types of its own")]
            pub use crate::bindings::shared::weft::cni::$name::{$($type),*};
            #[cfg(not(target_arch = "wasm32"))]
            pub use crate::testing::$name::{$($function),*};
        }
    };
}

capability! {
    /// Look at links, routes and settings of the node and of the sandbox, as earlier delegates leave them.
    facts: { link, default_link, routes, tables_in_use, sysctl } { LinkFacts }
}
capability! {
    /// Read files that the configuration names.
    files: { read } {}
}
capability! {
    /// The address store of this network, locked during the call.
    leases: { reserve, first_free, last_reserved, held } {}
}
capability! {
    /// Devices on the PCI and auxiliary bus and their SR-IOV functions.
    devices: { device, functions, claim } { DeviceFacts }
}

pub mod log {
    //! Say something to the person who looks for a fault: `log::info!("adopted {name}")`.

    pub use crate::bindings::shared::weft::cni::log::Level;
    #[cfg(target_arch = "wasm32")]
    pub use crate::bindings::shared::weft::cni::log::write;
    #[cfg(not(target_arch = "wasm32"))]
    pub use crate::testing::log::write;

    pub use crate::{__log_debug as debug, __log_error as error, __log_info as info, __log_warn as warn};
}

/// Arguments as for `format!`.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_debug {
    ($($argument:tt)*) => { $crate::log::write($crate::log::Level::Debug, &::std::format!($($argument)*)) };
}

/// Arguments as for `format!`.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_info {
    ($($argument:tt)*) => { $crate::log::write($crate::log::Level::Info, &::std::format!($($argument)*)) };
}

/// Arguments as for `format!`.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_warn {
    ($($argument:tt)*) => { $crate::log::write($crate::log::Level::Warn, &::std::format!($($argument)*)) };
}

/// Arguments as for `format!`.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_error {
    ($($argument:tt)*) => { $crate::log::write($crate::log::Level::Error, &::std::format!($($argument)*)) };
}
