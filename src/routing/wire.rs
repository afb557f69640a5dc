//! Serialised forms of types that have none of their own: times in milliseconds since 1970, `on_tempfail`
//! in the words of the configuration.

use std::time::{Duration, SystemTime};

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::config::OnTempfail;

/// Milliseconds since 1970; times before are 1970.
pub(super) fn to_millis(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The time; `None` when it is past what the system can say.
pub(super) fn from_millis(millis: u64) -> Option<SystemTime> {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(millis))
}

/// The time as a log and a disk keep it.
pub(super) fn to_the_millisecond(time: SystemTime) -> SystemTime {
    from_millis(to_millis(time)).unwrap_or(time)
}

/// The time as a disk keeps that of a suspension.
pub(super) fn to_the_second(time: SystemTime) -> SystemTime {
    from_millis(to_millis(time) / 1000 * 1000).unwrap_or(time)
}

fn time_of<E: Error>(millis: u64) -> Result<SystemTime, E> {
    from_millis(millis).ok_or_else(|| E::custom("a time past the end of time"))
}

/// The word for it in files and on the command line.
pub(super) fn tempfail_word(value: OnTempfail) -> &'static str {
    match value {
        OnTempfail::Relay => "relay",
        OnTempfail::Queue => "queue",
        OnTempfail::Verified => "verified",
    }
}

fn tempfail_of<E: Error>(word: &str) -> Result<OnTempfail, E> {
    [OnTempfail::Relay, OnTempfail::Queue, OnTempfail::Verified]
        .into_iter()
        .find(|value| tempfail_word(*value) == word)
        .ok_or_else(|| E::unknown_variant(word, &["relay", "queue", "verified"]))
}

/// Reads a time.
pub(super) fn millis<'de, D: Deserializer<'de>>(from: D) -> Result<SystemTime, D::Error> {
    time_of(u64::deserialize(from)?)
}

/// Reads a time, or none.
pub(super) fn optional_millis<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SystemTime>, D::Error> {
    Option::<u64>::deserialize(from)?.map(time_of).transpose()
}

pub(super) mod tempfail {
    use super::*;

    pub(in super::super) fn serialize<S: Serializer>(
        value: &Option<OnTempfail>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        value.map(tempfail_word).serialize(to)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<OnTempfail>, D::Error> {
        Option::<String>::deserialize(from)?.map(|word| tempfail_of(&word)).transpose()
    }
}
