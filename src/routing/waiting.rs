//! Changes that wait to be made, between those who ask for them and the one who makes them.

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::author::Author;
use super::change::{Change, Changed};
use super::error::RoutingError;
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
pub struct Answer(oneshot::Sender<Result<Changed, RoutingError>>);

impl Answer {
    /// Whether nobody waits any more.
    #[must_use]
    pub fn is_in_vain(&self) -> bool {
        self.0.is_closed()
    }

    /// Tells it.
    pub fn give(self, outcome: Result<Changed, RoutingError>) {
        // A caller that has gone away does not need the answer.
        let _ = self.0.send(outcome);
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
        let (since, answer) = (Instant::now(), Answer(answer));
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
