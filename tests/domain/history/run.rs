//! A history under way: steps become commands, and their answers are compared with the model's.

use std::collections::BTreeMap;

use tenure::core::{
    Commit, Event, Generation, Seconds, StreamId, Timestamp,
    command::{RevokeMatching, RotateKey, SystemCommand},
    decide::{decide, decide_system},
    event::PresentedToken,
    keys::RetireMode,
    observed::Observation,
    policy::Policy,
    refusal::RecordedRefusal as TypedRefused,
    session::Session,
    state::AuthorityState,
    subject::Subject,
};

use super::{
    asks::{Ask, By, NewSession, Rules, Selection},
    commands::{KEY_USES, key_of, policy_of, selector_of, subject_of},
    file::HistoryFile,
    left::trimming_and_folding_commute,
    model::{Answer, Model, granted, refused},
    promises::{
        a_rebuild_equals_the_live_state_at_every_position, keeps_every_promise, no_thief_is_left,
        what_is_settled_late_is_as_if_it_were_settled_at_once,
    },
    steps::{Action, Edge, Key, SUBJECTS, Step, Wait, Which},
    words::{described, recorded_of},
};
use crate::scenario::{Refused, T0, commit, of_either_stream, sealed, session};

/// A history under way: the domain's state beside the model's.
pub(super) struct Run {
    pub(super) now: Timestamp,
    pub(super) policy: Policy,
    pub(super) state: AuthorityState,
    pub(super) model: Model,
    /// Tokens that were seen in use and are not recorded yet.
    pub(super) seen: BTreeMap<u32, u32>,
    /// The key of the latest renewal of each session.
    pub(super) keys: BTreeMap<u32, u8>,
    pub(super) commits: Vec<Commit>,
    /// The state's bytes after each commit.
    pub(super) states: Vec<Vec<u8>>,
    /// How often each answer was given, so that a test can tell that the histories reach them.
    pub(super) answers: BTreeMap<String, usize>,
    pub(super) file: HistoryFile,
}

pub(super) type Check = Result<(), String>;

/// What a promise may look at: the state before a command and after it, and what was answered.
pub(super) struct Seen<'a> {
    pub(super) run: &'a Run,
    pub(super) before: &'a AuthorityState,
    pub(super) answer: &'a Result<Vec<Event>, Refused>,
}

impl Run {
    fn new(name: &str) -> Self {
        let rules = Rules {
            ttl: 1_000,
            renewals: 2,
            lifetime: 2_592_000,
            sessions: 2,
            device_sessions: 1,
            evicts: false,
            device_evicts: true,
            auto_register: true,
            reuse_ends: false,
            grace: 10,
            idle: None,
            slides: true,
        };
        let mut run = Self {
            now: T0,
            policy: policy_of(rules),
            state: AuthorityState::default(),
            model: Model::new(rules, SUBJECTS.len()),
            seen: BTreeMap::new(),
            keys: BTreeMap::new(),
            commits: Vec::new(),
            states: Vec::new(),
            answers: BTreeMap::new(),
            file: HistoryFile::create(name),
        };
        let keys = KEY_USES.map(|which| (which, key_of(0))).to_vec();
        run.ask_system(&SystemCommand::AdmitKeys(keys)).expect("they are the first keys");
        run.change_rules(rules).expect("the first policy is legal");
        run
    }

    pub(super) fn of(name: &str, steps: &[Step]) -> Result<Self, String> {
        let mut run = Self::new(name);
        for (index, step) in steps.iter().enumerate() {
            run.step(step).map_err(|why| format!("step {index}, at {}: {why}\n  {step:?}", run.now))?;
        }
        a_rebuild_equals_the_live_state_at_every_position(&run)?;
        what_is_settled_late_is_as_if_it_were_settled_at_once(&run)?;
        trimming_and_folding_commute(&mut run)?;
        Ok(run)
    }

    fn step(&mut self, step: &Step) -> Check {
        let picked = self.picked(step.pick);
        self.wait(step.wait, picked);
        match &step.action {
            Action::Introspect(token) => match picked {
                Some(number) => self.introspect(number, self.generation(number, *token)),
                None => Ok(()),
            },
            Action::RecordUses => self.record_uses(|_| true),
            Action::Crash => self.crash(),
            Action::Rotate { access, at_once, overlap } => self.rotate(*access, *at_once, *overlap),
            Action::RecordPresented => self.record_presented(),
            Action::LookForThieves => self.look_for_thieves(),
            Action::ChangeRules(rules) => self.change_rules(*rules),
            Action::RevokeMatching { owner, subject, device, before } => {
                // Up to the moment at which the picked session's token was issued, or a moment more.
                let issued = picked.map(|number| self.model.sessions[&number].current().issued);
                let before = before.zip(issued).map(|(off, issued)| issued + off);
                self.revoke_matching(Selection { owner: *owner, subject: *subject, device: *device, before })
            }
            Action::Register { .. }
            | Action::Create { .. }
            | Action::Renew { .. }
            | Action::Revoke { .. }
            | Action::Use { .. }
            | Action::Sweep { .. }
            | Action::Refresh(_)
            | Action::Mint(_)
            | Action::Erase { .. }
            | Action::Suspend { .. }
            | Action::Resume { .. }
            | Action::EndAndSuspend { .. }
            | Action::RevokeAll { .. } => match self.ask_of(&step.action, picked) {
                Some((subject, ask)) => self.ask(subject, &ask),
                None => Ok(()),
            },
        }
    }

    /// One of the latest sessions, rather an active one.
    fn picked(&self, pick: usize) -> Option<u32> {
        let sessions = &self.model.sessions;
        let is_active = |number: &&u32| sessions[number].is_active(self.now.as_millis());
        let active: Vec<_> = sessions.keys().rev().filter(is_active).take(4).collect();
        let latest: Vec<_> = sessions.keys().rev().take(3).collect();
        let choice = if pick.is_multiple_of(5) || active.is_empty() { latest } else { active };
        (!choice.is_empty()).then(|| *choice[pick % choice.len()])
    }

    fn wait(&mut self, wait: Wait, picked: Option<u32>) {
        let target = match wait {
            Wait::Not => self.now,
            Wait::Millis(millis) => self.now.plus_millis(millis),
            Wait::Days(days) => self.now.plus_millis(days * 86_400_000),
            Wait::Until(edge, off) => picked.map_or(self.now, |number| {
                let session = &self.model.sessions[&number];
                let moment = match edge {
                    Edge::Half => session.half(),
                    Edge::Expiry => session.current().expires,
                    Edge::WindowEnd => session.window_end(),
                    Edge::AbsoluteEnd => session.end,
                    Edge::IdleEnd => session.idle_end().unwrap_or(0),
                    Edge::Grace => session.grace_end(self.model.rules.grace),
                    Edge::Refresh => session.activity.map_or(0, |activity| activity.refresh_at()),
                    Edge::Tenth => session.activity.map_or(0, |activity| activity.tenth()),
                };
                Timestamp::from_millis(moment + off)
            }),
        };
        self.now = self.now.max(target);
    }

    pub(super) fn generation(&self, number: u32, token: Which) -> u32 {
        let newest = u32::try_from(self.model.sessions[&number].tokens.len()).expect("a few");
        match token {
            Which::Current => newest,
            Which::Previous => (newest - 1).max(1),
            Which::First => 1,
            Which::NeverIssued => newest + 1,
        }
    }

    /// A token is presented: if it is the current one, that is noted and recorded later.
    pub(super) fn present(&mut self, number: u32, generation: u32) {
        if generation == self.generation(number, Which::Current) {
            self.seen.insert(number, generation);
            self.model.present(number, generation);
        }
    }

    fn ask_of(&self, action: &Action, picked: Option<u32>) -> Option<(usize, Ask)> {
        Some(match *action {
            Action::Register { subject, owner, limits, as_admin } => {
                (subject, Ask::Register { owner, limits, as_admin })
            }
            Action::Create { subject, new } => {
                let next = self.model.sessions.keys().last().map_or(1, |last| last + 1);
                (subject, Ask::Create(NewSession { session: next, ..new }))
            }
            Action::Renew { token, key, jitter } => {
                let number = picked?;
                let key = match key {
                    Key::None => None,
                    Key::Latest => self.keys.get(&number).copied(),
                    Key::Some(key) => Some(key),
                };
                let generation = self.generation(number, token);
                let ask = Ask::Renew { session: number, generation, key, jitter };
                (self.model.sessions[&number].subject, ask)
            }
            Action::Revoke { by, token, reject_renewal } => {
                let number = picked?;
                let by = match by {
                    0 => By::Admin,
                    1 => By::Issuer,
                    2 => By::Own(self.generation(number, token)),
                    owner => By::Owner(owner - 2),
                };
                let ask = Ask::Revoke { session: number, by, reject_renewal };
                (self.model.sessions[&number].subject, ask)
            }
            Action::RevokeAll { subject, device, spare, owner } => {
                (subject, Ask::RevokeAll { device, except: picked.filter(|_| spare), owner })
            }
            Action::Use { token, operation, tenths } => {
                let session = picked?;
                let generation = token.map(|token| self.generation(session, token));
                let ask = Ask::Use { session, generation, operation, tenths };
                (self.model.sessions[&session].subject, ask)
            }
            Action::Sweep { subject } => (subject, Ask::Sweep),
            Action::Erase { subject } => (subject, Ask::Erase),
            Action::Suspend { subject, by, millis, reason } => {
                let until = millis.map(|millis| self.now.as_millis() + millis);
                (subject, Ask::Suspend { by, until, reason })
            }
            Action::Resume { subject, by } => (subject, Ask::Resume { by }),
            Action::EndAndSuspend { by, reason } => {
                let session = picked?;
                (self.model.sessions[&session].subject, Ask::EndAndSuspend { session, by, reason })
            }
            Action::Refresh(token) => {
                let session = picked?;
                let generation = self.generation(session, token);
                (self.model.sessions[&session].subject, Ask::Refresh { session, generation })
            }
            Action::Mint(token) => {
                let session = picked?;
                let shown = Some(self.generation(session, token));
                (self.model.sessions[&session].subject, Ask::EndContested { session, shown })
            }
            Action::Introspect(_)
            | Action::RecordPresented
            | Action::LookForThieves
            | Action::RecordUses
            | Action::Crash
            | Action::Rotate { .. }
            | Action::ChangeRules(_)
            | Action::RevokeMatching { .. } => return None,
        })
    }

    pub(super) fn ask(&mut self, subject: usize, ask: &Ask) -> Check {
        let id = subject_of(subject);
        self.settle(subject, ask)?;
        let unknown = Subject::new(id.clone());
        let known = self.state.subjects.get(&id).unwrap_or(&unknown);
        let observed = self.observed(ask);
        let answer = of_either_stream(decide(&self.policy, known, &Self::command(ask), &observed, self.now));
        let again = of_either_stream(decide(&self.policy, known, &Self::command(ask), &observed, self.now));
        ensure(answer == again, || format!("asked again, {answer:?} became {again:?}"))?;

        let before = self.state.clone();
        let expected = self.model.ask(subject, ask, self.now.as_millis());
        let actual = described(&answer);
        ensure(actual == expected, || format!("{ask:?}\n  gave     {actual:?}\n  expected {expected:?}"))?;
        self.record(StreamId::Subject(id), recorded_of(&answer).to_vec())?;
        self.note_use(ask, &answer);
        self.count(ask, &actual);
        keeps_every_promise(&Seen { run: self, before: &before, answer: &answer })
    }

    fn count(&mut self, ask: &Ask, answer: &Answer) {
        let is_repeat = answer.facts.is_empty();
        let granted = || if is_repeat { format!("{} before", kind_of(ask)) } else { kind_of(ask).into() };
        if answer.facts.iter().any(|fact| fact.contains(" contested at ")) {
            self.count_word("contested");
        }
        let ends = answer.facts.iter().filter_map(|fact| fact.split_once(" ended by "));
        let triggers = ends.map(|(_, trigger)| trigger.to_owned());
        let expiries = answer.facts.iter().filter(|fact| fact.contains(" expired at "));
        let limits =
            expiries.filter_map(|fact| fact.rsplit_once(' ')).map(|(_, limit)| format!("end by {limit}"));
        let resumed = answer.facts.iter().filter(|fact| *fact == "resumed by itself").cloned();
        let words =
            triggers.chain(limits).chain(resumed).chain([answer.refused.clone().unwrap_or_else(granted)]);
        words.for_each(|word| self.count_word(&word));
    }

    pub(super) fn count_word(&mut self, word: &str) {
        *self.answers.entry(word.to_owned()).or_default() += 1;
    }

    /// A genuine current token was in use, whatever was answered; a renewal's key is remembered.
    fn note_use(&mut self, ask: &Ask, answer: &Result<Vec<Event>, Refused>) {
        match *ask {
            Ask::Renew { session, generation, key, .. } => {
                let is_renewal = answer.as_ref().is_ok_and(|events| !events.is_empty());
                if is_renewal {
                    // It was current when it was presented; the next one is not.
                    self.model.present(session, generation);
                    self.seen.insert(session, generation);
                    match key {
                        Some(key) => self.keys.insert(session, key),
                        None => self.keys.remove(&session),
                    };
                } else {
                    self.present(session, generation);
                }
            }
            Ask::Revoke { session, by: By::Own(generation), .. }
            | Ask::Refresh { session, generation }
            | Ask::EndContested { session, shown: Some(generation) }
            | Ask::Use { session, generation: Some(generation), .. } => self.present(session, generation),
            Ask::EndContested { shown: None, .. }
            | Ask::Revoke { .. }
            | Ask::Use { .. }
            | Ask::Register { .. }
            | Ask::Create(_)
            | Ask::RevokeAll { .. }
            | Ask::Erase
            | Ask::Suspend { .. }
            | Ask::Resume { .. }
            | Ask::EndAndSuspend { .. }
            | Ask::Sweep => {}
        }
    }

    fn record_presented(&mut self) -> Check {
        let marks = std::mem::take(&mut self.seen)
            .into_iter()
            .map(|(number, generation)| PresentedToken {
                session_id: session(number),
                generation: Generation(generation),
            })
            .collect();
        self.model.mark_presented();
        self.ask_system(&SystemCommand::MarkPresented(marks))
    }

    /// As the authority does by itself every few seconds: whoever has shown the second of two tokens has ended the
    /// session.
    fn look_for_thieves(&mut self) -> Check {
        self.record_presented()?;
        let sessions: Vec<_> = self.model.sessions.iter().map(|(id, known)| (*id, known.subject)).collect();
        for (session, subject) in sessions {
            self.ask(subject, &Ask::EndContested { session, shown: None })?;
        }
        no_thief_is_left(self)
    }

    fn revoke_matching(&mut self, selection: Selection) -> Check {
        let selector = selector_of(selection);
        let command = RevokeMatching { selector, reason: sealed("for a test") };
        let command = SystemCommand::RevokeMatching(command);
        let expected = self.model.revoke_matching(selection, self.now.as_millis());
        self.count_word(if expected.facts.is_empty() { "none met" } else { "bulk" });
        self.expect_of_system(&command, &expected)
    }

    fn rotate(&mut self, access: bool, at_once: bool, overlap: Option<u32>) -> Check {
        let place = usize::from(access);
        let replaced = self.model.keys[place].newest();
        let command = SystemCommand::RotateKey(RotateKey {
            which: KEY_USES[place],
            key_id: key_of(replaced + 1),
            retire: if at_once { RetireMode::Now } else { RetireMode::Overlap },
            overlap: overlap.map(Seconds),
        });
        let millis = i64::from(overlap.unwrap_or(1_000)) * 1_000;
        let expected = match self.model.keys[place].rotate(at_once, millis, self.now.as_millis()) {
            None => refused("ROTATION_TOO_RECENT"),
            Some(end) => granted(vec![rotated(place, replaced, end)]),
        };
        self.count_word(expected.refused.as_deref().unwrap_or("rotated"));
        self.expect_of_system(&command, &expected)
    }

    fn change_rules(&mut self, rules: Rules) -> Check {
        self.policy = policy_of(rules);
        self.model.rules = rules;
        self.ask_system(&SystemCommand::SetPolicy(self.policy.clone()))?;
        ensure(self.state.system.policy.as_ref() == Some(&self.policy), || {
            "the policy is not in force".into()
        })
    }

    /// Of what the model knows nothing, and what is never refused.
    pub(super) fn ask_system(&mut self, command: &SystemCommand) -> Check {
        let answer = self.decided_by_system(command);
        ensure(answer.is_ok(), || format!("{answer:?} to {command:?}"))?;
        self.record_of_system(&answer)
    }

    fn expect_of_system(&mut self, command: &SystemCommand, expected: &Answer) -> Check {
        let answer = self.decided_by_system(command);
        let actual = described(&answer);
        ensure(actual == *expected, || format!("{command:?} gave {actual:?}, expected {expected:?}"))?;
        self.record_of_system(&answer)
    }

    fn decided_by_system(&self, command: &SystemCommand) -> Result<Vec<Event>, Refused> {
        let mut observed = Observation { longest_ttl: Seconds(1_000), ..Observation::default() };
        if let SystemCommand::RevokeMatching(asked) = command {
            for subject in self.state.subjects.values() {
                observed.matched.count(&asked.selector, subject, &[], self.now);
            }
        }
        let answer = decide_system(&self.state.system, command, &observed, self.now);
        of_either_stream(answer.map_err(TypedRefused::from))
    }

    fn record_of_system(&mut self, answer: &Result<Vec<Event>, Refused>) -> Check {
        let before = self.state.clone();
        self.record(StreamId::System, recorded_of(answer).to_vec())?;
        keeps_every_promise(&Seen { run: self, before: &before, answer })
    }

    fn record(&mut self, stream: StreamId, events: Vec<Event>) -> Check {
        if events.is_empty() {
            return Ok(());
        }
        let commit = commit(&self.state, stream, events, self.now);
        self.file.write(&commit);
        self.state.apply(&commit).map_err(|alarm| format!("what was decided is illegal: {alarm}"))?;
        self.states.push(self.state.to_bytes());
        self.commits.push(commit);
        Ok(())
    }

    pub(super) fn live_sessions(&self) -> impl Iterator<Item = &Session> {
        self.state.subjects.values().flat_map(|subject| &subject.sessions)
    }
}

/// The fact of a rotation, as the domain's own is described.
fn rotated(place: usize, replaced: usize, end: i64) -> String {
    let (key, before) = (key_of(replaced + 1), key_of(replaced));
    format!("{:?} {key} after {before} until {end}", KEY_USES[place])
}

fn kind_of(ask: &Ask) -> &'static str {
    match ask {
        Ask::Register { .. } => "registered",
        Ask::Create(_) => "created",
        Ask::Renew { .. } => "renewed",
        Ask::Revoke { .. } => "revoked",
        Ask::RevokeAll { .. } => "all revoked",
        Ask::Use { .. } => "used",
        Ask::Sweep => "swept",
        Ask::Refresh { .. } => "refreshed",
        Ask::EndContested { .. } => "uncontested",
        Ask::Erase => "erased",
        Ask::Suspend { .. } => "suspended",
        Ask::Resume { .. } => "resumed",
        Ask::EndAndSuspend { .. } => "ended and suspended",
    }
}

pub(super) fn ensure(holds: bool, why: impl FnOnce() -> String) -> Check {
    if holds { Ok(()) } else { Err(why()) }
}
