//! Dates in header fields (RFC 5322 §3.3).

use std::time::SystemTime;

use mail_parser::DateTime;

/// The date and time in UTC, as `Mon, 23 Nov 2026 18:00:00 +0000`. Times before 1970 are 1970.
#[must_use]
pub fn rfc5322(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    DateTime::from_timestamp(i64::try_from(seconds).unwrap_or(i64::MAX)).to_rfc822()
}

/// The date and time in UTC, as `2026-11-23T18:00:00Z` (RFC 3339). Times before 1970 are 1970.
#[must_use]
pub fn rfc3339(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    DateTime::from_timestamp(i64::try_from(seconds).unwrap_or(i64::MAX)).to_rfc3339()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn rfc5322_3_3_dates() {
        let at = |seconds| rfc5322(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(1_795_456_800), "Mon, 23 Nov 2026 18:00:00 +0000");
        assert_eq!(at(951_782_400), "Tue, 29 Feb 2000 00:00:00 +0000");
        assert_eq!(
            rfc3339(SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_456_800)),
            "2026-11-23T18:00:00Z"
        );
        assert_eq!(at(0), "Thu, 1 Jan 1970 00:00:00 +0000");
    }
}
