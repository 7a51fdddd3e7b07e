//! weft, the CNI executable: one request in the environment and on stdin, one answer on stdout.
//!
//! Owns: the process around a request. Which delegate is meant comes from the name it was started under: `weft` and
//! `multus` are the meta-plugin, any other name is that delegate.

mod memory;
mod serve;

use std::io::Write as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    let called = std::env::args_os().next();
    let answer = serve::serve(called.as_deref(), |name| std::env::var_os(name), std::io::stdin());
    let mut code = ExitCode::SUCCESS;
    let (mut stream, text): (Box<dyn std::io::Write>, _) = match answer {
        serve::Answer::Nothing => return code,
        serve::Answer::About(text) => (Box::new(std::io::stderr()), text),
        serve::Answer::Result(text) => (Box::new(std::io::stdout()), text),
        serve::Answer::Error(text) => {
            code = ExitCode::FAILURE;
            (Box::new(std::io::stdout()), text)
        }
    };
    weft_fault::point("before", "stdout");
    // One write: a runtime never reads half an answer of a process that was killed.
    if stream.write_all(text.as_bytes()).and_then(|()| stream.flush()).is_err() {
        code = ExitCode::FAILURE;
    }
    weft_fault::point("after", "stdout");
    code
}
