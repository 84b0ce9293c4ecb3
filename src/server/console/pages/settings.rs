//! Settings: what is in force, and where it came from. They are changed in the settings file, and read at startup.

use askama::Template;

use crate::config::{EffectiveSetting, SETTINGS, ValueSource};
use crate::http::ApiContext;

use crate::console::{
    request::SignedInRequest,
    response::{self, PageFrame, PageResult},
    words::plain,
};

/// A setting as the page shows it.
struct SettingRow {
    name: &'static str,
    value: String,
    source: String,
    is_default: bool,
    /// What it means; every second part is code.
    doc: Vec<&'static str>,
}

/// The settings whose names begin alike.
struct SettingSection {
    name: &'static str,
    rows: Vec<SettingRow>,
}

#[derive(Template)]
#[template(path = "settings.html")]
struct SettingsPage {
    frame: PageFrame,
    sections: Vec<SettingSection>,
    changed: usize,
}

/// The page, for those who may read everything.
pub(super) fn show(visit: &SignedInRequest) -> PageResult {
    ApiContext::check_reads_all(&visit.credential)?;
    let mut sections: Vec<SettingSection> = Vec::new();
    for setting in &visit.console().settings {
        let name = setting.name.split('.').next().unwrap_or_default();
        if sections.last().is_none_or(|section| section.name != name) {
            sections.push(SettingSection { name, rows: vec![] });
        }
        if let Some(section) = sections.last_mut() {
            section.rows.push(row(setting));
        }
    }
    let changed = sections.iter().flat_map(|section| &section.rows).filter(|row| !row.is_default).count();
    Ok(response::ok(&SettingsPage {
        frame: PageFrame::of(Some(visit), "Settings", "/console/settings"),
        sections,
        changed,
    }))
}

fn row(setting: &EffectiveSetting) -> SettingRow {
    let known = SETTINGS.iter().find(|known| known.name() == setting.name);
    SettingRow {
        name: setting.name,
        value: plain(setting.value.clone()),
        source: plain(setting.source.to_string()),
        is_default: setting.source == ValueSource::Default,
        doc: known.map_or("", |known| known.doc()).split('`').collect(),
    }
}
