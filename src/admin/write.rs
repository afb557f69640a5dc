//! Owns how a call changes the routing table: by whom, under which id, and once (AIP-155).
//!
//! - A request that was carried out is answered before anything of it is looked up: what it was about may be gone, and what it
//!   asks for may be another change by now.
//! - It is known by its id and all that it asks. What it left behind is the routing table's affair ([`crate::routing`]).

use prost::Message;
use tonic::{Request, Status};

use super::auth::Actor;
use super::status;
use crate::clock;
use crate::proto::admin::v1 as wire;
use crate::routing::{Asker, Change, Changed, RequestId, Routing};

/// What errors of an id are about.
const FIELD: &str = "request_id";

/// A message that asks for a change of the routing table.
pub(super) trait Asks: Message {
    /// Tells messages of the same fields apart.
    const NAME: &'static str;

    /// The id that it gives itself; empty: none.
    fn request_id(&self) -> &str;
}

macro_rules! asks {
    ($($message:ident),+ $(,)?) => {
        $(impl Asks for wire::$message {
            const NAME: &'static str = stringify!($message);

            fn request_id(&self) -> &str {
                &self.request_id
            }
        })+
    };
}

asks!(
    CreateDomainRequest,
    UpdateDomainRequest,
    DeleteDomainRequest,
    CreateRuleRequest,
    UpdateRuleRequest,
    DeleteRuleRequest,
    CreateDestinationRequest,
    VerifyDestinationRequest,
    DeleteDestinationRequest,
    BlockNetworkRequest,
    AllowNetworkRequest,
    RemoveListingRequest,
    ApplyRoutingDocumentRequest,
    RollBackRequest,
    SuspendDestinationRequest,
    ResumeDestinationRequest,
    RemoveMemberRequest,
    AdmitMemberRequest,
);

/// A call that changes the routing table.
#[derive(Debug, Clone)]
pub(super) struct Write {
    /// Who calls.
    pub(super) actor: Actor,
    id: Option<RequestId>,
}

impl Write {
    /// The call of a request. Takes CPU in the measure of the request.
    pub(super) fn of<M: Asks>(request: &Request<M>) -> Result<Self, Status> {
        let (actor, asked) = (Actor::of(request), request.get_ref());
        if asked.request_id().is_empty() {
            return Ok(Self { actor, id: None });
        }
        let id = RequestId::parse(asked.request_id()).map_err(|error| status::routing(&error, FIELD))?;
        let octets = [M::NAME.as_bytes(), &asked.encode_to_vec()].concat();
        Ok(Self { actor, id: Some(id.of(&octets)) })
    }

    /// A step of it, which is done once by itself.
    pub(super) fn step(&self, number: usize) -> Self {
        Self { actor: self.actor.clone(), id: self.id.as_ref().map(|id| id.step(number)) }
    }

    /// What it left behind, if it was carried out before.
    pub(super) fn before(&self, routing: &Routing) -> Result<Option<Changed>, Status> {
        let Some(id) = &self.id else { return Ok(None) };
        let table = routing.snapshot();
        let left = table.left_by_asked(id, clock::now()).map_err(|error| status::routing(&error, FIELD))?;
        Ok(left.cloned())
    }

    /// How many of its steps were carried out before.
    pub(super) fn steps_before(&self, routing: &Routing) -> Result<usize, Status> {
        let mut number = 0;
        while self.step(number + 1).before(routing)?.is_some() {
            number += 1;
        }
        Ok(number)
    }

    /// Has the table changed, unless that was done for this request meanwhile. `resource` is what errors are about.
    pub(super) async fn change(
        &self,
        routing: &Routing,
        change: Change,
        resource: &str,
    ) -> Result<Changed, Status> {
        let changed = routing.asked_by(self.asker()).change(change).await;
        changed.map_err(|error| status::routing(&error, resource))
    }

    /// As the table knows the caller and the request.
    pub(super) fn asker(&self) -> Asker {
        Asker { author: self.actor.author(), request_id: self.id.clone() }
    }
}
