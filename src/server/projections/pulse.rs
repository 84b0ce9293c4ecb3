//! What happened in each minute of the last day, and whom it was about last: what people want to see at a glance, and
//! nothing decides by.

use std::{array, collections::VecDeque};

use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

use tenure_core::{
    Event, SessionId, StreamId, SubjectEvent, SubjectId, SystemEvent, Timestamp, event::EndTrigger,
};

/// Minutes kept.
pub const MINUTES: usize = 24 * 60;
const DAY: i64 = 24 * 60;
const MILLIS: i64 = 60_000;
/// The most recently active subjects kept.
const LATEST: usize = 256;
/// The causes of an end: the triggers in their order, and behind them that time ran out.
pub const CAUSES: usize = EndTrigger::ALL.len() + 1;

/// What happened in a minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MinuteCounts {
    /// Sessions created.
    pub created: u32,
    /// Renewals granted.
    pub renewed: u32,
    /// Renewals refused, as far as recorded.
    pub refused: u32,
    /// Sessions ended, by cause.
    pub ended: [u32; CAUSES],
}

/// The last day in minutes, and the latest of some kinds.
#[derive(Debug)]
pub struct DayPulse {
    /// The minutes in a ring: each is at its number modulo the ring's length.
    minutes: Box<[MinuteCounts]>,
    /// The number of the latest minute.
    latest: i64,
    renewed: LatestItems<SessionId>,
    used: LatestItems<SessionId>,
    suspended: LatestItems<SubjectId>,
}

/// The latest of something, each once in a row.
#[derive(Debug)]
struct LatestItems<T>(VecDeque<T>);

impl<T: PartialEq> LatestItems<T> {
    fn add(&mut self, it: T) {
        if self.0.back() == Some(&it) {
            return;
        }
        if self.0.len() == LATEST {
            self.0.pop_front();
        }
        self.0.push_back(it);
    }
}

impl Default for DayPulse {
    fn default() -> Self {
        Self {
            minutes: vec![MinuteCounts::default(); MINUTES].into_boxed_slice(),
            latest: 0,
            renewed: LatestItems(VecDeque::new()),
            used: LatestItems(VecDeque::new()),
            suspended: LatestItems(VecDeque::new()),
        }
    }
}

impl DayPulse {
    /// Whether an event is counted here.
    pub fn is_one(event: &Event) -> bool {
        match event {
            Event::Subject(
                SubjectEvent::SessionCreated(_)
                | SubjectEvent::SessionRenewed(_)
                | SubjectEvent::RenewalRejected(_)
                | SubjectEvent::SessionRevoked(_)
                | SubjectEvent::SessionsRevoked(_)
                | SubjectEvent::SessionExpired(_)
                | SubjectEvent::UsageRecorded(_)
                | SubjectEvent::SubjectSuspended(_),
            )
            | Event::System(SystemEvent::SelectionRevoked(_)) => true,
            Event::Subject(
                SubjectEvent::SubjectRegistered(_)
                | SubjectEvent::SubjectErased(_)
                | SubjectEvent::SessionRefreshed(_)
                | SubjectEvent::SubjectResumed(_),
            )
            | Event::System(_) => false,
        }
    }

    /// Adds an event.
    pub fn add(&mut self, stream: &StreamId, at: Timestamp, event: &Event) {
        if let (Event::Subject(SubjectEvent::SubjectSuspended(_)), StreamId::Subject(id)) = (event, stream) {
            self.suspended.add(id.clone());
        }
        if let Event::Subject(SubjectEvent::SessionRenewed(renewed)) = event {
            self.renewed.add(renewed.session_id);
        }
        if let Event::Subject(SubjectEvent::UsageRecorded(used)) = event {
            self.used.add(used.session_id);
        }
        if let Some(minute) = self.minute_of(at) {
            minute.count(event);
        }
    }

    /// The minute of this time; none of one before the last day.
    fn minute_of(&mut self, at: Timestamp) -> Option<&mut MinuteCounts> {
        let number = at.as_millis().div_euclid(MILLIS);
        let first = number.saturating_sub(DAY - 1).max(self.latest + 1);
        for passed in first..=number {
            self.minutes[place(passed)] = MinuteCounts::default();
        }
        self.latest = self.latest.max(number);
        (number > self.latest - DAY).then(|| &mut self.minutes[place(number)])
    }

    /// The minutes of the day up to this time, oldest first. The last of them is under way.
    pub fn day(&self, now: Timestamp) -> Vec<MinuteCounts> {
        let last = now.as_millis().div_euclid(MILLIS);
        let known = (self.latest - DAY + 1)..=self.latest;
        let minute = |number| {
            if known.contains(&number) { self.minutes[place(number)] } else { MinuteCounts::default() }
        };
        (last - DAY + 1..=last).map(minute).collect()
    }

    /// The sessions that were renewed last, the latest first.
    pub fn renewed(&self) -> Vec<SessionId> {
        newest_first(&self.renewed)
    }

    /// The sessions whose uses were recorded last, the latest first.
    pub fn used(&self) -> Vec<SessionId> {
        newest_first(&self.used)
    }

    /// The subjects that were suspended last, the latest first. They may have been resumed since.
    pub fn suspended(&self) -> Vec<SubjectId> {
        newest_first(&self.suspended)
    }
}

/// What happened in no minute is not written.
impl<C> Encode<C> for DayPulse {
    fn encode<W: encode::Write>(
        &self,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        e.array(5)?.i64(self.latest)?;
        let minutes: Vec<(u32, &MinuteCounts)> =
            (0..).zip(&*self.minutes).filter(|(_, minute)| **minute != MinuteCounts::default()).collect();
        e.encode_with(minutes, ctx)?.encode_with(&self.renewed.0, ctx)?;
        e.encode_with(&self.used.0, ctx)?.encode_with(&self.suspended.0, ctx)?;
        Ok(())
    }
}

impl<'b, C> Decode<'b, C> for DayPulse {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, decode::Error> {
        d.array()?;
        let mut pulse = Self { latest: d.i64()?, ..Self::default() };
        let minutes: Vec<(u32, MinuteCounts)> = d.decode_with(ctx)?;
        for (place, minute) in minutes {
            let kept = usize::try_from(place).ok().and_then(|place| pulse.minutes.get_mut(place));
            *kept.ok_or_else(|| decode::Error::message("a day has no such minute"))? = minute;
        }
        pulse.renewed = LatestItems(d.decode_with(ctx)?);
        (pulse.used, pulse.suspended) = (LatestItems(d.decode_with(ctx)?), LatestItems(d.decode_with(ctx)?));
        Ok(pulse)
    }
}

/// That time ran out stands apart, so that there may be more triggers one day. Those without an end are not written.
impl<C> Encode<C> for MinuteCounts {
    fn encode<W: encode::Write>(
        &self,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        let [triggers @ .., expired] = &self.ended;
        let known = triggers.iter().rposition(|count| *count > 0).map_or(0, |last| last + 1);
        e.array(5)?.u32(self.created)?.u32(self.renewed)?.u32(self.refused)?.u32(*expired)?;
        e.encode_with(&triggers[..known], ctx)?;
        Ok(())
    }
}

impl<'b, C> Decode<'b, C> for MinuteCounts {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, decode::Error> {
        d.array()?;
        let mut minute = Self { created: d.u32()?, renewed: d.u32()?, refused: d.u32()?, ended: [0; CAUSES] };
        minute.ended[CAUSES - 1] = d.u32()?;
        let known: Vec<u32> = d.decode_with(ctx)?;
        let kept = minute.ended[..CAUSES - 1].get_mut(..known.len());
        kept.ok_or_else(|| decode::Error::message("there are no such triggers"))?.copy_from_slice(&known);
        Ok(minute)
    }
}

fn newest_first<T: Clone + PartialEq>(latest: &LatestItems<T>) -> Vec<T> {
    let mut found: Vec<T> = Vec::new();
    for it in latest.0.iter().rev() {
        if !found.contains(it) {
            found.push(it.clone());
        }
    }
    found
}

fn place(number: i64) -> usize {
    usize::try_from(number.rem_euclid(DAY)).expect("it is less than the ring's length")
}

impl MinuteCounts {
    fn count(&mut self, event: &Event) {
        match event {
            Event::Subject(SubjectEvent::SessionCreated(_)) => self.created += 1,
            Event::Subject(SubjectEvent::SessionRenewed(_)) => self.renewed += 1,
            Event::Subject(SubjectEvent::RenewalRejected(_)) => self.refused += 1,
            Event::Subject(SubjectEvent::SessionRevoked(event)) => self.end(event.trigger, 1),
            Event::Subject(SubjectEvent::SessionsRevoked(event)) => self.end(event.trigger, event.matched),
            Event::System(SystemEvent::SelectionRevoked(event)) => self.end(event.trigger(), event.matched),
            Event::Subject(SubjectEvent::SessionExpired(_)) => self.ended[CAUSES - 1] += 1,
            Event::Subject(
                SubjectEvent::SubjectRegistered(_)
                | SubjectEvent::SubjectErased(_)
                | SubjectEvent::UsageRecorded(_)
                | SubjectEvent::SessionRefreshed(_)
                | SubjectEvent::SubjectSuspended(_)
                | SubjectEvent::SubjectResumed(_),
            )
            | Event::System(_) => {}
        }
    }

    fn end(&mut self, trigger: EndTrigger, count: u32) {
        let cause = &mut self.ended[trigger as usize];
        *cause = cause.saturating_add(count);
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            created: self.created.saturating_add(other.created),
            renewed: self.renewed.saturating_add(other.renewed),
            refused: self.refused.saturating_add(other.refused),
            ended: array::from_fn(|cause| self.ended[cause].saturating_add(other.ended[cause])),
        }
    }
}

#[cfg(test)]
mod tests {
    use tenure_core::{Generation, event::SessionRenewed};

    use super::*;

    fn minute(number: i64) -> Timestamp {
        Timestamp::ZERO.plus_millis(number * MILLIS + 1)
    }

    fn renewal(last: u8) -> Event {
        Event::Subject(SubjectEvent::SessionRenewed(SessionRenewed {
            session_id: SessionId::from_bytes([last; 16]),
            generation: Generation::FIRST,
            expires_at: Timestamp::ZERO,
            renew_at: None,
            key_digest: None,
            expiring_soon: None,
        }))
    }

    #[test]
    fn a_minute_is_forgotten_after_a_day_and_none_is_counted_twice() {
        let (mut pulse, stream) = (DayPulse::default(), StreamId::System);
        for number in [10, 10, 11, 10] {
            pulse.add(&stream, minute(number), &renewal(1));
        }
        let counts =
            |pulse: &DayPulse, now: i64| pulse.day(minute(now)).iter().map(|it| it.renewed).sum::<u32>();
        assert_eq!(counts(&pulse, 11), 4);
        let day = DAY;
        assert_eq!(counts(&pulse, 10 + day), 1, "the first minute is a day ago");
        pulse.add(&stream, minute(10 + day), &renewal(2));
        assert_eq!(counts(&pulse, 10 + day), 2);
        pulse.add(&stream, minute(9), &renewal(2));
        assert_eq!(counts(&pulse, 10 + day), 2, "what is older than a day is not counted as of today");
        pulse.add(&stream, minute(10 + 5 * day), &renewal(2));
        assert_eq!(counts(&pulse, 10 + 5 * day), 1);
    }

    #[test]
    fn the_latest_come_first_and_each_once() {
        let (mut pulse, stream) = (DayPulse::default(), StreamId::System);
        for last in [1, 2, 1, 1] {
            pulse.add(&stream, minute(1), &renewal(last));
        }
        assert_eq!(pulse.renewed(), [1, 2].map(|last| SessionId::from_bytes([last; 16])));
        for last in 0..=255 {
            pulse.add(&stream, minute(1), &renewal(last));
        }
        assert_eq!(pulse.renewed().len(), LATEST);
    }
}
