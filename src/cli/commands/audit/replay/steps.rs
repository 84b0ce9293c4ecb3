//! Walking through the events of a replay: forward, back, to a position, to a text.
//!
//! The history is read once and forward. The newest [`KEPT`] events that matched are kept for the way back; a step
//! further back reads the history again up to there.

use std::collections::VecDeque;

use serde_json::Value;

/// Maximum number of events kept for the way back.
const KEPT: usize = 1_000;

/// What the reader types: one line, by its first character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum StepCommand {
    /// The next event (Enter).
    Next,
    /// The one before (`b`).
    Back,
    /// The one at this position, or the first after it (`g 4711`).
    Position(u64),
    /// The next one whose lines contain this text, in any case (`/text`); empty repeats the last search.
    Search(String),
    /// No more (`q`).
    Quit,
    /// None of these.
    Unknown,
}

impl StepCommand {
    /// The answers, for the prompt.
    pub(super) const PROMPT: &str = "[Enter: next, b: back, g 4711: go to, /text: search, q: quit] ";

    pub(super) fn of(line: &str) -> Self {
        let line = line.trim();
        let Some(first) = line.chars().next() else { return Self::Next };
        let rest = line[first.len_utf8()..].trim();
        match (first, rest.parse()) {
            ('/', _) => Self::Search(rest.to_owned()),
            ('g' | 'G', Ok(position)) => Self::Position(position),
            _ => match line.to_ascii_lowercase().as_str() {
                "b" | "back" => Self::Back,
                "n" | "next" => Self::Next,
                "q" | "quit" => Self::Quit,
                _ => Self::Unknown,
            },
        }
    }
}

/// One event as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ShownEvent {
    pub position: u64,
    pub document: Value,
    pub lines: Vec<String>,
}

impl ShownEvent {
    fn contains(&self, lowercase: &str) -> bool {
        self.lines.iter().any(|line| line.to_lowercase().contains(lowercase))
    }
}

/// Where the reader wants to be next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum StepTarget {
    /// At the next event.
    Next,
    /// At the first one from this position on.
    From(u64),
    /// At the last one before this position.
    Before(u64),
    /// At the next one with this text, after this position.
    Text(String, u64),
}

/// What to do with the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum WalkControl {
    /// Read on.
    On,
    /// Read it again, for this target.
    Again(StepTarget),
    /// The reader has seen enough.
    Enough,
}

/// The reader of the steps.
pub(super) trait StepReader {
    type Failure;
    fn show(&mut self, shown: &ShownEvent) -> Result<(), Self::Failure>;
    fn say(&mut self, text: &str);
    fn ask(&mut self) -> StepCommand;
}

/// The walk: what was passed, and where the reader wants to be.
#[derive(Debug)]
pub(super) struct StepWalk {
    kept: VecDeque<ShownEvent>,
    has_forgotten: bool,
    target: StepTarget,
    last_search: String,
}

impl StepWalk {
    pub(super) fn to(target: StepTarget) -> Self {
        Self { kept: VecDeque::new(), has_forgotten: false, target, last_search: String::new() }
    }

    /// Whether no event was passed.
    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Begins again from the first event, on the way to this target.
    pub(super) fn begin_again(&mut self, target: StepTarget) {
        self.kept.clear();
        (self.has_forgotten, self.target) = (false, target);
    }

    /// The next event of the history.
    pub(super) fn pass<R: StepReader>(
        &mut self,
        shown: ShownEvent,
        reader: &mut R,
    ) -> Result<WalkControl, R::Failure> {
        let position = shown.position;
        let has_text = |text: &str, after: u64| position > after && shown.contains(text);
        let arrives = match &self.target {
            StepTarget::Next => Some(0),
            StepTarget::From(at) => (position >= *at).then_some(0),
            StepTarget::Before(at) => (position >= *at).then_some(1),
            StepTarget::Text(text, after) => has_text(text, *after).then_some(0),
        };
        if self.kept.len() == KEPT {
            self.kept.pop_front();
            self.has_forgotten = true;
        }
        self.kept.push_back(shown);
        match arrives {
            Some(back) => self.arrive((self.kept.len() - 1).saturating_sub(back), reader),
            None => Ok(WalkControl::On),
        }
    }

    /// The history has ended. The reader may still go back.
    pub(super) fn end<R: StepReader>(&mut self, reader: &mut R) -> Result<WalkControl, R::Failure> {
        loop {
            let course = self.turn(reader)?;
            if course != WalkControl::On {
                return Ok(course);
            }
        }
    }

    /// At the end, with a target that was not met.
    fn turn<R: StepReader>(&mut self, reader: &mut R) -> Result<WalkControl, R::Failure> {
        let Some(last) = self.kept.len().checked_sub(1) else { return Ok(WalkControl::Enough) };
        match self.target.clone() {
            StepTarget::Next => {
                reader.say("That was the last event.");
                self.talk(last, true, reader)
            }
            StepTarget::From(_) | StepTarget::Before(_) => {
                reader.say(&format!("The last event is at position {}.", self.kept[last].position));
                self.arrive(last, reader)
            }
            StepTarget::Text(text, after) => {
                reader.say(&format!("No event after position {after} contains \"{text}\"."));
                self.target = StepTarget::Next;
                match self.kept.iter().position(|shown| shown.position >= after) {
                    Some(0) if self.has_forgotten => Ok(WalkControl::Again(StepTarget::From(after))),
                    Some(index) => self.arrive(index, reader),
                    None => self.arrive(last, reader),
                }
            }
        }
    }

    fn arrive<R: StepReader>(&mut self, index: usize, reader: &mut R) -> Result<WalkControl, R::Failure> {
        reader.show(&self.kept[index])?;
        self.talk(index, false, reader)
    }

    /// Takes orders until one leads beyond what is kept.
    fn talk<R: StepReader>(
        &mut self,
        mut index: usize,
        mut is_over: bool,
        reader: &mut R,
    ) -> Result<WalkControl, R::Failure> {
        loop {
            let next = match reader.ask() {
                StepCommand::Quit => return Ok(WalkControl::Enough),
                StepCommand::Next if is_over => return Ok(WalkControl::Enough),
                StepCommand::Next => self.ahead(index + 1, StepTarget::Next),
                StepCommand::Back if index == 0 && self.has_forgotten => {
                    Err(WalkControl::Again(StepTarget::Before(self.kept[0].position)))
                }
                StepCommand::Back if index == 0 => {
                    reader.say("That is the first event.");
                    continue;
                }
                StepCommand::Back => Ok(index - 1),
                StepCommand::Position(at) => self.go_to(at),
                StepCommand::Search(text) => {
                    let Some(found) = self.search(&text, index) else {
                        reader.say("Search for what? Write /text.");
                        continue;
                    };
                    found
                }
                StepCommand::Unknown => {
                    reader.say("Enter, b, g POSITION, /TEXT or q, each with Enter.");
                    continue;
                }
            };
            match next {
                Ok(there) => index = there,
                Err(course) => return Ok(course),
            }
            is_over = false;
            reader.show(&self.kept[index])?;
        }
    }

    /// The kept event at this index, or the way on.
    fn ahead(&mut self, index: usize, target: StepTarget) -> Result<usize, WalkControl> {
        if index < self.kept.len() {
            return Ok(index);
        }
        self.target = target;
        Err(WalkControl::On)
    }

    fn go_to(&mut self, at: u64) -> Result<usize, WalkControl> {
        match self.kept.iter().position(|shown| shown.position >= at) {
            Some(0) if self.has_forgotten => Err(WalkControl::Again(StepTarget::From(at))),
            found => self.ahead(found.unwrap_or(self.kept.len()), StepTarget::From(at)),
        }
    }

    /// `None` without a text to search for.
    fn search(&mut self, text: &str, from: usize) -> Option<Result<usize, WalkControl>> {
        if !text.is_empty() {
            self.last_search = text.to_lowercase();
        }
        let text = Some(self.last_search.clone()).filter(|text| !text.is_empty())?;
        let found = self.kept.iter().skip(from + 1).position(|shown| shown.contains(&text));
        let there = found.map_or(self.kept.len(), |further| from + 1 + further);
        let after = self.kept[from].position;
        Some(self.ahead(there, StepTarget::Text(text, after)))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use serde_json::json;

    use super::*;

    /// Types these lines, and notes what it sees.
    struct ScriptedReader {
        lines: VecDeque<&'static str>,
        seen: Vec<String>,
    }

    impl StepReader for ScriptedReader {
        type Failure = Infallible;
        fn show(&mut self, shown: &ShownEvent) -> Result<(), Infallible> {
            self.seen.push(shown.position.to_string());
            Ok(())
        }
        fn say(&mut self, text: &str) {
            self.seen.push(text.to_owned());
        }
        fn ask(&mut self) -> StepCommand {
            self.lines.pop_front().map_or(StepCommand::Quit, StepCommand::of)
        }
    }

    /// A history with this number of events; every hundredth is a veto.
    fn walked(events: u64, first: StepTarget, lines: &[&'static str]) -> Vec<String> {
        let mut typist = ScriptedReader { lines: lines.iter().copied().collect(), seen: Vec::new() };
        let mut walk = StepWalk::to(first);
        loop {
            let mut course = WalkControl::On;
            for position in 1..=events {
                let what = if position % 100 == 0 { "ended: Vetoed" } else { "renewed" };
                let shown =
                    ShownEvent { position, document: json!({}), lines: vec![format!("{position} {what}")] };
                let Ok(next) = walk.pass(shown, &mut typist);
                course = next;
                if course != WalkControl::On {
                    break;
                }
            }
            if course == WalkControl::On {
                let Ok(end) = walk.end(&mut typist);
                course = end;
            }
            match course {
                WalkControl::Again(target) => walk.begin_again(target),
                WalkControl::On | WalkControl::Enough => return typist.seen,
            }
        }
    }

    #[test]
    fn a_line_is_an_order() {
        assert_eq!(StepCommand::of(" \n"), StepCommand::Next);
        assert_eq!(StepCommand::of("b"), StepCommand::Back);
        assert_eq!(StepCommand::of("g4711"), StepCommand::Position(4_711));
        assert_eq!(StepCommand::of("g  4711 "), StepCommand::Position(4_711));
        assert_eq!(StepCommand::of("/not at night"), StepCommand::Search("not at night".to_owned()));
        assert_eq!(StepCommand::of("Q"), StepCommand::Quit);
        assert_eq!(StepCommand::of("g then"), StepCommand::Unknown);
        assert_eq!(StepCommand::of("é"), StepCommand::Unknown);
    }

    #[test]
    fn one_goes_on_back_and_to_a_position() {
        let seen = walked(9, StepTarget::Next, &["", "", "b", "b", "b", "g 7", "g 2", "b", "n", "q"]);
        assert_eq!(seen, ["1", "2", "3", "2", "1", "That is the first event.", "7", "2", "1", "2"]);
    }

    #[test]
    fn a_search_goes_forward_in_any_case_and_again() {
        let seen = walked(350, StepTarget::From(20), &["/VETOED", "/", "/", "/", "b", "q"]);
        let none = "No event after position 300 contains \"vetoed\".";
        assert_eq!(seen, ["20", "100", "200", "300", none, "300", "299"]);
    }

    #[test]
    fn a_way_back_beyond_what_is_kept_reads_again() {
        let seen =
            walked(5_000, StepTarget::From(4_000), &["g 7", "", "g 3500", "b", "g 2100", "g 3", "b", "q"]);
        assert_eq!(seen, ["4000", "7", "8", "3500", "3499", "2100", "3", "2"]);
        // The first kept event is at 3001; the one before it is read again.
        let seen = walked(5_000, StepTarget::From(4_000), &["g 3001", "b", "q"]);
        assert_eq!(seen, ["4000", "3001", "3000"]);
        let seen = walked(5_000, StepTarget::From(1), &["/no such thing", "", "q"]);
        assert_eq!(seen, ["1", "No event after position 1 contains \"no such thing\".", "1", "2"]);
    }

    #[test]
    fn at_the_end_one_can_still_go_back() {
        let seen = walked(3, StepTarget::From(3), &["", "b", "g 99", "", "", "q"]);
        assert_eq!(
            seen,
            [
                "3",
                "That was the last event.",
                "2",
                "The last event is at position 3.",
                "3",
                "That was the last event."
            ]
        );
    }

    #[test]
    fn nothing_to_search_for_and_nothing_that_is_known_is_said() {
        let seen = walked(3, StepTarget::Next, &["/", "what", "q"]);
        assert_eq!(seen.len(), 3, "{seen:?}");
        assert!(seen[1].contains("/text") && seen[2].contains("g POSITION"), "{seen:?}");
    }
}
