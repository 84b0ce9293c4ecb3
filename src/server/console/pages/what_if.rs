//! What if: the recorded history under other limits, and where it would have parted from what happened.

use crate::http::ApiContext;
use askama::Template;
use axum::http::StatusCode;
use serde_json::Value;
use tenure_audit::what_if::{Divergence, PolicyOverrides, WhatIfReport};

use tenure_core::Timestamp;

use crate::console::{
    request::SignedInRequest,
    response::{self, PageFrame, PageResult},
    words::PageTime,
};

/// Maximum sessions shown of those with another outcome.
const SHOWN: usize = 200;
const COUNTS: [(&str, &str); 6] = [
    ("created", "Sessions created"),
    ("renewed", "Renewals granted"),
    ("refused", "Renewals refused"),
    ("evicted", "Made room for a newer one"),
    ("endedForReuse", "Ended because a replaced token came back"),
    ("revoked", "Revoked"),
];

/// A setting of the form.
struct OverrideField {
    name: &'static str,
    range: String,
    /// In force.
    value: String,
    given: String,
    words: &'static [&'static str],
}

struct CountRow {
    words: &'static str,
    happened: u64,
    instead: u64,
}

#[derive(Template)]
#[template(path = "what_if.html")]
struct WhatIfPage {
    frame: PageFrame,
    fields: Vec<OverrideField>,
    fault: Option<String>,
    counts: Vec<CountRow>,
    report: Option<WhatIfReport>,
    more: usize,
}

impl WhatIfPage {
    fn when(divergence: &Divergence) -> Timestamp {
        divergence.recorded_at
    }
}

/// The page. What it asks for stands in its address.
pub(super) async fn show(visit: &SignedInRequest) -> PageResult {
    ApiContext::check_reads_all(&visit.credential)?;
    let fields = fields(visit);
    let asked = policy(&fields);
    let is_asked = fields.iter().any(|field| !field.given.is_empty());
    let (report, fault) = match PolicyOverrides::parse(&asked) {
        Err(fault) => (None, Some(fault.to_string())),
        Ok(_) if !is_asked => (None, None),
        Ok(overrides) => match visit.console().api.what_if(&visit.credential, overrides).await? {
            Ok(report) => (Some(report), None),
            Err(fault) => (None, Some(fault.to_string())),
        },
    };
    let status = if fault.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    let mut page = WhatIfPage {
        frame: PageFrame::of(Some(visit), "What if", "/console/what-if"),
        fields,
        fault,
        counts: report.as_ref().map(counts).unwrap_or_default(),
        more: report.as_ref().map_or(0, |report| report.divergences.len().saturating_sub(SHOWN)),
        report,
    };
    if let Some(report) = &mut page.report {
        report.divergences.truncate(SHOWN);
    }
    Ok(response::html(status, &page))
}

fn fields(visit: &SignedInRequest) -> Vec<OverrideField> {
    let in_force = |name: &str| {
        let found = visit.console().settings.iter().find(|setting| setting.name == name);
        found.map(|setting| setting.value.clone()).unwrap_or_default()
    };
    let field = |setting: tenure_audit::what_if::ReplaceableSetting| OverrideField {
        name: setting.name,
        range: setting.range,
        value: in_force(setting.name),
        given: visit.query().get(setting.name).unwrap_or_default().to_owned(),
        words: setting.words,
    };
    PolicyOverrides::settings().map(field).collect()
}

/// As the command line's file would have it.
fn policy(fields: &[OverrideField]) -> String {
    let given = fields.iter().filter(|field| !field.given.is_empty());
    let value = |field: &OverrideField| match field.given.parse::<i64>() {
        Ok(number) => number.to_string(),
        Err(_) => Value::String(field.given.clone()).to_string(),
    };
    given.map(|field| format!("{} = {}", field.name, value(field))).collect::<Vec<_>>().join("\n")
}

fn counts(report: &WhatIfReport) -> Vec<CountRow> {
    let told =
        [report.happened, report.instead].map(|counts| serde_json::to_value(counts).unwrap_or_default());
    let count = |(name, words): &(&str, &'static str)| CountRow {
        words,
        happened: told[0][*name].as_u64().unwrap_or_default(),
        instead: told[1][*name].as_u64().unwrap_or_default(),
    };
    COUNTS.iter().map(count).collect()
}
