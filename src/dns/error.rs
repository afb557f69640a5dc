//! Why a look-up has no answer, and whether asking again may help.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hickory_resolver::net::{self, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::Name;
use thiserror::Error;

use super::{MAX_NEGATIVE_TTL, relative_text};

/// Why there is no answer.
#[derive(Debug, Clone, Error)]
pub enum DnsError {
    /// RCODE 3 (RFC 8020: there is nothing below the name either).
    #[error("{name} does not exist")]
    NoSuchName {
        /// The name asked for.
        name: String,
        /// When the zone may have changed its mind (RFC 2308 §5); now, if it did not say.
        valid_until: Instant,
    },
    /// RCODE 0 and nothing of the type asked for (RFC 2308 §2.2).
    #[error("{name} has no records of the type asked for")]
    NoRecords {
        /// The name asked for.
        name: String,
        /// When the zone may have changed its mind (RFC 2308 §5); now, if it did not say.
        valid_until: Instant,
    },
    /// Nobody knows: asking later may help.
    #[error("look-up of {name}: {cause}")]
    Temporary {
        /// The name asked for.
        name: String,
        /// What went wrong; its text never holds the name.
        cause: Cause,
    },
    /// There are MX records, and none of them holds a host name: "this situation MUST be reported as an
    /// error" (RFC 5321 §5.1).
    #[error("no MX record of {name} names a host")]
    NoUsableMx {
        /// The domain asked for.
        name: String,
    },
    /// The text can stand in no query: empty, an address literal, too long, or not ASCII (RFC 1035 §2.3.4).
    #[error("\"{name}\" is not a name in the DNS")]
    NotAName {
        /// At most 80 characters of it.
        name: String,
    },
    /// The system's resolver configuration is needed and cannot be used.
    #[error("the system's resolver configuration cannot be used")]
    System {
        /// Why.
        #[source]
        source: Arc<NetError>,
    },
}

/// What went wrong on the way to an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Cause {
    /// No server answered in time.
    #[error("no answer in time")]
    TimedOut,
    /// The server answered with an error: 2 is SERVFAIL, 5 REFUSED (RFC 6895 §2.3).
    #[error("the server answered with RCODE {0}")]
    ResponseCode(u16),
    /// No server could be asked, or none gave an answer that can be read; the word says where it failed.
    #[error("the servers cannot be asked ({0})")]
    Network(&'static str),
}

impl DnsError {
    /// Whether asking later may give another answer, so that mail is deferred and not refused.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Temporary { .. } | Self::System { .. } => true,
            Self::NoSuchName { .. }
            | Self::NoRecords { .. }
            | Self::NoUsableMx { .. }
            | Self::NotAName { .. } => false,
        }
    }

    pub(super) fn system(error: NetError) -> Self {
        Self::System { source: Arc::new(error) }
    }

    pub(super) fn from_resolver(name: &Name, error: &NetError) -> Self {
        let name = relative_text(name);
        if let NetError::Dns(net::DnsError::NoRecordsFound(none)) = error {
            let valid_until = Instant::now() + negative_ttl(none.negative_ttl);
            return if none.response_code == ResponseCode::NXDomain {
                Self::NoSuchName { name, valid_until }
            } else if none.response_code == ResponseCode::NoError {
                Self::NoRecords { name, valid_until }
            } else {
                // RFC 7208 §2.6.6: any RCODE but 0 and 3 is a temporary error.
                Self::Temporary { name, cause: Cause::ResponseCode(none.response_code.into()) }
            };
        }
        let cause = if let NetError::Dns(net::DnsError::ResponseCode(code)) = error {
            Cause::ResponseCode((*code).into())
        } else if matches!(error, NetError::Timeout) {
            Cause::TimedOut
        } else {
            Cause::Network(error.as_metrics_label())
        };
        Self::Temporary { name, cause }
    }

    /// The label `result` of `dns_lookups_total`.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::NoSuchName { .. } => "no_such_name",
            Self::NoRecords { .. } => "no_records",
            Self::Temporary { cause: Cause::TimedOut, .. } => "timeout",
            Self::Temporary { cause: Cause::ResponseCode(_) | Cause::Network(_), .. }
            | Self::NoUsableMx { .. }
            | Self::NotAName { .. }
            | Self::System { .. } => "error",
        }
    }
}

/// RFC 2308 §5: a negative answer without SOA is not cached.
fn negative_ttl(seconds: Option<u32>) -> Duration {
    Duration::from_secs(seconds.unwrap_or(0).into()).min(MAX_NEGATIVE_TTL)
}
