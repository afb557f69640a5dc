//! The protobuf parts of records, and what the queue knows as their content.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use prost::Message as _;

use super::model::{Bounces, CopyState, Direction, LastAttempt, Queued, QueuedCopy};
use crate::mail::{
    Address, MessageRequest, Notify, RecipientRequest, RequireTls, Return, ReversePath, SmtpUtf8, TraceId,
};
use crate::proto::spool::v1;
use crate::smtp::reply::{self, Enhanced};

/// Past it the dialogues are left out, in octets: they are the only part that is for reading alone.
const MAX_WITH_DIALOGUES_OCTETS: usize = 1 << 20;

/// Past it the replies are cut to their first words too, in octets. A message that was taken can always be written
/// again then: a copy has three addresses of at most 384 octets (64 of the local part, each perhaps escaped, quotes,
/// `@` and 253 of the domain), ORCPT of 500, a host of 253, these words and some 80 of all else, together less than
/// 2,100; and 2,000 copies, 100 recipients with 20 destinations each, are half of the 8 MiB of a frame. As the cause of a
/// notification it shares the frame with that one's envelope, which is small.
const MAX_WITH_REPLIES_OCTETS: usize = 4 << 20;
/// Octets of these first words.
const FIRST_WORDS_OCTETS: usize = 100;

/// A copy in [`CopyState::Waiting`].
const WAITING: u32 = 1;
/// A copy in [`CopyState::AwaitingReply`].
pub(super) const AWAITING_REPLY: u32 = 2;
/// A copy in [`CopyState::Unknown`].
pub(super) const UNKNOWN: u32 = 3;

const NOTIFY_NEVER: u32 = 1;
const NOTIFY_ON: u32 = 2;
const NOTIFY_SUCCESS: u32 = 4;
const NOTIFY_FAILURE: u32 = 8;
const NOTIFY_DELAY: u32 = 16;

/// The stored form.
pub(super) fn encode(queued: &Queued) -> v1::Message {
    let request = &queued.request;
    let mut message = v1::Message {
        id: queued.id.to_bytes().to_vec(),
        received_at_ms: millis(queued.received_at),
        reverse_path: queued.reverse_path.to_string(),
        vouched: queued.bounces == Bounces::Permitted,
        smtp_utf8: queued.smtp_utf8 == SmtpUtf8::Requested,
        require_tls: request.require_tls == RequireTls::Yes,
        ret: match request.ret {
            None => 0,
            Some(Return::Full) => 1,
            Some(Return::Headers) => 2,
        },
        envelope_id: request.envelope_id.clone(),
        client: queued.client.map(client_octets).unwrap_or_default(),
        copies: queued.copies.iter().map(encode_copy).collect(),
    };
    if message.encoded_len() > MAX_WITH_DIALOGUES_OCTETS {
        attempts(&mut message).for_each(|last| last.dialogue = Vec::new());
    }
    if message.encoded_len() > MAX_WITH_REPLIES_OCTETS {
        attempts(&mut message)
            .for_each(|last| last.lines = reply::first_words(&last.lines, 1, FIRST_WORDS_OCTETS));
    }
    message
}

fn attempts(message: &mut v1::Message) -> impl Iterator<Item = &mut v1::Attempt> {
    message.copies.iter_mut().filter_map(|copy| copy.last.as_mut())
}

/// What a `put` record says of a message.
pub(super) fn put(message: v1::Message, body: Option<v1::BodyFile>) -> v1::Put {
    let checksum = crc32fast::hash(&message.encode_to_vec());
    v1::Put { message: Some(message), body, message_checksum: Some(checksum), ..v1::Put::default() }
}

/// Whether what a `put` record says of its message can be believed with the rest of the record damaged. A notification
/// counts with its cause or not at all.
pub(super) fn is_whole(put: &v1::Put) -> bool {
    if put.cause.is_some() {
        return false;
    }
    let sum = put.message.as_ref().map(|message| crc32fast::hash(&message.encode_to_vec()));
    sum.is_some() && sum == put.message_checksum
}

fn encode_copy(copy: &QueuedCopy) -> v1::Copy {
    v1::Copy {
        alias: copy.alias.to_string(),
        destination: copy.destination.to_string(),
        reverse_path: copy.reverse_path.to_string(),
        is_return: copy.direction == Direction::Return,
        state: match copy.state {
            CopyState::Waiting => WAITING,
            CopyState::AwaitingReply => AWAITING_REPLY,
            CopyState::Unknown => UNKNOWN,
        },
        attempts: copy.attempts,
        due_ms: millis(copy.due),
        notify: match copy.request.notify {
            Notify::Unsaid => 0,
            Notify::Never => NOTIFY_NEVER,
            Notify::On { success, failure, delay } => {
                let occasions = [(success, NOTIFY_SUCCESS), (failure, NOTIFY_FAILURE), (delay, NOTIFY_DELAY)];
                occasions.into_iter().filter(|(on, _)| *on).fold(NOTIFY_ON, |sum, (_, bit)| sum | bit)
            }
        },
        original_recipient: copy.request.original_recipient.clone(),
        delay_told: copy.delay_told,
        last: copy.last.as_ref().map(encode_attempt),
    }
}

fn encode_attempt(last: &LastAttempt) -> v1::Attempt {
    v1::Attempt {
        at_ms: millis(last.at),
        host: last.host.clone(),
        code: u32::from(last.code),
        enhanced: last
            .enhanced
            .map(|Enhanced(class, subject, detail)| vec![class.into(), subject.into(), detail.into()])
            .unwrap_or_default(),
        lines: last.lines.clone(),
        dialogue: last.dialogue.clone(),
    }
}

/// What a stored form says.
///
/// # Errors
/// A text that names what cannot be read: it was written by another version, or damaged before it was
/// written.
pub(super) fn decode(message: &v1::Message) -> Result<Queued, String> {
    let ret = match message.ret {
        1 => Some(Return::Full),
        2 => Some(Return::Headers),
        _ => None,
    };
    let require_tls = if message.require_tls { RequireTls::Yes } else { RequireTls::No };
    Ok(Queued {
        id: id(&message.id)?,
        received_at: time(message.received_at_ms),
        reverse_path: reverse_path(&message.reverse_path)?,
        bounces: if message.vouched { Bounces::Permitted } else { Bounces::Forbidden },
        request: MessageRequest { ret, envelope_id: message.envelope_id.clone(), require_tls },
        smtp_utf8: if message.smtp_utf8 { SmtpUtf8::Requested } else { SmtpUtf8::NotRequested },
        client: client(&message.client)?,
        copies: message.copies.iter().map(decode_copy).collect::<Result<_, _>>()?,
    })
}

fn decode_copy(copy: &v1::Copy) -> Result<QueuedCopy, String> {
    let on = |bit| copy.notify & bit != 0;
    Ok(QueuedCopy {
        alias: address(&copy.alias)?,
        destination: address(&copy.destination)?,
        reverse_path: reverse_path(&copy.reverse_path)?,
        direction: if copy.is_return { Direction::Return } else { Direction::Forward },
        state: state(copy)?,
        attempts: copy.attempts,
        due: time(copy.due_ms),
        request: RecipientRequest {
            notify: match copy.notify {
                0 => Notify::Unsaid,
                NOTIFY_NEVER => Notify::Never,
                _ => Notify::On {
                    success: on(NOTIFY_SUCCESS),
                    failure: on(NOTIFY_FAILURE),
                    delay: on(NOTIFY_DELAY),
                },
            },
            original_recipient: copy.original_recipient.clone(),
        },
        delay_told: copy.delay_told,
        last: copy.last.as_ref().map(decode_attempt).transpose()?,
    })
}

fn decode_attempt(last: &v1::Attempt) -> Result<LastAttempt, String> {
    let enhanced = match last.enhanced.as_slice() {
        [] => None,
        [class, subject, detail] => Some(Enhanced(narrow(*class)?, narrow(*subject)?, narrow(*detail)?)),
        _ => return Err("an enhanced code without three parts".to_owned()),
    };
    Ok(LastAttempt {
        at: time(last.at_ms),
        host: last.host.clone(),
        code: narrow(last.code)?,
        enhanced,
        lines: last.lines.clone(),
        dialogue: last.dialogue.clone(),
    })
}

/// How far a copy got.
pub(super) fn state(copy: &v1::Copy) -> Result<CopyState, String> {
    match copy.state {
        WAITING => Ok(CopyState::Waiting),
        AWAITING_REPLY => Ok(CopyState::AwaitingReply),
        UNKNOWN => Ok(CopyState::Unknown),
        other => Err(format!("a copy in state {other}")),
    }
}

/// The id that 16 octets are.
pub(super) fn id(octets: &[u8]) -> Result<TraceId, String> {
    let octets = octets.try_into().map_err(|_| format!("an id of {} octets", octets.len()))?;
    Ok(TraceId::from_bytes(octets))
}

fn client_octets(client: IpAddr) -> Vec<u8> {
    match client {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

/// The address that 4 or 16 octets are; no octets are none.
pub(super) fn client(octets: &[u8]) -> Result<Option<IpAddr>, String> {
    if octets.is_empty() {
        return Ok(None);
    }
    let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    let ip = v4.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from));
    ip.map(Some).map_err(|_| format!("a client's address of {} octets", octets.len()))
}

fn address(text: &str) -> Result<Address, String> {
    Address::parse(text).map_err(|error| error.to_string())
}

fn reverse_path(text: &str) -> Result<ReversePath, String> {
    if text.is_empty() { Ok(ReversePath::Null) } else { address(text).map(ReversePath::Mailbox) }
}

fn narrow<N: TryFrom<u32>>(number: u32) -> Result<N, String> {
    N::try_from(number).map_err(|_| format!("a code with {number} in it"))
}

/// Milliseconds since 1970; times before it are 1970.
pub(super) fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The time that is so many milliseconds after 1970; one that the system cannot hold is 1970.
pub(super) fn time(millis: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(millis)).unwrap_or(SystemTime::UNIX_EPOCH)
}
