//! The points themselves, in builds for tests.

use std::io::Write as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

static POINTS: AtomicU32 = AtomicU32::new(0);
static FALLIBLE: AtomicU32 = AtomicU32::new(0);
static ORDER: OnceLock<Option<(String, String)>> = OnceLock::new();

/// What `WEFT_FAULT` asks for: a verb and its argument.
fn order() -> Option<(&'static str, &'static str)> {
    ORDER
        .get_or_init(|| {
            let text = std::env::var("WEFT_FAULT").ok()?;
            let (verb, argument) = text.split_once(':')?;
            Some((verb.to_owned(), argument.to_owned()))
        })
        .as_ref()
        .map(|(verb, argument)| (verb.as_str(), argument.as_str()))
}

fn list(line: &str) {
    if let Some(("list", path)) = order()
        && let Ok(mut file) = std::fs::OpenOptions::new().create(true).append(true).open(path)
    {
        let _ = writeln!(file, "{line}");
    }
}

pub(crate) fn point(moment: &str, name: &str) {
    let number = POINTS.fetch_add(1, Ordering::Relaxed) + 1;
    list(&format!("{moment} {name}"));
    if order() == Some(("kill", number.to_string().as_str())) {
        let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
    }
}

pub(crate) fn fails(name: &str) -> bool {
    let number = FALLIBLE.fetch_add(1, Ordering::Relaxed) + 1;
    list(&format!("fallible {name}"));
    order() == Some(("fail", number.to_string().as_str()))
}

pub(crate) fn detach() -> Option<&'static str> {
    order().filter(|(verb, _)| *verb == "detach").map(|(_, fate)| fate)
}
