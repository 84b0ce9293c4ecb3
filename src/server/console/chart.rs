//! Rates as a picture, drawn here: a bar for each stretch of time, renewals below and refusals on top of them.

use tenure_core::Timestamp;

use crate::projections::pulse::MinuteCounts;

use super::words::PageTime;

const WIDTH: usize = 960;
const HEIGHT: usize = 96;
/// Between two bars.
const GAP: usize = 1;
const MINUTE: i64 = 60_000;

/// A piece of a bar.
pub(super) struct ChartPiece {
    pub(super) x: usize,
    pub(super) y: usize,
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) class: &'static str,
    pub(super) title: String,
}

/// The picture.
pub(super) struct DayChart {
    pub(super) pieces: Vec<ChartPiece>,
    /// The most of one bar.
    pub(super) peak: u32,
    pub(super) renewed: u32,
    pub(super) refused: u32,
    pub(super) start: Timestamp,
}

impl DayChart {
    /// A chart of these minutes, `each` of them to a bar; the last one is the minute of `now`.
    pub(super) fn of(minutes: &[MinuteCounts], each: usize, now: Timestamp) -> Self {
        let sum = |minutes: &[MinuteCounts]| {
            minutes.iter().copied().fold(MinuteCounts::default(), MinuteCounts::and)
        };
        let bars: Vec<_> = minutes.chunks(each).map(sum).collect();
        let all = sum(minutes);
        let length = i64::try_from(minutes.len()).unwrap_or_default();
        let last = now.as_millis().div_euclid(MINUTE);
        let start = |number: i64| Timestamp::ZERO.plus_millis((last - length + 1 + number) * MINUTE);
        let peak = bars.iter().map(|bar| bar.renewed + bar.refused).max().unwrap_or_default();
        let step = WIDTH / bars.len().max(1);
        let pieces = bars.iter().enumerate().flat_map(|(number, bar)| {
            let from = start(i64::try_from(number * each).unwrap_or_default());
            let title = format!("from {}: {} renewals, {} refusals", from.utc(), bar.renewed, bar.refused);
            let (below, above) = (height(bar.renewed, peak), height(bar.refused, peak));
            let piece = |y, height, class| ChartPiece {
                x: number * step,
                y,
                width: step - GAP,
                height,
                class,
                title: title.clone(),
            };
            let pieces =
                [piece(HEIGHT - below, below, "renewed"), piece(HEIGHT - below - above, above, "refused")];
            pieces.into_iter().filter(|piece| piece.height > 0)
        });
        Self { pieces: pieces.collect(), peak, renewed: all.renewed, refused: all.refused, start: start(0) }
    }
}

/// What is not nothing is seen.
fn height(count: u32, peak: u32) -> usize {
    let most = HEIGHT - 12;
    match count {
        0 => 0,
        _ => {
            (usize::try_from(count).unwrap_or(most) * most / usize::try_from(peak).unwrap_or(1).max(1)).max(2)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_high_as_its_count_and_never_leaves_the_picture() {
        let minute = |renewed, refused| MinuteCounts { renewed, refused, ..MinuteCounts::default() };
        let chart =
            DayChart::of(&[minute(0, 0), minute(1, 0), minute(1_000, 7), minute(3, 0)], 2, Timestamp::ZERO);
        assert_eq!((chart.peak, chart.renewed, chart.refused, chart.pieces.len()), (1_010, 1_004, 7, 3));
        for piece in &chart.pieces {
            assert!(piece.y + piece.height <= HEIGHT && piece.x + piece.width <= WIDTH && piece.height >= 2);
        }
        assert!(DayChart::of(&[MinuteCounts::default(); 60], 1, Timestamp::ZERO).pieces.is_empty());
    }
}
