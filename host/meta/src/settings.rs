//! What the administrator of a node decides: `settings.json` beside the components.
//!
//! Owns: the file's form and its defaults. It lies in the directory that only root may write and is trusted like the
//! components there; no network configuration can change it.
//!
//! ```json
//! { "allowedPaths": ["/run/flannel"], "stateDirectory": "/run/weft", "deadlineMilliseconds": 5000,
//!   "nativePlugins": true, "nativeDeadlineSeconds": 120 }
//! ```

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use weft_cni::Error;

/// The file's name in `.weft/`.
pub const FILE: &str = "settings.json";

/// The keys there are.
const KEYS: [&str; 5] =
    ["allowedPaths", "stateDirectory", "deadlineMilliseconds", "nativePlugins", "nativeDeadlineSeconds"];

/// See the module.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct Settings {
    /// Directories (or single files) that a network configuration may name: below them lie subnet files, resolver
    /// files and address stores.
    pub allowed_paths: Vec<PathBuf>,
    /// Where attachments are remembered; means nothing after a reboot.
    pub state_directory: PathBuf,
    /// How long one call of a component may take.
    pub deadline_milliseconds: u64,
    /// Whether plugins that exist only as executables may run.
    pub native_plugins: bool,
    /// How long one call of such an executable may take.
    pub native_deadline_seconds: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            // resolv.conf is what most `resolvConf` keys name; on many nodes it is a link into systemd's directory.
            allowed_paths: ["/run/flannel", "/var/lib/cni", "/etc/cni", "/etc/resolv.conf", "/run/systemd/resolve"]
                .map(PathBuf::from)
                .to_vec(),
            state_directory: PathBuf::from("/run/weft"),
            deadline_milliseconds: 5_000,
            native_plugins: true,
            native_deadline_seconds: 120,
        }
    }
}

impl Settings {
    /// Reads the file in a directory; where there is none, the defaults.
    pub fn read(directory: &Path) -> Result<Self, Error> {
        let path = directory.join(FILE);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(Error::io(format!("reading {}: {error}", path.display()))),
        };
        parse(&text).map_err(|error| {
            // The code is that of a network configuration with the same mistake, the text isn't.
            let code = Error::from(error.clone()).code;
            Error::new(code, format!("weft's settings {}: {error}", path.display()))
        })
    }

    /// The deadline of one call of a component.
    pub fn deadline(&self) -> Duration {
        Duration::from_millis(self.deadline_milliseconds)
    }
}

fn parse(text: &str) -> Result<Settings, weft_json::Error> {
    let value = weft_json::parse(text)?;
    let settings = weft_json::from_value(&value)?;
    // A misspelt key would silently leave a door open that was meant to be shut.
    let keys = value.as_object().into_iter().flat_map(|object| object.keys());
    match keys.into_iter().find(|key| !KEYS.iter().any(|known| known.eq_ignore_ascii_case(key))) {
        Some(unknown) => {
            let mut pointer = String::new();
            weft_json::pointer_push(&mut pointer, unknown);
            Err(weft_json::Error::new(&pointer, "a key that means nothing", &format!("the keys {}", KEYS.join(", "))))
        }
        None => Ok(settings),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_counts_and_no_other() {
        let all = r#"{"allowedPaths": ["/a"], "stateDirectory": "/b", "deadlineMilliseconds": 1, "NativePlugins": false,
            "nativeDeadlineSeconds": 2}"#;
        let expected = Settings {
            allowed_paths: vec!["/a".into()],
            state_directory: "/b".into(),
            deadline_milliseconds: 1,
            native_plugins: false,
            native_deadline_seconds: 2,
        };
        assert_eq!(parse(all), Ok(expected));
        assert_eq!(parse("{}"), Ok(Settings::default()));
        assert_eq!(parse(r#"{"nativePlugin": false}"#).unwrap_err().pointer, "/nativePlugin");
    }
}
