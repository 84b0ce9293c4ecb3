//! `tenure subject put`

use clap::Args;
use serde_json::{Map, Value};

use super::{
    DETAILS,
    attributes::{AttributeArgs, FIELDS},
};
use crate::cli::{
    connection::client::ApiRequest,
    context::{CautionArgs, CommandContext},
    failure::CommandError,
};
use tenure_core::SubjectId;

/// What an issuer's put keeps when it is left out.
const KEPT_FROM_ISSUERS: [&str; 5] =
    ["ownerId", "maxSessions", "maxSessionsPerDevice", "onLimit", "onDeviceLimit"];

#[derive(Debug, Args)]
#[command(after_help = "\
    The whole subject is replaced: what is left out goes back to its default. `tenure subject set` \
    changes single things.")]
pub(crate) struct PutArgs {
    /// The subject's id: 1 to 128 of A-Z a-z 0-9 . _ : @ -
    #[arg(value_name = "ID")]
    subject: SubjectId,

    #[command(flatten)]
    attributes: AttributeArgs,

    #[command(flatten)]
    caution: CautionArgs,
}

impl PutArgs {
    pub(crate) fn run(self, cli: &CommandContext) -> Result<(), CommandError> {
        let path = ["v1", "subjects", self.subject.as_str()];
        let body = self.attributes.body();
        let lost = lost(cli, &path, &body)?;
        if self.caution.dry_run {
            cli.output.info(if lost.is_empty() {
                "Nothing would be removed."
            } else {
                "This would be removed:"
            });
            for line in &lost {
                cli.output.info(line);
            }
            return Ok(());
        }
        if !lost.is_empty() {
            let question = format!("Remove from {}: {}?", self.subject, lost.join(", "));
            self.caution.ask(cli.output, || Ok(question))?;
        }
        cli.show(&ApiRequest::put(&path, body), DETAILS)
    }
}

/// What the subject has and this would take away, such as `owner alice → none`.
fn lost(cli: &CommandContext, path: &[&str], body: &Map<String, Value>) -> Result<Vec<String>, CommandError> {
    let subject = match cli.client.send(&ApiRequest::get(path)) {
        Ok(reply) => reply.body,
        Err(CommandError::Problem(problem)) if problem.status == 404 => return Ok(Vec::new()),
        Err(failure) => return Err(failure),
    };
    let gone = |(field, _): &&(&str, &str)| !subject[*field].is_null() && !body.contains_key(*field);
    let mut gone: Vec<_> = FIELDS.iter().filter(gone).collect();
    if gone.iter().any(|(field, _)| KEPT_FROM_ISSUERS.contains(field)) && is_issuer(cli) {
        gone.retain(|(field, _)| !KEPT_FROM_ISSUERS.contains(field));
    }
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    Ok(gone.iter().map(|(field, name)| format!("{name} {} → none", text(&subject[*field]))).collect())
}

/// An older server does not say, and removes it for any caller.
fn is_issuer(cli: &CommandContext) -> bool {
    let own = cli.client.send(&ApiRequest::get(&["v1", "credentials", "self"]));
    own.is_ok_and(|reply| reply.body["role"] == "issuer")
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;

    #[derive(Parser)]
    struct TestLine {
        #[command(flatten)]
        put: PutArgs,
    }

    fn body(line: &str) -> Value {
        TestLine::try_parse_from(line.split(' ')).unwrap().put.attributes.body().into()
    }

    #[test]
    fn only_what_was_typed_is_sent() {
        assert_eq!(body("put agent-7"), json!({}));
        assert_eq!(
            body("put agent-7 --kind agent --owner o1 --max-sessions 1 --on-limit evict_oldest"),
            json!({"kind": "agent", "ownerId": "o1", "maxSessions": 1, "onLimit": "evict_oldest"})
        );
    }

    #[test]
    fn a_wrong_id_or_kind_is_noticed_here() {
        assert!(TestLine::try_parse_from(["put", "a/b"]).is_err());
        assert!(TestLine::try_parse_from(["put", "a", "--kind", "robot"]).is_err());
    }
}
