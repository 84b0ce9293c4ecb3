//! One session as its callers see it, one thing after another.

/// What a session is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Session {
    /// How often it was renewed: a token of an earlier generation is worth nothing.
    generation: u32,
    is_ended: bool,
    /// Of its subject, which has this session alone.
    is_suspended: bool,
}

/// Why a token is no good, or not renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum No {
    Ended,
    Suspended,
    Superseded,
    /// By the clock, which is nothing that a session does.
    Expired,
    TooEarly,
}

/// What was asked, and what was told. Generations are those of the tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    /// To renew; the generation that was granted. Nothing was told of what has no certain outcome.
    Renew {
        of: u32,
        told: Option<Result<u32, No>>,
    },
    /// To check; the generation of the session, if the token is good.
    Check {
        of: u32,
        told: Result<u32, No>,
    },
    End,
    Suspend,
    Resume,
}

impl Deed {
    /// Whether it leaves every session as it is.
    pub(super) const fn is_only_a_look(&self) -> bool {
        matches!(self, Self::Check { .. } | Self::Renew { told: Some(Err(_)), .. })
    }
}

impl Session {
    /// What the session is once this was done; `None` if this is not what is told then.
    pub(super) fn after(self, deed: &Deed) -> Option<Self> {
        match *deed {
            Deed::Renew { of, told } => self.renewed(of, told),
            Deed::Check { of, told } => self.says(of, told).then_some(self),
            Deed::End => Some(Self { is_ended: true, ..self }),
            Deed::Suspend => Some(Self { is_suspended: true, ..self }),
            Deed::Resume => Some(Self { is_suspended: false, ..self }),
        }
    }

    fn renewed(self, of: u32, told: Option<Result<u32, No>>) -> Option<Self> {
        let next = Self { generation: self.generation + 1, ..self };
        match (told, self.judge(of)) {
            (None, Ok(_)) => Some(next),
            (None, Err(_)) => Some(self),
            (Some(Ok(granted)), Ok(_)) => (granted == next.generation).then_some(next),
            (Some(told), _) => self.says(of, told).then_some(self),
        }
    }

    /// Whether this is what it says of a token. What the clock decides may be so at any time.
    fn says(self, of: u32, told: Result<u32, No>) -> bool {
        match told {
            Err(No::Expired | No::TooEarly) => self.judge(of).is_ok(),
            told => told == self.judge(of) && of <= self.generation,
        }
    }

    /// The rules in their order.
    fn judge(self, of: u32) -> Result<u32, No> {
        if self.is_ended {
            Err(No::Ended)
        } else if self.is_suspended {
            Err(No::Suspended)
        } else if of != self.generation {
            Err(No::Superseded)
        } else {
            Ok(self.generation)
        }
    }
}
