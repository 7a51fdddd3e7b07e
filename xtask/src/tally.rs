//! Counting tests from what libtest prints. Owns the reading of that text; prints nothing itself.
//!
//! A test that can't run here prints a line that starts with `SKIP:` and returns; libtest calls that passed, we don't.

use std::fmt::{Display, Formatter};
use std::ops::AddAssign;

/// How tests ended.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl Display for Tally {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// Reads the output of `cargo test -- --show-output` line by line.
#[derive(Default)]
pub(crate) struct Reader {
    tally: Tally,
    /// Inside `successes:`, what passing tests printed.
    successes: bool,
    /// The current test's section has been counted as skipped.
    counted: bool,
}

impl Reader {
    /// Takes a line; false: of no interest to who watches.
    pub(crate) fn line(&mut self, line: &str) -> bool {
        if let Some(counts) = line.strip_prefix("test result: ") {
            self.successes = false;
            self.result(counts);
            return true;
        }
        match line {
            "successes:" => (self.successes, self.counted) = (true, false),
            "failures:" => self.successes = false,
            _ => {}
        }
        if !self.successes {
            return true;
        }
        if line.starts_with("---- ") && line.ends_with(" stdout ----") {
            self.counted = false;
        }
        let skip = line.starts_with("SKIP:");
        if skip && !self.counted {
            self.counted = true;
            self.tally.skipped += 1;
            self.tally.passed = self.tally.passed.wrapping_sub(1);
        }
        skip
    }

    fn result(&mut self, counts: &str) {
        for part in counts.split([';', '.']) {
            let mut words = part.split_whitespace();
            if let (Some(Ok(count)), Some(kind)) = (words.next().map(str::parse::<u64>), words.next()) {
                match kind {
                    "passed" => self.tally.passed = self.tally.passed.wrapping_add(count),
                    "failed" => self.tally.failed += count,
                    "ignored" => self.tally.skipped += count,
                    _ => {}
                }
            }
        }
    }

    /// The counts; a run that failed without a failed test (it didn't compile, it was killed) counts as one.
    pub(crate) fn finish(mut self, success: bool) -> Tally {
        if !success && self.tally.failed == 0 {
            self.tally.failed = 1;
        }
        self.tally
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, success: bool) -> (Tally, String) {
        let mut reader = Reader::default();
        let shown = text.lines().filter(|line| reader.line(line)).collect::<Vec<_>>().join("\n");
        (reader.finish(success), shown)
    }

    #[test]
    fn runs_are_summed() {
        let (tally, _) = read(
            "test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
             test result: FAILED. 2 passed; 3 failed; 0 ignored; 0 measured; 7 filtered out; finished in 1.20s",
            false,
        );
        assert_eq!(tally.to_string(), "7 passed, 3 failed, 1 skipped");
    }

    #[test]
    fn a_skip_is_not_a_pass_and_counts_once() {
        let text = "running 2 tests\ntest a ... ok\ntest b ... ok\n\nsuccesses:\n\n---- a stdout ----\nSKIP: no nft\nSKIP: nor that\n\
            ---- b stdout ----\nchatter\n\nsuccesses:\n    a\n    b\n\n\
            test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s";
        let (tally, shown) = read(text, true);
        assert_eq!(tally.to_string(), "1 passed, 0 failed, 1 skipped");
        assert!(shown.contains("SKIP: no nft") && !shown.contains("chatter"), "{shown}");
    }

    #[test]
    fn failures_are_shown_in_full() {
        let (_, shown) = read(
            "successes:\nx\nfailures:\n---- c stdout ----\npanicked\ntest result: FAILED. 0 passed; 1 failed;",
            false,
        );
        assert!(shown.contains("panicked"));
    }

    #[test]
    fn what_does_not_compile_fails() {
        assert_eq!(read("", false).0, Tally { failed: 1, ..Tally::default() });
        assert_eq!(read("test result: ok. 3 passed; 0 failed; 0 ignored", false).0.failed, 1);
    }
}
