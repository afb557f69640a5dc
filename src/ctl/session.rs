//! Owns the connection to the server: TLS, the token, deadlines, tries, and the id under which a write may be tried again.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use rand::Rng;
use tokio::time::{Instant, timeout_at};
use tonic::codegen::InterceptedService;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity, Uri};
use tonic::{Code, Request, Response, Status};
use tonic_types::StatusExt;

use super::failure::Failure;
use crate::error_text::error_text;
use crate::routing::RequestId;

/// For one command's call, all tries together.
const DEADLINE: Duration = Duration::from_secs(10);
/// For a call about the whole routing table.
pub(super) const DOCUMENT_DEADLINE: Duration = Duration::from_secs(300);
/// Tries of a call that finds the server UNAVAILABLE (AIP-194), or loses the connection.
const TRIES: u32 = 3;
/// Pause before the second try, doubled for each further one; jitter adds up to as much again.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// How often an idle connection is asked for a sign of life, and how long it may take.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// Largest token or PEM file, in octets.
const MAX_FILE_OCTETS: u64 = 1024 * 1024;

/// Where a node listens that says nothing else.
const DEFAULT_SERVER: &str = "http://127.0.0.1:50051";

/// Which server, who we are, and which request this is.
#[derive(Debug, Args)]
pub(super) struct ServerArgs {
    /// The node's admin listener, http://HOST:PORT or https://HOST:PORT.
    #[arg(
        long,
        global = true,
        env = "POSTROADCTL_SERVER",
        value_name = "URL",
        default_value = DEFAULT_SERVER
    )]
    server: String,
    /// A file that holds the token alone.
    #[arg(long, global = true, env = "POSTROADCTL_TOKEN_FILE", value_name = "F")]
    token_file: Option<PathBuf>,
    /// Certificates (PEM) that the server's must come from, instead of the system's.
    #[arg(long, global = true, env = "POSTROADCTL_CA_FILE", value_name = "F")]
    ca_file: Option<PathBuf>,
    /// Our certificate (PEM), for a server that asks for one.
    #[arg(
        long,
        global = true,
        env = "POSTROADCTL_CERTIFICATE_FILE",
        value_name = "F",
        requires = "private_key_file"
    )]
    certificate_file: Option<PathBuf>,
    /// The key of our certificate (PEM).
    #[arg(
        long,
        global = true,
        env = "POSTROADCTL_PRIVATE_KEY_FILE",
        value_name = "F",
        requires = "certificate_file"
    )]
    private_key_file: Option<PathBuf>,
    /// Repeats a change of the routing table that was tried under this id: it is made once. Without it, one is drawn.
    #[arg(long, global = true, value_name = "ID", value_parser = RequestId::parse)]
    request_id: Option<RequestId>,
}

impl ServerArgs {
    /// The server, unless it is the default.
    pub(super) fn other(&self) -> Option<String> {
        (self.server != DEFAULT_SERVER).then(|| self.server.clone())
    }
}

/// The metadata that names the node that a call is meant for.
const NODE: &str = "postroad-node";

/// A connection that carries the token.
pub(super) type Wire = InterceptedService<Channel, Bearer>;

/// Puts the token into each request (RFC 6750 §2.1), and the node that it is meant for.
#[derive(Debug, Clone)]
pub(super) struct Bearer {
    token: Option<MetadataValue<Ascii>>,
    /// None: the one that we are connected to.
    node: Option<MetadataValue<Ascii>>,
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.token {
            request.metadata_mut().insert("authorization", token.clone());
        }
        if let Some(node) = &self.node {
            request.metadata_mut().insert(NODE, node.clone());
        }
        Ok(request)
    }
}

/// What a call does, and so whether it may be made twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing: it may.
    Read,
    /// It changes something once, whatever is repeated under its id: it may.
    Write,
    /// It does something each time: only when the server said that it did not take it.
    Order,
}

/// A server to talk to.
#[derive(Debug, Clone)]
pub(super) struct Session {
    channel: Channel,
    bearer: Bearer,
    server: String,
    limit: Duration,
    request_id: RequestId,
}

impl Session {
    /// Prepares the connection; it is made with the first call.
    pub(super) async fn open(args: &ServerArgs) -> Result<Self, Failure> {
        Self::with_deadline(args, DEADLINE).await
    }

    /// A session whose calls may take this long.
    pub(super) async fn with_deadline(args: &ServerArgs, limit: Duration) -> Result<Self, Failure> {
        let usage = |text: &str| Failure::Usage(format!("--server {}: {text}", args.server));
        let uri: Uri = args.server.parse().map_err(|_| usage("not a URL"))?;
        let host = uri.host().ok_or_else(|| usage("has no host"))?.to_owned();
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            Some(_) | None => return Err(usage("must begin with http:// or https://")),
        };
        if !secure && args.token_file.is_some() && !is_loopback(&host) {
            return Err(usage("a token is not sent in the clear but to this machine; use https://"));
        }
        let mut endpoint = Endpoint::from(uri)
            .connect_timeout(limit)
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE)
            .tcp_nodelay(true);
        if secure {
            let tls = tls(args).await?;
            endpoint = endpoint.tls_config(tls).map_err(|error| Failure::Local(error_text(&error)))?;
        }
        let token = match &args.token_file {
            Some(path) => Some(token(path).await?),
            None => None,
        };
        let (channel, bearer) = (endpoint.connect_lazy(), Bearer { token, node: None });
        let request_id = args.request_id.clone().unwrap_or_else(RequestId::draw);
        Ok(Self { channel, bearer, server: args.server.clone(), limit, request_id })
    }

    /// The same, for another node: the one that we are connected to passes on what is meant for it.
    pub(super) fn at(&self, node: &str) -> Result<Self, Failure> {
        let node = node.parse().map_err(|_| Failure::Usage(format!("--node {node}: no name of a node")))?;
        Ok(Self { bearer: Bearer { node: Some(node), ..self.bearer.clone() }, ..self.clone() })
    }

    fn wire(&self) -> Wire {
        InterceptedService::new(self.channel.clone(), self.bearer.clone())
    }

    /// The id of the command's write.
    pub(super) fn request_id(&self) -> String {
        self.request_id.to_string()
    }

    /// The id of another write of the command.
    pub(super) fn request_id_of(&self, number: usize) -> String {
        self.request_id.step(number).to_string()
    }

    /// Makes a call that changes nothing, again while the server is UNAVAILABLE or the connection is lost.
    pub(super) async fn read<R: Clone, T, F>(
        &self,
        request: R,
        call: impl Fn(Wire, Request<R>) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        self.call(Kind::Read, request, call).await
    }

    /// Makes a call that changes something and has an id, again as one that changes nothing.
    pub(super) async fn write<R: Clone, T, F>(
        &self,
        request: R,
        call: impl Fn(Wire, Request<R>) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        self.call(Kind::Write, request, call).await
    }

    /// Makes a call that does something and has no id, again only when the server said that it did not take it.
    pub(super) async fn order<R: Clone, T, F>(
        &self,
        request: R,
        call: impl Fn(Wire, Request<R>) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        self.call(Kind::Order, request, call).await
    }

    /// Makes a call that may be one or another.
    pub(super) async fn call<R: Clone, T, F>(
        &self,
        kind: Kind,
        request: R,
        call: impl Fn(Wire, Request<R>) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let end = Instant::now() + self.limit;
        let (mut pause, mut doubt) = (FIRST_PAUSE, Doubt::No);
        for last in (1..=TRIES).map(|number| number == TRIES) {
            let mut request = Request::new(request.clone());
            request.set_timeout(end.saturating_duration_since(Instant::now()));
            let Ok(answer) = timeout_at(end, call(self.wire(), request)).await else {
                doubt = Doubt::Yes;
                break;
            };
            let status = match answer {
                Ok(response) => return Ok(response.into_inner()),
                Err(status) => status,
            };
            let is_over = status.code() != Code::Unavailable && !is_lost(&status);
            doubt = doubt.after(&status);
            let again = match kind {
                Kind::Read | Kind::Write => true,
                Kind::Order => not_taken(&status),
            };
            if last || is_over || !again {
                return Err(self.ended(self.failure(status), kind, doubt));
            }
            let jitter = pause.mul_f64(rand::rng().random::<f64>());
            tokio::time::sleep_until(end.min(Instant::now() + pause + jitter)).await;
            pause *= 2;
        }
        let late = format!("{} did not answer within {} s", self.server, self.limit.as_secs());
        Err(self.ended(Failure::Local(late), kind, doubt))
    }

    /// What came of the tries together.
    fn ended(&self, failure: Failure, kind: Kind, doubt: Doubt) -> Failure {
        match (kind, doubt) {
            (Kind::Write, Doubt::Yes) => {
                Failure::Unknown { cause: Box::new(failure), request_id: self.request_id() }
            }
            (Kind::Read | Kind::Order, _) | (_, Doubt::No) => failure,
        }
    }

    /// Says which server could not be reached; what the server said stands for itself.
    pub(super) fn failure(&self, status: Status) -> Failure {
        let cause =
            || std::error::Error::source(&status).map_or_else(|| status.message().to_owned(), error_text);
        if status.code() == Code::Unavailable && status.get_details_error_info().is_none() {
            return Failure::Local(format!("{} cannot be reached: {}", self.server, cause()));
        }
        if is_lost(&status) {
            return Failure::Local(format!("the connection to {} was lost: {}", self.server, cause()));
        }
        status.into()
    }
}

/// Whether what was asked may have been done, for all that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doubt {
    No,
    Yes,
}

impl Doubt {
    /// After a further try, which ended so: a server that refuses ends all doubt, one that is UNAVAILABLE leaves what was.
    fn after(self, status: &Status) -> Self {
        if status.code() == Code::DeadlineExceeded || is_lost(status) {
            Self::Yes
        } else if status.code() == Code::Unavailable {
            self
        } else {
            Self::No
        }
    }
}

/// Whether the connection ended before the answer: the status is our own transport's, and no connection that could not be made.
fn is_lost(status: &Status) -> bool {
    std::error::Error::source(status).is_some() && !not_taken(status)
}

/// Whether a write that failed is known to have changed nothing: the server says so itself, or no connection
/// was made.
fn not_taken(status: &Status) -> bool {
    let refused = || {
        let mut cause = std::error::Error::source(status);
        while let Some(error) = cause {
            let io = error.downcast_ref::<std::io::Error>();
            if error.is::<tonic::ConnectError>()
                || io.is_some_and(|io| io.kind() == std::io::ErrorKind::ConnectionRefused)
            {
                return true;
            }
            cause = error.source();
        }
        false
    };
    status.get_details_error_info().is_some() || refused()
}

fn is_loopback(host: &str) -> bool {
    let ip = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host.eq_ignore_ascii_case("localhost") || ip.is_ok_and(|ip| ip.is_loopback())
}

async fn tls(args: &ServerArgs) -> Result<ClientTlsConfig, Failure> {
    let tls = match &args.ca_file {
        Some(path) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(file(path).await?)),
        None => ClientTlsConfig::new().with_native_roots(),
    };
    match (&args.certificate_file, &args.private_key_file) {
        (Some(certificate), Some(key)) => {
            Ok(tls.identity(Identity::from_pem(file(certificate).await?, file(key).await?)))
        }
        (Some(_) | None, Some(_) | None) => Ok(tls),
    }
}

async fn token(path: &Path) -> Result<MetadataValue<Ascii>, Failure> {
    let octets = file(path).await?;
    let bad = || Failure::Local(format!("{}: does not hold one token", path.display()));
    let token = std::str::from_utf8(&octets).map_err(|_| bad())?.trim();
    if token.is_empty() || token.contains(char::is_whitespace) {
        return Err(bad());
    }
    let mut value: MetadataValue<Ascii> = format!("Bearer {token}").parse().map_err(|_| bad())?;
    value.set_sensitive(true);
    Ok(value)
}

/// Reads a small file whole.
pub(super) async fn file(path: &Path) -> Result<Vec<u8>, Failure> {
    file_up_to(path, MAX_FILE_OCTETS).await
}

/// Reads a file of at most this many octets.
pub(super) async fn file_up_to(path: &Path, max_octets: u64) -> Result<Vec<u8>, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::Local(format!("{}: {error}", path.display()));
    let length = tokio::fs::metadata(path).await.map_err(|error| failed(&error))?.len();
    if length > max_octets {
        return Err(failed(&format!("larger than {max_octets} octets")));
    }
    tokio::fs::read(path).await.map_err(|error| failed(&error))
}
