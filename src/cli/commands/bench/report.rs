//! Rounds to figures, figures to a table or a document.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::rounds::{RoundTimes, many};
use crate::cli::{
    environment,
    failure::CommandError,
    output::{Column, Output, OutputFormat},
};

const COLUMNS: &[Column] = &[
    Column::plain("WORK", "work"),
    Column::plain("CALLERS", "callers"),
    Column::plain("PER SECOND", "perSecond"),
    Column::plain("LOWEST", "lowest"),
    Column::plain("HIGHEST", "highest"),
    Column::plain("P50 MS", "p50Millis"),
    Column::plain("P99 MS", "p99Millis"),
    Column::plain("CPU US", "cpuMicros"),
    Column::plain("RATIO", "ratio"),
    Column::plain("LOAD", "loadAverage"),
];

/// The rounds of one kind of work.
#[derive(Debug)]
pub(super) struct RoundSeries {
    work: String,
    callers: usize,
    /// How many things a call is about.
    each: usize,
    /// Whether all the work is this process's, so that its processor time says something.
    is_here: bool,
    rounds: Vec<RoundFigures>,
}

#[derive(Clone, Copy, Debug)]
struct RoundFigures {
    rate: f64,
    p50: Option<f64>,
    p99: Option<f64>,
    cpu: f64,
    load: Option<f64>,
}

impl RoundSeries {
    pub(super) fn new(work: impl Into<String>, callers: usize) -> Self {
        Self { work: work.into(), callers, each: 1, is_here: true, rounds: Vec::new() }
    }

    /// Of work that a server does, `each` things in a call.
    pub(super) fn elsewhere(work: impl Into<String>, callers: usize, each: usize) -> Self {
        Self { each, is_here: false, ..Self::new(work, callers) }
    }

    /// Adds a round of which every call was timed.
    pub(super) fn add(&mut self, round: &RoundTimes) {
        let millis = |thousandths| Some(round.quantile(thousandths).as_secs_f64() * 1e3);
        let rate = round.rate() * many(self.each);
        self.push(rate, millis(500), millis(990), round.worked.as_secs_f64() / many(round.micros.len()));
    }

    /// Adds a round of calls of which only the whole was timed: by the clock, and by the processors.
    pub(super) fn add_whole(&mut self, calls: usize, took: Duration, worked: Duration) {
        let calls = many(calls);
        self.push(calls / took.as_secs_f64(), None, None, worked.as_secs_f64() / calls);
    }

    fn push(&mut self, rate: f64, p50: Option<f64>, p99: Option<f64>, cpu: f64) {
        self.rounds.push(RoundFigures { rate, p50, p99, cpu, load: super::conditions::load_average() });
    }

    /// Things per second in the median round.
    pub(super) fn median_rate(&self) -> f64 {
        median(self.rounds.iter().map(|round| round.rate)).unwrap_or(0.0)
    }

    /// As an item of the report; with the ratio to another series of the same run.
    pub(super) fn item(&self, against: Option<&Self>) -> Value {
        let rates = || self.rounds.iter().map(|round| round.rate);
        let rounded = |value: Option<f64>| value.map(|value| (value * 100.0).round() / 100.0);
        let cpu = median(self.rounds.iter().map(|round| round.cpu * 1e6));
        json!({
            "work": self.work,
            "callers": self.callers,
            "perSecond": self.median_rate().round(),
            "lowest": rates().fold(f64::INFINITY, f64::min).round(),
            "highest": rates().fold(0.0, f64::max).round(),
            "p50Millis": rounded(median(self.rounds.iter().filter_map(|round| round.p50))),
            "p99Millis": rounded(median(self.rounds.iter().filter_map(|round| round.p99))),
            "cpuMicros": rounded(cpu.filter(|_| self.is_here)),
            "ratio": rounded(against.map(|other| self.ratio_to(other))),
            "loadAverage": median(self.rounds.iter().filter_map(|round| round.load)),
        })
    }

    /// The median of the ratios of rounds that followed each other.
    fn ratio_to(&self, other: &Self) -> f64 {
        let pairs = self.rounds.iter().zip(&other.rounds);
        median(pairs.map(|(ours, theirs)| ours.rate / theirs.rate)).unwrap_or(0.0)
    }

    /// The same of the durations that 99 of 100 calls stayed within.
    pub(super) fn p99_ratio_to(&self, other: &Self) -> Option<f64> {
        let pairs = self.rounds.iter().zip(&other.rounds);
        let ratio = median(pairs.filter_map(|(ours, theirs)| Some(ours.p99? / theirs.p99?)));
        ratio.map(|ratio| (ratio * 100.0).round() / 100.0)
    }
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    let upper = values.get(values.len() / 2)?;
    let lower = values.get(values.len().saturating_sub(1) / 2)?;
    Some(f64::midpoint(*lower, *upper))
}

/// Prints the conditions and what was measured under them.
pub(super) fn print(
    output: Output,
    conditions: &Map<String, Value>,
    items: &[Value],
) -> Result<(), CommandError> {
    print_with(output, conditions, items, COLUMNS)
}

/// As [`print`], with other columns.
pub(super) fn print_with(
    output: Output,
    conditions: &Map<String, Value>,
    items: &[Value],
    columns: &[Column],
) -> Result<(), CommandError> {
    let now = environment::now();
    let document = json!({"conditions": conditions, "items": items});
    if output.format() == OutputFormat::Table {
        output.record(&document["conditions"], &[], now)?;
    }
    output.list(&document, columns, now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_rounds_is_told_with_the_ratio_of_neighbours() {
        let (mut ours, mut theirs) = (RoundSeries::new("ours", 64), RoundSeries::new("theirs", 64));
        let second = Duration::from_secs(1);
        for (one, other) in [(100, 200), (300, 100), (200, 200)] {
            ours.add_whole(one, second, second);
            theirs.add_whole(other, second, second);
        }
        let item = ours.item(Some(&theirs));
        assert_eq!((&item["perSecond"], &item["ratio"]), (&json!(200.0), &json!(1.0)));
        assert_eq!((&item["lowest"], &item["highest"]), (&json!(100.0), &json!(300.0)));
    }
}
