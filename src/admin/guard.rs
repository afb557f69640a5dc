//! Owns what every call goes through before its service: who calls and may they, how many at once, how long, and
//! the count of what came of it (`grpc_server_handled_total`).

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::{Code, Status};
use tower::Layer;

use super::access::{self, Access, Method, Shape};
use super::auth::{Actor, Authority};
use super::status::{self, Reason};
use crate::telemetry::Metrics;

/// Longest time for a unary call, whatever the caller's own deadline.
const UNARY_DEADLINE: Duration = Duration::from_secs(30);
/// Longest time for a call about the whole routing table: 64 MiB of YAML.
const DOCUMENT_DEADLINE: Duration = Duration::from_secs(300);
/// Calls at once over all connections, streams included.
const MAX_CALLS: usize = 256;

/// Puts a [`Guard`] before the services.
#[derive(Clone, Debug)]
pub(super) struct GuardLayer {
    authority: Arc<Authority>,
    metrics: Arc<Metrics>,
    calls: Arc<Semaphore>,
}

impl GuardLayer {
    pub(super) fn new(authority: Arc<Authority>, metrics: Arc<Metrics>) -> Self {
        Self { authority, metrics, calls: Arc::new(Semaphore::new(MAX_CALLS)) }
    }

    /// The method and the caller, or why not.
    fn admit<B>(&self, request: &http::Request<B>) -> Result<(&'static Method, Option<Actor>), Refused> {
        let path = request.uri().path();
        let Some(method) = access::find(path) else {
            // Only who is known learns what there is.
            self.authority.actor(request.headers()).map_err(|status| (&access::UNKNOWN, status))?;
            let message = "the server has no such method";
            let status = status::new(Code::Unimplemented, Reason::UnknownMethod, message, &[("path", path)]);
            return Err((&access::UNKNOWN, Box::new(status)));
        };
        let Access::Role(needed) = method.access else { return Ok((method, None)) };
        let actor = self.authority.actor(request.headers()).map_err(|status| (method, status))?;
        if actor.role < needed {
            let (has, needs) = (actor.role.as_str(), needed.as_str());
            let message = format!("{} needs the role {needs}, the token has {has}", method.name);
            let metadata = [("role", has), ("required_role", needs), ("method", method.name)];
            let status = status::new(Code::PermissionDenied, Reason::PermissionDenied, &message, &metadata);
            return Err((method, Box::new(status)));
        }
        Ok((method, Some(actor)))
    }

    fn permit(&self) -> Result<OwnedSemaphorePermit, Status> {
        Arc::clone(&self.calls).try_acquire_owned().map_err(|_| {
            let message = format!("{MAX_CALLS} calls are being served, no more at once");
            status::new(Code::ResourceExhausted, Reason::TooManyCalls, &message, &[])
        })
    }
}

type Refused = (&'static Method, Box<Status>);

impl<S> Layer<S> for GuardLayer {
    type Service = Guard<S>;

    fn layer(&self, inner: S) -> Guard<S> {
        Guard { inner, layer: self.clone() }
    }
}

/// The service that does it.
#[derive(Clone, Debug)]
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
    mut inner: S,
    layer: GuardLayer,
    mut request: http::Request<Body>,
) -> Result<http::Response<Body>, S::Error>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>>,
{
    let metrics = Arc::clone(&layer.metrics);
    let (method, actor) = match layer.admit(&request) {
        Ok(admitted) => admitted,
        Err((method, status)) => return Ok(Call::new(metrics, method, None).refuse(&status)),
    };
    let permit = match layer.permit() {
        Ok(permit) => permit,
        Err(status) => return Ok(Call::new(metrics, method, None).refuse(&status)),
    };
    let call = Call::new(metrics, method, Some(permit));
    if let Some(actor) = actor {
        request.extensions_mut().insert(actor);
    }
    let limit = deadline(method, request.headers());
    let answer = inner.call(request);
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
    _permit: Option<OwnedSemaphorePermit>,
}

impl Call {
    fn new(metrics: Arc<Metrics>, method: &'static Method, permit: Option<OwnedSemaphorePermit>) -> Self {
        // What it is counted as when the caller hangs up before there is an answer.
        Self { metrics, method, code: Code::Cancelled, _permit: permit }
    }

    fn refuse(mut self, status: &Status) -> http::Response<Body> {
        self.code = status.code();
        status.clone().into_http()
    }

    fn answer(mut self, response: http::Response<Body>) -> http::Response<Body> {
        if let Some(status) = Status::from_header_map(response.headers()) {
            self.code = status.code();
        }
        response.map(|body| Body::new(Counted { body, call: self }))
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.metrics.grpc_handled(self.method.service, self.method.name, code_name(self.code));
    }
}

/// A response body that learns the call's code from its trailers.
struct Counted {
    body: Body,
    call: Call,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
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
