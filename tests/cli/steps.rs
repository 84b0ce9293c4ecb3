//! `tenure audit replay --step` on a terminal: a history is walked through in both directions, by plain lines.

use crate::fixture::{Fixture, ran};

fn incident(options: &str, typed: &str) -> String {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/exports/incident.export");
    let ran = Fixture::new().on_terminal(&format!("audit replay --step {options} --file {file}"), typed);
    assert_eq!(ran.code, 0, "{ran:?}");
    ran.stdout
}

/// The positions of the events that were shown, in the order in which they were.
fn positions(shown: &str) -> Vec<u64> {
    let position = |line: &str| {
        let line = line.rsplit_once("quit] ").map_or(line, |(_, line)| line).trim_start();
        let (position, moment) = line.split_once("  ")?;
        moment.starts_with("2026-11-2").then(|| position.parse().ok())?
    };
    shown.lines().filter_map(position).collect()
}

/// There was no way back, and nothing to look for: in a history of 40,000 events one pressed Enter, or began again.
#[test]
fn one_steps_forward_and_back_and_jumps() {
    let shown = incident("", "\n\nb\ng 12\nb\nq\n");
    assert_eq!(positions(&shown), [1, 2, 3, 2, 12, 11], "{shown}");
}

#[test]
fn a_search_finds_the_next_event_with_the_words() {
    let shown = incident("--from 7", "/vetoed\n/\nb\nq\n");
    assert_eq!(positions(&shown), [7, 12, 13, 12], "{shown}");
    assert!(shown.contains("ended: vetoed"), "{shown}");
    let none = incident("", "/no such words\nq\n");
    assert!(none.contains("No event after position 1 contains \"no such words\"."), "{none}");
    assert_eq!(positions(&none), [1, 1], "{none}");
}

#[test]
fn the_end_of_the_history_is_said_and_leads_back() {
    let shown = incident("--from 22", "\nb\n\n\n\n");
    assert_eq!(positions(&shown), [22, 21, 22], "{shown}");
    assert_eq!(shown.matches("That was the last event.").count(), 2, "{shown}");
}

#[test]
fn a_line_that_is_no_order_is_answered_with_the_orders() {
    let shown = incident("", "what\nq\n");
    assert!(shown.contains("b, g POSITION, /TEXT or q"), "{shown}");
    assert_eq!(positions(&shown), [1], "{shown}");
}

/// An id that fits nothing showed nothing, without a word; and the beginning of one fitted nothing.
#[test]
fn the_events_of_one_are_found_by_the_beginning_of_its_id() {
    let whole = incident("--subject payments-bot", "q\n");
    assert_eq!(incident("--subject paym", "q\n"), whole);
    assert_eq!(positions(&incident("--session 01a200c4", "\n\nq\n")), [6, 7, 8]);
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/exports/incident.export");
    let walked = |option: &str, whom: &str| {
        let words = ["audit", "replay", "--step", option, whom, "--file", file];
        ran(&mut Fixture::empty().bare(&words))
    };
    let several = walked("--session", "01a2");
    assert_eq!(several.code, 5, "{several:?}");
    assert!(several.stderr.contains("01a200c4-6280-7013-ac66-70bf18b2a29c"), "{several:?}");
    let none = walked("--subject", "ghost");
    assert_eq!((none.code, none.stdout.as_str()), (4, ""), "{none:?}");
    assert!(none.stderr.contains("no subject \"ghost\" is in this history"), "{none:?}");
}
