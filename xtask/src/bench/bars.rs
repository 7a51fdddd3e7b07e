//! The budgets, held against what was measured. Pure.
//!
//! A bar is met, missed, or inconclusive: a series is missing, or so spread that its median says nothing.

use super::series::{Measured, Series};

/// Above this the middle half of the samples lies too far apart for one median; then all parts of the run must agree.
const NOISY: f64 = 0.5;
const PARTS: usize = 4;
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

/// How a bar's value comes from series.
enum Value {
    Ratio(&'static str, &'static str),
    Difference(&'static str, &'static str),
    Median(&'static str),
    Sum(&'static str),
}

use Value::{Difference, Median, Ratio, Sum};

impl Value {
    /// For the whole run first, then for each part of it.
    fn evaluate(&self, measured: &Measured) -> Result<Vec<f64>, String> {
        let get = |name: &str| measured.get(name).ok_or_else(|| format!("{name} was not measured"));
        let medians = |name: &str| -> Result<Vec<f64>, String> {
            let series = get(name)?;
            Ok(std::iter::once(series.median()).chain(series.parts(PARTS).iter().map(Series::median)).collect())
        };
        let pairs = |one: &str, other: &str, f: fn(f64, f64) -> f64| -> Result<Vec<f64>, String> {
            Ok(medians(one)?.into_iter().zip(medians(other)?).map(|(one, other)| f(one, other)).collect())
        };
        match self {
            Ratio(one, other) => pairs(one, other, |one, other| one / other),
            Difference(one, other) => pairs(one, other, |one, other| one - other),
            Median(name) => medians(name),
            Sum(name) => Ok(vec![get(name)?.samples().iter().sum()]),
        }
    }

    /// The most spread of its series.
    fn spread(&self, measured: &Measured) -> f64 {
        let names: &[&str] = match self {
            Ratio(one, other) | Difference(one, other) => &[one, other],
            Median(name) => &[name],
            Sum(_) => &[],
        };
        names.iter().filter_map(|name| measured.get(name)).map(Series::spread).fold(0.0, f64::max)
    }
}

pub(super) fn judge(measured: &Measured) -> Vec<Bar> {
    let bar = |name, wanted, value| judge_one(measured, name, &wanted, &value);
    let mut bars = vec![
        bar("ADD: Go's time over weft's", AtLeast(4.0, "times"), Ratio("add.go", "add.weft")),
        bar(OVER_FLOOR, AtMost(1.8, "times"), Ratio("add.weft", "add.floor")),
        bar("DEL: Go's time over weft's", AtLeast(5.0, "times"), Ratio("del.go", "del.weft")),
        bar("storm: weft's throughput over Go's", AtLeast(4.0, "times"), Ratio("storm.weft", "storm.go")),
        bar("storm: weft's failures", AtMost(0.0, "of all"), Sum("failures.weft")),
        bar("VERSION: weft's time over hello-world's", AtMost(1.2, "ms more"), Difference("version.weft", "hello")),
        bar("empty ADD: weft's time over hello-world's", AtMost(1.2, "ms more"), Difference("empty.weft", "hello")),
        bar("peak memory of weft's ADD", AtMost(12.0, "MB"), Median("memory.weft")),
    ];
    let floor = judge_one(measured, "floor", &AtLeast(FLOOR_OVER_GO, "times"), &Ratio("add.go", "add.floor"));
    if let (Some(bar), true) = (bars.iter_mut().find(|bar| bar.name == OVER_FLOOR), floor.verdict != Verdict::Met) {
        let ratio = floor.value.map_or_else(String::new, |ratio| format!(" {ratio:.1} times"));
        bar.verdict = Verdict::Inconclusive(format!(
            "the floor must be {FLOOR_OVER_GO} times as fast as Go in the same run to be one, and is not certainly so:{ratio}"
        ));
    }
    bars
}

const OVER_FLOOR: &str = "ADD: weft's time over the floor's";

fn judge_one(measured: &Measured, name: &'static str, wanted: &Wanted, value: &Value) -> Bar {
    let values = match value.evaluate(measured) {
        Ok(values) => values,
        Err(reason) => return Bar { name, wanted: wanted.text(), value: None, verdict: Verdict::Inconclusive(reason) },
    };
    let met: Vec<bool> = values.iter().map(|value| wanted.is_met(*value)).collect();
    let agree = met.iter().all(|part| *part == met[0]);
    let spread = value.spread(measured);
    let verdict = if spread > NOISY && !agree {
        let parts: Vec<String> = values[1..].iter().map(|value| format!("{value:.2}")).collect();
        let (spread, parts) = (spread * 100.0, parts.join(", "));
        Verdict::Inconclusive(format!(
            "too noisy: samples spread over {spread:.0} % of their median, parts of the run say {parts}"
        ))
    } else if met[0] {
        Verdict::Met
    } else {
        Verdict::Missed
    };
    Bar { name, wanted: wanted.text(), value: Some(values[0]), verdict }
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
    fn a_missing_competitor_is_inconclusive() {
        let bars = judge(&Measured::default());
        assert!(bars.iter().all(|bar| matches!(bar.verdict, Verdict::Inconclusive(_))), "{bars:?}");
        assert_eq!(exit_code(&bars), 2);
    }

    #[test]
    fn noise_is_inconclusive_only_where_the_run_contradicts_itself() {
        let mut noisy = measured(2.2);
        for value in [7.0, 7.0, 7.0, 7.0, 60.0] {
            noisy.push("del.go", value);
            noisy.push("del.weft", 2.0);
        }
        let bars = judge(&noisy);
        assert!(matches!(bars[2].verdict, Verdict::Inconclusive(_)), "{:?}", bars[2]);
        assert_eq!(exit_code(&bars), 2);
        let mut noisy = measured(2.2);
        for value in [90.0, 15.0, 90.0, 15.0, 90.0] {
            noisy.push("del.go", value);
        }
        assert_eq!(judge(&noisy)[2].verdict, Verdict::Met);
    }

    #[test]
    fn a_floor_that_is_slow_is_none() {
        let mut slow = measured(2.2);
        for _ in 0..20 {
            slow.push("add.floor", 3.0);
        }
        assert_eq!(judge(&slow)[1].value, Some(2.2 / 3.0));
        assert!(matches!(judge(&slow)[1].verdict, Verdict::Inconclusive(_)));
    }

    #[test]
    fn one_failure_in_a_storm_is_one_too_many() {
        let mut failing = measured(2.2);
        failing.push("failures.weft", 1.0);
        assert_eq!(exit_code(&judge(&failing)), 1);
    }
}
