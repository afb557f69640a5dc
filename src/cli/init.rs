//! `postroad init` and `postroad keygen`: what a node needs before its first start.
//!
//! Data is printed to standard output: `init` prints what is to be published as a piece of a zone file, `keygen` a secret or
//! the record of one. What was made, and what comes next, is told on standard error. Nothing that is there is overwritten.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand;
use clap::{Args, Subcommand};
use thiserror::Error;

use crate::clock;
use crate::config::{NODE_LABEL, is_node_label, quoted};
use crate::mail::dkim::NewKey;
use crate::mail::{Address, Domain, base64};
use crate::private_files;

/// Octets of an SRS secret: 192 bits.
const SRS_OCTETS: usize = 24;
/// Octets of an admin token: 256 bits.
const TOKEN_OCTETS: usize = 32;
/// Of the records, in seconds: short, since the first ones are often corrected.
const TTL: u32 = 300;

#[derive(Debug, Args)]
pub(super) struct InitArgs {
    /// The node's host name, as its MX records and its banner have it. Its first label is the node's name.
    #[arg(long, value_name = "HOST", value_parser = host_name)]
    hostname: Domain,
    /// The service's domain: EHLO name of outgoing sessions, and d= of signatures. The same on every node.
    #[arg(long, value_name = "DOMAIN", value_parser = host_name)]
    domain: Domain,
    /// Who reads mail to the postmaster of the service: a mailbox elsewhere. The same on every node.
    #[arg(long, value_name = "ADDRESS", value_parser = Address::parse)]
    postmaster: Address,
    /// The folder of the files; made when it is not there.
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(super) enum KeygenVerb {
    /// An RSA-2048 key to sign with (RFC 8301), PEM. The data of its TXT record is printed too.
    Dkim(KeygenArgs),
    /// A secret for srs.secret_file: one line. To change secrets, put the new line before the old ones.
    Srs(KeygenArgs),
}

#[derive(Debug, Args)]
pub(super) struct KeygenArgs {
    /// The file to make, for its owner only; without it the secret goes to standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Why nothing, or not all, was made.
#[derive(Debug, Error)]
pub(super) enum InitError {
    /// What is there stays.
    #[error("{} is there already, and is not overwritten", .0.display())]
    Exists(PathBuf),
    /// The disk refused.
    #[error("{} cannot be made", .0.display())]
    File(PathBuf, #[source] io::Error),
    /// The library refused.
    #[error("no key can be made")]
    Key(#[from] Unspecified),
    /// The terminal, or whoever reads.
    #[error(transparent)]
    Print(#[from] io::Error),
}

fn host_name(text: &str) -> Result<Domain, String> {
    let name = Domain::parse(text).map_err(|error| error.to_string())?;
    let label = name.as_str().split('.').next().unwrap_or_default();
    if name.is_literal() || !name.as_str().contains('.') || !is_node_label(label) {
        return Err(format!("\"{name}\" is no host name below a domain; its first label is {NODE_LABEL}"));
    }
    Ok(name)
}

/// The files of a new node.
struct Files {
    node: PathBuf,
    dkim: PathBuf,
    srs: PathBuf,
    tokens: PathBuf,
    token: PathBuf,
    data: PathBuf,
}

/// Makes the files of a new node, and prints what is to be published for it.
///
/// # Errors
/// When one of the files is there already: then none is made. When one cannot be made, or nothing can be printed.
pub(super) fn init(args: &InitArgs, out: &mut dyn Write, err: &mut dyn Write) -> Result<(), InitError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |cause| InitError::File(path, cause)
    };
    private_files::named_folder(&args.dir).map_err(failed(&args.dir))?;
    let dir = args.dir.canonicalize().map_err(failed(&args.dir))?;
    let selector = selector();
    let files = Files {
        node: dir.join("postroad.toml"),
        dkim: dir.join(format!("dkim-{selector}.pem")),
        srs: dir.join("srs.secret"),
        tokens: dir.join("admin-tokens"),
        token: dir.join("admin.token"),
        data: dir.join("data"),
    };
    let all = [&files.node, &files.dkim, &files.srs, &files.tokens, &files.token];
    if let Some(there) = all.into_iter().find(|path| path.symlink_metadata().is_ok()) {
        return Err(InitError::Exists(there.clone()));
    }
    let (key, token) = (NewKey::generate()?, drawn(TOKEN_OCTETS)?);
    make(&files.dkim, &key.pem())?;
    make(&files.srs, &format!("{}\n", drawn(SRS_OCTETS)?))?;
    make(&files.tokens, &format!("{token} admin init\n"))?;
    make(&files.token, &format!("{token}\n"))?;
    make(&files.node, &node_file(args, &files, &selector))?;
    tell(args, &files, err)?;
    publish(args, &selector, &key, out)
}

/// The year and the month: a key is known by its age.
fn selector() -> String {
    let now = humantime::format_rfc3339_seconds(clock::now()).to_string();
    now.chars().filter(char::is_ascii_digit).take("yyyymm".len()).collect()
}

fn node_file(args: &InitArgs, files: &Files, selector: &str) -> String {
    let name = args.hostname.as_str().split('.').next().unwrap_or_default();
    let path = |path: &Path| quoted(&path.to_string_lossy());
    format!(
        "# What has no default. `postroad config example` prints every key, its default, unit and reason.\n\
         [node]\n\
         name     = \"{name}\"\n\
         hostname = \"{hostname}\"\n\
         data_dir = {data}\n\
         [service]\n\
         domain     = \"{domain}\"\n\
         postmaster = {postmaster}\n\
         spf_name   = \"_spf.{domain}\"\n\
         [smtp]\n\
         listen = [\"0.0.0.0:25\", \"[::]:25\"]\n\
         [dkim]\n\
         selector = \"{selector}\"\n\
         private_key_file = {dkim}\n\
         [srs]\n\
         secret_file = {srs}\n\
         [admin]\n\
         token_file = {tokens}\n",
        hostname = args.hostname,
        domain = args.domain,
        postmaster = quoted(&args.postmaster.to_string()),
        data = path(&files.data),
        dkim = path(&files.dkim),
        srs = path(&files.srs),
        tokens = path(&files.tokens),
    )
}

fn tell(args: &InitArgs, files: &Files, err: &mut dyn Write) -> io::Result<()> {
    let (node, token) = (files.node.display(), files.token.display());
    writeln!(err, "made  {node}")?;
    writeln!(err, "made  {}: what is sent is signed with it", files.dkim.display())?;
    writeln!(err, "made  {}: every node of the service has the same", files.srs.display())?;
    writeln!(err, "made  {} for the node, {token} for postroadctl", files.tokens.display())?;
    if rustix::process::geteuid().is_root() {
        writeln!(
            err,
            "note  they are root's: chown them to the user that runs the node, where that is another"
        )?;
    }
    write!(
        err,
        "next  publish the records on standard output, then\n\
         \x20     postroad check --config {node}\n\
         \x20     postroad serve --config {node}\n\
         \x20     postroadctl --token-file {token} domain add example.com\n"
    )?;
    writeln!(err, "      and MX records of example.com to {}", args.hostname)
}

/// Records in master text (RFC 1035 §5); what only the operator knows is a comment.
fn publish(args: &InitArgs, selector: &str, key: &NewKey, out: &mut dyn Write) -> Result<(), InitError> {
    let InitArgs { hostname, domain, .. } = args;
    Ok(write!(
        out,
        "; A and AAAA of both names: the addresses that this node is reached at, and sends from. The PTR record of each is\n\
         ; asked of whoever gave the address, and says {domain}, as outgoing sessions do.\n\
         ; {hostname}. {TTL} IN A ...\n\
         ; {domain}. {TTL} IN A ...\n\
         {selector}._domainkey.{domain}. {TTL} IN TXT {record}\n\
         _spf.{domain}. {TTL} IN TXT \"v=spf1 a:{hostname} -all\"\n\
         {domain}. {TTL} IN TXT \"v=spf1 include:_spf.{domain} -all\"\n\
         ; For each domain that mail is forwarded for; where it has an SPF record, add the include to that:\n\
         ; example.com. {TTL} IN MX 10 {hostname}.\n\
         ; example.com. {TTL} IN TXT \"v=spf1 include:_spf.{domain} ~all\"\n",
        record = key.record(),
    )?)
}

/// Makes a key or a secret.
///
/// # Errors
/// When the file is there already or cannot be made, or nothing can be printed.
pub(super) fn keygen(verb: &KeygenVerb, out: &mut dyn Write, err: &mut dyn Write) -> Result<(), InitError> {
    let (secret, record, to) = match verb {
        KeygenVerb::Dkim(to) => {
            let key = NewKey::generate()?;
            (key.pem(), Some(key.record()), to)
        }
        KeygenVerb::Srs(to) => (format!("{}\n", drawn(SRS_OCTETS)?), None, to),
    };
    match &to.out {
        Some(path) => {
            make(path, &secret)?;
            writeln!(err, "made  {}", path.display())?;
            record.into_iter().try_for_each(|record| writeln!(out, "{record}"))?;
        }
        None => {
            out.write_all(secret.as_bytes())?;
            let told = "publish as SELECTOR._domainkey.DOMAIN, service.domain";
            record.into_iter().try_for_each(|record| writeln!(err, "{told}: TXT {record}"))?;
        }
    }
    Ok(())
}

/// Base64 of so many octets that were drawn.
fn drawn(octets: usize) -> Result<String, Unspecified> {
    let mut drawn = vec![0; octets];
    rand::fill(&mut drawn)?;
    Ok(base64::encode(&drawn))
}

/// Makes a file that is not there, for its owner only.
fn make(path: &Path, text: &str) -> Result<(), InitError> {
    let failed = |cause: io::Error| {
        if cause.kind() == io::ErrorKind::AlreadyExists {
            InitError::Exists(path.to_owned())
        } else {
            InitError::File(path.to_owned(), cause)
        }
    };
    let mut file = private_files::options().write(true).create_new(true).open(path).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
}

#[cfg(test)]
#[path = "init_tests.rs"]
mod tests;
