//! What is asked of the authority, in numbers: of subjects, sessions, generations, keys and devices.

/// What is asked of one subject.
#[derive(Clone, Debug)]
pub(super) enum Ask {
    Register {
        owner: Option<u8>,
        limits: OwnLimits,
        as_admin: bool,
    },
    Create(NewSession),
    Renew {
        session: u32,
        generation: u32,
        key: Option<u8>,
        jitter: u16,
    },
    Revoke {
        session: u32,
        by: By,
        reject_renewal: Option<bool>,
    },
    RevokeAll {
        device: Option<u8>,
        except: Option<u32>,
        owner: Option<u8>,
    },
    /// By a token of this generation, or on the session's behalf.
    Use {
        session: u32,
        generation: Option<u32>,
        operation: u8,
        tenths: Option<u64>,
    },
    Sweep,
    Refresh {
        session: u32,
        generation: u32,
    },
    /// A minting by a token of this generation, or the authority's own look at who has shown what.
    EndContested {
        session: u32,
        shown: Option<u32>,
    },
    Erase,
    Suspend {
        by: Suspender,
        until: Option<i64>,
        reason: Option<u8>,
    },
    Resume {
        by: Suspender,
    },
    EndAndSuspend {
        session: u32,
        by: Suspender,
        reason: Option<u8>,
    },
}

/// Who suspends and resumes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Suspender {
    Admin,
    Issuer,
    Owner(u8),
}

/// Which sessions of any subjects: those to which all of it applies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Selection {
    pub(super) owner: Option<u8>,
    pub(super) subject: Option<usize>,
    pub(super) device: Option<u8>,
    pub(super) before: Option<i64>,
}

/// Who asks for an end.
#[derive(Clone, Copy, Debug)]
pub(super) enum By {
    Admin,
    Issuer,
    Owner(u8),
    Own(u32),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct NewSession {
    pub(super) session: u32,
    pub(super) ttl: Option<u32>,
    pub(super) renewals: Option<u32>,
    pub(super) lifetime: Option<u32>,
    pub(super) window: Option<u32>,
    pub(super) idle: Option<u32>,
    pub(super) sliding: bool,
    /// Whether a replaced token ends it once the newer one is shown.
    pub(super) reuse_ends: Option<bool>,
    pub(super) device: Option<u8>,
    pub(super) jitter: u16,
    pub(super) budget: Option<Budget>,
}

/// What a session may be used for; amounts in tenths.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Budget {
    pub(super) each: Option<u64>,
    pub(super) total: Option<u64>,
    pub(super) times: Option<u64>,
    pub(super) operation: Option<u8>,
}

/// Limits of a subject's own; what is left open comes from the rules.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct OwnLimits {
    pub(super) sessions: Option<u32>,
    pub(super) device_sessions: Option<u32>,
    pub(super) evicts: Option<bool>,
    pub(super) device_evicts: Option<bool>,
}

impl OwnLimits {
    /// The same, and what it leaves open as it was.
    pub(super) fn or(self, had: Self) -> Self {
        Self {
            sessions: self.sessions.or(had.sessions),
            device_sessions: self.device_sessions.or(had.device_sessions),
            evicts: self.evicts.or(had.evicts),
            device_evicts: self.device_evicts.or(had.device_evicts),
        }
    }
}

/// The settings under which commands are judged.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting with two values, as in the contract")]
pub(super) struct Rules {
    pub(super) ttl: u32,
    pub(super) renewals: u32,
    pub(super) lifetime: u32,
    pub(super) sessions: u32,
    pub(super) device_sessions: u32,
    pub(super) evicts: bool,
    pub(super) device_evicts: bool,
    pub(super) auto_register: bool,
    pub(super) reuse_ends: bool,
    /// For so many seconds after a renewal the token that it replaced contests nothing.
    pub(super) grace: u32,
    pub(super) idle: Option<u32>,
    pub(super) slides: bool,
}
