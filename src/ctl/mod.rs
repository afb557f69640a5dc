//! Owns `postroadctl`: the command line, one file a noun, over the gRPC admin API. It talks to a running node and
//! touches no file of its own.
//!
//! Data goes to standard output, talk to standard error. Exit status: 0 done, 1 refused or failed, 2 wrong usage.
//! A read is repeated while the server is UNAVAILABLE or the connection is lost, three tries within the deadline (AIP-194), and
//! so is a change of the routing table, under an id of its own (AIP-155); what else is ordered only when the server itself
//! said that it did not take it.

mod cluster;
mod completions;
mod destination;
mod dnsbl;
mod document;
mod domain;
mod events;
mod failure;
mod history;
mod nodes;
mod output;
mod pages;
mod queue;
mod resolve;
mod rule;
mod session;
mod trace;

use std::ffi::OsString;
use std::io::Write;

use clap::{Parser, Subcommand};

pub use failure::Failure;
use nodes::Nodes;
use output::{Format, Output};
use session::{ServerArgs, Session};

/// Resources asked for at a time; the server's largest page.
const PAGE_SIZE: i32 = 1000;

/// The gRPC admin client: everything an operator does to a running Postroad cluster.
#[derive(Debug, Parser)]
#[command(name = "postroadctl", version, arg_required_else_help = true, subcommand_required = true)]
pub struct Command {
    #[command(flatten)]
    server: ServerArgs,
    /// How data is printed.
    #[arg(long, global = true, value_enum, default_value_t = Format::Table)]
    output: Format,
    /// For `queue`, `trace` and `events`: only this node, instead of all of the cluster.
    #[arg(id = "only_node", long = "node", global = true, value_name = "NODE")]
    node: Option<String>,
    #[command(subcommand)]
    noun: Noun,
}

#[derive(Debug, Subcommand)]
enum Noun {
    /// The domains that mail is routed for.
    #[command(subcommand)]
    Domain(domain::Verb),
    /// Which mail of a domain goes where.
    #[command(subcommand)]
    Rule(rule::Verb),
    /// The addresses that rules forward to.
    #[command(subcommand)]
    Destination(destination::Verb),
    /// The messages that wait to be delivered.
    #[command(subcommand)]
    Queue(queue::Verb),
    /// The clients that are refused, or let come, by their address.
    #[command(subcommand)]
    Dnsbl(dnsbl::Verb),
    /// The nodes that agree on the routing table.
    #[command(subcommand)]
    Cluster(cluster::Verb),
    /// Prints the revisions of the routing table, the newest first, or goes back to one.
    History(history::Args),
    /// Says which rule takes an address, which destinations it ends in, and why; sends nothing.
    Resolve(resolve::Args),
    /// Says what became of a message.
    Trace(trace::Args),
    /// Prints what becomes of messages, as it happens.
    Events(events::Args),
    /// Makes the routing table what a file says, all or nothing.
    Apply(document::ApplyArgs),
    /// Prints the routing table as the file that `apply` takes.
    Export(document::ExportArgs),
    /// Prints a completion script for a shell.
    Completions(completions::Args),
}

impl Noun {
    /// Whether it is about what each node has for itself.
    fn is_of_nodes(&self) -> bool {
        match self {
            Self::Queue(queue::Verb::Messages(_)) | Self::Trace(_) | Self::Events(_) => true,
            Self::Queue(queue::Verb::Suspensions(_))
            | Self::Domain(_)
            | Self::Rule(_)
            | Self::Destination(_)
            | Self::Dnsbl(_)
            | Self::Cluster(_)
            | Self::History(_)
            | Self::Resolve(_)
            | Self::Apply(_)
            | Self::Export(_)
            | Self::Completions(_) => false,
        }
    }
}

/// Where a command prints.
pub struct Terminal<'a> {
    /// Data.
    pub out: &'a mut (dyn Write + Send),
    /// Talk.
    pub err: &'a mut (dyn Write + Send),
}

/// Runs one command line, the program's name first; returns the exit status.
pub async fn run(arguments: impl IntoIterator<Item = OsString>, terminal: Terminal<'_>) -> u8 {
    let Terminal { out, err } = terminal;
    let command = match Command::try_parse_from(arguments) {
        Ok(command) => command,
        Err(error) => {
            let text = error.render();
            // A closed terminal is no reason for another status.
            let _ = if error.use_stderr() { write!(err, "{text}") } else { write!(out, "{text}") };
            return u8::try_from(error.exit_code()).unwrap_or(2);
        }
    };
    let mut output = Output::new(command.output, command.server.other(), out, err);
    match dispatch(command, &mut output).await {
        Ok(()) => 0,
        Err(failure) if failure.is_closed_pipe() => 0,
        Err(failure) => {
            output.talk(&format!("postroadctl: {failure}"));
            failure.exit_status()
        }
    }
}

async fn dispatch(command: Command, output: &mut Output<'_>) -> Result<(), Failure> {
    let server = &command.server;
    if command.node.is_some() && !command.noun.is_of_nodes() {
        let text = "--node is for queue, trace and events, but not for suspensions: all else is the same on every node, or \
                    names its node itself";
        return Err(Failure::Usage(text.to_owned()));
    }
    let node = command.node.as_deref();
    match command.noun {
        Noun::Completions(args) => completions::run(&args, output),
        Noun::Domain(verb) => domain::run(verb, &Session::open(server).await?, output).await,
        Noun::Rule(verb) => rule::run(verb, &Session::open(server).await?, output).await,
        Noun::Destination(verb) => destination::run(verb, &Session::open(server).await?, output).await,
        Noun::Queue(queue::Verb::Messages(order)) => {
            queue::run(order, &Nodes::open(server, node).await?, output).await
        }
        Noun::Queue(queue::Verb::Suspensions(order)) => {
            queue::run_on_suspensions(order, &Session::open(server).await?, output).await
        }
        Noun::Dnsbl(verb) => dnsbl::run(verb, &Session::open(server).await?, output).await,
        Noun::Cluster(verb) => cluster::run(verb, &Session::open(server).await?, output).await,
        Noun::History(args) => history::run(args, server, output).await,
        Noun::Resolve(args) => resolve::run(args, &Session::open(server).await?, output).await,
        Noun::Trace(args) => trace::run(args, &Nodes::open(server, node).await?, output).await,
        Noun::Events(args) => events::run(args, &Nodes::open(server, node).await?, output).await,
        Noun::Apply(args) => document::apply(args, server, output).await,
        Noun::Export(args) => document::export(args, server, output).await,
    }
}

#[cfg(test)]
mod tests;
