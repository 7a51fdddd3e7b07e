//! `weftctl completions SHELL`

use anyhow::Result;
use clap::CommandFactory as _;

/// Print a completion script: `weftctl completions bash > /etc/bash_completion.d/weftctl`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    shell: clap_complete::Shell,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut crate::Arguments::command(), "weftctl", &mut script);
    Ok(std::io::Write::write_all(&mut std::io::stdout().lock(), &script)?)
}
