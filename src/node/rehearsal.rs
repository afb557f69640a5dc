//! What `serve` would refuse, found without serving, by the functions that build a node. Looks with the eyes of whoever
//! runs it: another user may read other files.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use tokio::net::TcpListener;

use super::error::{NodeError, part};
use super::membership;
use super::reload::keyed;
use super::stages::Keys;
use super::state::{Occupancy, inspect, open_to_others};
use crate::admin::LiveTerms;
use crate::check::{Finding, Verdict};
use crate::config::{Config, Source};
use crate::error_text::error_text;
use crate::pipeline::inbound;
use crate::telemetry::Metrics;
use crate::tls::StartTls;

/// Goes through a start as far as it leaves nothing behind: files, the state on disk, listeners.
pub async fn rehearse(config: &Config, metrics: &Arc<Metrics>) -> Vec<Finding> {
    let mut findings = files(config, metrics);
    let problems = membership::problems(config).into_iter().map(|problem| problem.to_string());
    findings.extend(problems.map(|detail| Finding::new(Verdict::Fail, "member", one_line(&detail))));
    let (state, occupancy) = state(config);
    findings.push(state);
    let open = open_to_others(&config.node.data_dir);
    findings.extend(open.into_iter().map(|detail| Finding::new(Verdict::Warn, "data", detail)));
    findings.extend(listeners(config, &occupancy).await);
    findings.extend(config.delivery.sources.iter().map(source));
    findings
}

/// Whether this host has an address of the outbound pool.
fn source(source: &Source) -> Finding {
    let (verdict, what) = match UdpSocket::bind((source.address, 0)) {
        Ok(_) => (Verdict::Ok, "can be sent from".to_owned()),
        Err(error) => (Verdict::Fail, format!("cannot be sent from here: {error} (docs/egress.md)")),
    };
    Finding::new(verdict, "source", format!("delivery.source {} {what}", source.address))
}

/// What a part finds that reads its files.
type Read = fn(&Config, &Arc<Metrics>) -> Result<(), NodeError>;

fn files(config: &Config, metrics: &Arc<Metrics>) -> Vec<Finding> {
    let parts: [Read; 4] = [
        |config, metrics| StartTls::new(config, metrics.clone()).map(drop).map_err(|error| part(&error)),
        |config, metrics| {
            LiveTerms::new(&config.admin, metrics.clone()).map(drop).map_err(|error| part(&error))
        },
        |config, _| Keys::read(config).map(drop),
        |config, _| keyed(&config.dnsbl).map(drop),
    ];
    let refused = parts.into_iter().filter_map(|read| read(config, metrics).err());
    let exposed = config.exposed_secrets().into_iter().map(|exposed| exposed.to_string());
    let wrong = refused.map(|error| error.to_string()).chain(exposed);
    let findings: Vec<Finding> =
        wrong.map(|detail| Finding::new(Verdict::Fail, "files", one_line(&detail))).collect();
    if findings.is_empty() {
        return vec![Finding::new(
            Verdict::Ok,
            "files",
            "keys, certificates, secrets and tokens can be used",
        )];
    }
    findings
}

fn state(config: &Config) -> (Finding, Occupancy) {
    let shown = config.node.data_dir.display();
    match inspect(config) {
        Ok(Occupancy::Free) => {
            let detail = format!("node.data_dir {shown} can be used");
            (Finding::new(Verdict::Ok, "data", detail), Occupancy::Free)
        }
        Ok(Occupancy::Taken) => {
            let detail =
                format!("node.data_dir {shown} is locked by a node that runs: no other can start on it");
            (Finding::new(Verdict::Warn, "data", detail), Occupancy::Taken)
        }
        Err(error) => (Finding::new(Verdict::Fail, "data", one_line(&error.to_string())), Occupancy::Free),
    }
}

/// Binds everything as a start does. What is in use while a node runs on this state is taken to be in use by it.
async fn listeners(config: &Config, occupancy: &Occupancy) -> Vec<Finding> {
    let mut bound = Vec::new();
    for address in &config.smtp.listen {
        bound.push(("smtp.listen", *address, inbound::bind(*address)));
    }
    let public = config.public.as_ref().map(|public| ("public.listen", public.listen));
    let cluster = config.cluster.as_ref().map(|cluster| ("cluster.listen", cluster.listen));
    let others = [("http.listen", config.http.listen), ("admin.listen", config.admin.listen)];
    for (key, address) in others.into_iter().chain(public).chain(cluster) {
        bound.push((key, address, TcpListener::bind(address).await));
    }
    bound.iter().map(|(key, address, bound)| listener(key, *address, bound, occupancy)).collect()
}

fn listener(
    key: &str,
    address: SocketAddr,
    bound: &io::Result<TcpListener>,
    occupancy: &Occupancy,
) -> Finding {
    let (verdict, what) = match (bound, occupancy) {
        (Ok(_), _) => (Verdict::Ok, "can be listened on".to_owned()),
        (Err(error), Occupancy::Taken) if error.kind() == io::ErrorKind::AddrInUse => {
            (Verdict::Ok, "is in use, as it is by a node that runs".to_owned())
        }
        (Err(error), _) => (Verdict::Fail, error_text(error)),
    };
    Finding::new(verdict, "listen", format!("{key} {address} {what}"))
}

fn one_line(text: &str) -> String {
    text.lines().collect::<Vec<_>>().join(" ")
}
