//! The log: one JSON object a line on standard output, the fields of the record and of its spans side by side.
//!
//! `{"timestamp":"2026-11-23T18:05:56.123456Z","level":"INFO","message":"…",…,"target":"…"}`: timestamp in
//! UTC, level, message, then the fields of the spans from the outermost in, then the record's own; a later
//! field of the same name wins. A field whose name begins `json.` holds JSON as text and is written as such,
//! without that prefix: `tracing` has no lists. A value is cut at [`MAX_VALUE_OCTETS`], whoever made it so long.

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::Value;
use thiserror::Error;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber, info};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::{LookupSpan, Registry};
use tracing_subscriber::{EnvFilter, reload};

use crate::telemetry::Metrics;
use crate::telemetry::labels::Level;

/// The variable that beats `log.level`.
const LEVEL_VARIABLE: &str = "POSTROAD_LOG";
/// Octets of one value. Lists of what strangers send are bounded where they are made; this is for what was overlooked.
const MAX_VALUE_OCTETS: usize = 4096;
/// Fields whose names begin so hold JSON.
const JSON_PREFIX: &str = "json.";
/// The target of what the Raft engine says.
const ENGINE: &str = "openraft";
/// Names that the line itself uses; a field of such a name is written behind `field.`.
const RESERVED: &[&str] = &["timestamp", "level", "target"];

/// Why the log could not be started.
#[derive(Debug, Error)]
pub enum LogError {
    /// The filter cannot be parsed.
    #[error("{origin}: \"{filter}\" is not a filter: {cause}")]
    Filter {
        /// The key or the variable.
        origin: &'static str,
        /// What it says.
        filter: String,
        /// What the parser said.
        cause: String,
    },
    /// The process has a log already.
    #[error("the log is started already")]
    Started,
}

/// Changes the running log's filter.
pub struct LogLevel {
    filter: reload::Handle<EnvFilter, Registry>,
    fixed: bool,
}

impl LogLevel {
    /// Takes a new `log.level`; does nothing when `POSTROAD_LOG` is set, which beats it.
    ///
    /// # Errors
    /// When it is no filter; the one before stays.
    pub fn set(&self, level: &str) -> Result<(), LogError> {
        if self.fixed {
            return Ok(());
        }
        let filter = parse("log.level", level)?;
        self.filter.reload(filter).map_err(|_| LogError::Started)
    }
}

/// Starts the process's log on standard output, and counts its records.
///
/// # Errors
/// When `POSTROAD_LOG` or the level is no filter, or a log was started before.
pub fn start_logs(level: &str, metrics: &Arc<Metrics>) -> Result<LogLevel, LogError> {
    let variable = std::env::var(LEVEL_VARIABLE).ok().filter(|text| !text.is_empty());
    let fixed = variable.is_some();
    let filter = match variable {
        Some(text) => parse(LEVEL_VARIABLE, &text)?,
        None => parse("log.level", level)?,
    };
    let (filter, handle) = reload::Layer::new(filter);
    let log = JsonLog { writer: std::io::stdout, metrics: Arc::clone(metrics) };
    let subscriber = tracing_subscriber::registry().with(filter).with(log);
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LogError::Started)?;
    Ok(LogLevel { filter: handle, fixed })
}

/// The filter, without what the Raft engine says, unless it asks for that: to the engine each call of a peer that is down is an
/// error, twice a second, and what matters of it the node says itself.
fn parse(origin: &'static str, filter: &str) -> Result<EnvFilter, LogError> {
    let quiet = if filter.contains(ENGINE) { filter.to_owned() } else { format!("{filter},{ENGINE}=off") };
    EnvFilter::try_new(quiet).map_err(|cause| LogError::Filter {
        origin,
        filter: filter.to_owned(),
        cause: cause.to_string(),
    })
}

/// The addresses that a node really listens on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// SMTP, in the order of `smtp.listen`.
    pub smtp: Vec<SocketAddr>,
    /// `http.listen`.
    pub http: SocketAddr,
    /// `public.listen`.
    pub public: Option<SocketAddr>,
    /// `admin.listen`.
    pub admin: SocketAddr,
    /// `cluster.listen`.
    pub cluster: Option<SocketAddr>,
}

/// Says that the node serves, and where: the record that operators' tools wait for.
pub fn log_ready(node: &str, addresses: &Addresses) {
    let smtp: Vec<String> = addresses.smtp.iter().map(SocketAddr::to_string).collect();
    let smtp = Value::from(smtp);
    let (http, admin) = (addresses.http, addresses.admin);
    let public = addresses.public.map(tracing::field::display);
    let cluster = addresses.cluster.map(tracing::field::display);
    info!(node, json.smtp = %smtp, %http, public, %admin, cluster, "ready");
}

/// Writes and counts the records that the filter lets through.
struct JsonLog<W> {
    writer: W,
    metrics: Arc<Metrics>,
}

impl<S, W> Layer<S> for JsonLog<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'w> MakeWriter<'w> + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let level = *event.metadata().level();
        self.metrics.log_events_total.of(counted(level)).inc();
        let mut fields = Fields::default();
        for span in context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(of_span) = span.extensions().get::<Fields>() {
                of_span.0.iter().for_each(|(name, value)| fields.put(name, value.clone()));
            }
        }
        event.record(&mut fields);
        let line = line(level.as_str(), event.metadata().target(), fields);
        // Nobody is left to hear of an error here; a closed standard output must not stop mail.
        let _ = self.writer.make_writer().write_all(line.as_bytes());
    }
}

fn counted(level: tracing::Level) -> Level {
    match level {
        tracing::Level::ERROR => Level::Error,
        tracing::Level::WARN => Level::Warn,
        tracing::Level::INFO => Level::Info,
        tracing::Level::DEBUG => Level::Debug,
        tracing::Level::TRACE => Level::Trace,
    }
}

/// One record as a line.
fn line(level: &str, target: &str, mut fields: Fields) -> String {
    let mut timestamp = String::new();
    // Writing to a String does not fail; the system's clock is before 1970 or it is not.
    let _ = SystemTime.format_time(&mut Writer::new(&mut timestamp));
    let message = fields.take("message").unwrap_or_else(|| Value::from(""));
    let mut line = String::from("{");
    let mut write = |name: &str, value: &Value| {
        let separator = if line.len() == 1 { "" } else { "," };
        line.push_str(&format!("{separator}{}:{value}", Value::from(name)));
    };
    write("timestamp", &Value::from(timestamp));
    write("level", &Value::from(level));
    write("message", &message);
    for (name, value) in &fields.0 {
        if RESERVED.contains(name) { write(&format!("field.{name}"), value) } else { write(name, value) }
    }
    write("target", &Value::from(target));
    line.push_str("}\n");
    line
}

/// The fields of a record or a span, in their order, each name once.
#[derive(Debug, Default)]
struct Fields(Vec<(&'static str, Value)>);

impl Fields {
    fn put(&mut self, name: &'static str, value: impl Into<Value>) {
        let value = value.into();
        match self.0.iter_mut().find(|(other, _)| *other == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name, value)),
        }
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        let at = self.0.iter().position(|(other, _)| *other == name)?;
        Some(self.0.remove(at).1)
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field.name(), value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field.name(), bounded(format_args!("{value}")));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = bounded(format_args!("{value:?}"));
        match field.name().strip_prefix(JSON_PREFIX) {
            Some(name) => {
                let json = serde_json::from_str(&text).unwrap_or(Value::String(text));
                self.put(name, json);
            }
            None => self.put(field.name(), text),
        }
    }
}

/// A value as text, cut where it is too long; what is cut off is never held.
fn bounded(value: fmt::Arguments<'_>) -> String {
    let mut bounded = Bounded::default();
    // Writing to it does not fail, and what a value's own Display fails at is no reason to log nothing.
    let _ = bounded.write_fmt(value);
    if bounded.omitted > 0 {
        bounded.text.push_str(&format!("… and {} octets more", bounded.omitted));
    }
    bounded.text
}

#[derive(Default)]
struct Bounded {
    text: String,
    omitted: usize,
}

impl fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = if self.omitted == 0 { MAX_VALUE_OCTETS - self.text.len() } else { 0 };
        let (kept, cut) = text.split_at(text.floor_char_boundary(room));
        self.text.push_str(kept);
        self.omitted += cut.len();
        Ok(())
    }
}

#[cfg(test)]
#[path = "logs_tests.rs"]
mod tests;
