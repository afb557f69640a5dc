//! The SMTP server side: listeners, sessions, and one message coming in.
//!
//! ```text
//! listener ─Connected─▶ Inbound ─▶ dialogue: admission, greeting, one method a verb
//!                                      └─▶ transaction: MAIL, RCPT, DATA/BDAT ─▶ reception ─Accepted─▶ authenticate
//! ```
//!
//! "Accept one message" is [`transaction`]'s list of steps: MAIL opens it (SPF starts, an operator's word on the client is
//! looked up), each RCPT asks DNSBL, unless there is such a word ([`standing`]), and `route` (a guess at a return address
//! may be kept waiting, [`return_address`]), whether it fits those before it ([`split`]), and then its upstreams
//! ([`ask_upstreams`]), DATA receives, the final dot submits it and waits for the one reply; whether the client has that is
//! [`reply_owed`]'s to say. A [`session`] is one task; it holds no locks and blocks nowhere.

mod admission;
mod ask_upstreams;
mod conduct;
mod dialogue;
mod guesses;
mod listener;
mod open;
mod pace;
pub mod proxy;
mod reception;
mod reply_owed;
mod return_address;
mod session;
mod split;
mod standing;
mod surroundings;
mod temporary;
mod transaction;

use std::sync::Arc;

pub use self::admission::Admission;
pub use self::guesses::Guesses;
pub use self::listener::{Connected, accept, bind};
pub use self::surroundings::Surroundings;
pub use self::temporary::Temporary;
use super::joint::{Stage, Turn};
use super::parcel::Nothing;

/// The first stage: turns connections into sessions.
pub struct Inbound(pub Arc<Surroundings>);

impl Stage for Inbound {
    type Parcel = Connected;
    type Next = Nothing;
    const NAME: &'static str = "inbound";

    async fn run(&self, connected: Connected) -> Turn<Nothing> {
        let _open = self.0.sessions.token();
        dialogue::serve(connected.stream, connected.peer, self.0.clone()).await;
        Turn::Answered
    }
}
