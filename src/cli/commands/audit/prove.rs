//! `tenure audit prove`

use std::ops::ControlFlow;

use clap::Args;
use serde_json::{Value, json};

use super::{
    source::SourceArgs,
    trust::{TrustArgs, TrustedHeads},
    verification::ReadEnding,
};
use crate::cli::{
    connection::{client::ApiRequest, pages},
    context::{CommandContext, GlobalArgs},
    environment,
    failure::CommandError,
    output::Column,
};
use tenure_audit::{
    SignedHead, VerifierKey,
    transparency::{
        compact_range::CompactRange,
        proof::{NodeHash, inclusion_parts, verify_consistency, verify_inclusion},
    },
};
use tenure_core::Position;
use tenure_log::{RecordHash, StoredCommit, tree::leaf};

#[derive(Debug, Args)]
pub(crate) struct ProveArgs {
    /// The event's position
    #[arg(value_name = "POSITION", value_parser = clap::value_parser!(u64).range(1..))]
    position: u64,

    #[command(flatten)]
    source: SourceArgs,

    #[command(flatten)]
    known: TrustArgs,
}

const COLUMNS: &[Column] = &[
    Column::plain("", "position"),
    Column::plain("", "recordHash"),
    Column::plain("", "leafHash"),
    Column::plain("", "size"),
    Column::plain("", "rootHash"),
    Column::plain("", "hashes"),
    Column::plain("", "verifierKey"),
    Column::plain("", "keyFrom"),
    Column::plain("", "signedHead"),
];

/// A head, and the key that it was checked by.
struct CheckedHead {
    head: SignedHead,
    key: VerifierKey,
}

impl ProveArgs {
    pub(crate) fn run(&self, global: &GlobalArgs) -> Result<(), CommandError> {
        let trusted = self.known.read()?;
        let mut proof = if self.source.is_server() {
            self.served(global, &trusted)?
        } else {
            self.computed(global, &trusted)?
        };
        let (whose, output) = (self.source.whose(&trusted), global.output());
        proof["keyFrom"] = json!(whose);
        output.record(&proof, COLUMNS, environment::now())?;
        let proved = format!("position {}, by the head of size {}", self.position, proof["size"]);
        whose.report(proof["verifierKey"].as_str().unwrap_or_default(), &proved, output);
        Ok(())
    }

    /// The server's proof, which is believed only when it holds.
    fn served(&self, global: &GlobalArgs, trusted: &TrustedHeads) -> Result<Value, CommandError> {
        let cli = global.context()?;
        let head = cli.client.send(&ApiRequest::get(&["v1", "audit", "head"]))?.body;
        let text = |document: &Value, name: &str| document[name].as_str().unwrap_or_default().to_owned();
        let key = match &trusted.key {
            Some(key) => key.clone(),
            None => text(&head, "verifierKey")
                .parse()
                .map_err(|error| CommandError::damaged(format!("verifierKey: {error}")))?,
        };
        let head = SignedHead::open(&text(&head, "signedHead"), &key)
            .map_err(|error| CommandError::damaged(format!("the signed head: {error}")))?;
        continues(&cli, &head, &trusted.heads)?;
        if self.position > head.size {
            return Err(self.missing(head.size));
        }
        let request = ApiRequest::get(&["v1", "audit", "proof"]).query("position", Some(self.position));
        let proof = cli.client.send(&request.query("size", Some(head.size)))?.body;
        let leaf = from_hex(&text(&proof, "leafHash"));
        let (Some(hashes), Some(leaf)) = (hashes_in(&proof), leaf) else {
            return Err(cli.client.strange(200, "the proof has something else than hashes"));
        };
        let record = self.record(&cli, &leaf)?;
        self.told(record, leaf, &hashes, &CheckedHead { head, key })
    }

    /// The hash of the record itself, of which the leaf is made. `None` for a key that may not read the event.
    fn record(&self, cli: &CommandContext, proved: &NodeHash) -> Result<Option<RecordHash>, CommandError> {
        let after = self.position - 1;
        let after = pages::head(cli)?.map_or_else(|| after.to_string(), |head| head.named(after));
        let request = ApiRequest::get(&["v1", "events"]).query("after", Some(after));
        let page = cli.client.send(&request.query("limit", Some(1)))?.body;
        let event = &page["items"][0];
        if event["position"] != self.position {
            return Ok(None);
        }
        let hash = event["recordHash"].as_str().and_then(from_hex).map(RecordHash::from_bytes);
        let hash = hash.ok_or_else(|| cli.client.strange(200, "the event has no record hash"))?;
        if leaf(&hash) == *proved {
            Ok(Some(hash))
        } else {
            Err(CommandError::damaged(format!(
                "position {}: the event's record is not the one in the tree",
                self.position
            )))
        }
    }

    /// A proof from the records themselves: read once for the head, and once for the parts of the tree.
    fn computed(&self, global: &GlobalArgs, trusted: &TrustedHeads) -> Result<Value, CommandError> {
        let under = self.under(global, trusted)?;
        if self.position > under.head.size {
            return Err(self.missing(under.head.size));
        }
        let mut gathering = ProofGatherer::new(self.position, under.head.size);
        self.source.read(global, trusted, &mut |stored| {
            gathering.add(&stored);
            ControlFlow::Continue(())
        })?;
        let record = gathering.record.ok_or_else(|| self.missing(under.head.size))?;
        let hashes = gathering.hashes().ok_or_else(|| {
            CommandError::Usage("a proof needs the whole history; this export is a part of one".to_owned())
        })?;
        self.told(Some(record), leaf(&record), &hashes, &under)
    }

    fn under(&self, global: &GlobalArgs, trusted: &TrustedHeads) -> Result<CheckedHead, CommandError> {
        let unsigned = || CommandError::Missing("there is no signed head to prove it under".to_owned());
        match self.source.read(global, trusted, &mut |_| ControlFlow::Continue(()))? {
            ReadEnding::Whole(found) => {
                let (Some(key), Some(note)) = (found.verifier_key, found.signed_head) else {
                    return Err(unsigned());
                };
                let key: VerifierKey =
                    key.parse().map_err(|error| CommandError::damaged(format!("verifierKey: {error}")))?;
                let head = SignedHead::open(&note, &key)
                    .map_err(|error| CommandError::damaged(format!("the signed head: {error}")))?;
                Ok(CheckedHead { head, key })
            }
            ReadEnding::Enough | ReadEnding::Unsigned(_) => Err(unsigned()),
        }
    }

    fn missing(&self, size: u64) -> CommandError {
        CommandError::Missing(format!(
            "there is no position {}: the newest signed head is of size {size}",
            self.position
        ))
    }

    fn told(
        &self,
        record: Option<RecordHash>,
        leaf: NodeHash,
        hashes: &[NodeHash],
        CheckedHead { head, key }: &CheckedHead,
    ) -> Result<Value, CommandError> {
        verify_inclusion(&leaf, self.position - 1, (head.size, head.root), hashes)
            .map_err(|error| CommandError::damaged(format!("position {}: {error}", self.position)))?;
        Ok(json!({
            "position": self.position, "recordHash": record, "leafHash": hex(&leaf), "size": head.size,
            "rootHash": head.root, "hashes": hashes.iter().map(hex).collect::<Vec<_>>(),
            "signedHead": head.note(), "verifierKey": key.to_string(),
        }))
    }
}

/// The head that a server shows must continue each head that was seen before.
fn continues(cli: &CommandContext, head: &SignedHead, known: &[SignedHead]) -> Result<(), CommandError> {
    for seen in known {
        if seen.size > head.size {
            let why = format!(
                "position {} is missing, and all up to {}: a head of that size is known",
                head.size + 1,
                seen.size
            );
            return Err(CommandError::damaged(why));
        }
        let request = ApiRequest::get(&["v1", "audit", "consistency"]).query("from", Some(seen.size));
        let proof = cli.client.send(&request.query("to", Some(head.size)))?.body;
        let hashes = hashes_in(&proof)
            .ok_or_else(|| cli.client.strange(200, "the proof has something else than hashes"))?;
        verify_consistency((seen.size, seen.root), (head.size, head.root), &hashes).map_err(|error| {
            CommandError::damaged(format!("a head that is known of size {}: {error}", seen.size))
        })?;
    }
    Ok(())
}

fn hashes_in(proof: &Value) -> Option<Vec<NodeHash>> {
    let hashes = proof["hashes"].as_array().into_iter().flatten();
    hashes.map(|hash| from_hex(hash.as_str()?)).collect()
}

/// The parts of the tree that prove one leaf, gathered while the records go by.
struct ProofGatherer {
    position: Position,
    record: Option<RecordHash>,
    parts: Vec<(std::ops::Range<u64>, CompactRange)>,
}

impl ProofGatherer {
    fn new(position: u64, size: u64) -> Self {
        let parts = inclusion_parts(position - 1, size).into_iter();
        let parts = parts.map(|part| (part.clone(), CompactRange::starting(part.start))).collect();
        Self { position: Position(position), record: None, parts }
    }

    fn add(&mut self, stored: &StoredCommit) {
        for (position, record) in stored.positions().zip(&stored.record_hashes) {
            if position == self.position {
                self.record = Some(*record);
            }
            let index = position.0 - 1;
            if let Some((_, range)) = self.parts.iter_mut().find(|(part, _)| part.contains(&index)) {
                range.append(record);
            }
        }
    }

    fn hashes(&self) -> Option<Vec<NodeHash>> {
        let whole = |(part, range): &(std::ops::Range<u64>, CompactRange)| {
            (range.end() == part.end).then(|| range.node()).flatten()
        };
        self.parts.iter().map(whole).collect()
    }
}

fn hex(hash: &NodeHash) -> String {
    RecordHash::from_bytes(*hash).to_string()
}

fn from_hex(text: &str) -> Option<NodeHash> {
    tenure_audit::export::from_hex(text)
}
