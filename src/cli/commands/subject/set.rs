//! `tenure subject set`

use clap::{Args, builder::NonEmptyStringValueParser};
use serde_json::{Map, Value};

use super::{
    DETAILS,
    attributes::{AttributeArgs, FIELDS, OPTIONS},
};
use crate::cli::{
    arguments::find, connection::client::ApiRequest, context::CommandContext, failure::CommandError,
};

#[derive(Debug, Args)]
#[command(after_help = "Only what is named is changed.")]
pub(crate) struct SetArgs {
    /// The subject, by id or name
    #[arg(value_name = "SUBJECT", value_parser = NonEmptyStringValueParser::new())]
    subject: String,

    #[command(flatten)]
    attributes: AttributeArgs,

    /// Remove this, such as owner or max-sessions; may be repeated
    #[arg(long, value_name = "WHAT", value_parser = OPTIONS)]
    unset: Vec<String>,
}

impl SetArgs {
    pub(crate) fn run(self, cli: &CommandContext) -> Result<(), CommandError> {
        let typed = self.subject.clone();
        let body = self.body()?;
        let id = find::subject_to_change(cli, &typed, false)?;
        let request = ApiRequest::patch(&["v1", "subjects", &id], body);
        cli.show(&request, DETAILS)
    }

    fn body(self) -> Result<Map<String, Value>, CommandError> {
        let mut body = self.attributes.body();
        for (field, name) in FIELDS.iter().filter(|(_, name)| self.unset.iter().any(|unset| unset == name)) {
            if body.insert((*field).to_owned(), Value::Null).is_some() {
                return Err(CommandError::Usage(format!(
                    "--{name} and --unset {name} contradict each other"
                )));
            }
        }
        if body.is_empty() {
            return Err(CommandError::Usage(
                "say what to change, such as --owner ID, or --unset owner".into(),
            ));
        }
        Ok(body)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;

    #[derive(Parser)]
    struct TestLine {
        #[command(flatten)]
        set: SetArgs,
    }

    fn body(line: &str) -> Option<Value> {
        TestLine::try_parse_from(line.split(' ')).unwrap().set.body().ok().map(Value::Object)
    }

    #[test]
    fn what_is_named_is_changed_or_removed() {
        let line = "set agent-7 --name Night --unset owner --unset max-sessions";
        assert_eq!(body(line), Some(json!({"name": "Night", "ownerId": null, "maxSessions": null})));
        assert_eq!(body("set agent-7"), None);
        assert_eq!(body("set agent-7 --owner a --unset owner"), None);
        assert!(TestLine::try_parse_from(["set", "agent-7", "--unset", "id"]).is_err());
    }
}
