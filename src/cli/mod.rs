//! Owns the command line of `postroad`. Data goes to standard output, talk to standard error. Exit status: 0
//! done, 1 refused or failed, 2 wrong usage, 3 not as wanted.

mod cluster;
mod init;
mod look;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;
use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use thiserror::Error;

use self::cluster::ClusterVerb;
use self::init::{InitArgs, InitError, KeygenVerb};
use self::look::HealthArgs;
use crate::check::HealthError;
use crate::config::{self, Config, ConfigErrors};
use crate::dns::DnsError;
use crate::error_text::error_text;
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
    /// Makes what a new node starts with: its file, keys and a token; prints the records to publish.
    Init(InitArgs),
    /// Makes a key or a secret.
    #[command(subcommand)]
    Keygen(KeygenVerb),
    /// Runs a node until SIGTERM, which drains it. SIGHUP, or a changed file, reloads the configuration.
    Serve(FileArgs),
    /// Checks the node file and everything that it names, what a start would need, then what can be seen from outside.
    Check(FileArgs),
    /// Looks at a node from the host that it runs on: every check, its listeners, which addresses it goes out from, port 25.
    Doctor(FileArgs),
    /// Asks the node whether it is ready, or greets an SMTP server: for probes.
    Healthcheck(HealthArgs),
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
    /// Prints every key with the value that counts: the file's, the environment's, or the default.
    Show(FileArgs),
    /// Prints the keys whose values are not the defaults, and these.
    Diff(FileArgs),
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
    Init(#[from] InitError),
    #[error(transparent)]
    Certificates(#[from] tls::AuthorityError),
    #[error("the resolver")]
    Dns(#[from] DnsError),
    #[error("{failed} of {all} checks failed")]
    Checks { failed: usize, all: usize },
    #[error("{failed} of {all} are not as they should be")]
    ToDo { failed: usize, all: usize },
    #[error(transparent)]
    Health(#[from] HealthError),
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
    match dispatch(command.verb, out, err) {
        Ok(()) => 0,
        // As in `postroad config example | head`.
        Err(Failure::Io(cause) | Failure::Init(InitError::Print(cause)))
            if cause.kind() == io::ErrorKind::BrokenPipe =>
        {
            0
        }
        Err(failure) => {
            for line in error_text(&failure).lines() {
                let _ = writeln!(err, "postroad: {line}");
            }
            if let Failure::ToDo { .. } = failure { 3 } else { 1 }
        }
    }
}

fn dispatch(verb: Verb, out: &mut dyn Write, err: &mut dyn Write) -> Result<(), Failure> {
    match verb {
        Verb::Init(arguments) => Ok(init::init(&arguments, out, err)?),
        Verb::Keygen(verb) => Ok(init::keygen(&verb, out, err)?),
        Verb::Serve(FileArgs { config: path }) => {
            let variables = config::variables();
            let config = Config::load(&path, &variables)?;
            keep_files_private();
            have_descriptors()?;
            Ok(node::run(config, path, variables)?)
        }
        Verb::Check(file) => look::check(&file, out),
        Verb::Doctor(file) => look::doctor(&file, out),
        Verb::Healthcheck(arguments) => look::healthcheck(&arguments, out),
        Verb::Dev(DevArgs { keep, nodes }) => {
            keep_files_private();
            Ok(dev::run(&dev::Options { keep, nodes })?)
        }
        Verb::Config(ConfigVerb::Example) => Ok(out.write_all(config::example().as_bytes())?),
        Verb::Config(ConfigVerb::Show(FileArgs { config })) => {
            Ok(out.write_all(Config::load(&config, &config::variables())?.effective().as_bytes())?)
        }
        Verb::Config(ConfigVerb::Diff(FileArgs { config })) => {
            Ok(out.write_all(Config::load(&config, &config::variables())?.beside_defaults().as_bytes())?)
        }
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

#[cfg(test)]
mod tests;
