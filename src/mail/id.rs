//! Trace ids: one ULID a transaction, in replies, the Received field, the log and `postroadctl trace`.

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use ulid::Ulid;

/// The id of one transaction: 26 characters that sort by time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TraceId(Ulid);

impl TraceId {
    /// Makes an id from the wall time and random bits.
    #[must_use]
    pub fn new(time: SystemTime, random: u128) -> Self {
        let millis = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
        Self(Ulid::from_parts(u64::try_from(millis).unwrap_or(u64::MAX), random))
    }

    /// The 16 octets of the id, in sort order.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_bytes()
    }

    /// The id of these octets.
    #[must_use]
    pub fn from_bytes(octets: [u8; 16]) -> Self {
        Self(Ulid::from_bytes(octets))
    }

    /// The wall time at which the id was made, to the millisecond.
    #[must_use]
    pub fn time(self) -> SystemTime {
        self.0.datetime()
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TraceId({})", self.0)
    }
}

impl FromStr for TraceId {
    type Err = ulid::DecodeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ulid::from_string(text).map(Self)
    }
}
