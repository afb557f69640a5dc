//! The demo world: what stands in for the internet when there is none, for `postroad dev` and for tests.
//!
//! `postroad dev` starts a DNS server with example zones, a sink as the destination's MX, and one or more
//! nodes, everything on loopback; sends four samples from loopback addresses of their own, so that SPF and
//! DNSBL see different clients; prints what became of each; and holds the outcome against what it must be.
//!
//! Several nodes are a cluster, with links of their own over TLS. With two, a rule made on one is used by the other; with
//! three, one of them is stopped as well while mail goes on. It is drained, as its process would be by SIGTERM: in one
//! process nothing ends more abruptly. Its peers hear nothing of that, and see their connections end.

mod check;
pub mod client;
mod cluster_samples;
pub mod dns;
pub mod keys;
mod links;
mod samples;
pub mod sink;
mod transcript;
mod world;

use std::io;
use std::net::IpAddr;

use aws_lc_rs::error::Unspecified;
use thiserror::Error;

use self::dns::DnsServerError;
use self::world::{AGREED_WITHIN, ALIASES, DOMAIN, LISTED, NODES, SENDER, World};
use crate::clock;
use crate::config::ConfigErrors;
use crate::dns::DnsError;
use crate::mail::AddressError;
use crate::node::NodeError;
use crate::routing::RoutingError;
use crate::tls::AuthorityError;

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
    #[error("cannot listen on {0}; on systems other than Linux, add it to the loopback interface")]
    Loopback(IpAddr, #[source] io::Error),
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
    #[error("no key can be made")]
    Key(#[from] Unspecified),
    /// A message of the sender's.
    #[error("a message cannot be signed")]
    Sign(#[from] mail_auth::Error),
    /// The nodes' configuration.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// A node.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The routing table.
    #[error(transparent)]
    Routing(#[from] RoutingError),
    /// The certificates of the links between nodes.
    #[error(transparent)]
    Certificates(#[from] AuthorityError),
    /// The nodes do not come to agree.
    #[error("the nodes are no cluster that takes changes after {} s", AGREED_WITHIN.as_secs())]
    NoCluster(#[source] RoutingError),
    /// A node does not hear of what the others agreed on.
    #[error("node {0} does not have the rules after {limit} s", limit = AGREED_WITHIN.as_secs())]
    Behind(&'static str),
    /// A node that is needed does not run.
    #[error("node {0} does not run")]
    NoNode(&'static str),
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
    let (of_cluster, played) = cluster_samples::run_all(&mut world, all, clock::now()).await?;
    let (right, all) = (right + of_cluster, all + played);
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
        let cluster = addresses.cluster.map(|address| format!(", cluster {address}")).unwrap_or_default();
        println!("  node   {smtp:<21}  {name}: admin {admin}, metrics http://{http}/metrics{cluster}");
    }
    println!("  sink   {:<21}  plays mx.dest.test, the destination's MX", world.sink.address());
    println!("  files  {}", world.directory.path().display());
    if let [(first, _), .., (_, _)] = world.nodes.as_slice() {
        println!("  rules  made on {first}; the nodes are a cluster, and all have them");
    }
    println!();
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
    print_others(world);
    let of_cluster = world.nodes.get(1).map(|_| cluster_samples::LOCAL);
    let aliases: Vec<&str> = ALIASES.iter().map(|(local, _)| *local).chain(of_cluster).collect();
    println!("addresses at {DOMAIN}: {}", aliases.join(", "));
    println!("Ctrl-C ends it and deletes {}\n", world.directory.path().display());
}

/// What there is to play with beside the first node.
fn print_others(world: &World) {
    for (name, node) in world.nodes.iter().skip(1) {
        let addresses = node.addresses();
        let Some(smtp) = addresses.smtp.first() else { continue };
        let ctl = format!("postroadctl --server http://{}", addresses.admin);
        println!("{name}, SMTP at {smtp}, has the same rules, and takes changes for all nodes:");
        println!("  {ctl} rule list {DOMAIN}");
        println!("  {ctl} rule add {DOMAIN} --to {name} --forward ana@dest.test");
    }
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
