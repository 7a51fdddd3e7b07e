//! Errors as runtimes read them: JSON on stdout, with a code of the specification.

use serde::Deserialize;
use weft_json::{Kind, Map, Value};

/// Codes: below 100 the specification's, from 100 on weft's own.
pub mod code {
    /// The configuration's version isn't supported.
    pub const INCOMPATIBLE_VERSION: u32 = 1;
    /// A field, or what it asks for, isn't supported.
    pub const UNSUPPORTED_FIELD: u32 = 2;
    /// No such container: the runtime needs no DEL.
    pub const UNKNOWN_CONTAINER: u32 = 3;
    /// An environment variable is missing or wrong.
    pub const ENVIRONMENT: u32 = 4;
    /// Reading or writing failed.
    pub const IO: u32 = 5;
    /// What was read isn't what it should be, JSON for instance.
    pub const DECODE: u32 = 6;
    /// The network configuration is wrong.
    pub const INVALID_CONFIG: u32 = 7;
    /// CNI_NETNS is no network namespace of a container.
    pub const INVALID_NETNS: u32 = 8;
    /// A later try may succeed.
    pub const TRY_AGAIN: u32 = 11;
    /// STATUS: ADD can't be served.
    pub const NOT_AVAILABLE: u32 = 50;
    /// STATUS: ADD can't be served, and existing containers may have limited connectivity.
    pub const LIMITED: u32 = 51;
    /// No component and no native plugin has this name.
    pub const PLUGIN_NOT_FOUND: u32 = 100;
    /// No address, function or other resource is left.
    pub const EXHAUSTED: u32 = 101;
    /// Something that exists is in the way.
    pub const CONFLICT: u32 = 102;
    /// Something that is needed isn't there.
    pub const NOT_FOUND: u32 = 103;
    /// Anything else.
    pub const INTERNAL: u32 = 999;
}

/// An error for the runtime.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{msg}{}{details}", if details.is_empty() { "" } else { "; " })]
pub struct Error {
    /// See [`code`].
    pub code: u32,
    /// One line: what is wrong, where, what to do.
    pub msg: String,
    /// More, may be empty.
    pub details: String,
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident $code:ident;)*) => { $(
        $(#[$doc])*
        pub fn $name(msg: impl Into<String>) -> Self {
            Self::new(code::$code, msg)
        }
    )* };
}

// === impl Error ===

impl Error {
    /// Any code, for one that another plugin or a component chose.
    pub fn new(code: u32, msg: impl Into<String>) -> Self {
        Self { code, msg: msg.into(), details: String::new() }
    }

    constructors! {
        /// Code 3.
        unknown_container UNKNOWN_CONTAINER;
        /// Code 4; the message names the variables.
        environment ENVIRONMENT;
        /// Code 5.
        io IO;
        /// Code 6.
        decode DECODE;
        /// Code 8.
        invalid_netns INVALID_NETNS;
        /// Code 11.
        try_again TRY_AGAIN;
        /// Code 50.
        not_available NOT_AVAILABLE;
        /// Code 51.
        limited LIMITED;
        /// Code 100.
        plugin_not_found PLUGIN_NOT_FOUND;
        /// Code 101.
        exhausted EXHAUSTED;
        /// Code 102.
        conflict CONFLICT;
        /// Code 103.
        not_found NOT_FOUND;
        /// Code 999.
        internal INTERNAL;
    }

    /// Code 1, with what is and what could be.
    pub fn incompatible_version(details: &str) -> Self {
        Self::new(code::INCOMPATIBLE_VERSION, "incompatible CNI version").with_details(details)
    }

    /// Code 2: the key at a JSON pointer, what stands there and what is supported.
    pub fn unsupported(pointer: &str, found: &str, allowed: &str) -> Self {
        Self::new(code::UNSUPPORTED_FIELD, problem("unsupported configuration", pointer, found, allowed))
    }

    /// Code 7: the key at a JSON pointer, what stands there and what may.
    pub fn invalid_config(pointer: &str, found: &str, allowed: &str) -> Self {
        Self::new(code::INVALID_CONFIG, problem("invalid configuration", pointer, found, allowed))
    }

    /// Code 6: what `plugin` printed after success can't be read.
    pub fn invalid_result(plugin: &str, error: &weft_json::Error) -> Self {
        let what = format!("invalid result of plugin {plugin}");
        Self::decode(match &error.kind {
            Kind::Syntax { .. } => format!("{what}: {error}"),
            Kind::Value => problem(&what, &error.pointer, &error.found, &error.allowed),
        })
    }

    /// The same error with more to say.
    #[must_use]
    pub fn with_details(mut self, details: impl Into<String>) -> Self {
        self.details = details.into();
        self
    }

    /// The same error with words before its message, such as which delegate it came from.
    #[must_use]
    pub fn context(mut self, words: &str) -> Self {
        self.msg.insert_str(0, ": ");
        self.msg.insert_str(0, words);
        self
    }

    /// What goes to stdout, through [`crate::pretty`]: `cniVersion`, `code`, `msg` and, if there are any, `details`.
    pub fn to_json(&self, version_text: &str) -> Value {
        let mut object = Map::new();
        object.insert("cniVersion".to_owned(), version_text.into());
        object.insert("code".to_owned(), self.code.into());
        object.insert("msg".to_owned(), self.msg.as_str().into());
        if !self.details.is_empty() {
            object.insert("details".to_owned(), self.details.as_str().into());
        }
        Value::Object(object)
    }

    /// Reads an error as a plugin prints it. Code 0, which says nothing, and none at all become 999.
    ///
    /// # Errors
    /// Anything but an object with a `code` or a `msg` of the right type.
    pub fn parse(text: &str) -> Result<Self, weft_json::Error> {
        #[derive(Deserialize)]
        struct Printed {
            code: Option<u32>,
            msg: Option<String>,
            details: Option<String>,
        }
        let Printed { code, msg, details } = weft_json::from_str(text)?;
        if code.is_none() && msg.is_none() {
            return Err(weft_json::Error::new("/code", "nothing", "a CNI error code"));
        }
        let code = code.filter(|code| *code != 0).unwrap_or(code::INTERNAL);
        let msg = msg.unwrap_or_default();
        Ok(Self { code, msg, details: details.unwrap_or_default() })
    }

    /// The error of a native plugin that failed: what it printed, or, if that is no CNI error, what can be said instead.
    /// `status` is how it ended, such as `exit status 1`.
    pub fn from_plugin(plugin: &str, status: &str, stdout: &[u8], stderr: &[u8]) -> Self {
        let stdout = String::from_utf8_lossy(stdout);
        if let Ok(error) = Self::parse(&stdout) {
            return error;
        }
        let (stdout, stderr) = (stdout.trim(), String::from_utf8_lossy(stderr));
        let said = [("stdout", stdout), ("stderr", stderr.trim())].into_iter().find(|(_, text)| !text.is_empty());
        Self::internal(match said {
            Some((stream, text)) => {
                let text: String = text.chars().take(1024).collect();
                format!("plugin {plugin} failed ({status}) without a CNI error, on {stream}: {text:?}")
            }
            None => format!("plugin {plugin} failed ({status}) without a message"),
        })
    }
}

impl From<weft_json::Error> for Error {
    /// Of the network configuration: code 6 for what isn't JSON, else 7.
    fn from(error: weft_json::Error) -> Self {
        match &error.kind {
            Kind::Syntax { line, column, message } => {
                Self::decode(format!("the network configuration is not JSON: line {line} column {column}: {message}"))
            }
            Kind::Value => Self::invalid_config(&error.pointer, &error.found, &error.allowed),
        }
    }
}

fn problem(what: &str, pointer: &str, found: &str, allowed: &str) -> String {
    let place = if pointer.is_empty() { "the top" } else { pointer };
    format!("{what} at {place}: found {found}, allowed: {allowed}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configuration_errors_have_a_fixed_form() {
        let error: Error = weft_json::Error::new("/ipam/ranges/0", "\"x\"", "a list").into();
        assert_eq!(error.to_string(), "invalid configuration at /ipam/ranges/0: found \"x\", allowed: a list");
        assert_eq!(error.code, 7);
        let error: Error = weft_json::from_str::<Value>("{\n,").unwrap_err().into();
        assert_eq!(error.to_string(), "the network configuration is not JSON: line 2 column 1: key must be a string");
        assert_eq!(error.code, 6);
    }

    #[test]
    fn printed_and_read_again() {
        let error = Error::try_again("later").with_details("why");
        let json = error.to_json("0.4.0");
        assert_eq!(json.to_string(), r#"{"cniVersion":"0.4.0","code":11,"msg":"later","details":"why"}"#);
        assert_eq!(Error::parse(&json.to_string()), Ok(error));
        assert_eq!(Error::io("x").to_json("1.1.0").to_string(), r#"{"cniVersion":"1.1.0","code":5,"msg":"x"}"#);
    }

    #[test]
    fn what_failing_plugins_print() {
        let cases: [(&str, &str, u32, &str); 8] = [
            (r#"{"Code":7,"msg":"m","details":"d","x":[]}"#, "", 7, "m; d"),
            (r#"{"msg":"m"}"#, "", 999, "m"),
            (r#"{"code":0,"msg":"m"}"#, "log", 999, "m"),
            (r#"{"code":110}"#, "", 110, ""),
            ("{}", "", 999, "plugin p failed (exit status 1) without a CNI error, on stdout: \"{}\""),
            ("oops\n", "log", 999, "plugin p failed (exit status 1) without a CNI error, on stdout: \"oops\""),
            ("", "panic\n", 999, "plugin p failed (exit status 1) without a CNI error, on stderr: \"panic\""),
            (" ", "", 999, "plugin p failed (exit status 1) without a message"),
        ];
        for (stdout, stderr, code, text) in cases {
            let error = Error::from_plugin("p", "exit status 1", stdout.as_bytes(), stderr.as_bytes());
            assert_eq!((error.code, error.to_string().as_str()), (code, text), "{stdout}");
        }
    }
}
