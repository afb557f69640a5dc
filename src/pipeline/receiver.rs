//! What `authenticate` and `rewrite` must both know of the receivers behind us: what we put before them, and whether
//! they can judge a message without our word.

/// Fields that `rewrite` puts on top of every message it forwards, whether it gets an ARC set or not.
pub(crate) const FIELDS_ON_TOP: &[&str] =
    &["DKIM-Signature", "Postroad-Trace", "Authentication-Results", "Received"];

/// Whether the receivers of a message need our ARC set (RFC 8617) to know whom it is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReceiverHelp {
    /// They do, or it was not looked at: only `arc.seal = "needed"` asks.
    Needed,
    /// A signature aligned with every author passes, and still does behind us.
    NotNeeded,
}
