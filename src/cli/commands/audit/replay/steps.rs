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
pub(super) enum Order {
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

impl Order {
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
pub(super) struct Shown {
    pub position: u64,
    pub document: Value,
    pub lines: Vec<String>,
}

impl Shown {
    fn contains(&self, lowercase: &str) -> bool {
        self.lines.iter().any(|line| line.to_lowercase().contains(lowercase))
    }
}

/// Where the reader wants to be next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
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
pub(super) enum Course {
    /// Read on.
    On,
    /// Read it again, for this target.
    Again(Target),
    /// The reader has seen enough.
    Enough,
}

/// The reader of the steps.
pub(super) trait Reader {
    type Failure;
    fn show(&mut self, shown: &Shown) -> Result<(), Self::Failure>;
    fn say(&mut self, text: &str);
    fn ask(&mut self) -> Order;
}

/// The walk: what was passed, and where the reader wants to be.
#[derive(Debug)]
pub(super) struct Walk {
    kept: VecDeque<Shown>,
    has_forgotten: bool,
    target: Target,
    last_search: String,
}

impl Walk {
    pub(super) fn to(target: Target) -> Self {
        Self { kept: VecDeque::new(), has_forgotten: false, target, last_search: String::new() }
    }

    /// Begins again from the first event, on the way to this target.
    pub(super) fn begin_again(&mut self, target: Target) {
        self.kept.clear();
        (self.has_forgotten, self.target) = (false, target);
    }

    /// The next event of the history.
    pub(super) fn pass<R: Reader>(&mut self, shown: Shown, reader: &mut R) -> Result<Course, R::Failure> {
        let position = shown.position;
        let has_text = |text: &str, after: u64| position > after && shown.contains(text);
        let arrives = match &self.target {
            Target::Next => Some(0),
            Target::From(at) => (position >= *at).then_some(0),
            Target::Before(at) => (position >= *at).then_some(1),
            Target::Text(text, after) => has_text(text, *after).then_some(0),
        };
        if self.kept.len() == KEPT {
            self.kept.pop_front();
            self.has_forgotten = true;
        }
        self.kept.push_back(shown);
        match arrives {
            Some(back) => self.arrive((self.kept.len() - 1).saturating_sub(back), reader),
            None => Ok(Course::On),
        }
    }

    /// The history has ended. The reader may still go back.
    pub(super) fn end<R: Reader>(&mut self, reader: &mut R) -> Result<Course, R::Failure> {
        loop {
            let course = self.turn(reader)?;
            if course != Course::On {
                return Ok(course);
            }
        }
    }

    /// At the end, with a target that was not met.
    fn turn<R: Reader>(&mut self, reader: &mut R) -> Result<Course, R::Failure> {
        let Some(last) = self.kept.len().checked_sub(1) else { return Ok(Course::Enough) };
        match self.target.clone() {
            Target::Next => {
                reader.say("That was the last event.");
                self.talk(last, true, reader)
            }
            Target::From(_) | Target::Before(_) => {
                reader.say(&format!("The last event is at position {}.", self.kept[last].position));
                self.arrive(last, reader)
            }
            Target::Text(text, after) => {
                reader.say(&format!("No event after position {after} contains \"{text}\"."));
                self.target = Target::Next;
                match self.kept.iter().position(|shown| shown.position >= after) {
                    Some(0) if self.has_forgotten => Ok(Course::Again(Target::From(after))),
                    Some(index) => self.arrive(index, reader),
                    None => self.arrive(last, reader),
                }
            }
        }
    }

    fn arrive<R: Reader>(&mut self, index: usize, reader: &mut R) -> Result<Course, R::Failure> {
        reader.show(&self.kept[index])?;
        self.talk(index, false, reader)
    }

    /// Takes orders until one leads beyond what is kept.
    fn talk<R: Reader>(
        &mut self,
        mut index: usize,
        mut is_over: bool,
        reader: &mut R,
    ) -> Result<Course, R::Failure> {
        loop {
            let next = match reader.ask() {
                Order::Quit => return Ok(Course::Enough),
                Order::Next if is_over => return Ok(Course::Enough),
                Order::Next => self.ahead(index + 1, Target::Next),
                Order::Back if index == 0 && self.has_forgotten => {
                    Err(Course::Again(Target::Before(self.kept[0].position)))
                }
                Order::Back if index == 0 => {
                    reader.say("That is the first event.");
                    continue;
                }
                Order::Back => Ok(index - 1),
                Order::Position(at) => self.go_to(at),
                Order::Search(text) => {
                    let Some(found) = self.search(&text, index) else {
                        reader.say("Search for what? Write /text.");
                        continue;
                    };
                    found
                }
                Order::Unknown => {
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
    fn ahead(&mut self, index: usize, target: Target) -> Result<usize, Course> {
        if index < self.kept.len() {
            return Ok(index);
        }
        self.target = target;
        Err(Course::On)
    }

    fn go_to(&mut self, at: u64) -> Result<usize, Course> {
        match self.kept.iter().position(|shown| shown.position >= at) {
            Some(0) if self.has_forgotten => Err(Course::Again(Target::From(at))),
            found => self.ahead(found.unwrap_or(self.kept.len()), Target::From(at)),
        }
    }

    /// `None` without a text to search for.
    fn search(&mut self, text: &str, from: usize) -> Option<Result<usize, Course>> {
        if !text.is_empty() {
            self.last_search = text.to_lowercase();
        }
        let text = Some(self.last_search.clone()).filter(|text| !text.is_empty())?;
        let found = self.kept.iter().skip(from + 1).position(|shown| shown.contains(&text));
        let there = found.map_or(self.kept.len(), |further| from + 1 + further);
        let after = self.kept[from].position;
        Some(self.ahead(there, Target::Text(text, after)))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use serde_json::json;

    use super::*;

    /// Types these lines, and notes what it sees.
    struct Typist {
        lines: VecDeque<&'static str>,
        seen: Vec<String>,
    }

    impl Reader for Typist {
        type Failure = Infallible;
        fn show(&mut self, shown: &Shown) -> Result<(), Infallible> {
            self.seen.push(shown.position.to_string());
            Ok(())
        }
        fn say(&mut self, text: &str) {
            self.seen.push(text.to_owned());
        }
        fn ask(&mut self) -> Order {
            self.lines.pop_front().map_or(Order::Quit, Order::of)
        }
    }

    /// A history with this number of events; every hundredth is a veto.
    fn walked(events: u64, first: Target, lines: &[&'static str]) -> Vec<String> {
        let mut typist = Typist { lines: lines.iter().copied().collect(), seen: Vec::new() };
        let mut walk = Walk::to(first);
        loop {
            let mut course = Course::On;
            for position in 1..=events {
                let what = if position % 100 == 0 { "ended: Vetoed" } else { "renewed" };
                let shown =
                    Shown { position, document: json!({}), lines: vec![format!("{position} {what}")] };
                let Ok(next) = walk.pass(shown, &mut typist);
                course = next;
                if course != Course::On {
                    break;
                }
            }
            if course == Course::On {
                let Ok(end) = walk.end(&mut typist);
                course = end;
            }
            match course {
                Course::Again(target) => walk.begin_again(target),
                Course::On | Course::Enough => return typist.seen,
            }
        }
    }

    #[test]
    fn a_line_is_an_order() {
        assert_eq!(Order::of(" \n"), Order::Next);
        assert_eq!(Order::of("b"), Order::Back);
        assert_eq!(Order::of("g4711"), Order::Position(4_711));
        assert_eq!(Order::of("g  4711 "), Order::Position(4_711));
        assert_eq!(Order::of("/not at night"), Order::Search("not at night".to_owned()));
        assert_eq!(Order::of("Q"), Order::Quit);
        assert_eq!(Order::of("g then"), Order::Unknown);
        assert_eq!(Order::of("é"), Order::Unknown);
    }

    #[test]
    fn one_goes_on_back_and_to_a_position() {
        let seen = walked(9, Target::Next, &["", "", "b", "b", "b", "g 7", "g 2", "b", "n", "q"]);
        assert_eq!(seen, ["1", "2", "3", "2", "1", "That is the first event.", "7", "2", "1", "2"]);
    }

    #[test]
    fn a_search_goes_forward_in_any_case_and_again() {
        let seen = walked(350, Target::From(20), &["/VETOED", "/", "/", "/", "b", "q"]);
        let none = "No event after position 300 contains \"vetoed\".";
        assert_eq!(seen, ["20", "100", "200", "300", none, "300", "299"]);
    }

    #[test]
    fn a_way_back_beyond_what_is_kept_reads_again() {
        let seen = walked(5_000, Target::From(4_000), &["g 7", "", "g 3500", "b", "g 2100", "g 3", "b", "q"]);
        assert_eq!(seen, ["4000", "7", "8", "3500", "3499", "2100", "3", "2"]);
        // The first kept event is at 3001; the one before it is read again.
        let seen = walked(5_000, Target::From(4_000), &["g 3001", "b", "q"]);
        assert_eq!(seen, ["4000", "3001", "3000"]);
        let seen = walked(5_000, Target::From(1), &["/no such thing", "", "q"]);
        assert_eq!(seen, ["1", "No event after position 1 contains \"no such thing\".", "1", "2"]);
    }

    #[test]
    fn at_the_end_one_can_still_go_back() {
        let seen = walked(3, Target::From(3), &["", "b", "g 99", "", "", "q"]);
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
        let seen = walked(3, Target::Next, &["/", "what", "q"]);
        assert_eq!(seen.len(), 3, "{seen:?}");
        assert!(seen[1].contains("/text") && seen[2].contains("g POSITION"), "{seen:?}");
    }
}
