//! Owns calls that are meant for another node than the one that is asked: which may be passed on, who is said to call, and what
//! the caller hears where there is no answer. [`crate::cluster`] brings them there.
//!
//! The token stays here. The other node takes the role from this one, and holds the caller to it; in its audit log and in what
//! it notes of an order stands who it was, and by way of which node.

use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::FutureExt as _;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::service::Routes;
use tonic::{Code, Status};

use super::access::{Method, Role, Scope};
use super::auth::{Actor, unauthenticated};
use super::cluster::refused;
use super::guard::{Guard, trailers};
use super::status::{self, Reason};
use crate::cluster::operate::{Answer, NodeName, Office, OperateError};

/// The header that names the node that a call is meant for.
const NODE: &str = "postroad-node";
/// The headers in which a node says who calls: the name,
const ACTOR: &str = "postroad-actor";
/// the role,
const ROLE: &str = "postroad-role";
/// and the address, if it is known.
const ADDRESS: &str = "postroad-address";
/// What of a call's own headers goes along.
const ALONG: [&str; 5] = ["content-type", "te", "grpc-timeout", "grpc-encoding", "grpc-accept-encoding"];

/// A call that is meant for another node.
pub(super) struct Passed {
    pub(super) node: String,
    pub(super) actor: Actor,
    pub(super) method: &'static Method,
}

impl Passed {
    /// Whether a call is meant for another node; an error if it is, and may not be passed on.
    pub(super) fn of<B>(
        request: &http::Request<B>,
        method: &'static Method,
        actor: Option<&Actor>,
        own: &NodeName,
    ) -> Result<Option<Self>, Box<Status>> {
        let Some(node) = request.headers().get(NODE) else { return Ok(None) };
        let node = String::from_utf8_lossy(node.as_bytes()).into_owned();
        if node == own.to_string() {
            return Ok(None);
        }
        match (actor.cloned(), method.scope) {
            (Some(actor), Scope::Node) => Ok(Some(Self { node, actor, method })),
            (_, Scope::Any) | (None, Scope::Node) => {
                let name = method.name;
                let message =
                    format!("{name} is no matter of one node, and is not passed on: leave {NODE} out");
                let metadata = [("method", name), ("node", node.as_str())];
                let status = status::new(Code::InvalidArgument, Reason::NotOfOneNode, &message, &metadata);
                Err(Box::new(status))
            }
        }
    }

    /// Passes it on. What the other node says, or why nothing.
    pub(super) async fn on(
        self,
        (office, stop): (&Office, &CancellationToken),
        request: http::Request<Body>,
    ) -> http::Response<Body> {
        let name = format!("members/{}", self.node);
        self.actor.about(&name);
        let request = self.onward(request);
        match office.pass(&self.node, request).await {
            Ok(response) => {
                let stopping = Box::pin(stop.clone().cancelled_owned());
                response.map(|body| Body::new(Arriving { body, passed: self, stopping }))
            }
            Err(error) if error.is_undecided() => self.silent(&error.to_string()).into_http(),
            Err(error) => refused(&error, &name).into_http(),
        }
    }

    /// The call as the other node gets it.
    pub(super) fn onward(&self, request: http::Request<Body>) -> http::Request<Body> {
        let (mut of_caller, body) = request.into_parts();
        let mut passed = http::Request::new(body);
        *passed.method_mut() = of_caller.method;
        *passed.uri_mut() =
            of_caller.uri.path_and_query().map_or_else(http::Uri::default, |path| path.clone().into());
        *passed.version_mut() = http::Version::HTTP_2;
        let headers = passed.headers_mut();
        for name in ALONG {
            if let Some(value) = of_caller.headers.remove(name) {
                headers.insert(name, value);
            }
        }
        let Actor { name, role, address, .. } = &self.actor;
        let name = name.replace(char::is_control, " ");
        let said = [
            (ACTOR, http::HeaderValue::from_bytes(name.as_bytes()).ok()),
            (ROLE, Some(http::HeaderValue::from_static(role.as_str()))),
            (ADDRESS, address.and_then(|address| address.to_string().parse().ok())),
        ];
        for (name, value) in said {
            if let Some(value) = value {
                headers.insert(name, value);
            }
        }
        passed
    }

    /// What the caller hears where the other node was asked, and does not answer, or not to the end. What changes something may
    /// have been done: a client repeats what is UNAVAILABLE.
    fn silent(&self, why: &str) -> Status {
        let (code, message) = match self.method.writes() {
            true => (Code::DeadlineExceeded, format!("{why}; it is not known whether it was done")),
            false => (Code::Unavailable, why.to_owned()),
        };
        status::with_reason(code, OperateError::UNREACHABLE, &message, &format!("members/{}", self.node))
    }
}

/// The answer of another node.
struct Arriving {
    body: Body,
    passed: Passed,
    /// It ends with this node's listener.
    stopping: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl HttpBody for Arriving {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.stopping.as_mut().poll(cx).is_ready() && !self.body.is_end_stream() {
            self.body = Body::empty();
            return Poll::Ready(Some(Ok(trailers(&status::stopping()))));
        }
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Err(_))) = &polled {
            self.body = Body::empty();
            let why = format!("{} has not answered to the end", self.passed.node);
            return Poll::Ready(Some(Ok(trailers(&self.passed.silent(&why)))));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Which node passes a call on to this one.
#[derive(Clone)]
struct By(NodeName);

/// Who calls, as the node says that passes the call on.
pub(super) fn introduced<B>(request: &http::Request<B>) -> Result<Actor, Box<Status>> {
    let missing = || unauthenticated("no node says who calls");
    let By(by) = request.extensions().get().ok_or_else(missing)?;
    let said = |name: &str| Some(String::from_utf8_lossy(request.headers().get(name)?.as_bytes()));
    let name = said(ACTOR).ok_or_else(missing)?;
    let role = said(ROLE).and_then(|role| Role::parse(&role)).ok_or_else(missing)?;
    let address: Option<IpAddr> = said(ADDRESS).and_then(|address| address.parse().ok());
    Ok(Actor { address, ..Actor::known(&format!("{name} by {by}"), role) })
}

/// What answers the calls that other nodes pass on.
pub(super) fn answer(services: Guard<Routes>) -> Answer {
    Box::new(move |by, mut request| {
        request.extensions_mut().insert(By(by));
        let mut services = services.clone();
        async move {
            match services.call(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            }
        }
        .boxed()
    })
}
