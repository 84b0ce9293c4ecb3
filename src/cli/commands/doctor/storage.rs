//! What a running server says of its history on disk, by its metrics: how large it is and how it grows, what is not
//! sealed, how far the scrub is, when a backup was made.

use std::{collections::HashMap, io::Read};

use super::CheckResult;
use crate::cli::{
    connection::client::ApiRequest, context::CommandContext, failure::CommandError, output::humanize,
};
use tenure_core::Timestamp;

/// More full ranges than these should not wait to be sealed.
const MOST_UNSEALED: u64 = 4;
/// A scrub that takes longer than a month says little of the disk as it is, in seconds.
const LONG_SCRUB: u64 = 30 * 86_400;
/// A backup is made every night, in seconds.
const OLD_BACKUP: u64 = 2 * 86_400;
/// Less than this long is no growth to go by, in seconds.
const SHORT: u64 = 3_600;

/// Four checks; one that says why there are none.
pub(super) fn history(cli: &CommandContext) -> Vec<CheckResult> {
    match metrics(cli) {
        Ok(figures) => of(&figures, cli.now()),
        Err(CommandError::Problem(problem)) if [401, 403].contains(&problem.status) => {
            vec![CheckResult::new("history", "skip", "needs the key of an admin or an auditor")]
        }
        Err(failure) => vec![CheckResult::failed("history", &failure)],
    }
}

fn metrics(cli: &CommandContext) -> Result<MetricValues, CommandError> {
    let mut text = String::new();
    let mut stream = cli.client.stream(&ApiRequest::get(&["metrics"]))?;
    stream
        .read_to_string(&mut text)
        .map_err(|error| CommandError::Server(format!("the metrics: {error}")))?;
    Ok(MetricValues::of(&text))
}

/// The figures without labels, by name.
struct MetricValues(HashMap<String, u64>);

impl MetricValues {
    fn of(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let named = lines.filter_map(|line| {
            let (name, value) = line.split_once(' ')?;
            Some((name.to_owned(), whole(value)?))
        });
        Self(named.collect())
    }

    fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or_default()
    }
}

/// A figure without its fraction, which only the times of the process have.
fn whole(value: &str) -> Option<u64> {
    value.split('.').next()?.parse().ok()
}

fn of(figures: &MetricValues, now: Timestamp) -> Vec<CheckResult> {
    if figures.get("tenure_log_bytes") == 0 {
        return vec![CheckResult::new("history", "skip", "it is not on the disk of this server")];
    }
    vec![size(figures, now), sealing(figures), scrub(figures), backup(figures, now)]
}

fn size(figures: &MetricValues, now: Timestamp) -> CheckResult {
    let (bytes, before) = (figures.get("tenure_log_bytes"), figures.get("tenure_log_at_start_bytes"));
    let running = seconds_since(figures.get("process_start_time_seconds"), now);
    let growth = match running {
        Some(running) if running >= SHORT => {
            let each_day = bytes.saturating_sub(before).saturating_mul(86_400) / running;
            format!("{} more a day since its start", size_in_words(each_day))
        }
        _ => format!("{} more since its start", size_in_words(bytes.saturating_sub(before))),
    };
    let (segments, position) = (figures.get("tenure_segments"), figures.get("tenure_position"));
    let detail =
        format!("{position} events, {segments} segments, {} on disk, {growth}", size_in_words(bytes));
    CheckResult::new("history", "ok", detail)
}

fn sealing(figures: &MetricValues) -> CheckResult {
    let (unsealed, sealed) = (figures.get("tenure_unsealed_ranges"), figures.get("tenure_sealed_position"));
    if unsealed == 0 {
        return CheckResult::new(
            "sealing",
            "ok",
            format!("every full range is sealed, up to position {sealed}"),
        );
    }
    let age = humanize::duration(figures.get("tenure_unsealed_age_seconds"));
    let needs = size_in_words(figures.get("tenure_sealing_needs_bytes"));
    let detail = format!(
        "{unsealed} full ranges behind position {sealed} are in no segment, the oldest for {age}; to seal them takes \
         about {needs}"
    );
    CheckResult::new("sealing", if unsealed > MOST_UNSEALED { "warn" } else { "ok" }, detail)
}

fn scrub(figures: &MetricValues) -> CheckResult {
    let findings = figures.get("tenure_scrub_findings");
    let (read, segments) = (figures.get("tenure_scrubbed_segments"), figures.get("tenure_segments"));
    let age = figures.get("tenure_scrub_age_seconds");
    let progress = format!(
        "{read} of {segments} segments read in this round; the last one, or the start, was {} ago",
        humanize::duration(age)
    );
    if findings > 0 {
        let detail = format!(
            "{findings} segments are damaged, and nothing is granted: tenure doctor --data DIR --repair-from COPY; \
             {progress}"
        );
        return CheckResult::new("scrub", "fail", detail);
    }
    CheckResult::new("scrub", if age > LONG_SCRUB { "warn" } else { "ok" }, progress)
}

fn backup(figures: &MetricValues, now: Timestamp) -> CheckResult {
    let Some(age) = seconds_since(figures.get("tenure_backup_timestamp_seconds"), now) else {
        return CheckResult::new("backup", "skip", "none was made of this data directory");
    };
    let (covered, position) = (figures.get("tenure_backup_position"), figures.get("tenure_position"));
    let behind = position.saturating_sub(covered);
    let detail = format!("{} ago, up to position {covered}; {behind} events since", humanize::duration(age));
    CheckResult::new("backup", if age > OLD_BACKUP { "warn" } else { "ok" }, detail)
}

/// None of a moment that never was.
fn seconds_since(moment: u64, now: Timestamp) -> Option<u64> {
    let millis = i64::try_from(moment).ok().filter(|seconds| *seconds > 0)?.checked_mul(1_000)?;
    Some(now.seconds_since(Timestamp::from_millis(millis)))
}

fn size_in_words(bytes: u64) -> String {
    match bytes {
        0..1_048_576 => format!("{} KiB", bytes >> 10),
        1_048_576..1_073_741_824 => format!("{} MiB", bytes >> 20),
        1_073_741_824.. => format!("{}.{} GiB", bytes >> 30, ((bytes % (1 << 30)) * 10) >> 30),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-11-21T12:00:00Z";

    fn checks(text: &str) -> Vec<(&'static str, &'static str, String)> {
        let now = Timestamp::parse(NOW).unwrap();
        of(&MetricValues::of(text), now)
            .into_iter()
            .map(|check| (check.name, check.result, check.detail))
            .collect()
    }

    fn started(hours_ago: i64) -> String {
        let at = Timestamp::parse(NOW).unwrap().as_millis() / 1_000 - hours_ago * 3_600;
        format!("process_start_time_seconds {at}.25\ntenure_backup_timestamp_seconds {at}\n")
    }

    #[test]
    fn size_growth_and_the_age_of_the_backup_are_told() {
        let text = "# HELP tenure_segments of it\ntenure_log_bytes 3221225472\ntenure_log_at_start_bytes 1073741824\n\
                    tenure_segments 12\ntenure_position 3000123\ntenure_sealed_position 3000000\n\
                    tenure_scrubbed_segments 3\ntenure_scrub_age_seconds 120\ntenure_backup_position 3000000\n";
        let all = checks(&format!("{text}{}", started(24)));
        assert!(all.iter().all(|(_, result, _)| *result == "ok"), "{all:?}");
        assert_eq!(
            all[0].2,
            "3000123 events, 12 segments, 3.0 GiB on disk, 2.0 GiB more a day since its start"
        );
        assert_eq!(all[1].2, "every full range is sealed, up to position 3000000");
        assert_eq!(all[2].2, "3 of 12 segments read in this round; the last one, or the start, was 2m ago");
        assert_eq!(all[3].2, "1d ago, up to position 3000000; 123 events since");
        assert_eq!(checks(&format!("{text}{}", started(72)))[3].1, "warn");
        let never = checks(text);
        assert_eq!(
            (never[3].1, never[0].2.ends_with("2.0 GiB more since its start")),
            ("skip", true),
            "{never:?}"
        );
    }

    #[test]
    fn a_finding_fails_and_many_ranges_that_wait_are_a_warning() {
        let waiting = |ranges: u64| format!("tenure_log_bytes 1\ntenure_unsealed_ranges {ranges}\n");
        assert_eq!(checks(&waiting(4))[1].1, "ok");
        assert_eq!(checks(&waiting(5))[1].1, "warn");
        let found = checks("tenure_log_bytes 1\ntenure_scrub_findings 2\n");
        assert!(found[2].1 == "fail" && found[2].2.contains("--repair-from"), "{found:?}");
        assert_eq!(checks("tenure_log_bytes 0\n").len(), 1);
    }
}
