//! `weft-maxrss PROGRAM`: runs it with our environment, input and output, ends with its exit code and prints the most
//! memory it had resident, in KiB, as the last line on standard error.
//!
//! A program of its own because a child starts with the peak of the process it was forked from: this one's is small.
#![allow(clippy::print_stderr, reason = "printing is what it is for")]

use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let Some(program) = std::env::args_os().nth(1) else {
        eprintln!("usage: weft-maxrss PROGRAM");
        return ExitCode::from(64);
    };
    let code = match Command::new(&program).status() {
        Ok(status) => status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(255),
        Err(error) => {
            eprintln!("cannot start {}: {error}", program.display());
            return ExitCode::from(127);
        }
    };
    // SAFETY: an all-zero rusage is a valid value, and getrusage only writes into it.
    #[allow(unsafe_code, reason = "std has no getrusage")]
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage);
        usage
    };
    eprintln!("\n{}", usage.ru_maxrss);
    ExitCode::from(code)
}
