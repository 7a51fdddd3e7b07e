//! The node that a command is about: the arguments that name it, and opening it.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use weft_engine::{Clock, Directory};
use weft_meta::Node;

use crate::output::Format;

/// Arguments of every command that looks at what weft did here.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The directory weft is installed in.
    #[arg(long, value_name = "DIR", default_value = "/opt/cni/bin")]
    pub(crate) cni_bin_dir: PathBuf,
    /// How to print it.
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) output: Format,
}

impl Arguments {
    /// The node, with the settings of that directory.
    pub(crate) fn open(&self) -> Result<Node> {
        let directory = Directory::in_bin_dir(&self.cni_bin_dir)
            .with_context(|| format!("--cni-bin-dir {}", self.cni_bin_dir.display()))?;
        Ok(Node::at(directory, Clock::Thread)?)
    }
}
