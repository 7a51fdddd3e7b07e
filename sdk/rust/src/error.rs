//! Making the contract's errors.

use crate::types::{CodedError, ConfigError, Error};

impl Error {
    /// A key of the configuration is wrong: its JSON pointer, what stands there (strings with quotes), what may.
    /// Something in CNI_ARGS is named as `CNI_ARGS/MAC`.
    pub fn invalid(pointer: &str, found: &str, allowed: &str) -> Self {
        Self::InvalidConfig(ConfigError {
            pointer: pointer.to_owned(),
            found: found.to_owned(),
            allowed: allowed.to_owned(),
        })
    }

    /// A key, or what it asks for, isn't supported.
    pub fn unsupported(pointer: &str, found: &str, allowed: &str) -> Self {
        Self::Unsupported(ConfigError {
            pointer: pointer.to_owned(),
            found: found.to_owned(),
            allowed: allowed.to_owned(),
        })
    }

    /// An error with the plugin's own code, from 110 on (any other becomes 999).
    pub fn coded(code: u32, message: &str, details: &str) -> Self {
        Self::Other(CodedError { code, message: message.to_owned(), details: details.to_owned() })
    }
}

impl From<crate::json::Error> for Error {
    fn from(error: crate::json::Error) -> Self {
        Self::InvalidConfig(error.into_problem())
    }
}
