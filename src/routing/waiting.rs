//! Changes that wait to be made, between those who ask for them and the one who makes them.

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::author::Author;
use super::change::{Change, Changed};
use super::error::{ErrorKind, RoutingError};
use super::requests::RequestId;

/// Orders that wait; who has another waits in front of the channel.
const MAX_WAITING: usize = 256;

/// A change that somebody waits for.
#[derive(Debug)]
pub struct Order {
    /// Which.
    pub change: Change,
    /// What its client calls it.
    pub request_id: Option<RequestId>,
    /// Who asks for it; `None`: a node does, or it is not known.
    pub author: Option<Author>,
    /// Since when it waits.
    pub since: Instant,
    /// Who may carry it out.
    pub reach: Reach,
    /// Whom to tell.
    pub answer: Answer,
}

/// Who may carry a change out, where several nodes agree on the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Whoever leads: it is passed on.
    Cluster,
    /// This node, or nobody: another one has passed it on already.
    Node,
}

/// Where somebody waits for what becomes of a change. Who drops it says [`RoutingError::Stopped`].
#[derive(Debug)]
pub struct Answer {
    sender: oneshot::Sender<Result<Changed, RoutingError>>,
    doubt: Option<Doubt>,
}

/// An earlier try may have been carried out.
#[derive(Debug)]
struct Doubt {
    /// What its client calls the request.
    request_id: Option<RequestId>,
}

impl Answer {
    /// Whether nobody waits any more.
    #[must_use]
    pub fn is_in_vain(&self) -> bool {
        self.sender.is_closed()
    }

    /// Notes that an earlier try may have been carried out: that another is not says nothing then.
    #[must_use]
    pub fn in_doubt(self, request_id: Option<RequestId>) -> Self {
        Self { doubt: Some(Doubt { request_id }), ..self }
    }

    /// Tells it.
    pub fn give(self, outcome: Result<Changed, RoutingError>) {
        let is_no_proof = |error: &RoutingError| {
            error.kind() == ErrorKind::Unavailable || matches!(error, RoutingError::VersionsDiffer { .. })
        };
        let outcome = match (outcome, self.doubt) {
            (Err(error), Some(Doubt { request_id })) if is_no_proof(&error) => {
                Err(RoutingError::Unconfirmed { request_id })
            }
            (outcome, _) => outcome,
        };
        // A caller that has gone away does not need the answer.
        let _ = self.sender.send(outcome);
    }
}

/// The orders that wait, for the one who carries them out. When this is dropped, no more are taken.
#[derive(Debug)]
pub struct Orders(mpsc::Receiver<Order>);

impl Orders {
    /// Waits for orders, and takes at most so many. None: nobody can order any more.
    pub async fn take(&mut self, most: usize) -> Vec<Order> {
        let mut taken = Vec::new();
        self.0.recv_many(&mut taken, most).await;
        taken
    }
}

/// Where changes are ordered.
#[derive(Debug, Clone)]
pub(super) struct Desk(mpsc::Sender<Order>);

impl Desk {
    /// Waits until a change is made, or is not.
    pub(super) async fn order(
        &self,
        change: Change,
        request_id: Option<RequestId>,
        author: Option<Author>,
        reach: Reach,
    ) -> Result<Changed, RoutingError> {
        let (answer, answered) = oneshot::channel();
        let (since, answer) = (Instant::now(), Answer { sender: answer, doubt: None });
        let order = Order { change, request_id, author, since, reach, answer };
        self.0.send(order).await.map_err(|_| RoutingError::Stopped)?;
        answered.await.map_err(|_| RoutingError::Stopped)?
    }
}

/// Both ends.
pub(super) fn waiting() -> (Desk, Orders) {
    let (desk, orders) = mpsc::channel(MAX_WAITING);
    (Desk(desk), Orders(orders))
}

#[cfg(test)]
#[path = "waiting_tests.rs"]
mod tests;
