//! What the streams and subjects of one log are called.

/// The names of one log's streams and subjects. Several logs share a broker by accounts of their own; the names are
/// then the same in each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamNames {
    streams: String,
    subjects: String,
}

impl StreamNames {
    /// With these beginnings.
    pub fn new(streams: &str, subjects: &str) -> Self {
        Self { streams: streams.to_owned(), subjects: subjects.to_owned() }
    }

    /// The stream of the frames.
    pub fn log_stream(&self) -> String {
        format!("{}_LOG_1", self.streams)
    }

    /// The one subject of the frames.
    pub fn log(&self) -> String {
        format!("{}.log", self.subjects)
    }

    /// Where the broker says each frame again once it is stored.
    pub fn tail(&self) -> String {
        format!("{}.tail", self.subjects)
    }

    /// The stream of the lease.
    pub fn lease_stream(&self) -> String {
        format!("{}_LEASE", self.streams)
    }

    /// The one subject of the lease.
    pub fn lease(&self) -> String {
        format!("{}.lease", self.subjects)
    }

    /// The stream of what all nodes must have and no log may hold.
    pub fn secret_stream(&self) -> String {
        format!("{}_SECRETS", self.streams)
    }

    /// What its subjects begin with.
    pub fn secret(&self) -> String {
        format!("{}.secret", self.subjects)
    }

    /// The stream of the signed heads.
    pub fn head_stream(&self) -> String {
        format!("{}_HEADS", self.streams)
    }

    /// The one subject of the signed heads.
    pub fn heads(&self) -> String {
        format!("{}.heads", self.subjects)
    }

    /// The stream in which each node says that it is there.
    pub fn node_stream(&self) -> String {
        format!("{}_NODES", self.streams)
    }

    /// The subject of this node, or with `*` those of all nodes.
    pub fn node(&self, node: &str) -> String {
        format!("{}.node.{node}", self.subjects)
    }

    /// Where the broker says each claim again.
    pub fn pulse(&self) -> String {
        format!("{}.pulse", self.subjects)
    }
}

impl Default for StreamNames {
    fn default() -> Self {
        Self::new("TENURE", "tenure.v1")
    }
}
