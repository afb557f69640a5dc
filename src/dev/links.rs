//! Owns what the nodes of the demo world need to be one cluster: certificates, and addresses for their links.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use tokio::net::TcpListener;

use super::DevError;
use crate::clock;
use crate::tls::Authority;

/// Where a run claims its port. Every run asks the system for one here, so that no two have the same.
const CLAIM: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 30);
/// The network whose hosts after [`CLAIM`] are the nodes': nobody listens there but with a port claimed before.
const NETWORK: [u8; 3] = [127, 0, 0];
/// The first node's host.
const FIRST_HOST: u8 = 31;

/// The links between the nodes, not yet dialled.
pub(super) struct Links {
    names: Vec<&'static str>,
    certificates: PathBuf,
    port: u16,
    /// Holds the port for this run, also while a node that has it is down.
    _claim: TcpListener,
}

impl Links {
    /// Claims a port for the links of nodes with these names, and makes their certificates in a folder of their own.
    pub(super) async fn prepare(directory: &Path, names: &[&'static str]) -> Result<Self, DevError> {
        let claim = TcpListener::bind((CLAIM, 0))
            .await
            .map_err(|error| DevError::Loopback(IpAddr::V4(CLAIM), error))?;
        let port = claim.local_addr()?.port();
        let certificates = directory.join("certificates");
        let (now, owned) = (clock::now(), names.iter().map(ToString::to_string).collect::<Vec<_>>());
        Authority::open(&certificates, now)?.certify(&owned, now)?;
        Ok(Self { names: names.to_vec(), certificates, port, _claim: claim })
    }

    /// The section `[cluster]` of a node's file.
    pub(super) fn section(&self, name: &str) -> String {
        let own = self.addresses().find(|(other, _)| *other == name);
        let listen = own.map(|(_, address)| address.to_string()).unwrap_or_default();
        let files = self.certificates.join(name);
        let files = files.display();
        let peers: String = self
            .addresses()
            .map(|(name, address)| format!("  {{ name = \"{name}\", address = \"{address}\" }},\n"))
            .collect();
        format!(
            "[cluster]\nlisten = \"{listen}\"\ncertificate_file = \"{files}/node.pem\"\n\
             private_key_file = \"{files}/node.key\"\nca_file = \"{files}/ca.pem\"\npeers = [\n{peers}]\n"
        )
    }

    /// Where each node is for the others.
    fn addresses(&self) -> impl Iterator<Item = (&'static str, SocketAddr)> {
        let [a, b, c] = NETWORK;
        let at = move |host| SocketAddr::from((Ipv4Addr::new(a, b, c, host), self.port));
        self.names.iter().copied().zip((FIRST_HOST..).map(at))
    }
}
