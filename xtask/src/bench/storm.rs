//! Many attachments at once, as after a node's reboot.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::competitor::{Attached, Competitor};

pub(super) const ATTACHMENTS: usize = 200;
pub(super) const AT_ONCE: usize = 32;

/// How a storm went.
pub(super) struct Storm {
    pub(super) add: Duration,
    pub(super) del: Duration,
    /// What failed, in the plugin's words.
    pub(super) failures: Vec<String>,
}

impl Storm {
    /// Operations a second, ADDs and DELs together.
    pub(super) fn throughput(&self) -> f64 {
        (2 * ATTACHMENTS) as f64 / (self.add + self.del).as_secs_f64()
    }
}

/// An ADD for every namespace, `AT_ONCE` at a time; then a DEL for each that succeeded.
pub(super) fn run(competitor: &Competitor, netns: &[PathBuf]) -> Storm {
    let add = |at: usize, netns: &Path| competitor.add(&format!("storm{at}"), netns).map(|(_, attached)| attached);
    let start = Instant::now();
    let added = at_once(netns, |at, netns| add(at, netns));
    let add = start.elapsed();
    let (attached, mut failures) = split(added);
    let start = Instant::now();
    let deleted = at_once(&attached, |_, attached: &Attached| competitor.del(attached).map(drop));
    let del = start.elapsed();
    failures.extend(split(deleted).1);
    Storm { add, del, failures }
}

fn at_once<T: Sync, R: Send>(items: &[T], work: impl Fn(usize, &T) -> Result<R> + Sync) -> Vec<Result<R>> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(items.len()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(at) else { break };
                    let outcome = work(at, item);
                    done.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(outcome);
                }
            });
        }
    });
    done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn split<T>(outcomes: Vec<Result<T>>) -> (Vec<T>, Vec<String>) {
    let mut good = Vec::new();
    let mut bad = Vec::new();
    for outcome in outcomes {
        match outcome {
            Ok(value) => good.push(value),
            Err(error) => bad.push(format!("{error:#}")),
        }
    }
    (good, bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_worked_on_once() {
        let items: Vec<usize> = (0..100).collect();
        let done = at_once(&items, |at, item| if item % 10 == 3 { anyhow::bail!("{at}") } else { Ok(*item) });
        let (mut good, bad) = split(done);
        good.sort_unstable();
        assert_eq!(good, items.into_iter().filter(|item| item % 10 != 3).collect::<Vec<_>>());
        assert_eq!(bad.len(), 10);
    }
}
