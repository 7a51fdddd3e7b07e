//! Asks WASI what a language's library asks when it starts, and whether it gets more: a file, the node's environment.

use weft_sdk::{Delegate, Error, Plan, Request};

#[allow(unsafe_code, missing_docs, unreachable_pub, clippy::all, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({
        inline: "
            package guest:wasi@1.0.0;
            world guest {
                import wasi:cli/environment@0.2.6;
                import wasi:cli/stderr@0.2.6;
                import wasi:cli/exit@0.2.6;
                import wasi:filesystem/preopens@0.2.6;
                import wasi:random/random@0.2.6;
            }
            package wasi:cli@0.2.6 {
                interface environment {
                    get-environment: func() -> list<tuple<string, string>>;
                    get-arguments: func() -> list<string>;
                }
                interface stderr {
                    use wasi:io/streams@0.2.6.{output-stream};
                    get-stderr: func() -> output-stream;
                }
                interface exit { exit: func(status: result); }
            }
            package wasi:filesystem@0.2.6 {
                interface types { resource descriptor { sync: func() -> result; } }
                interface preopens {
                    use types.{descriptor};
                    get-directories: func() -> list<tuple<descriptor, string>>;
                }
            }
            package wasi:io@0.2.6 {
                interface error { resource error { to-debug-string: func() -> string; } }
                interface streams {
                    use error.{error};
                    variant stream-error { last-operation-failed(error), closed }
                    resource output-stream {
                        blocking-write-and-flush: func(contents: list<u8>) -> result<_, stream-error>;
                    }
                }
            }
            package wasi:random@0.2.6 {
                interface random { get-random-u64: func() -> u64; }
            }
        ",
        world: "guest:wasi/guest@1.0.0",
        generate_all,
    });
}

use bindings::wasi::{cli, filesystem, random};

/// See the crate.
pub struct Guest;

#[derive(serde::Deserialize)]
struct Config {
    #[serde(default)]
    exit: bool,
}

impl Delegate for Guest {
    fn add(request: &Request) -> Result<Plan, Error> {
        let config: Config = request.config()?;
        let said = cli::stderr::get_stderr().blocking_write_and_flush(b"said by way of WASI\n").is_ok();
        let found = [
            cli::environment::get_environment().len(),
            cli::environment::get_arguments().len(),
            filesystem::preopens::get_directories().len(),
        ];
        let random = random::random::get_random_u64() != random::random::get_random_u64();
        if config.exit {
            cli::exit::exit(Ok(()));
        }
        if found != [0, 0, 0] || !said || !random {
            return Err(Error::coded(
                110,
                "WASI is not closed, or says nothing",
                &format!("{found:?} {said} {random}"),
            ));
        }
        Ok(Plan::default())
    }
}

weft_sdk::export!(Guest as delegate);
