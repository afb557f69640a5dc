//! Why no upstream answered: for the sender, and for the operator. Part of [`super::parcel`].

use crate::mail::Enhanced;

/// Why no upstream answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoAnswer {
    /// What the sender may know of it.
    pub silence: Silence,
    /// For log, journal and operator: the last thing that was tried and how it failed, such as `mx1.example [2001:db8::1]: connection timed out`.
    pub detail: String,
}

/// In what way nobody answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Silence {
    /// The destination is not tried at present: suspended, too slow of late, or we have no place for it. Nobody was asked.
    Held,
    /// Its hosts or their addresses could not be looked up.
    LookUp,
    /// No host took the connection.
    Unreachable,
    /// A host answered, and wants less of us or nothing at present.
    Busy,
    /// A connection ended, or time did, before there was an answer.
    Interrupted,
    /// Its hosts do not show what its policy, or the message, has them show.
    Tls,
}

impl Silence {
    const ALL: [Self; 6] =
        [Self::Held, Self::LookUp, Self::Unreachable, Self::Busy, Self::Interrupted, Self::Tls];

    /// The enhanced code, which is also how the spool keeps it (RFC 3463 §3.4, §3.5, §3.8).
    #[must_use]
    pub fn enhanced(self) -> Enhanced {
        match self {
            Self::Held => Enhanced(4, 3, 2),
            Self::LookUp => Enhanced(4, 4, 3),
            Self::Unreachable => Enhanced(4, 4, 1),
            Self::Busy => Enhanced(4, 4, 5),
            Self::Interrupted => Enhanced(4, 4, 2),
            Self::Tls => Enhanced(4, 7, 5),
        }
    }

    /// The kind with this code; without one, the most general.
    #[must_use]
    pub fn of(enhanced: Option<Enhanced>) -> Self {
        let known = Self::ALL.into_iter().find(|silence| Some(silence.enhanced()) == enhanced);
        known.unwrap_or(Self::Unreachable)
    }

    /// What the sender is told: nothing that names a private destination, or its domain.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Held => "Mail to the destination is held back for the time being",
            Self::LookUp => "The mail servers of the destination could not be looked up",
            Self::Unreachable => "No mail server of the destination could be reached",
            Self::Busy => "The mail servers of the destination take no more mail from us at present",
            Self::Interrupted => "The connection ended before a mail server of the destination answered",
            Self::Tls => "No mail server of the destination meets what is required of its TLS",
        }
    }
}
