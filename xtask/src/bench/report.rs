//! What is said about a run: a table for people, JSON with every sample for programs.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::bars::{Bar, Verdict};
use super::series::Measured;

/// What each group of series is; a series is named `group.competitor`.
const GROUPS: &[(&str, &str)] = &[
    ("add", "ADD, bridge + host-local (ms)"),
    ("del", "DEL (ms)"),
    ("storm", "200 ADDs and DELs, 32 at a time (operations/s)"),
    ("storm-add", "  its ADDs (operations/s)"),
    ("storm-del", "  its DELs (operations/s)"),
    ("failures", "  its failures"),
    ("hello", "static hello-world (ms)"),
    ("version", "VERSION (ms)"),
    ("empty", "ADD with an empty plan (ms)"),
    ("flannel-add", "two flannel networks, ADD (ms)"),
    ("flannel-del", "two flannel networks, DEL (ms)"),
    ("memory", "peak memory of ADD (MB)"),
];

pub(super) fn table(measured: &Measured, bars: &[Bar], absent: &[String]) -> String {
    let mut out = String::new();
    for (group, title) in GROUPS {
        let of_group =
            |name: &str| name == *group || name.strip_prefix(group).is_some_and(|rest| rest.starts_with('.'));
        let rows: Vec<_> = measured.iter().filter(|(name, _)| of_group(name)).collect();
        if rows.is_empty() {
            continue;
        }
        let _ = writeln!(out, "{title:<48} {:>5} {:>9} {:>9} {:>7} {:>7}", "n", "median", "p99", "spread", "ratio");
        let best = rows.iter().map(|(_, series)| series.median()).fold(f64::INFINITY, f64::min);
        for (name, series) in rows {
            let competitor = name.split_once('.').map_or("", |(_, competitor)| competitor);
            let (median, count) = (series.median(), series.samples().len());
            let _ = write!(out, "    {competitor:<44} {count:>5} {median:>9.2} {:>9.2}", series.p99());
            if median > 0.0 {
                let _ = write!(out, " {:>5.0} % {:>7.2}", series.spread() * 100.0, median / best);
            }
            out.push('\n');
        }
    }
    for reason in absent {
        let _ = writeln!(out, "absent: {reason}");
    }
    for bar in bars {
        let value = bar.value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"));
        let _ = match &bar.verdict {
            Verdict::Met => writeln!(out, "met           {}: {value}, wanted {}", bar.name, bar.wanted),
            Verdict::Missed => writeln!(out, "MISSED        {}: {value}, wanted {}", bar.name, bar.wanted),
            Verdict::Inconclusive(reason) => {
                writeln!(out, "inconclusive  {}: {reason}; wanted {}", bar.name, bar.wanted)
            }
        };
    }
    out
}

pub(super) fn json(measured: &Measured, bars: &[Bar], absent: &[String]) -> Value {
    let series = measured.iter().map(|(name, series)| {
        (name.to_owned(), json!({"median": series.median(), "p99": series.p99(), "samples": series.samples()}))
    });
    let bars = bars.iter().map(|bar| {
        let (verdict, reason) = match &bar.verdict {
            Verdict::Met => ("met", None),
            Verdict::Missed => ("missed", None),
            Verdict::Inconclusive(reason) => ("inconclusive", Some(reason)),
        };
        json!({"name": bar.name, "value": bar.value, "wanted": bar.wanted, "verdict": verdict, "reason": reason})
    });
    json!({
        "units": GROUPS.iter().map(|(group, title)| ((*group).to_owned(), json!(title.trim()))).collect::<serde_json::Map<_, _>>(),
        "series": series.collect::<serde_json::Map<_, _>>(),
        "bars": bars.collect::<Vec<_>>(),
        "absent": absent,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::bars::judge;

    #[test]
    fn table_and_json_say_the_same() {
        let mut measured = Measured::default();
        for (name, value) in [("add.go", 9.0), ("add.floor", 1.5), ("failures.go", 0.0)] {
            measured.push(name, value);
        }
        let bars = judge(&measured);
        let text = table(&measured, &bars, &["weft: not built".into()]);
        assert!(text.contains("6.00") && text.contains("absent: weft: not built"), "{text}");
        assert!(text.contains("inconclusive  ADD: Go's time over weft's: add.weft was not measured"), "{text}");
        let json = json(&measured, &bars, &[]);
        assert_eq!(json["series"]["add.go"]["samples"], json!([9.0]));
        assert_eq!(json["bars"][0]["verdict"], "inconclusive");
    }
}
