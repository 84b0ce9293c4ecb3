//! Rounds to figures, figures to a table or a document.

use serde_json::{Map, Value, json};

use super::laps::Round;
use crate::cli::{
    ambient,
    failure::Failure,
    output::{Column, Format, Output},
};

const COLUMNS: &[Column] = &[
    Column::plain("WORK", "work"),
    Column::plain("CALLERS", "callers"),
    Column::plain("PER SECOND", "perSecond"),
    Column::plain("LOWEST", "lowest"),
    Column::plain("HIGHEST", "highest"),
    Column::plain("P50 MS", "p50Millis"),
    Column::plain("P99 MS", "p99Millis"),
    Column::plain("RATIO", "ratio"),
    Column::plain("LOAD", "loadAverage"),
];

/// The rounds of one kind of work.
#[derive(Debug)]
pub(super) struct Series {
    work: String,
    callers: usize,
    /// How many things a call is about.
    each: usize,
    rounds: Vec<Figures>,
}

#[derive(Clone, Copy, Debug)]
struct Figures {
    rate: f64,
    p50: Option<f64>,
    p99: Option<f64>,
    load: Option<f64>,
}

impl Series {
    pub(super) fn new(work: impl Into<String>, callers: usize) -> Self {
        Self { work: work.into(), callers, each: 1, rounds: Vec::new() }
    }

    /// Of work that does `each` things in a call.
    pub(super) fn of_batches(work: impl Into<String>, callers: usize, each: usize) -> Self {
        Self { each, ..Self::new(work, callers) }
    }

    /// Adds a round of which every call was timed.
    pub(super) fn add(&mut self, round: &Round) {
        let millis = |share| Some(round.quantile(share).as_secs_f64() * 1e3);
        self.push(round.rate() * self.each as f64, millis(0.5), millis(0.99));
    }

    /// Adds a round of which only the whole was timed.
    pub(super) fn add_rate(&mut self, rate: f64) {
        self.push(rate, None, None);
    }

    fn push(&mut self, rate: f64, p50: Option<f64>, p99: Option<f64>) {
        self.rounds.push(Figures { rate, p50, p99, load: super::conditions::load_average() });
    }

    /// Things per second in the median round.
    pub(super) fn median_rate(&self) -> f64 {
        median(self.rounds.iter().map(|round| round.rate)).unwrap_or(0.0)
    }

    /// As an item of the report; with the ratio to another series of the same run.
    pub(super) fn item(&self, against: Option<&Self>) -> Value {
        let rates = || self.rounds.iter().map(|round| round.rate);
        let tenths = |value: Option<f64>| value.map(|value| (value * 100.0).round() / 100.0);
        json!({
            "work": self.work,
            "callers": self.callers,
            "perSecond": self.median_rate().round(),
            "lowest": rates().fold(f64::INFINITY, f64::min).round(),
            "highest": rates().fold(0.0, f64::max).round(),
            "p50Millis": tenths(median(self.rounds.iter().filter_map(|round| round.p50))),
            "p99Millis": tenths(median(self.rounds.iter().filter_map(|round| round.p99))),
            "ratio": against.map(|other| (self.ratio_to(other) * 100.0).round() / 100.0),
            "loadAverage": median(self.rounds.iter().filter_map(|round| round.load)),
        })
    }

    /// The median of the ratios of rounds that followed each other.
    fn ratio_to(&self, other: &Self) -> f64 {
        let pairs = self.rounds.iter().zip(&other.rounds);
        median(pairs.map(|(ours, theirs)| ours.rate / theirs.rate)).unwrap_or(0.0)
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
    conditions: Map<String, Value>,
    items: Vec<Value>,
) -> Result<(), Failure> {
    print_with(output, conditions, items, COLUMNS)
}

/// As [`print`], with other columns.
pub(super) fn print_with(
    output: Output,
    conditions: Map<String, Value>,
    items: Vec<Value>,
    columns: &[Column],
) -> Result<(), Failure> {
    let now = ambient::now();
    let document = json!({"conditions": conditions, "items": items});
    if output.format() == Format::Table {
        output.record(&document["conditions"], &[], now)?;
    }
    output.list(&document, columns, now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_rounds_is_told_with_the_ratio_of_neighbours() {
        let (mut ours, mut theirs) = (Series::new("ours", 64), Series::new("theirs", 64));
        for (one, other) in [(100.0, 200.0), (300.0, 100.0), (200.0, 200.0)] {
            ours.add_rate(one);
            theirs.add_rate(other);
        }
        let item = ours.item(Some(&theirs));
        assert_eq!((&item["perSecond"], &item["ratio"]), (&json!(200.0), &json!(1.0)));
        assert_eq!((&item["lowest"], &item["highest"]), (&json!(100.0), &json!(300.0)));
    }
}
