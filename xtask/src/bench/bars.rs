//! The budgets, held against what was measured. Pure.
//!
//! A bar is met, missed, or inconclusive: a series is missing, or so spread that its median says nothing.

use super::series::{Measured, Series};

/// Above this the middle half of the samples lies too far apart.
const NOISY: f64 = 0.6;
/// The floor is one only if it is at least this much faster than Go; else something else was measured.
const FLOOR_OVER_GO: f64 = 5.5;

/// One budget and how it stands.
#[derive(Debug)]
pub(super) struct Bar {
    pub(super) name: &'static str,
    /// `at least 4 times`
    pub(super) wanted: String,
    pub(super) value: Option<f64>,
    pub(super) verdict: Verdict,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Met,
    Missed,
    Inconclusive(String),
}

enum Wanted {
    AtLeast(f64, &'static str),
    AtMost(f64, &'static str),
}

use Wanted::{AtLeast, AtMost};

impl Wanted {
    fn is_met(&self, value: f64) -> bool {
        match self {
            AtLeast(bound, _) => value >= *bound,
            AtMost(bound, _) => value <= *bound,
        }
    }

    fn text(&self) -> String {
        match self {
            AtLeast(bound, unit) => format!("at least {bound} {unit}"),
            AtMost(bound, unit) => format!("at most {bound} {unit}"),
        }
    }
}

pub(super) fn judge(measured: &Measured) -> Vec<Bar> {
    let two = |one, other| Ok((series(measured, one)?, series(measured, other)?));
    let ratio = |one, other| two(one, other).map(|(one, other): (&Series, &Series)| one.median() / other.median());
    let over = |one, other| two(one, other).map(|(one, other): (&Series, &Series)| one.median() - other.median());
    vec![
        bar("ADD: Go's time over weft's", AtLeast(4.0, "times"), ratio("add.go", "add.weft")),
        bar(
            "ADD: weft's time over the floor's",
            AtMost(1.8, "times"),
            floor(measured).and_then(|()| ratio("add.weft", "add.floor")),
        ),
        bar("DEL: Go's time over weft's", AtLeast(5.0, "times"), ratio("del.go", "del.weft")),
        bar("storm: weft's throughput over Go's", AtLeast(4.0, "times"), ratio("storm.weft", "storm.go")),
        bar("storm: weft's failures", AtMost(0.0, "of all"), failures(measured)),
        bar("VERSION: weft's time over hello-world's", AtMost(1.2, "ms more"), over("version.weft", "hello")),
        bar("empty ADD: weft's time over hello-world's", AtMost(1.2, "ms more"), over("empty.weft", "hello")),
        bar("peak memory of weft's ADD", AtMost(12.0, "MB"), series(measured, "memory.weft").map(Series::median)),
    ]
}

fn bar(name: &'static str, wanted: Wanted, value: Result<f64, String>) -> Bar {
    let verdict = match &value {
        Ok(value) if wanted.is_met(*value) => Verdict::Met,
        Ok(_) => Verdict::Missed,
        Err(reason) => Verdict::Inconclusive(reason.clone()),
    };
    Bar { name, wanted: wanted.text(), value: value.ok(), verdict }
}

fn series<'a>(measured: &'a Measured, name: &str) -> Result<&'a Series, String> {
    let series = measured.get(name).ok_or_else(|| format!("{name} was not measured"))?;
    if series.spread() > NOISY {
        return Err(format!(
            "{name} is too noisy: the middle half spreads over {:.0} % of its median",
            series.spread() * 100.0
        ));
    }
    Ok(series)
}

fn floor(measured: &Measured) -> Result<(), String> {
    let ratio = series(measured, "add.go")?.median() / series(measured, "add.floor")?.median();
    if ratio < FLOOR_OVER_GO {
        return Err(format!(
            "the floor is only {ratio:.1} times as fast as Go, not {FLOOR_OVER_GO}: it is no floor in this run"
        ));
    }
    Ok(())
}

fn failures(measured: &Measured) -> Result<f64, String> {
    let failures = measured.get("failures.weft").ok_or("failures.weft was not measured")?;
    Ok(failures.samples().iter().sum())
}

/// The exit code: 0 all met, 1 one missed, 2 otherwise.
pub(super) fn exit_code(bars: &[Bar]) -> u8 {
    if bars.iter().any(|bar| bar.verdict == Verdict::Missed) {
        1
    } else if bars.iter().all(|bar| bar.verdict == Verdict::Met) {
        0
    } else {
        2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(weft_add: f64) -> Measured {
        let mut measured = Measured::default();
        for (name, value) in [
            ("add.weft", weft_add),
            ("add.go", 9.0),
            ("add.floor", 1.4),
            ("del.weft", 2.0),
            ("del.go", 20.0),
            ("storm.weft", 500.0),
            ("storm.go", 100.0),
            ("failures.weft", 0.0),
            ("version.weft", 1.5),
            ("empty.weft", 1.9),
            ("hello", 1.0),
            ("memory.weft", 6.0),
        ] {
            for _ in 0..5 {
                measured.push(name, value);
            }
        }
        measured
    }

    #[test]
    fn good_numbers_pass() {
        let bars = judge(&measured(2.2));
        assert!(bars.iter().all(|bar| bar.verdict == Verdict::Met), "{bars:?}");
        assert_eq!(exit_code(&bars), 0);
    }

    #[test]
    fn a_slow_add_misses_two_bars() {
        let bars = judge(&measured(2.6));
        let missed: Vec<_> = bars.iter().filter(|bar| bar.verdict == Verdict::Missed).map(|bar| bar.name).collect();
        assert_eq!(missed, ["ADD: Go's time over weft's", "ADD: weft's time over the floor's"]);
        assert_eq!(exit_code(&bars), 1);
    }

    #[test]
    fn a_missing_or_noisy_competitor_is_inconclusive() {
        assert_eq!(exit_code(&judge(&Measured::default())), 2);
        let mut noisy = measured(2.2);
        for value in [1.0, 90.0, 90.0, 90.0, 90.0] {
            noisy.push("del.go", value);
        }
        let bars = judge(&noisy);
        assert!(matches!(bars[2].verdict, Verdict::Inconclusive(_)), "{:?}", bars[2]);
        assert_eq!(exit_code(&bars), 2);
    }

    #[test]
    fn a_floor_that_is_slow_is_none() {
        let mut slow = measured(2.2);
        for _ in 0..20 {
            slow.push("add.floor", 3.0);
        }
        assert!(matches!(judge(&slow)[1].verdict, Verdict::Inconclusive(_)));
    }

    #[test]
    fn one_failure_in_a_storm_is_one_too_many() {
        let mut failing = measured(2.2);
        failing.push("failures.weft", 1.0);
        assert_eq!(exit_code(&judge(&failing)), 1);
    }
}
