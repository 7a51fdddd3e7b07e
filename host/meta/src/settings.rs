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
        weft_json::from_str(&text).map_err(|error| {
            let error = Error::from(error);
            Error { msg: format!("{}: {}", path.display(), error.msg), ..error }
        })
    }

    /// The deadline of one call of a component.
    pub fn deadline(&self) -> Duration {
        Duration::from_millis(self.deadline_milliseconds)
    }
}
