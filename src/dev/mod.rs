//! The demo world: what stands in for the internet when there is none, for `postroad dev` and for tests.
//!
//! `postroad dev` starts a DNS server with example zones, a sink as the destination's MX, and one or more
//! nodes, everything on loopback; sends four samples from loopback addresses of their own, so that SPF and
//! DNSBL see different clients; prints what became of each; and holds the outcome against what it must be.

mod check;
pub mod client;
pub mod dns;
pub mod keys;
mod samples;
pub mod sink;
mod world;

use std::io;

use thiserror::Error;

use self::dns::DnsServerError;
use self::keys::KeyError;
use self::world::{ALIASES, DOMAIN, LISTED, NODES, SENDER, World};
use crate::clock;
use crate::config::ConfigErrors;
use crate::dns::DnsError;
use crate::mail::AddressError;
use crate::node::NodeError;
use crate::routing::RoutingError;

/// The most nodes that `postroad dev` starts: one for each MX host of the example.
pub const MAX_NODES: usize = NODES.len();

/// What `postroad dev` is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Goes on running when the samples are through.
    pub keep: bool,
    /// How many nodes: 1 to [`MAX_NODES`].
    pub nodes: u8,
}

/// Why the demo ended with status 1.
#[derive(Debug, Error)]
pub enum DevError {
    /// The number of nodes.
    #[error("postroad dev starts 1 to {MAX_NODES} nodes, not {0}")]
    Nodes(u8),
    /// Not every sample went as it must; what was printed says which.
    #[error("{right} of {all} samples went as they must")]
    Outcome {
        /// Those that did.
        right: usize,
        /// All of them.
        all: usize,
    },
    /// A loopback address other than 127.0.0.1 is not there.
    #[error("cannot listen on 127.0.0.25; on systems other than Linux, add it to the loopback interface")]
    Loopback(#[source] io::Error),
    /// A file or a socket.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The DNS server.
    #[error(transparent)]
    DnsServer(#[from] DnsServerError),
    /// The destination's resolver.
    #[error(transparent)]
    Dns(#[from] DnsError),
    /// The destination's metrics.
    #[error("{0}")]
    Metrics(String),
    /// A key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The nodes' configuration.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// A node.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The routing table.
    #[error(transparent)]
    Routing(#[from] RoutingError),
    /// An address of the example.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// A node has no SMTP listener.
    #[error("the node listens nowhere")]
    NoListener,
    /// The sink's copy of a message is none.
    #[error("what the sink got is no message")]
    Unreadable,
}

/// Runs the demo, prints what happens on standard output, and checks its own outcome.
///
/// # Errors
/// When something cannot be started, a connection to it fails, or a sample's outcome is not as it must be.
pub fn run(options: &Options) -> Result<(), DevError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(demonstrate(options))
}

async fn demonstrate(options: &Options) -> Result<(), DevError> {
    let nodes = usize::from(options.nodes);
    if !(1..=MAX_NODES).contains(&nodes) {
        return Err(DevError::Nodes(options.nodes));
    }
    let mut world = World::start(nodes).await?;
    print_world(&world);
    let (right, all) = samples::run_all(&mut world, clock::now()).await?;
    if right == all {
        println!("all {all} samples went as they must");
    }
    if options.keep {
        print_commands(&world);
        watch(&mut world).await?;
    }
    world.stop().await;
    if right == all { Ok(()) } else { Err(DevError::Outcome { right, all }) }
}

fn print_world(world: &World) {
    println!("postroad dev: everything on loopback, nothing leaves this machine");
    println!(
        "  dns    {:<21}  {DOMAIN} (yours), relay.test, sender.test, dest.test, dnsbl.test",
        world.dns.addr()
    );
    for (name, node) in &world.nodes {
        let addresses = node.addresses();
        let smtp: Vec<String> = addresses.smtp.iter().map(ToString::to_string).collect();
        let (smtp, admin, http) = (smtp.join(", "), addresses.admin, addresses.http);
        println!("  node   {smtp:<21}  {name}: admin {admin}, metrics http://{http}/metrics");
    }
    println!("  sink   {:<21}  plays mx.dest.test, the destination's MX", world.sink.address());
    println!("  files  {}\n", world.directory.path().display());
}

fn print_commands(world: &World) {
    let Some((name, node)) = world.nodes.first() else { return };
    let addresses = node.addresses();
    let Some(smtp) = addresses.smtp.first() else { return };
    let swaks = format!("swaks --server {smtp} --ehlo mail.sender.test --from alice@sender.test");
    let ctl = format!("postroadctl --server http://{}", addresses.admin);
    println!("\nstill running; play with {name}:");
    println!("  {swaks} --local-interface {SENDER} --to info@{DOMAIN}");
    println!("  {swaks} --local-interface {LISTED} --to info@{DOMAIN}");
    println!("  {ctl} rule list {DOMAIN}");
    println!("  {ctl} resolve info@{DOMAIN}");
    println!("  {ctl} trace --from alice@sender.test --since 1h");
    println!("  {ctl} events --follow");
    println!("  curl http://{}/metrics", addresses.http);
    println!("  dig @{} -p {} {DOMAIN} MX", world.dns.addr().ip(), world.dns.addr().port());
    let aliases: Vec<&str> = ALIASES.iter().map(|(local, _)| *local).collect();
    println!("addresses at {DOMAIN}: {}", aliases.join(", "));
    println!("Ctrl-C ends it and deletes {}\n", world.directory.path().display());
}

/// Prints what the sink gets until Ctrl-C.
async fn watch(world: &mut World) -> io::Result<()> {
    loop {
        tokio::select! {
            ended = tokio::signal::ctrl_c() => return ended,
            kept = world.sink.next() => {
                let Some(kept) = kept else { return Ok(()) };
                let (from, to) = (&kept.reverse_path, kept.recipients.join(", "));
                println!("sink got {} octets: <{from}> -> {to}", kept.octets.len());
            }
        }
    }
}
