//! The text of a log, pure.
//!
//! ```text
//! log    = header *record [torn]
//! header = {"format":1,"boot":"<boot id>","key":{"network":..,"container_id":..,"ifname":..,"kind":..}} LF
//! record = JSON of the caller's type, without a line feed, LF
//! torn   = anything without LF | one line that isn't JSON, LF
//! ```
//! A torn end is what a killed process leaves: it announces nothing. A line elsewhere that isn't what it should be makes
//! the rest unreadable; a log whose header is torn has no record.

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

use super::{Entry, Key};
use crate::error::Problem;

/// The format this weft writes.
const FORMAT: u64 = 1;

/// A log that was read.
#[derive(Debug)]
pub(crate) struct Reading<R> {
    pub(crate) entry: Entry<R>,
    /// How many bytes are whole lines: what follows is torn.
    pub(crate) whole: usize,
}

#[derive(Serialize, Deserialize)]
struct Header<K> {
    format: u64,
    boot: String,
    key: K,
}

/// The fields of a header that another version may have.
#[derive(Deserialize)]
struct AnyHeader {
    format: u64,
    #[serde(default)]
    boot: serde_json::Value,
    #[serde(default)]
    key: serde_json::Value,
}

/// The first line of a new log.
pub(crate) fn header(boot: &str, key: &Key) -> serde_json::Result<Vec<u8>> {
    line(&Header { format: FORMAT, boot: boot.to_owned(), key })
}

/// One line. JSON that the caller carries along verbatim may have line feeds between its tokens (within strings they are
/// escaped); a space is the same there.
pub(crate) fn line<T: Serialize>(value: &T) -> serde_json::Result<Vec<u8>> {
    let mut text = serde_json::to_vec(value)?;
    for byte in &mut text {
        if *byte == b'\n' {
            *byte = b' ';
        }
    }
    text.push(b'\n');
    Ok(text)
}

/// Reads what there is, whatever it is. `boot` is the one that is running.
pub(crate) fn read<R: DeserializeOwned>(text: &[u8], boot: &str) -> Reading<R> {
    let whole = whole(text);
    let mut entry = Entry { key: None, boot: None, void: false, records: Vec::new(), problem: None };
    let mut lines = text[..whole].split_inclusive(|byte| *byte == b'\n').enumerate();
    match lines.next() {
        None => entry.problem = Some(Problem::Empty),
        Some((_, first)) => match read_header(first) {
            Ok(header) => {
                let key = serde_json::from_value(header.key).map_err(|error| unreadable(0, &error));
                entry.boot = header.boot.as_str().map(str::to_owned);
                entry.void = entry.boot.as_deref().is_some_and(|written| written != boot);
                match key {
                    _ if header.format != FORMAT => {
                        entry.key = key.ok();
                        entry.problem = Some(Problem::Format(header.format));
                    }
                    Ok(key) if entry.boot.is_some() => entry.key = Some(key),
                    Ok(_) => entry.problem = Some(Problem::Unreadable { line: 1, reason: "no boot id".to_owned() }),
                    Err(problem) => entry.problem = Some(problem),
                }
            }
            Err(problem) => entry.problem = Some(problem),
        },
    }
    if entry.problem.is_none() {
        for (number, line) in lines {
            match serde_json::from_slice(line) {
                Ok(record) => entry.records.push(record),
                Err(error) => {
                    entry.problem = Some(unreadable(number, &error));
                    break;
                }
            }
        }
    }
    Reading { entry, whole }
}

fn read_header(line: &[u8]) -> Result<AnyHeader, Problem> {
    serde_json::from_slice(line).map_err(|error| unreadable(0, &error))
}

fn unreadable(number: usize, error: &serde_json::Error) -> Problem {
    Problem::Unreadable { line: number + 1, reason: error.to_string() }
}

/// The length of what isn't torn.
fn whole(text: &[u8]) -> usize {
    let feeds = |text: &[u8]| text.iter().rposition(|byte| *byte == b'\n');
    let Some(last) = feeds(text) else { return 0 };
    let end = last + 1;
    let start = feeds(&text[..last]).map_or(0, |feed| feed + 1);
    let torn = end == text.len() && serde_json::from_slice::<IgnoredAny>(&text[start..end]).is_err();
    if torn { start } else { end }
}
