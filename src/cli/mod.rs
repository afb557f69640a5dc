//! Owns the command line of `postroad`. Data goes to standard output, talk to standard error. Exit status: 0
//! done, 1 refused or failed, 2 wrong usage.

mod cluster;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;
use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use thiserror::Error;

use self::cluster::ClusterVerb;
use crate::check::{self, Verdict};
use crate::config::{self, Config, ConfigErrors};
use crate::dns::{Dns, DnsError};
use crate::error_text::error_text;
use crate::telemetry::Metrics;
use crate::{dev, node, tls};

/// Email routing that you run yourself: forwards mail in-session, with SPF, DKIM, DMARC, ARC, DNSBL and SRS.
#[derive(Debug, Parser)]
#[command(name = "postroad", version, arg_required_else_help = true, subcommand_required = true)]
pub struct Command {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Runs a node until SIGTERM, which drains it. SIGHUP, or a changed file, reloads the configuration.
    Serve(FileArgs),
    /// Checks the node file and everything that it names, what a start would need, then what can be seen from outside.
    Check(FileArgs),
    /// Runs a whole world on loopback, sends messages through it and says what became of them.
    Dev(DevArgs),
    /// Shows what a node file can say.
    #[command(subcommand)]
    Config(ConfigVerb),
    /// Makes ready what a cluster needs before its nodes start.
    #[command(subcommand)]
    Cluster(ClusterVerb),
    /// Prints a completion script for a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
}

#[derive(Debug, Args)]
struct FileArgs {
    /// The node file; `postroad config example` prints one.
    #[arg(long, value_name = "FILE", default_value = "postroad.toml")]
    config: PathBuf,
}

#[derive(Debug, Args)]
struct DevArgs {
    /// Goes on running, and prints commands to play with.
    #[arg(long)]
    keep: bool,
    /// How many nodes the world has: several are a cluster, and of three one is stopped while mail goes on.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=dev::MAX_NODES as i64))]
    nodes: u8,
}

#[derive(Debug, Subcommand)]
enum ConfigVerb {
    /// Prints a node file with every key, its default, unit and reason.
    Example,
}

/// Why a command ended with status 1.
#[derive(Debug, Error)]
enum Failure {
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    #[error(transparent)]
    Node(#[from] node::NodeError),
    #[error(transparent)]
    Dev(#[from] dev::DevError),
    #[error(transparent)]
    Certificates(#[from] tls::AuthorityError),
    #[error("the resolver")]
    Dns(#[from] DnsError),
    #[error("{failed} of {all} checks failed")]
    Checks { failed: usize, all: usize },
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Runs one command line, the program's name first; returns the exit status.
pub fn run(arguments: impl IntoIterator<Item = OsString>, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let command = match Command::try_parse_from(arguments) {
        Ok(command) => command,
        Err(error) => {
            let text = error.render();
            // A closed terminal is no reason for another status.
            let _ = if error.use_stderr() { write!(err, "{text}") } else { write!(out, "{text}") };
            return u8::try_from(error.exit_code()).unwrap_or(2);
        }
    };
    match dispatch(command.verb, out) {
        Ok(()) => 0,
        // As in `postroad config example | head`.
        Err(Failure::Io(cause)) if cause.kind() == io::ErrorKind::BrokenPipe => 0,
        Err(failure) => {
            for line in error_text(&failure).lines() {
                let _ = writeln!(err, "postroad: {line}");
            }
            1
        }
    }
}

fn dispatch(verb: Verb, out: &mut dyn Write) -> Result<(), Failure> {
    match verb {
        Verb::Serve(FileArgs { config: path }) => {
            let variables = config::variables();
            let config = Config::load(&path, &variables)?;
            keep_files_private();
            have_descriptors()?;
            Ok(node::run(config, path, variables)?)
        }
        Verb::Check(FileArgs { config }) => check(&config, out),
        Verb::Dev(DevArgs { keep, nodes }) => {
            keep_files_private();
            Ok(dev::run(&dev::Options { keep, nodes })?)
        }
        Verb::Config(ConfigVerb::Example) => Ok(out.write_all(config::example().as_bytes())?),
        Verb::Cluster(ClusterVerb::Certificates(arguments)) => {
            Ok(cluster::print(&cluster::run(&arguments)?, out)?)
        }
        Verb::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Command::command(), "postroad", &mut script);
            Ok(out.write_all(&script)?)
        }
    }
}

/// Whatever this process makes from now on, in a library too, is for its user alone.
fn keep_files_private() {
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
}

/// A session takes a descriptor, and so does a connection to a destination and a large message: all that the system allows,
/// since the soft limit is commonly 1,024 for the sake of programs that use select(2).
fn have_descriptors() -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?)
}

fn check(path: &Path, out: &mut dyn Write) -> Result<(), Failure> {
    let config = Config::load(path, &config::variables())?;
    writeln!(out, "ok    config {} and the {} files it names", path.display(), config.files().len())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let findings = runtime.block_on(async {
        let metrics = Metrics::new().map_err(|cause| io::Error::other(cause.to_string()))?;
        let metrics = Arc::new(metrics);
        let mut findings = node::rehearse(&config, &metrics).await;
        let dns = Dns::new(&config.dns, metrics)?;
        findings.extend(check::check(&config, &dns).await);
        Ok::<_, Failure>(findings)
    })?;
    for finding in &findings {
        writeln!(out, "{finding}")?;
    }
    let failed = findings.iter().filter(|finding| finding.verdict == Verdict::Fail).count();
    if failed > 0 {
        return Err(Failure::Checks { failed, all: findings.len() });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
