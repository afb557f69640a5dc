//! `postroad doctor`: what a node sees of itself from where it runs. Beside every check: whether it takes mail here, which
//! addresses it goes out from, what others make of these, and whether port 25 is open to it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use super::greeting::greet;
use super::health::{reachable, ready};
use super::{Check, Finding, Verdict, checks, run, source};
use crate::config::{Config, PrivateAddresses};
use crate::dns::{Dns, DnsError, MailHosts};
use crate::networks::is_public;

/// Somewhere on the Internet, to see which address leads there: a.root-servers.net.
const FAR: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(198, 41, 0, 4)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0x503, 0xba3e, 0, 0, 0, 2, 0x30)),
];

/// Looks at everything, and returns what was found: the checks first.
pub async fn doctor(config: &Config, dns: &Dns) -> Vec<Finding> {
    let mut looks = checks(config, dns);
    looks.push(("node", Box::pin(node(config))));
    for listener in &config.smtp.listen {
        looks.push(("smtp", Box::pin(own_greeting(config, *listener))));
    }
    for far in FAR {
        let (problems, addresses) = ways_out(config, far);
        looks.push(("out", Box::pin(async move { problems })));
        for from in addresses {
            looks.extend(as_seen(config, from, dns));
            looks.push(("port25", Box::pin(port_25(config, from, dns))));
        }
    }
    run(looks).await
}

/// Whether the node runs, and what it says of itself.
async fn node(config: &Config) -> Vec<Finding> {
    let (verdict, detail) = match ready(config).await {
        Ok(text) => (Verdict::Ok, format!("ready: {}", text.lines().collect::<Vec<_>>().join("; "))),
        Err(error) => (Verdict::Fail, error.to_string()),
    };
    vec![Finding::new(verdict, "node", detail)]
}

/// What a client on this host hears from one of the node's listeners.
async fn own_greeting(config: &Config, listener: SocketAddr) -> Vec<Finding> {
    let (address, hostname) = (reachable(listener), config.node.hostname.as_str());
    if config.smtp.trusted_proxies.iter().any(|network| network.contains(&address.ip())) {
        let detail = format!("{address} wants the PROXY header of whoever comes from this host: not tried");
        return vec![Finding::new(Verdict::Ok, "smtp", detail)];
    }
    let (verdict, detail) = match greet(address, None, None).await {
        Ok(greeting) if greeting.name() == hostname => (Verdict::Ok, format!("says {greeting}")),
        Ok(greeting) => {
            (Verdict::Fail, format!("says {greeting}: another server, since node.hostname is {hostname}"))
        }
        Err(error) => (Verdict::Fail, error.to_string()),
    };
    vec![Finding::new(verdict, "smtp", format!("{address} {detail}"))]
}

fn family(ip: IpAddr) -> &'static str {
    if ip.is_ipv4() { "IPv4" } else { "IPv6" }
}

/// What is to be said of a family, and the addresses of it that mail leaves from.
fn ways_out(config: &Config, far: IpAddr) -> (Vec<Finding>, Vec<IpAddr>) {
    let family = family(far);
    let finding = |verdict, detail: String| Finding::new(verdict, "out", detail);
    let pool = config.delivery.sources.iter().map(|source| source.address);
    let from_pool: Vec<IpAddr> = pool.filter(|ip| ip.is_ipv4() == far.is_ipv4()).collect();
    if !config.delivery.sources.is_empty() {
        let problem = format!("delivery.source has no {family} address: no mail leaves by {family}");
        let problems = if from_pool.is_empty() { vec![finding(Verdict::Warn, problem)] } else { Vec::new() };
        return (problems, from_pool);
    }
    match chosen(far) {
        Err(cause) => (vec![finding(Verdict::Warn, format!("no way out by {family}: {cause}"))], Vec::new()),
        Ok(from) => (vec![translated(config, from)], vec![from]),
    }
}

/// The address that the system would send from. A datagram socket is asked, which sends nothing.
fn chosen(far: IpAddr) -> io::Result<IpAddr> {
    let any: IpAddr = if far.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect((far, 53))?;
    Ok(socket.local_addr()?.ip())
}

fn translated(config: &Config, from: IpAddr) -> Finding {
    let prefixes = &config.service.outbound_prefixes;
    let (verdict, detail) = if prefixes.iter().any(|prefix| prefix.contains(&from)) {
        (Verdict::Ok, "which is in service.outbound_prefixes")
    } else if is_public(from) && prefixes.is_empty() {
        (Verdict::Ok, "as the system has it; delivery.source can choose another")
    } else if is_public(from) {
        (Verdict::Fail, "which is not in service.outbound_prefixes")
    } else if prefixes.is_empty() {
        (
            Verdict::Warn,
            "which is private: something on the way puts another in its place, and PTR, SPF and EHLO are held against \
             that one. Say in service.outbound_prefixes which, or send from the host's own (docs/egress.md)",
        )
    } else {
        (Verdict::Ok, "which is private; what others see is said in service.outbound_prefixes")
    };
    Finding::new(verdict, "out", format!("mail leaves from {from}, {detail}"))
}

/// What others make of an address that the system has chosen and that they see. Those of the pool are checked before.
fn as_seen<'a>(config: &'a Config, from: IpAddr, dns: &'a Dns) -> Vec<(&'static str, Check<'a>)> {
    let service = &config.service;
    let is_from_pool = !config.delivery.sources.is_empty();
    if is_from_pool || !is_public(from) || !service.outbound_prefixes.is_empty() {
        return Vec::new();
    }
    vec![
        ("ptr", Box::pin(source::names(from, &service.domain, dns)) as Check<'a>),
        ("spf", Box::pin(source::spf(from, &service.domain, service, dns))),
    ]
}

/// Whether a mail host on the Internet is reached from the address: the postmaster's, since mail for it goes there anyway.
async fn port_25(config: &Config, from: IpAddr, dns: &Dns) -> Vec<Finding> {
    let domain = config.service.postmaster.domain();
    let (verdict, detail) = match mail_host(config, from, dns).await {
        Ok(Some((host, ip))) => {
            let to = SocketAddr::new(ip, config.delivery.port);
            match greet(to, Some(from), Some(&config.service.domain)).await {
                Ok(greeting) => (Verdict::Ok, format!("from {from}: {host} {to} says {greeting}")),
                Err(error) => (
                    Verdict::Fail,
                    format!(
                        "from {from}: {host} {to}, of {domain}, {error}. Many networks block port 25 until they are asked"
                    ),
                ),
            }
        }
        Ok(None) => {
            let family = family(from);
            (Verdict::Ok, format!("from {from}: {domain} has no mail host with {family}: not tried"))
        }
        Err(cause) => (Verdict::Fail, format!("from {from}: {domain}, the postmaster's: {cause}")),
    };
    vec![Finding::new(verdict, "port25", detail)]
}

/// The best mail host of the postmaster's domain, and an address of it of the same family as `from`.
async fn mail_host(config: &Config, from: IpAddr, dns: &Dns) -> Result<Option<(String, IpAddr)>, DnsError> {
    let host = match dns.mx(config.service.postmaster.domain()).await? {
        MailHosts::Null => return Ok(None),
        MailHosts::Implicit(host) => host,
        MailHosts::Hosts(hosts) => match hosts.into_iter().next() {
            Some(host) => host.name,
            None => return Ok(None),
        },
    };
    let ips: Result<Vec<IpAddr>, DnsError> = if from.is_ipv4() {
        dns.ipv4(host.as_str()).await.map(|answer| answer.records.into_iter().map(IpAddr::V4).collect())
    } else {
        dns.ipv6(host.as_str()).await.map(|answer| answer.records.into_iter().map(IpAddr::V6).collect())
    };
    let ips = match ips {
        Err(cause) if !cause.is_temporary() => Vec::new(),
        ips => ips?,
    };
    let will_do =
        |ip: &IpAddr| is_public(*ip) || config.delivery.private_addresses == PrivateAddresses::Allow;
    Ok(ips.into_iter().find(will_do).map(|ip| (host.to_string(), ip)))
}

#[cfg(test)]
#[path = "doctor_tests.rs"]
mod tests;
