//! Versions of the specification, and the VERSION verb.

use std::fmt;

use weft_json::{Map, Value};

use crate::{Command, Error};

/// A version of the specification that weft speaks, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the names are the versions")]
pub enum Version {
    V0_1_0,
    V0_2_0,
    V0_3_0,
    V0_3_1,
    V0_4_0,
    V1_0_0,
    V1_1_0,
}

// === impl Version ===

impl Version {
    /// All of them, oldest first.
    pub const SUPPORTED: [Self; 7] =
        [Self::V0_1_0, Self::V0_2_0, Self::V0_3_0, Self::V0_3_1, Self::V0_4_0, Self::V1_0_0, Self::V1_1_0];

    /// The newest.
    pub const CURRENT: Self = Self::V1_1_0;

    /// Reads a `cniVersion`; empty, as in configurations from before there was one, is 0.1.0.
    ///
    /// # Errors
    /// Code 1 for any other text than a supported version's.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.is_empty() {
            return Ok(Self::V0_1_0);
        }
        Self::SUPPORTED.into_iter().find(|version| version.as_str() == text).ok_or_else(|| {
            let found = weft_json::render(&Value::from(text));
            Error::incompatible_version(&format!("cniVersion is {found}, supported are {}", join(&Self::SUPPORTED)))
        })
    }

    /// As it is written in a `cniVersion`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V0_1_0 => "0.1.0",
            Self::V0_2_0 => "0.2.0",
            Self::V0_3_0 => "0.3.0",
            Self::V0_3_1 => "0.3.1",
            Self::V0_4_0 => "0.4.0",
            Self::V1_0_0 => "1.0.0",
            Self::V1_1_0 => "1.1.0",
        }
    }

    /// Whether the verb exists in a configuration of this version: CHECK since 0.4.0, GC and STATUS since 1.1.0.
    pub fn supports(self, command: Command) -> bool {
        match command {
            Command::Add | Command::Del | Command::Version => true,
            Command::Check => self >= Self::V0_4_0,
            Command::Gc | Command::Status => self >= Self::V1_1_0,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

// === VERSION ===

/// The answer to VERSION. `version_text` is the `cniVersion` to answer with: the request's own, see [`requested_version`].
pub fn version_reply(version_text: &str, supported: &[Version]) -> Value {
    let mut reply = Map::new();
    reply.insert("cniVersion".to_owned(), version_text.into());
    reply.insert(
        "supportedVersions".to_owned(),
        supported.iter().map(|version| Value::from(version.as_str())).collect(),
    );
    Value::Object(reply)
}

/// The `cniVersion` that stands in what came on stdin, for answers that must be given even if nothing else of it can be
/// read (VERSION, errors): the newest where there is none that weft speaks.
pub fn requested_version(stdin: &[u8]) -> Version {
    if stdin.len() > crate::MAX_CONFIG {
        return Version::CURRENT;
    }
    let value = std::str::from_utf8(stdin).ok().and_then(|text| weft_json::parse(text).ok());
    let text = value.as_ref().and_then(Value::as_object).and_then(|object| weft_json::get(object, "cniVersion"));
    match text.and_then(Value::as_str) {
        Some(text) => Version::parse(text).unwrap_or(Version::CURRENT),
        None => Version::CURRENT,
    }
}

/// What to print on stderr when somebody starts the plugin by hand, without CNI_COMMAND. `name` with its version.
pub fn about(name: &str) -> String {
    format!(
        "{name}, a CNI plugin: started by a container runtime\nCNI protocol versions supported: {}\n",
        join(&Version::SUPPORTED)
    )
}

pub(crate) fn join(versions: &[Version]) -> String {
    versions.iter().map(|version| version.as_str()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_exact_texts() {
        assert_eq!(Version::parse(""), Ok(Version::V0_1_0));
        for version in Version::SUPPORTED {
            assert_eq!(Version::parse(version.as_str()), Ok(version));
        }
        for text in ["1.2.0", "1.0", "v1.0.0", "0.5.0", " 1.0.0", "x"] {
            let error = Version::parse(text).unwrap_err();
            assert_eq!(error.code, 1, "{text}");
            assert!(error.to_string().contains(text) && error.to_string().contains("0.3.1"), "{error}");
        }
    }

    #[test]
    fn the_order_of_versions_is_that_of_their_numbers() {
        let numbers =
            |version: Version| version.as_str().split('.').map(|part| part.parse().unwrap()).collect::<Vec<u32>>();
        for a in Version::SUPPORTED {
            for b in Version::SUPPORTED {
                assert_eq!(a.cmp(&b), numbers(a).cmp(&numbers(b)), "{a} {b}");
            }
        }
    }

    #[test]
    fn verbs_exist_since() {
        let since = |command| Version::SUPPORTED.into_iter().find(|version| version.supports(command)).unwrap();
        let cases = [
            (Command::Add, "0.1.0"),
            (Command::Del, "0.1.0"),
            (Command::Version, "0.1.0"),
            (Command::Check, "0.4.0"),
            (Command::Gc, "1.1.0"),
            (Command::Status, "1.1.0"),
        ];
        for (command, first) in cases {
            assert_eq!(since(command).as_str(), first);
            assert!(Version::CURRENT.supports(command));
        }
    }

    #[test]
    fn version_answers_whatever_comes_in() {
        let reply = |stdin: &[u8]| version_reply(requested_version(stdin).as_str(), &Version::SUPPORTED).to_string();
        let all = r#""supportedVersions":["0.1.0","0.2.0","0.3.0","0.3.1","0.4.0","1.0.0","1.1.0"]}"#;
        for (stdin, version) in [
            (&b""[..], "1.1.0"),
            (b"\xff", "1.1.0"),
            (br#"{"cniversion":"0.4.0"}"#, "0.4.0"),
            (br#"{"cniVersion":7}"#, "1.1.0"),
        ] {
            assert_eq!(reply(stdin), format!(r#"{{"cniVersion":"{version}",{all}"#));
        }
    }
}
