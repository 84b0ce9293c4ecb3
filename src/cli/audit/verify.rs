//! `tenure audit verify`

use std::ops::ControlFlow;

use clap::Args;
use serde_json::{Value, json};

use super::{
    known::{Known, Trusted},
    source::{Source, untrue},
    stopped::{Stopped, damaged},
};
use crate::{
    audit::{
        SignedHead,
        verify::{Fault, LogCheck, Verdict, verify},
    },
    cli::{
        ambient,
        context::Global,
        failure::Failure,
        output::{Column, Output},
    },
    domain::state::State,
};

/// Arguments of `tenure audit verify`.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    #[command(flatten)]
    source: Source,

    #[command(flatten)]
    known: Known,
}

const COLUMNS: &[Column] = &[
    Column::state("", "verified"),
    Column::plain("", "place"),
    Column::plain("", "firstBadPosition"),
    Column::plain("", "why"),
    Column::plain("", "from"),
    Column::plain("", "to"),
    Column::plain("", "commits"),
    Column::plain("", "heads"),
    Column::moment("", "recordedAt"),
    Column::plain("", "size"),
    Column::plain("", "rootHash"),
    Column::plain("", "verifierKey"),
    Column::plain("", "keyFrom"),
];

impl Verify {
    pub(crate) fn run(&self, global: &Global) -> Result<(), Failure> {
        let trusted = self.known.read()?;
        let told = match self.source.data() {
            Some(_) => self.log(&trusted),
            None => self.export(global, &trusted)?,
        };
        match told {
            Told::True(document) => global.output().record(&document, COLUMNS, ambient::now()),
            Told::Untrue(fault) => tell(global.output(), &fault),
            Told::Failed(failure) => Err(failure),
        }
    }

    fn export(&self, global: &Global, trusted: &Trusted) -> Result<Told, Failure> {
        let input = self.source.export(global)?;
        let bar = global.output().bar(None, "commits");
        let verdict = verify(input, trusted.as_trust(), &mut |stored, _| {
            bar.set_position(stored.first.0);
            ControlFlow::Continue(())
        });
        bar.finish_and_clear();
        Ok(match verdict {
            Ok(verdict) => Told::True(self.document(&verdict.expect("nothing stopped it"), trusted)),
            Err(fault @ Fault::Unreadable(_)) => return Err(untrue(&fault)),
            Err(fault) => Told::Untrue(fault),
        })
    }

    fn document(&self, verdict: &Verdict, trusted: &Trusted) -> Value {
        let mut document = json!(verdict);
        document["verified"] = true.into();
        document["knownHeads"] = trusted.heads.len().into();
        document["keyFrom"] = self.key_from(trusted).into();
        document
    }

    fn key_from(&self, trusted: &Trusted) -> &'static str {
        match (&trusted.key, self.source.is_server()) {
            (Some(_), _) => "you",
            (None, true) => "the server itself: give --verifier-key to prove that it is the right one",
            (None, false) => "the history itself: give --verifier-key to prove that it is the right one",
        }
    }

    /// A stopped server: its log by every check of a start, then the state, then the signed heads.
    fn log(&self, trusted: &Trusted) -> Told {
        match self.try_log(trusted) {
            Ok(told) => told,
            Err(failure) => Told::Failed(failure),
        }
    }

    fn try_log(&self, trusted: &Trusted) -> Result<Told, Failure> {
        let data = self.source.data().expect("it was asked for");
        let stopped = Stopped::open(data)?;
        let head = stopped.head(trusted.key.as_ref())?;
        let mut known = trusted.heads.clone();
        known.extend(stopped.trail(trusted.key.as_ref()));
        known.extend(head.clone());
        known.sort_by_key(|head| head.size);
        known.dedup();
        let mut check = LogCheck::new(&known);
        let mut state = State::default();
        let mut wrong = None;
        stopped.each(&mut |stored| {
            let checked = check.add(&stored).map_err(Wrong::Untrue);
            let folded = checked.and_then(|()| {
                state.apply(&stored.commit).map_err(|error| Wrong::Illegal(error.to_string()))
            });
            wrong = folded.err();
            if wrong.is_none() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        match wrong {
            Some(Wrong::Untrue(fault)) => return Ok(Told::Untrue(fault)),
            Some(Wrong::Illegal(why)) => return Err(damaged(why)),
            None => {}
        }
        if let Err(fault) = check.end() {
            return Ok(Told::Untrue(fault));
        }
        let (to, root) = check.head();
        let (commits, recorded_at) = check.commits();
        let key = trusted.key.as_ref().or(stopped.key.as_ref());
        Ok(Told::True(json!({
            "verified": true, "from": 1, "to": to, "commits": commits, "recordedAt": recorded_at, "rootHash": root,
            "heads": known.len(), "knownHeads": trusted.heads.len(), "size": head.as_ref().map(|head| head.size),
            "signedHead": head.as_ref().map(SignedHead::note), "verifierKey": key.map(ToString::to_string),
            "keyFrom": self.key_from(trusted),
        })))
    }
}

enum Told {
    True(Value),
    Untrue(Fault),
    Failed(Failure),
}

enum Wrong {
    Untrue(Fault),
    Illegal(String),
}

/// The place is data; the words about it go to stderr too.
fn tell(output: Output, fault: &Fault) -> Result<(), Failure> {
    let (place, first) = match fault {
        Fault::Untrue { place, .. } => (place.to_string(), place.first_bad()),
        Fault::Cut { last } => (format!("position {}", last.next()), Some(last.next())),
        Fault::Unreadable(_) => (String::new(), None),
    };
    let document =
        json!({ "verified": false, "place": place, "firstBadPosition": first, "why": fault.to_string() });
    output.record(&document, COLUMNS, ambient::now())?;
    Err(untrue(fault))
}
