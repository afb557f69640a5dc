//! Owns what every call goes through before its service: who calls and may they, how many at once, how long, and
//! what came of it, for the metrics (`grpc_server_handled_total`) and the audit log. A stream whose caller may no longer listen ends with
//! the next answer that would have gone to it. What is meant for another node is passed on from here ([`super::passing`]), and
//! goes through the guard of that one too.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use tower::Layer;

use super::access::{self, Access, Method, Scope, Shape};
use super::audit::{self, Ended};
use super::auth::Actor;
use super::failures::Failures;
use super::listener::{Caller, Handshake};
use super::passing::{self, Passed};
use super::permits::{Permit, Permits};
use super::status::{self, Reason};
use super::terms::{LiveTerms, Terms};
use crate::cluster::operate::Office;
use crate::telemetry::Metrics;

/// Longest time for a unary call, whatever the caller's own deadline.
const UNARY_DEADLINE: Duration = Duration::from_secs(30);
/// Longest time for a call about the whole routing table: 64 MiB of YAML.
const DOCUMENT_DEADLINE: Duration = Duration::from_secs(300);

/// How callers come.
#[derive(Clone)]
pub(super) enum Way {
    /// To the listener, where they prove who they are.
    Listener {
        /// On these terms.
        terms: LiveTerms,
        /// What is counted of who cannot.
        failures: Arc<Failures>,
        /// By which what is meant for another node gets there.
        office: Office,
        /// Ends what is passed on.
        stop: CancellationToken,
    },
    /// By another node, which says who they are. Only what is a matter of one node comes so.
    Node,
}

/// Puts a [`Guard`] before the services.
#[derive(Clone)]
pub(super) struct GuardLayer {
    way: Way,
    metrics: Arc<Metrics>,
    permits: Permits,
}

impl GuardLayer {
    pub(super) fn new(way: Way, metrics: Arc<Metrics>) -> Self {
        Self { way, metrics, permits: Permits::new() }
    }

    /// The method and the caller, or why not.
    fn admit<B>(&self, request: &http::Request<B>) -> Result<(&'static Method, Option<Admitted>), Refused> {
        let path = request.uri().path();
        let Some(method) = access::find(path).filter(|method| self.serves(method)) else {
            // Only who is known learns what there is.
            self.known(request).map_err(|status| Refused::stranger(&access::UNKNOWN, status))?;
            let message = "the server has no such method";
            let status = status::new(Code::Unimplemented, Reason::UnknownMethod, message, &[("path", path)]);
            return Err(Refused::stranger(&access::UNKNOWN, Box::new(status)));
        };
        let Access::Role(_) = method.access else { return Ok((method, None)) };
        let admitted = self.known(request).map_err(|status| Refused::stranger(method, status))?;
        match may(&admitted.actor, method) {
            Ok(()) => Ok((method, Some(admitted))),
            Err(status) => Err(Refused { method, status, actor: Some(admitted.actor) }),
        }
    }

    fn serves(&self, method: &Method) -> bool {
        match self.way {
            Way::Listener { .. } => true,
            Way::Node => method.scope == Scope::Node,
        }
    }

    /// Who calls; whoever cannot say it is counted, and whoever can keeps its connection.
    fn known<B>(&self, request: &http::Request<B>) -> Result<Admitted, Box<Status>> {
        let Way::Listener { terms, failures, .. } = &self.way else {
            return Ok(Admitted { actor: passing::introduced(request)?, terms: None });
        };
        let (terms, caller) = (terms.now(), request.extensions().get::<Caller>());
        let handshake = caller.map_or(Handshake::None, Caller::handshake);
        match terms.actor(request.headers(), handshake) {
            Ok(actor) => {
                if let Some(caller) = caller {
                    caller.prove();
                }
                let subject = caller.and_then(Caller::subject).filter(|_| terms.knows_by(handshake));
                let name = subject.cloned().unwrap_or(actor.name);
                let actor = Actor { name, address: caller.map(Caller::ip), ..actor };
                Ok(Admitted { actor, terms: Some(terms) })
            }
            Err(status) => {
                if let Some(caller) = caller {
                    caller.fail(failures, status.message());
                }
                Err(status)
            }
        }
    }

    fn permit<B>(
        &self,
        method: &'static Method,
        actor: Option<&Actor>,
        request: &http::Request<B>,
    ) -> Result<Permit, Refused> {
        self.permits.take(method, request.extensions().get()).ok_or_else(|| {
            let message = "as many calls of this kind are being served as can be at once";
            let status = status::new(
                Code::ResourceExhausted,
                Reason::TooManyCalls,
                message,
                &[("method", method.name)],
            );
            Refused { method, status: Box::new(status), actor: actor.cloned() }
        })
    }

    /// What a stream is held to from its first answer on. One that is passed on is held to it by the node that passes it.
    fn leave<B>(
        &self,
        method: &'static Method,
        seen: Option<Arc<Terms>>,
        request: &http::Request<B>,
    ) -> Option<Leave> {
        let (Way::Listener { terms, .. }, Some(seen)) = (&self.way, seen) else { return None };
        let headers = request.headers().clone();
        let handshake = request.extensions().get().map_or(Handshake::None, Caller::handshake);
        match method.shape {
            Shape::Unary | Shape::Document => None,
            Shape::Stream => Some(Leave { terms: terms.clone(), seen, headers, handshake, method }),
        }
    }

    /// Has a call answered, here or by the node that it is meant for.
    async fn answer<S>(
        &self,
        mut inner: S,
        passed: Option<Passed>,
        request: http::Request<Body>,
    ) -> Result<http::Response<Body>, S::Error>
    where
        S: Service<http::Request<Body>, Response = http::Response<Body>>,
    {
        match (&self.way, passed) {
            (Way::Listener { office, stop, .. }, Some(passed)) => {
                Ok(passed.on((office, stop), request).await)
            }
            (Way::Listener { .. }, None) | (Way::Node, _) => inner.call(request).await,
        }
    }

    /// Whether a call is meant for another node. Nothing is passed on twice.
    fn passed<B>(
        &self,
        method: &'static Method,
        actor: Option<&Actor>,
        request: &http::Request<B>,
    ) -> Result<Option<Passed>, Box<Status>> {
        match &self.way {
            Way::Listener { office, .. } => Passed::of(request, method, actor, &office.name()),
            Way::Node => Ok(None),
        }
    }
}

/// Who was let in, and on what terms, if on any of this node.
struct Admitted {
    actor: Actor,
    terms: Option<Arc<Terms>>,
}

/// Whether the caller's role reaches.
fn may(actor: &Actor, method: &Method) -> Result<(), Box<Status>> {
    let Access::Role(needed) = method.access else { return Ok(()) };
    if actor.role >= needed {
        return Ok(());
    }
    let (has, needs) = (actor.role.as_str(), needed.as_str());
    let message = format!("{} needs the role {needs}, the token has {has}", method.name);
    let metadata = [("role", has), ("required_role", needs), ("method", method.name)];
    Err(Box::new(status::new(Code::PermissionDenied, Reason::PermissionDenied, &message, &metadata)))
}

/// Looks again whether the caller of a stream may listen, when the terms have changed.
struct Leave {
    terms: LiveTerms,
    seen: Arc<Terms>,
    headers: http::HeaderMap,
    handshake: Handshake,
    method: &'static Method,
}

impl Leave {
    fn still(&mut self) -> Result<(), Box<Status>> {
        if self.terms.are(&self.seen) {
            return Ok(());
        }
        self.seen = self.terms.now();
        let actor = self.seen.actor(&self.headers, self.handshake)?;
        may(&actor, self.method)
    }
}

/// A call that does not reach its service.
struct Refused {
    method: &'static Method,
    status: Box<Status>,
    /// Who called, if they are known.
    actor: Option<Actor>,
}

impl Refused {
    fn stranger(method: &'static Method, status: Box<Status>) -> Self {
        Self { method, status, actor: None }
    }
}

impl<S> Layer<S> for GuardLayer {
    type Service = Guard<S>;

    fn layer(&self, inner: S) -> Guard<S> {
        Guard { inner, layer: self.clone() }
    }
}

/// The service that does it.
#[derive(Clone)]
pub(super) struct Guard<S> {
    inner: S,
    layer: GuardLayer,
}

impl<S> Service<http::Request<Body>> for Guard<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        // The clone is for the next call; this one has what is ready.
        let clone = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, clone);
        Box::pin(guarded(inner, self.layer.clone(), request))
    }
}

async fn guarded<S>(
    inner: S,
    layer: GuardLayer,
    mut request: http::Request<Body>,
) -> Result<http::Response<Body>, S::Error>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>>,
{
    let metrics = Arc::clone(&layer.metrics);
    let admitted = layer.admit(&request);
    let admitted = admitted.and_then(|(method, who)| {
        let permit = layer.permit(method, who.as_ref().map(|who| &who.actor), &request)?;
        Ok((method, who, permit))
    });
    let (method, admitted, permit) = match admitted {
        Ok(admitted) => admitted,
        Err(Refused { method, status, actor }) => {
            return Ok(Call::new(metrics, method, None).of(actor.as_ref()).refuse(&status));
        }
    };
    let actor = admitted.as_ref().map(|admitted| &admitted.actor);
    let mut call = Call::new(metrics, method, Some(permit)).of(actor);
    let passed = match layer.passed(method, actor, &request) {
        Ok(passed) => passed,
        Err(status) => return Ok(call.refuse(&status)),
    };
    if let Some(Admitted { actor, terms }) = admitted {
        call.leave = layer.leave(method, terms, &request);
        request.extensions_mut().insert(actor);
    }
    let limit = deadline(method, request.headers());
    let answer = layer.answer(inner, passed, request);
    match limit {
        Some(limit) => match tokio::time::timeout(limit, answer).await {
            Ok(response) => response.map(|response| call.answer(response)),
            Err(_) => Ok(call.refuse(&status::new(
                Code::DeadlineExceeded,
                Reason::DeadlineExceeded,
                &format!("not done within {} ms", limit.as_millis()),
                &[],
            ))),
        },
        None => answer.await.map(|response| call.answer(response)),
    }
}

/// How long a call may take until its answer begins: the caller's deadline, but no longer than ours.
fn deadline(method: &Method, headers: &http::HeaderMap) -> Option<Duration> {
    let ours = match method.shape {
        Shape::Unary => Some(UNARY_DEADLINE),
        Shape::Document => Some(DOCUMENT_DEADLINE),
        Shape::Stream => None,
    };
    let theirs = headers.get("grpc-timeout").and_then(|value| parse_timeout(value.to_str().ok()?));
    ours.into_iter().chain(theirs).min()
}

/// Reads `grpc-timeout`: at most 8 digits and a unit.
fn parse_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_hours(number)),
        "M" => Some(Duration::from_mins(number)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

/// One call being served: counted once, when its answer is complete or given up.
struct Call {
    metrics: Arc<Metrics>,
    method: &'static Method,
    code: Code,
    /// The word for why it was refused.
    reason: Option<String>,
    /// Who changes something, for the audit log.
    actor: Option<Actor>,
    leave: Option<Leave>,
    _permit: Option<Permit>,
}

impl Call {
    fn new(metrics: Arc<Metrics>, method: &'static Method, permit: Option<Permit>) -> Self {
        // What it is counted as when the caller hangs up before there is an answer.
        Self {
            metrics,
            method,
            code: Code::Cancelled,
            reason: None,
            actor: None,
            leave: None,
            _permit: permit,
        }
    }

    /// Who made it.
    fn of(mut self, actor: Option<&Actor>) -> Self {
        self.actor = actor.filter(|_| self.method.writes()).cloned();
        self
    }

    fn end(&mut self, status: &Status) {
        self.code = status.code();
        self.reason = status.get_details_error_info().map(|info| info.reason);
    }

    fn refuse(mut self, status: &Status) -> http::Response<Body> {
        self.end(status);
        status.clone().into_http()
    }

    fn answer(mut self, response: http::Response<Body>) -> http::Response<Body> {
        if let Some(status) = Status::from_header_map(response.headers()) {
            self.end(&status);
        }
        response.map(|body| Body::new(Counted { body, call: self }))
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let (method, code) = (self.method, code_name(self.code));
        self.metrics.grpc_handled(method.service, method.name, code);
        if let Some(actor) = &self.actor {
            audit::tell(actor, &Ended { method, code, reason: self.reason.as_deref() });
        }
    }
}

/// A response body that learns the call's code from its trailers.
struct Counted {
    body: Body,
    call: Call,
}

impl Counted {
    /// The last frame of a call that ends with this status before its service would end it.
    fn end(&mut self, status: &Status) -> Frame<Bytes> {
        self.call.code = status.code();
        self.body = Body::empty();
        trailers(status)
    }
}

/// The last frame of an answer that ends so.
pub(super) fn trailers(status: &Status) -> Frame<Bytes> {
    let mut trailers = http::HeaderMap::new();
    // A status of ours is made of what a header can hold.
    let _ = status.add_header(&mut trailers);
    Frame::trailers(trailers)
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && frame.is_data()
            && let Some(leave) = &mut self.call.leave
            && let Err(status) = leave.still()
        {
            return Poll::Ready(Some(Ok(self.end(&status))));
        }
        if let Poll::Ready(Some(frame)) = &polled {
            match frame {
                Ok(frame) => {
                    if let Some(status) = frame.trailers_ref().and_then(Status::from_header_map) {
                        self.call.code = status.code();
                    }
                }
                Err(status) => self.call.code = status.code(),
            }
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

/// The label, spelt as the gRPC libraries' own metrics spell it.
fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "Canceled",
        Code::Unknown => "Unknown",
        Code::InvalidArgument => "InvalidArgument",
        Code::DeadlineExceeded => "DeadlineExceeded",
        Code::NotFound => "NotFound",
        Code::AlreadyExists => "AlreadyExists",
        Code::PermissionDenied => "PermissionDenied",
        Code::ResourceExhausted => "ResourceExhausted",
        Code::FailedPrecondition => "FailedPrecondition",
        Code::Aborted => "Aborted",
        Code::OutOfRange => "OutOfRange",
        Code::Unimplemented => "Unimplemented",
        Code::Internal => "Internal",
        Code::Unavailable => "Unavailable",
        Code::DataLoss => "DataLoss",
        Code::Unauthenticated => "Unauthenticated",
    }
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;
