//! What is sent is what `fixtures/webhooks/` says, as the services document it.

use std::{fs, path::PathBuf};

use super::*;
use crate::notify::notice::{
    CreatedDetails, ExpiredDetails, ExpiringSoonDetails, NoticeDetails, NoticeId, NoticeKind, NoticeName,
    PermittedUse, RenewalRejectedDetails, RenewedDetails, RevokedDetails, SuspensionDetails,
};
use crate::{config::NoticeTimeZone, notify::webhooks::WebhookDestination};
use tenure_core::{
    Actor, Position, SessionId,
    budget::{Constraints, Usage},
    commit::ActorKind,
    event::{EndTrigger, ExpiringSoon, ExpiryCause, RejectionCause, RejectionCode},
};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NAME: &str = "Night <Crawler> & *Söhne* @everyone";

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn actor() -> Actor {
    Actor { kind: ActorKind::Credential, id: Some("019375c1-0000-7000-8000-000000000001".into()) }
}

/// The fields of a kind of notice, each at its longest.
fn details(kind: NoticeKind, text: &str) -> NoticeDetails {
    let (soon, far) = (at("2026-11-22T01:35:00Z"), at("2026-12-18T13:35:00Z"));
    match kind {
        NoticeKind::SessionCreated => NoticeDetails::Created(CreatedDetails {
            expires_at: soon,
            absolute_expires_at: far,
            device: Some(text.into()),
        }),
        NoticeKind::SessionRenewed => NoticeDetails::Renewed(RenewedDetails {
            renewal_count: 3,
            max_renewals: 30,
            expires_at: soon,
            remaining_absolute_life: "27d 12h".into(),
            reject_window_expiry: at("2026-11-21T02:35:00Z"),
            reject_url: Some(
                "https://tenure.example/console/sessions/019375c1-6a3e-7c52-9d5e-0f2b8a1c4e77".into(),
            ),
            veto_url: Some("https://tenure.example/console/veto/tnr_veto_v4.local.AAAA".into()),
            permitted_use: Some(Box::new(permitted_use(text))),
        }),
        NoticeKind::SessionRenewalRejected => NoticeDetails::RenewalRejected(RenewalRejectedDetails {
            renewal_count: 3,
            rejected_at: at("2026-11-21T01:35:00Z"),
            cause: RejectionCause::Policy,
            code: Some(RejectionCode::RenewalTooEarly),
            contested: false,
        }),
        NoticeKind::SessionRevoked => NoticeDetails::Revoked(RevokedDetails {
            trigger: EndTrigger::RenewalRejected,
            reason: Some(text.into()),
            actor: actor(),
            actor_name: None,
            selector: None,
            matched: None,
        }),
        NoticeKind::SessionExpiringSoon => NoticeDetails::ExpiringSoon(ExpiringSoonDetails {
            renewals_left: 3,
            absolute_expires_at: far,
            why: ExpiringSoon::Renewals,
        }),
        NoticeKind::SessionExpired => {
            NoticeDetails::Expired(ExpiredDetails { expires_at: soon, cause: ExpiryCause::Ttl })
        }
        NoticeKind::SubjectSuspended => NoticeDetails::Suspension(SuspensionDetails {
            reason: Some(text.into()),
            until: Some(soon),
            actor: actor(),
            actor_name: None,
        }),
        NoticeKind::SubjectResumed => NoticeDetails::Suspension(SuspensionDetails {
            reason: Some(text.into()),
            until: None,
            actor: actor(),
            actor_name: None,
        }),
    }
}

fn permitted_use(text: &str) -> PermittedUse {
    let usage = Usage { transactions: 4, total_amount: "12.50".parse().unwrap(), last_at: None };
    let constraints = Constraints {
        max_total_amount: Some("100".parse().unwrap()),
        max_transactions: Some(20),
        allowed_operations: Some(vec!["pay".into(), text.into()]),
        allowed_destinations: Some(vec!["shop-1".into(), text.into()]),
        ..Constraints::default()
    };
    PermittedUse { scopes: vec!["orders:read".into(), text.into()], constraints, usage }
}

fn notice(kind: NoticeKind, name: &str, text: &str) -> Notice {
    let is_of_subject = matches!(kind, NoticeKind::SubjectSuspended | NoticeKind::SubjectResumed);
    Notice {
        notice_id: NoticeName { epoch: 1, id: NoticeId { position: Position(17), number: 1 } },
        kind,
        position: Position(17),
        occurred_at: at("2026-11-21T01:35:00Z"),
        session_id: (!is_of_subject).then(|| SessionId::from_bytes([0x51; 16])),
        subject_id: Some("agent-7".parse().unwrap()),
        subject_name: Some(name.into()),
        owner_id: Some("alice".parse().unwrap()),
        details: details(kind, text),
    }
}

#[test]
fn a_message_says_who_did_it_by_the_name_that_the_owner_gave() {
    let mut revoked = notice(NoticeKind::SessionRevoked, "Night shift", "enough");
    let lines = |notice: &Notice| notice_text::of_notice(notice, &NoticeTimeZone::default()).lines.join("\n");
    let id = actor().id.unwrap();
    assert!(lines(&revoked).contains(&format!("By API key {id}")), "{}", lines(&revoked));
    let NoticeDetails::Revoked(details) = &mut revoked.details else { unreachable!() };
    details.actor_name = Some("Alice's phone".into());
    let told = lines(&revoked).replace(['\u{2068}', '\u{2069}'], "");
    assert!(told.contains(&format!("By Alice's phone (API key {id})")), "{told}");
}

/// A message without a link said until when one may veto, and not how.
#[test]
fn a_renewal_without_a_link_names_the_command_that_vetoes_it() {
    let mut renewed = notice(NoticeKind::SessionRenewed, "night.bot", "");
    let told = |notice: &Notice| notice_text::of_notice(notice, &NoticeTimeZone::default()).lines.join("\n");
    assert!(!told(&renewed).contains("tenure veto"), "{}", told(&renewed));
    let NoticeDetails::Renewed(details) = &mut renewed.details else { unreachable!() };
    (details.reject_url, details.veto_url) = (None, None);
    let command = format!("\ntenure veto {}\n", renewed.session_id.unwrap());
    assert!(told(&renewed).contains(&command), "{}", told(&renewed));
}

/// Whether to veto depends on what the session may do, which no message said.
#[test]
fn a_renewal_says_what_the_session_may_do_and_has_done() {
    let mut renewed = notice(NoticeKind::SessionRenewed, "night.bot", "");
    let told = |renewed: &Notice| {
        let lines = notice_text::of_notice(renewed, &NoticeTimeZone::default()).lines;
        lines.join("\n").replace(['\u{2068}', '\u{2069}'], "")
    };
    let mut with = |permitted: Option<PermittedUse>| {
        let NoticeDetails::Renewed(details) = &mut renewed.details else { unreachable!() };
        details.permitted_use = permitted.map(Box::new);
        told(&renewed)
    };
    let whole = permitted_use("x");
    for line in [
        "\nIt may do: orders:read, x\n",
        "\nOperations: pay, x\n",
        "\nDestinations: shop-1, x\n",
        "\nUses: 4 of 20. Spent: 12.50 of 100.\n",
    ] {
        assert!(with(Some(whole.clone())).contains(line), "{}", with(Some(whole.clone())));
    }
    let nothing = Constraints { allowed_operations: Some(vec![]), ..Constraints::default() };
    let unlimited = PermittedUse { scopes: vec![], constraints: nothing, usage: whole.usage.clone() };
    let said = with(Some(unlimited.clone()));
    assert!(said.contains("\nOperations: none\nUses: 4. Spent: 12.50.\n"), "{said}");
    let said = with(Some(PermittedUse { usage: Usage::default(), ..unlimited }));
    assert!(said.contains("\nOperations: none\nNot what you want?"), "{said}");
    assert!(!with(None).contains("Uses"));
}

fn destination(format: WebhookFormat) -> WebhookDestination {
    let url = match format {
        WebhookFormat::Ntfy => "https://ntfy.example/night-shift?auth=x",
        WebhookFormat::Telegram => {
            "https://api.telegram.example/bot1:x/sendMessage?chat_id=-1001234567890&message_thread_id=7"
        }
        WebhookFormat::Standard
        | WebhookFormat::CloudEvents
        | WebhookFormat::Discord
        | WebhookFormat::Slack => "https://hooks.example/a?b=c",
    };
    WebhookDestination::new(url, SECRET, format, false).unwrap()
}

fn written(format: WebhookFormat, news: &MessageContent<'_>) -> (WebhookMessage, Value) {
    let source =
        MessageSource { name: "https://tenure.example".into(), time_zone: NoticeTimeZone::default() };
    let message = write(format, destination(format).parsed(), &source, "msg_17_1", news);
    let body = serde_json::from_slice(&message.body).unwrap();
    (message, body)
}

fn fixture(format: &str, name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
        .join(format!("fixtures/webhooks/{format}/{name}.json"))
}

fn read(path: &PathBuf) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap()
}

/// Every member that we send is documented, with a value of the same type; what `data` has is our own.
fn assert_documented(place: &str, ours: &Value, documented: &Value) {
    match (ours, documented) {
        _ if is_our_own(place) => {}
        (Value::Object(ours), Value::Object(documented)) => {
            for (name, value) in ours {
                let known =
                    documented.get(name).unwrap_or_else(|| panic!("{place}.{name} is not documented"));
                assert_documented(&format!("{place}.{name}"), value, known);
            }
        }
        (Value::Array(ours), Value::Array(documented)) => {
            for value in ours {
                assert_documented(&format!("{place}[]"), value, &documented[0]);
            }
        }
        (ours, documented) => {
            let types = [std::mem::discriminant(ours), std::mem::discriminant(documented)];
            assert_eq!(types[0], types[1], "{place} is {ours}, and {documented} is documented");
        }
    }
}

fn is_our_own(place: &str) -> bool {
    place.split('.').next_back() == Some("data")
}

#[test]
fn what_is_sent_is_what_the_fixtures_say_and_the_services_document() {
    for (name, format) in WebhookFormat::ALL {
        let documented = read(&fixture(name, "documented"));
        let test = ("TEST", MessageContent::Test(at("2026-11-21T01:35:00Z")));
        let notices = NoticeKind::ALL.map(|kind| notice(kind, NAME, "build-host <7>"));
        let news = notices.iter().map(|notice| (notice.kind.name(), MessageContent::Notice(notice)));
        for (kind, news) in news.chain([test]) {
            let (_, body) = written(format, &news);
            let path = fixture(name, kind);
            if std::env::var_os("TENURE_WRITE_SAMPLES").is_some() && !path.exists() {
                fs::write(&path, format!("{}\n", serde_json::to_string_pretty(&body).unwrap())).unwrap();
            }
            assert_eq!(body, read(&path), "{}", path.display());
            assert_documented(name, &body, &documented);
        }
    }
}

#[test]
fn a_message_goes_where_the_service_wants_it() {
    let renewed = notice(NoticeKind::SessionRenewed, NAME, "x");
    let of = |format| written(format, &MessageContent::Notice(&renewed)).0;
    assert_eq!(of(WebhookFormat::Ntfy).url.as_str(), "https://ntfy.example/?auth=x");
    assert_eq!(of(WebhookFormat::Telegram).url.as_str(), "https://api.telegram.example/bot1:x/sendMessage");
    assert_eq!(of(WebhookFormat::Slack).url.as_str(), "https://hooks.example/a?b=c");
    assert_eq!(of(WebhookFormat::CloudEvents).content_type, "application/cloudevents+json");
}

#[test]
fn a_url_without_what_the_service_needs_is_refused() {
    let fault = |format, url: &str| WebhookDestination::new(url, SECRET, format, false).is_err();
    for wrong in ["https://ntfy.sh", "https://ntfy.sh/", "https://ntfy.sh/a%20b"] {
        assert!(fault(WebhookFormat::Ntfy, wrong), "{wrong}");
    }
    assert!(!fault(WebhookFormat::Ntfy, "https://ntfy.sh/sub/topic_1"));
    for wrong in ["https://t.example/bot1:x/sendMessage", "https://t.example/bot1:x/?chat_id=1"] {
        assert!(fault(WebhookFormat::Telegram, wrong), "{wrong}");
    }
}

/// Names and reasons are the longest that callers may give, of characters that cost most when they are escaped.
#[test]
fn the_longest_message_is_within_what_the_services_take() {
    for text in ["&", "*", "😀", "<"] {
        let (name, reason) = (text.repeat(128), text.repeat(1_024));
        for kind in NoticeKind::ALL {
            let longest = notice(kind, &name, &reason);
            let body = |format| written(format, &MessageContent::Notice(&longest)).1;
            let characters = |text: &Value| text.as_str().unwrap().chars().count();
            assert!(characters(&body(WebhookFormat::Discord)["content"]) <= 2_000);
            assert!(characters(&body(WebhookFormat::Telegram)["text"]) <= 4_096);
            let slack = body(WebhookFormat::Slack);
            assert!(characters(&slack["blocks"][0]["text"]["text"]) <= 150);
            assert!(characters(&slack["blocks"][1]["text"]["text"]) <= 3_000);
            assert!(body(WebhookFormat::Ntfy)["message"].as_str().unwrap().len() <= 4_096);
        }
    }
}

#[test]
fn what_people_are_called_is_text_and_nothing_else() {
    let renewed =
        notice(NoticeKind::SessionRenewed, "<b>&</b> [x](https://evil.example) <@1> <!channel>", "x");
    let body = |format| written(format, &MessageContent::Notice(&renewed)).1;
    let telegram = body(WebhookFormat::Telegram)["text"].as_str().unwrap().to_owned();
    assert!(telegram.contains("<code>&lt;b&gt;&amp;&lt;/b&gt;") && !telegram.contains("<b>&"), "{telegram}");
    let slack = body(WebhookFormat::Slack);
    assert!(slack["text"].as_str().unwrap().contains("&lt;!channel&gt;"), "{slack}");
    assert_eq!(slack["blocks"][1]["text"]["verbatim"], true);
    let discord = body(WebhookFormat::Discord);
    assert_eq!(discord["allowed_mentions"]["parse"], serde_json::json!([]));
    assert!(
        discord["content"]
            .as_str()
            .unwrap()
            .contains("\\[x\\](https:\u{200b}//evil.\u{200b}example) \\<@1\\>"),
        "{discord}"
    );
}

/// A name that was a URL became a link in every chat, one with an `@` mentioned people in Telegram, and Discord showed
/// a preview of what it led to.
#[test]
fn what_people_are_called_becomes_no_link_no_mention_and_no_preview() {
    for text in ["https://evil.example/login", "evil.example", "@admin"] {
        for kind in NoticeKind::ALL {
            let about = notice(kind, text, text);
            let body = |format| written(format, &MessageContent::Notice(&about)).1;
            for format in [WebhookFormat::Ntfy, WebhookFormat::Discord, WebhookFormat::Slack] {
                let said = body(format).to_string();
                assert!(!said.contains("https://evil") && !said.contains("evil.example"), "{said}");
            }
            assert_eq!(body(WebhookFormat::Discord)["flags"], 4);
            let telegram = body(WebhookFormat::Telegram)["text"].as_str().unwrap().to_owned();
            let outside: String =
                telegram.split("<code>").map(|part| part.rsplit("</code>").next().unwrap()).collect();
            assert!(!outside.contains("evil") && !outside.contains("@admin"), "{telegram}");
            assert_eq!(telegram.matches("<b>").count(), telegram.matches("</b>").count(), "{telegram}");
        }
    }
}
