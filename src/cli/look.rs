//! `postroad check`, `doctor` and `healthcheck`: what a node file promises, and what a node does.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::{Failure, FileArgs};
use crate::check::{self, Finding, Verdict};
use crate::config::{self, Config};
use crate::dns::Dns;
use crate::node;
use crate::telemetry::Metrics;

#[derive(Debug, Args)]
pub(super) struct HealthArgs {
    /// The node file: the node that runs with it is asked whether it is ready.
    #[arg(long, value_name = "FILE", default_value = "postroad.toml")]
    config: PathBuf,
    /// Greets this SMTP server instead; no node file is read.
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "config")]
    smtp: Option<String>,
}

/// Says what a node file promises: all that a start needs, and the outside.
pub(super) fn check(file: &FileArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let (config, runtime) = load(file, out)?;
    let findings = runtime.block_on(async {
        let metrics = metrics()?;
        let mut findings = node::rehearse(&config, &metrics).await;
        let dns = Dns::new(&config.dns, metrics)?;
        findings.extend(check::check(&config, &dns).await);
        Ok::<_, Failure>(findings)
    })?;
    let failed = print(&findings, out)?;
    if failed > 0 { Err(Failure::Checks { failed, all: findings.len() }) } else { Ok(()) }
}

/// Says what the node sees of itself from this host.
pub(super) fn doctor(file: &FileArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let (config, runtime) = load(file, out)?;
    let findings = runtime.block_on(async {
        let dns = Dns::new(&config.dns, metrics()?)?;
        Ok::<_, Failure>(check::doctor(&config, &dns).await)
    })?;
    let failed = print(&findings, out)?;
    if failed > 0 { Err(Failure::ToDo { failed, all: findings.len() }) } else { Ok(()) }
}

/// Says whether a node is ready, or an SMTP server takes mail.
pub(super) fn healthcheck(args: &HealthArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let runtime = runtime()?;
    let text = match &args.smtp {
        Some(server) => runtime.block_on(check::takes_mail(server))?,
        None => runtime.block_on(check::ready(&Config::load(&args.config, &config::variables())?))?,
    };
    Ok(writeln!(out, "{}", text.trim_end())?)
}

fn load(
    FileArgs { config: path }: &FileArgs,
    out: &mut dyn Write,
) -> Result<(Config, tokio::runtime::Runtime), Failure> {
    let config = Config::load(path, &config::variables())?;
    writeln!(out, "ok    config {} and the {} files it names", path.display(), config.files().len())?;
    Ok((config, runtime()?))
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

fn metrics() -> io::Result<Arc<Metrics>> {
    Metrics::new().map(Arc::new).map_err(|cause| io::Error::other(cause.to_string()))
}

/// Prints the findings, and returns how many of them are failures.
fn print(findings: &[Finding], out: &mut dyn Write) -> io::Result<usize> {
    for finding in findings {
        writeln!(out, "{finding}")?;
    }
    Ok(findings.iter().filter(|finding| finding.verdict == Verdict::Fail).count())
}
