//! `tenure audit export`

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Read, Write},
    ops::ControlFlow,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use clap::Args;
use serde_json::json;

use super::{
    data_directory::{DirectoryHeads, StoppedLog},
    source::open,
    trust::{TrustedHeads, heads_of},
    verification::{KeyOrigin, ReadEnding, Verification, untrue},
};
use crate::cli::{
    connection::client::ApiRequest,
    context::GlobalArgs,
    environment,
    failure::CommandError,
    output::{Column, Output},
};
use tenure_audit::{
    SignedHead, VerifierKey,
    export::{ExportError, ExportSignatures, ExportSpan, export},
    verify::{TrustAnchors, VerifiedExport, verify},
};

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The file to write; it must not exist yet
    #[arg(value_name = "FILE")]
    to_file: PathBuf,

    /// Only from this position on; its whole commit is included
    #[arg(long, value_name = "N")]
    from: Option<u64>,

    /// Only up to this position; its whole commit is included
    #[arg(long, value_name = "N")]
    to: Option<u64>,

    /// The data directory of a stopped server; without it the server at --url is asked
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    /// The authority's verifier key, from a source you trust: what is written must be signed by it
    #[arg(long, value_name = "VKEY")]
    verifier_key: Option<VerifierKey>,

    /// File with heads seen before, such as audit.head_file: the history must continue each. With --data they
    /// go into the export, so that a forged record is found between two of them
    #[arg(long, value_name = "FILE")]
    heads: Option<PathBuf>,
}

const COLUMNS: &[Column] = &[
    Column::plain("", "file"),
    Column::plain("", "from"),
    Column::plain("", "to"),
    Column::plain("", "size"),
    Column::plain("", "rootHash"),
    Column::plain("", "verifierKey"),
];

impl ExportArgs {
    /// Of the whole history of a server, or of a stopped one's directory.
    pub(super) fn whole(to_file: &Path, data: Option<&Path>, key: Option<&VerifierKey>) -> Self {
        Self {
            to_file: to_file.to_owned(),
            from: None,
            to: None,
            data: data.map(Path::to_owned),
            verifier_key: key.cloned(),
            heads: None,
        }
    }

    /// Writes the file, and reads it once more; nothing is left of one that does not prove itself.
    pub(super) fn write(&self, global: &GlobalArgs) -> Result<VerifiedExport, CommandError> {
        let file = self.create()?;
        self.fill(global, file).and_then(|()| self.verified()).inspect_err(|_| {
            // Half an export is useless.
            drop(fs::remove_file(&self.to_file));
        })
    }

    pub(crate) fn run(&self, global: &GlobalArgs) -> Result<(), CommandError> {
        if self.heads.is_some() && self.data.is_none() && self.verifier_key.is_none() {
            return Err(CommandError::Usage("--heads needs --verifier-key, or --data".to_owned()));
        }
        let verdict = self.write(global)?;
        self.report(global.output(), verdict)
    }

    /// It holds ids of subjects, which other users must not read.
    fn create(&self) -> Result<File, CommandError> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600).open(&self.to_file).map_err(at(&self.to_file))
    }

    fn fill(&self, global: &GlobalArgs, file: File) -> Result<(), CommandError> {
        let mut out = BufWriter::with_capacity(1 << 20, file);
        match &self.data {
            Some(data) => self.write_stopped(data, &mut out)?,
            None => self.write_served(global, &mut out)?,
        }
        let file = out.into_inner().map_err(|error| at(&self.to_file)(error.into_error()))?;
        file.sync_all().map_err(at(&self.to_file))
    }

    fn write_served(&self, global: &GlobalArgs, out: &mut impl Write) -> Result<(), CommandError> {
        let cli = global.context()?;
        let request =
            ApiRequest::get(&["v1", "audit", "export"]).query("from", self.from).query("to", self.to);
        let mut reply = cli.client.export(&request)?;
        let bar = cli.output.bytes();
        let mut buffer = vec![0; 1 << 16];
        loop {
            match reply.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(read) => {
                    out.write_all(&buffer[..read]).map_err(at(&self.to_file))?;
                    bar.inc(read as u64);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(CommandError::Server(format!("the server broke off: {error}"))),
            }
        }
    }

    fn write_stopped(&self, data: &Path, out: &mut impl Write) -> Result<(), CommandError> {
        let stopped = StoppedLog::open(data)?;
        let trusted = TrustedHeads { key: self.verifier_key.clone(), heads: vec![] };
        let heads = stopped.heads(&trusted).map_err(|fault| untrue(&fault))?;
        let key = heads.key.clone().ok_or_else(|| {
            let key = data.join("keys/head.key");
            CommandError::Usage(format!(
                "{}: is not there, or not yours to read; an export names its key: see --verifier-key",
                key.display()
            ))
        })?;
        let head = heads.last.clone().ok_or_else(|| {
            CommandError::Missing(format!("{}: no head was signed: start the server once", data.display()))
        })?;
        let log = stopped.log(&mut |_| ControlFlow::Continue(()))?;
        let span = ExportSpan::new(self.from, self.to, head.size).map_err(failed)?;
        let signatures = ExportSignatures {
            verifier_key: key.to_string(),
            last: (head.size, head.note().to_owned()),
            earlier: self.earlier(heads, &key)?,
        };
        export(&log, span, &signatures, out).map(drop).map_err(failed)
    }

    fn earlier(&self, heads: DirectoryHeads, key: &VerifierKey) -> Result<Vec<(u64, String)>, CommandError> {
        let mut all = heads.trail;
        all.extend(self.known(key)?);
        all.sort_by_key(|head| head.size);
        all.dedup_by_key(|head| head.size);
        Ok(all.into_iter().map(|head| (head.size, head.note().to_owned())).collect())
    }

    /// The heads that were seen before.
    fn known(&self, key: &VerifierKey) -> Result<Vec<SignedHead>, CommandError> {
        self.heads.as_ref().map_or_else(|| Ok(vec![]), |path| heads_of(path, key))
    }

    /// What was written is read once more: an export that does not prove itself is none.
    fn verified(&self) -> Result<VerifiedExport, CommandError> {
        let read = |trust| {
            verify(open(&self.to_file)?, trust, &mut |_, _| ControlFlow::Continue(()))
                .map_err(|fault| untrue(&fault))
        };
        let key = self.verifier_key.as_ref();
        let verdict = read(TrustAnchors { key, known: &[] })?.expect("nothing stopped it");
        let known =
            verdict.verifier_key.parse().map(|key| self.known(&key)).expect("heads were opened by it")?;
        if known.is_empty() {
            return Ok(verdict);
        }
        Ok(read(TrustAnchors { key, known: &known })?.expect("nothing stopped it"))
    }

    fn report(&self, output: Output, verdict: VerifiedExport) -> Result<(), CommandError> {
        let mut document = json!(verdict);
        document["file"] = self.to_file.display().to_string().into();
        let whose = match (&self.verifier_key, &self.data) {
            (Some(_), _) => KeyOrigin::Reader,
            (None, Some(_)) => KeyOrigin::Directory,
            (None, None) => KeyOrigin::Server,
        };
        document["keyFrom"] = json!(whose);
        output.record(&document, COLUMNS, environment::now())?;
        ReadEnding::Whole(Box::new(Verification::of_export(verdict, &TrustedHeads::default(), whose)))
            .report(output);
        Ok(())
    }
}

fn failed(error: ExportError) -> CommandError {
    match error {
        ExportError::Range { .. } => CommandError::Usage(format!("--from, --to: {error}")),
        ExportError::Log(error) => CommandError::damaged(error.to_string()),
        ExportError::Write(error) => CommandError::Output(error),
    }
}

fn at(path: &Path) -> impl Fn(io::Error) -> CommandError + use<> {
    let path = path.to_owned();
    move |source| CommandError::File { path: path.clone(), source }
}
