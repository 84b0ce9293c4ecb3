//! Asks other nodes for the files of their histories.

use std::time::Duration;

use reqwest::Client;
use tenure_protocol::entropy::{self, Entropy};
use tokio::time::timeout;

use super::{
    broker_wait::hex,
    history_files::{CODE, HistoryRequest, PART, PATH},
    node_mac::NodeMac,
};

/// The list is waited for so long.
const LIST_PATIENCE: Duration = Duration::from_secs(5);
/// A part of a file is waited for so long.
const PATIENCE: Duration = Duration::from_secs(20);

/// One that asks.
pub(super) struct HistoryClient<'c> {
    pub(super) client: Client,
    pub(super) mac: &'c NodeMac,
    pub(super) entropy: &'c dyn Entropy,
}

impl HistoryClient<'_> {
    /// Asks the node at this address for a part of a file, or for the list.
    ///
    /// # Errors
    /// Why there is no answer that a node of this cluster has given to this request.
    pub(super) async fn ask(&self, address: &str, file: Option<&str>, from: u64) -> Result<Vec<u8>, String> {
        let nonce = hex(&entropy::bytes::<16>(self.entropy));
        let asked = HistoryRequest { nonce, file: file.map(str::to_owned), from };
        let text = serde_json::to_string(&asked).map_err(|error| error.to_string())?;
        let url = format!("{}{PATH}", address.trim_end_matches('/'));
        let code = self.mac.code(&[PATH, &text]);
        let request = self.client.post(url).header(CODE, code).body(text.clone()).send();
        let patience = if file.is_none() { LIST_PATIENCE } else { PATIENCE };
        let answered = timeout(patience, async {
            let mut answer = request.await.map_err(|error| error.to_string())?;
            if !answer.status().is_success() {
                return Err(format!("it answers {}", answer.status()));
            }
            let code = answer.headers().get(CODE).and_then(|code| code.to_str().ok()).unwrap_or_default();
            let code = code.to_owned();
            let mut bytes = Vec::new();
            while let Some(chunk) = answer.chunk().await.map_err(|error| error.to_string())? {
                bytes.extend_from_slice(&chunk);
                if bytes.len() > PART {
                    return Err("it answers more than was asked for".to_owned());
                }
            }
            Ok((code, bytes))
        });
        let (code, bytes) = answered.await.map_err(|_| "it does not answer in time".to_owned())??;
        let is_right = self.mac.is_right(&[PATH, &text, blake3::hash(&bytes).to_hex().as_str()], &code);
        if is_right { Ok(bytes) } else { Err("its answer does not prove that it is a node".to_owned()) }
    }
}
