//! The log that multus' configuration keys ask for: `logFile`, `logLevel`, `logToStderr`, `logOptions`.
//!
//! Owns: levels, one-line entries, rotation by size. Entries name network, container, interface, delegate and time
//! taken; never a configuration, so no secret of one. Must not: write to stdout, or make a request fail: a log that
//! can't be written is given up.
//!
//! Levels, each with those before it: `panic` (nothing; the default), `error` (failed verbs), `verbose` (every verb),
//! `debug` (every step).

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::libc;
use serde::Deserialize;

/// How much is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Nothing.
    #[default]
    Panic,
    /// Failed verbs.
    Error,
    /// Every verb.
    Verbose,
    /// Every step.
    Debug,
}

/// The keys, as they stand in a configuration.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Keys {
    log_file: Option<PathBuf>,
    log_level: Option<String>,
    log_to_stderr: Option<bool>,
    log_options: Option<Options>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Options {
    /// Megabytes.
    max_size: u64,
    max_backups: usize,
    /// Days.
    max_age: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { max_size: 100, max_backups: 5, max_age: 5 }
    }
}

/// An open log.
#[derive(Debug, Default)]
pub struct Log {
    level: Level,
    file: Option<File>,
    stderr: bool,
}

impl Log {
    /// Opens what the keys ask for; nothing is opened at level `panic`.
    pub fn open(keys: &Keys) -> Self {
        let level = match keys.log_level.as_deref().map(str::to_ascii_lowercase).as_deref() {
            Some("debug") => Level::Debug,
            Some("verbose") => Level::Verbose,
            Some("error") => Level::Error,
            _ => Level::Panic,
        };
        if level == Level::Panic {
            return Self::default();
        }
        let options = keys.log_options.clone().unwrap_or_default();
        let file = keys.log_file.as_deref().filter(|path| path.is_absolute()).and_then(|path| {
            rotate(path, &options);
            OpenOptions::new()
                .append(true)
                .create(true)
                .mode(0o600)
                .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
                .open(path)
                .ok()
        });
        Self { level, file, stderr: keys.log_to_stderr.unwrap_or(true) }
    }

    /// Writes one line if the level asks for it.
    pub fn write(&self, level: Level, message: fmt::Arguments<'_>) {
        if level > self.level {
            return;
        }
        let name = match level {
            Level::Panic | Level::Error => "error",
            Level::Verbose => "verbose",
            Level::Debug => "debug",
        };
        // One write a line, so that lines of concurrent processes don't mix.
        let line = format!("{} [{name}] {}\n", timestamp(SystemTime::now()), OneLine(&message.to_string()));
        if let Some(mut file) = self.file.as_ref() {
            let _ = file.write_all(line.as_bytes());
        }
        if self.stderr {
            let _ = std::io::stderr().write_all(line.as_bytes());
        }
    }
}

/// Control characters would let a name forge a line.
struct OneLine<'a>(&'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| fmt::Write::write_char(f, if c.is_control() { ' ' } else { c }))
    }
}

/// RFC 3339 in UTC, to the second.
fn timestamp(now: SystemTime) -> String {
    let seconds = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let (days, time) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days as i64);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", time / 3600, time / 60 % 60, time % 60)
}

/// A day of the proleptic Gregorian calendar from days since 1970-01-01, by counting eras of 400 years.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Moves a log that has grown over its size aside and removes old ones beyond their number and age.
fn rotate(path: &Path, options: &Options) {
    let limit = options.max_size.max(1).saturating_mul(1 << 20);
    if !std::fs::metadata(path).is_ok_and(|about| about.len() > limit) {
        return;
    }
    let (Some(directory), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return;
    };
    let now = SystemTime::now();
    let _ = std::fs::rename(path, directory.join(format!("{name}-{}", timestamp(now))));
    let prefix = format!("{name}-");
    let mut old: Vec<(SystemTime, PathBuf)> = std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(|other| other.starts_with(&prefix)))
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    old.sort();
    old.reverse();
    let oldest = now.checked_sub(Duration::from_secs(options.max_age.saturating_mul(86_400)));
    for (index, (modified, path)) in old.iter().enumerate() {
        if index >= options.max_backups || oldest.is_some_and(|oldest| *modified < oldest) {
            let _ = std::fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> Keys {
        weft_json::from_str(text).unwrap()
    }

    #[test]
    fn a_line_says_when_and_how_bad_and_is_one_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let log = Log::open(&keys(&format!(
            r#"{{"logFile": "{}", "LogLevel": "verbose", "logToStderr": false}}"#,
            path.display()
        )));
        log.write(Level::Verbose, format_args!("ADD network=a\nb"));
        log.write(Level::Debug, format_args!("not this"));
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.ends_with(" [verbose] ADD network=a b\n"), "{text}");
        assert_eq!(text.lines().count(), 1);
        assert_eq!(&text[4..5], "-");
    }

    #[test]
    fn without_a_level_nothing_is_opened() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        Log::open(&keys(&format!(r#"{{"logFile": "{}"}}"#, path.display())));
        assert!(!path.exists());
    }

    #[test]
    fn a_large_log_is_moved_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::fs::write(&path, vec![b'x'; (1 << 20) + 1]).unwrap();
        Log::open(&keys(&format!(
            r#"{{"logFile": "{}", "logLevel": "error", "logOptions": {{"maxSize": 1, "maxBackups": 1}}}}"#,
            path.display()
        )));
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn days_become_dates() {
        for (days, date) in [(0, (1970, 1, 1)), (59, (1970, 3, 1)), (11_016, (2000, 2, 29)), (20_778, (2026, 11, 21))] {
            assert_eq!(civil(days), date);
        }
    }
}
