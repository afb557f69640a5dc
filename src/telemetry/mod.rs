//! Metric names and labels, the log subscriber. Owns `prometheus`: nobody else names a metric.

mod families;
pub mod labels;
mod logs;
mod metrics;
mod responses;
mod seldom;
mod storage;

pub use labels::PipelineStage;
pub use logs::{Addresses, LogError, LogLevel, log_ready, start_logs};
pub use metrics::Metrics;
pub use responses::SmtpCommand;
pub use seldom::Seldom;
pub use storage::free_octets;

#[cfg(test)]
mod tests;
