//! `postroad cluster`: what a cluster needs before its nodes start. A cluster that runs is looked after by `postroadctl`.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::SystemTime;

use clap::{Args, Subcommand};

use crate::clock;
use crate::config::{MAX_PEERS, NODE_LABEL, is_node_label};
use crate::tls::{Authority, AuthorityError, Certificates, Issued};

/// Where a node's folder is expected to be on the node.
const ON_NODES: &str = "/etc/postroad/cluster";
/// The port of the printed section: the default of `cluster.listen`.
const PORT: u16 = 50052;

#[derive(Debug, Subcommand)]
pub(super) enum ClusterVerb {
    /// Makes an authority and a certificate for each node, and prints the section `cluster` of their node files.
    ///
    /// What is there already stays: run it again with one more name to add a node. To renew a node's certificate, move its
    /// folder aside and run it again with its name.
    Certificates(CertificatesArgs),
}

#[derive(Debug, Args)]
pub(super) struct CertificatesArgs {
    /// The folder of the authority; made when it is not there. Its ca.key goes to no node.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// The node.name of each node that needs a certificate.
    #[arg(value_name = "NAME", required = true, num_args = 1..=MAX_PEERS, value_parser = node_name)]
    names: Vec<String>,
}

fn node_name(text: &str) -> Result<String, String> {
    if is_node_label(text) { Ok(text.to_owned()) } else { Err(format!("a node's name is {NODE_LABEL}")) }
}

/// Makes what is missing.
pub(super) fn run(
    CertificatesArgs { dir, names }: &CertificatesArgs,
) -> Result<Certificates, AuthorityError> {
    let now = clock::now();
    Authority::open(dir, now)?.certify(names, now)
}

/// Says what was made and what to do with it, as a piece of a node file: all but the section is comment.
pub(super) fn print(made: &Certificates, out: &mut dyn Write) -> io::Result<()> {
    let line = |issued, what: String, end| {
        let verb = match issued {
            Issued::Now => "made",
            Issued::Before => "kept",
        };
        format!("# {verb}  {what}, good until {}", date(end))
    };
    let (ca, key) = (made.authority.display(), made.authority_key.display());
    writeln!(out, "{}", line(made.issued, format!("{ca} and {key}: the authority"), made.not_after))?;
    for node in &made.nodes {
        writeln!(
            out,
            "{}",
            line(node.issued, format!("{}: node {}", node.path.display(), node.name), node.not_after)
        )?;
    }
    write!(
        out,
        "#\n\
         # Copy each node's folder to that node, as {ON_NODES}, readable by the user that runs the node.\n\
         # {key} goes to no node: who has it can pass for any of them. Keep it; the next node, and\n\
         # each renewal, need it.\n\
         #\n\
         # In postroad.toml, the same on every node; mend each address to where the other nodes reach that node:\n\
         [cluster]\n\
         listen = \"0.0.0.0:{PORT}\"\n\
         certificate_file = \"{ON_NODES}/node.pem\"\n\
         private_key_file = \"{ON_NODES}/node.key\"\n\
         ca_file = \"{ON_NODES}/ca.pem\"\n\
         peers = [\n"
    )?;
    for name in &made.names {
        writeln!(out, "  {{ name = \"{name}\", address = \"{name}:{PORT}\" }},")?;
    }
    writeln!(out, "]")
}

fn date(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}
