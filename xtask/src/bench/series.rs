//! Samples and what is said about them. Pure.

use std::collections::BTreeMap;

/// Everything measured, by name: `add.weft` and the like. Milliseconds, operations a second or megabytes, as the name says.
#[derive(Default, Debug)]
pub(super) struct Measured(BTreeMap<String, Series>);

impl Measured {
    pub(super) fn push(&mut self, name: &str, value: f64) {
        self.0.entry(name.to_owned()).or_default().0.push(value);
    }

    /// The series, if there is a sample in it.
    pub(super) fn get(&self, name: &str) -> Option<&Series> {
        self.0.get(name)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Series)> {
        self.0.iter().map(|(name, series)| (name.as_str(), series))
    }
}

/// Samples in the order in which they were taken; never empty.
#[derive(Default, Debug)]
pub(super) struct Series(Vec<f64>);

impl Series {
    pub(super) fn samples(&self) -> &[f64] {
        &self.0
    }

    pub(super) fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    pub(super) fn p99(&self) -> f64 {
        self.quantile(0.99)
    }

    /// How far the middle half is spread, as a part of the median.
    pub(super) fn spread(&self) -> f64 {
        (self.quantile(0.75) - self.quantile(0.25)) / self.median()
    }

    /// The series cut into this many, in the order in which the samples were taken; fewer if there are few samples.
    pub(super) fn parts(&self, count: usize) -> Vec<Series> {
        let size = self.0.len().div_ceil(count).max(1);
        self.0.chunks(size).map(|part| Series(part.to_vec())).collect()
    }

    /// Linear between the two nearest samples.
    fn quantile(&self, part: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let at = part * (sorted.len().saturating_sub(1)) as f64;
        let (below, above) = (at.floor(), at.ceil());
        let sample = |at: f64| sorted.get(at as usize).copied().unwrap_or(f64::NAN);
        sample(below) + (sample(above) - sample(below)) * (at - below)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(values: &[f64]) -> Series {
        Series(values.to_vec())
    }

    #[test]
    fn quantiles_are_those_of_the_sorted_samples() {
        assert_eq!(series(&[9.0, 1.0, 5.0]).median(), 5.0);
        assert_eq!(series(&[4.0, 1.0, 2.0, 3.0]).median(), 2.5);
        let hundred = series(&(0..=100).map(f64::from).collect::<Vec<_>>());
        assert_eq!((hundred.p99(), hundred.spread()), (99.0, 1.0));
        assert_eq!(series(&[7.0]).p99(), 7.0);
    }

    #[test]
    fn parts_keep_the_order() {
        let parts: Vec<f64> = series(&[1.0, 1.0, 2.0, 2.0, 3.0]).parts(3).iter().map(Series::median).collect();
        assert_eq!(parts, [1.0, 2.0, 3.0]);
        assert_eq!(series(&[1.0]).parts(4).len(), 1);
    }
}
