//! `google.protobuf.Timestamp` with the JSON that the mapping of proto3 asks for: RFC 3339, in UTC as `Z`,
//! with 0, 3, 6 or 9 digits behind the second. In place of that of `pbjson-types`, which prints `+00:00`.

use std::time::{Duration, SystemTime};

use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The first second that is not in the year 9999 any more, where the JSON form ends.
const END_SECONDS: i64 = 253_402_300_800;

/// A point in time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct Timestamp {
    /// Seconds since 1970.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    /// Nanoseconds behind the second, 0 to 999,999,999.
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

impl Timestamp {
    /// The time; `None` before 1970, after 9999, or when it is none.
    #[must_use]
    pub fn time(&self) -> Option<SystemTime> {
        let nanos = u32::try_from(self.nanos).ok().filter(|nanos| *nanos < 1_000_000_000)?;
        let since = Duration::new(u64::try_from(self.seconds).ok()?, nanos);
        SystemTime::UNIX_EPOCH.checked_add(since).filter(|_| self.seconds < END_SECONDS)
    }
}

impl From<SystemTime> for Timestamp {
    /// A time before 1970 is 1970.
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self {
            seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            nanos: i32::try_from(since.subsec_nanos()).unwrap_or_default(),
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let time = self.time().ok_or_else(|| S::Error::custom("a time outside 1970 to 9999"))?;
        serializer.collect_str(&match self.nanos {
            0 => humantime::format_rfc3339_seconds(time),
            nanos if nanos % 1_000_000 == 0 => humantime::format_rfc3339_millis(time),
            nanos if nanos % 1_000 == 0 => humantime::format_rfc3339_micros(time),
            _ => humantime::format_rfc3339_nanos(time),
        })
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    /// Takes what [`Self::serialize`] writes.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_rfc3339(&text).map(Self::from).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_rfc3339_in_utc_with_as_many_digits_as_are_needed() {
        let json = |seconds, nanos| serde_json::to_string(&Timestamp { seconds, nanos }).ok();
        for (seconds, nanos, text) in [
            (0, 0, "1970-01-01T00:00:00Z"),
            (1_795_456_801, 500_000_000, "2026-11-23T18:00:01.500Z"),
            (1_795_456_801, 1_000, "2026-11-23T18:00:01.000001Z"),
            (END_SECONDS - 1, 999_999_999, "9999-12-31T23:59:59.999999999Z"),
        ] {
            assert_eq!(json(seconds, nanos), Some(format!("\"{text}\"")));
            let read: Timestamp = serde_json::from_str(&format!("\"{text}\"")).unwrap();
            assert_eq!(read, Timestamp { seconds, nanos });
        }
        assert_eq!(
            [json(END_SECONDS, 0), json(-1, 0), json(0, -1), json(0, 1_000_000_000)],
            [const { None }; 4]
        );
    }
}
