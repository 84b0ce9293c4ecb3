//! A notice in words that a person wants to read on a phone at night: who, what, how often, how long it can still
//! live, until when a veto is expected, and where.

use crate::{
    config::NoticeTimeZone,
    notify::notice::{
        CreatedDetails, ExpiredDetails, ExpiringSoonDetails, Notice, NoticeDetails, PermittedUse,
        RenewalRejectedDetails, RenewedDetails, RevokedDetails, SuspensionDetails,
    },
};
use tenure_core::{
    Actor, Amount, NoticeKind, SessionId,
    commit::ActorKind,
    event::{EndTrigger, ExpiringSoon, ExpiryCause, RejectionCause, RejectionCode},
};

/// The length that texts chosen by people are cut to, so that no message exceeds what a service takes.
const LONGEST: usize = 200;
/// The same of each list of what a session may do: a message has several.
const LONGEST_LIST: usize = 100;

/// How much a person should care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoticeUrgency {
    /// It is good to know.
    Low,
    /// Something may be to be done.
    Normal,
    /// Something is to be done soon, if at all.
    High,
}

/// Marks the beginning and the end of a text that a person chose: the characters of Unicode that isolate foreign text,
/// so that its direction is its own. A format marks or drops them.
pub(crate) const FOREIGN: [char; 2] = ['\u{2068}', '\u{2069}'];
/// What a link of a notice leads to.
pub(crate) const VETO_OR_END: &str = "Veto or end it";
/// It is not seen, and what it stands in is no link.
const BREAK: char = '\u{200b}';

/// A notice in words, in plain text: who writes it for a service escapes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NoticeText {
    pub(crate) title: String,
    pub(crate) lines: Vec<String>,
    /// Where something can be done about it.
    pub(crate) link: Option<String>,
    pub(crate) urgency: NoticeUrgency,
    /// The name of an emoji, as ntfy calls it.
    pub(crate) tag: &'static str,
}

/// What a test says.
pub(crate) fn of_test() -> NoticeText {
    NoticeText {
        title: "Test message from Tenure".into(),
        lines: vec!["This webhook works. Nothing has happened.".into()],
        link: None,
        urgency: NoticeUrgency::Low,
        tag: "white_check_mark",
    }
}

/// What a notice says.
pub(crate) fn of_notice(notice: &Notice, zone: &NoticeTimeZone) -> NoticeText {
    let who = who(notice);
    let mut words = match &notice.details {
        NoticeDetails::Created(details) => created(&who, details, zone),
        NoticeDetails::Renewed(details) => renewed(&who, details, zone, notice.session_id),
        NoticeDetails::RenewalRejected(details) => rejected(&who, details),
        NoticeDetails::Revoked(details) => revoked(&who, details),
        NoticeDetails::ExpiringSoon(details) => expiring_soon(&who, details, zone),
        NoticeDetails::Expired(details) => expired(&who, details, zone),
        NoticeDetails::Suspension(details) if notice.kind == NoticeKind::SubjectSuspended => {
            suspended(&who, details, zone)
        }
        NoticeDetails::Suspension(details) => resumed(&who, details),
    };
    if let Some(session) = notice.session_id {
        words.lines.push(format!("Session {session}"));
    }
    words
}

/// The subject's name with its id behind it, or its id.
fn who(notice: &Notice) -> String {
    // Sessions of many subjects, all of one owner or of none.
    let owner = notice.owner_id.as_ref().map_or("subjects without an owner", |id| id.as_str());
    let id = notice.subject_id.as_ref().map_or(owner, |id| id.as_str());
    match &notice.subject_name {
        Some(name) => format!("{} ({})", foreign(name), foreign(id)),
        None => foreign(id),
    }
}

/// A text that people chose, marked as such and broken where a service would make a link of it: readers trust what
/// this authority sends, and others chose this part.
fn foreign(text: &str) -> String {
    let [begin, end] = FOREIGN;
    let text: String = text.chars().filter(|c| !FOREIGN.contains(c)).collect();
    format!("{begin}{}{end}", unlinked(&cut(&text, LONGEST)))
}

/// Breaks what looks like the scheme of a URL or like the name of a host.
fn unlinked(text: &str) -> String {
    let mut broken = String::with_capacity(text.len());
    for (index, c) in text.char_indices() {
        broken.push(c);
        let rest = &text[index + c.len_utf8()..];
        let is_scheme = c == ':' && rest.starts_with("//");
        let is_domain = c == '.' && rest.starts_with(char::is_alphabetic);
        if is_scheme || is_domain {
            broken.push(BREAK);
        }
    }
    broken
}

fn cut(text: &str, longest: usize) -> String {
    if text.chars().count() <= longest {
        return text.to_owned();
    }
    text.chars().take(longest - 1).chain(['…']).collect()
}

fn created(who: &str, details: &CreatedDetails, zone: &NoticeTimeZone) -> NoticeText {
    let mut lines = vec![
        format!("It lasts until {} unless it is renewed.", zone.shown(details.expires_at)),
        format!("It cannot live beyond {}.", zone.shown(details.absolute_expires_at)),
    ];
    lines.extend(details.device.as_ref().map(|device| format!("Device: {}", foreign(device))));
    NoticeText {
        title: format!("New session of {who}"),
        lines,
        link: None,
        urgency: NoticeUrgency::Low,
        tag: "key",
    }
}

fn renewed(
    who: &str,
    details: &RenewedDetails,
    zone: &NoticeTimeZone,
    session: Option<SessionId>,
) -> NoticeText {
    let mut lines = vec![
        format!("Renewal {} of {}.", details.renewal_count, details.max_renewals),
        format!("It now lasts until {}.", zone.shown(details.expires_at)),
        format!("It can live another {} at most.", details.remaining_absolute_life),
        format!(
            "Not what you want? Veto it by {}, or end it at any time.",
            zone.shown(details.reject_window_expiry)
        ),
    ];
    let permitted = details.permitted_use.as_deref();
    lines.splice(3..3, permitted.into_iter().flat_map(may_do_and_did));
    let link = details.veto_url.clone().or_else(|| details.reject_url.clone());
    // By the session's id, which nobody chose: a name would be broken where it looks like a link.
    lines.extend(session.filter(|_| link.is_none()).map(|session| format!("tenure veto {session}")));
    NoticeText {
        title: format!("{who} renewed its session"),
        lines,
        link,
        urgency: NoticeUrgency::High,
        tag: "repeat",
    }
}

/// What a session may do, and what it has done.
fn may_do_and_did(permitted: &PermittedUse) -> Vec<String> {
    let PermittedUse { scopes, constraints, usage } = permitted;
    let listed = |what: &str, texts: &[String]| match texts {
        [] => format!("{what}: none"),
        texts => format!("{what}: {}", foreign(&cut(&texts.join(", "), LONGEST_LIST))),
    };
    let scopes = (!scopes.is_empty()).then(|| listed("It may do", scopes));
    let operations = constraints.allowed_operations.as_ref().map(|those| listed("Operations", those));
    let destinations = constraints.allowed_destinations.as_ref().map(|those| listed("Destinations", those));
    let of_most = |most: Option<String>| most.map_or_else(String::new, |most| format!(" of {most}"));
    let uses = of_most(constraints.max_transactions.map(|most| most.to_string()));
    let amount = of_most(constraints.max_total_amount.as_ref().map(ToString::to_string));
    let is_counted = usage.transactions > 0 || !uses.is_empty();
    let uses = is_counted.then(|| format!("Uses: {}{uses}.", usage.transactions));
    let is_paid = usage.total_amount != Amount::default() || !amount.is_empty();
    let spent = is_paid.then(|| format!("Spent: {}{amount}.", usage.total_amount));
    let so_far = uses.into_iter().chain(spent).reduce(|uses, spent| format!("{uses} {spent}"));
    [scopes, operations, destinations, so_far].into_iter().flatten().collect()
}

fn rejected(who: &str, details: &RenewalRejectedDetails) -> NoticeText {
    let title = match details.cause {
        RejectionCause::Owner => format!("Renewal of {who} vetoed"),
        RejectionCause::Policy => format!("{who} was refused a renewal"),
    };
    let mut lines: Vec<_> = details.code.map(|code| reason(code).to_owned()).into_iter().collect();
    lines.push(match details.cause {
        RejectionCause::Owner => {
            format!("Renewal {} is undone: the session has ended.", details.renewal_count)
        }
        RejectionCause::Policy => format!("It was renewed {} before.", times(details.renewal_count)),
    });
    if details.contested {
        lines.push("Two holders have tokens of this session: one of the tokens may be stolen.".to_owned());
    }
    let urgency = if details.contested { NoticeUrgency::High } else { NoticeUrgency::Normal };
    NoticeText { title, lines, link: None, urgency, tag: "no_entry" }
}

const fn reason(code: RejectionCode) -> &'static str {
    match code {
        RejectionCode::SessionRenewalMismatch => "It showed a token that a renewal had replaced.",
        RejectionCode::TokenExpired => "Its session had expired.",
        RejectionCode::SessionIdle => "Its session had not been used for too long.",
        RejectionCode::RenewalLimitReached => "All its renewals are spent.",
        RejectionCode::SessionAbsoluteLifetimeExceeded => {
            "Its session has reached the longest life it may have."
        }
        RejectionCode::RenewalTooEarly => "Less than half of its period had passed.",
    }
}

fn times(count: u32) -> String {
    match count {
        0 => "never".into(),
        1 => "once".into(),
        2 => "twice".into(),
        more => format!("{more} times"),
    }
}

fn revoked(who: &str, details: &RevokedDetails) -> NoticeText {
    let title = match details.matched {
        None if details.selector.is_some() => "Sessions of many owners ended".to_owned(),
        None => format!("Session of {who} ended"),
        Some(1) => format!("1 session of {who} ended"),
        Some(count) => format!("{count} sessions of {who} ended"),
    };
    let mut lines = vec![cause(details.trigger).to_owned()];
    let device = details.selector.as_ref().and_then(|selector| selector.device.as_ref());
    lines.extend(device.map(|device| format!("Device: {}", foreign(device))));
    lines.extend(details.reason.as_ref().map(|reason| format!("Reason: {}", foreign(reason))));
    lines.extend(by(&details.actor, details.actor_name.as_deref()));
    NoticeText { title, lines, link: None, urgency: NoticeUrgency::Normal, tag: "stop_sign" }
}

const fn cause(trigger: EndTrigger) -> &'static str {
    match trigger {
        EndTrigger::ManualRevoke => "It was revoked.",
        EndTrigger::RenewalRejected => "Its owner vetoed the renewal.",
        EndTrigger::Own => "It ended itself.",
        EndTrigger::Evicted => "A newer session took its place.",
        EndTrigger::TokenReuse => "A token came back that a renewal had replaced: someone else may have it.",
        EndTrigger::SubjectRevoked | EndTrigger::Bulk => "All of them were ended at once.",
        EndTrigger::Restore => "The authority was restored from a backup, and all of them were ended.",
    }
}

fn by(actor: &Actor, name: Option<&str>) -> Option<String> {
    let kind = match actor.kind {
        ActorKind::Credential => "API key",
        ActorKind::Session => "the session",
        ActorKind::Link => return Some("By the link in a notice".into()),
        ActorKind::Operator => return Some("By an operator".into()),
        ActorKind::Authority => return None,
    };
    let id = actor.id.as_ref().map(|id| cut(id, LONGEST))?;
    Some(match name {
        Some(name) => format!("By {} ({kind} {id})", foreign(name)),
        None => format!("By {kind} {id}"),
    })
}

fn suspended(who: &str, details: &SuspensionDetails, zone: &NoticeTimeZone) -> NoticeText {
    let end = match details.until {
        Some(until) => {
            format!("Its sessions work again from {} on, unless it is resumed before.", zone.shown(until))
        }
        None => "It stays so until it is resumed.".to_owned(),
    };
    let mut lines = vec!["None of its sessions works, and it gets no new one.".to_owned(), end];
    lines.extend(details.reason.as_ref().map(|reason| format!("Reason: {}", foreign(reason))));
    lines.extend(by(&details.actor, details.actor_name.as_deref()));
    NoticeText {
        title: format!("{who} is suspended"),
        lines,
        link: None,
        urgency: NoticeUrgency::Normal,
        tag: "pause_button",
    }
}

fn resumed(who: &str, details: &SuspensionDetails) -> NoticeText {
    let mut lines = vec!["Its sessions work again, as far as they have not ended meanwhile.".to_owned()];
    if details.actor.kind == ActorKind::Authority {
        lines.push("The end of the suspension was reached.".to_owned());
    }
    lines.extend(details.reason.as_ref().map(|reason| format!("Reason: {}", foreign(reason))));
    lines.extend(by(&details.actor, details.actor_name.as_deref()));
    NoticeText {
        title: format!("{who} is no longer suspended"),
        lines,
        link: None,
        urgency: NoticeUrgency::Normal,
        tag: "arrow_forward",
    }
}

fn expiring_soon(who: &str, details: &ExpiringSoonDetails, zone: &NoticeTimeZone) -> NoticeText {
    let left = match details.renewals_left {
        0 => "It has no renewal left.".to_owned(),
        1 => "It has 1 renewal left.".to_owned(),
        more => format!("It has {more} renewals left."),
    };
    let lines = vec![left, format!("It cannot live beyond {}.", zone.shown(details.absolute_expires_at))];
    let title = match details.why {
        ExpiringSoon::Renewals => format!("{who} is running out of renewals"),
        ExpiringSoon::Absolute => format!("The session of {who} ends within a day"),
    };
    NoticeText { title, lines, link: None, urgency: NoticeUrgency::Normal, tag: "hourglass_flowing_sand" }
}

fn expired(who: &str, details: &ExpiredDetails, zone: &NoticeTimeZone) -> NoticeText {
    let why = match details.cause {
        ExpiryCause::Ttl => "It was not renewed in time.",
        ExpiryCause::Idle => "It was not used for too long.",
        ExpiryCause::Absolute => "It reached the longest life it may have.",
    };
    let lines = vec![why.to_owned(), format!("It ended at {}.", zone.shown(details.expires_at))];
    NoticeText {
        title: format!("The session of {who} expired"),
        lines,
        link: None,
        urgency: NoticeUrgency::Low,
        tag: "zzz",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_link_is_broken_and_a_number_is_not() {
        for (text, broken) in [
            ("https://evil.example/a?b=c", "https:\u{200b}//evil.\u{200b}example/a?b=c"),
            ("evil.com", "evil.\u{200b}com"),
            ("tg://resolve", "tg:\u{200b}//resolve"),
            ("bücher.дом", "bücher.\u{200b}дом"),
            ("1.2.3.4, at 10:30. Done", "1.2.3.4, at 10:30. Done"),
        ] {
            assert_eq!(unlinked(text), broken);
        }
    }

    #[test]
    fn a_text_cannot_end_its_own_marks() {
        assert_eq!(foreign("a\u{2069}b\u{2068}"), "\u{2068}ab\u{2069}");
    }
}
