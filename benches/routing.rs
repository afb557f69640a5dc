//! A table of a million rules: what a look-up costs, and what a change, but for the log. What it costs each transaction that
//! an operator may have blocked its client.
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark")]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use criterion::{Criterion, criterion_group, criterion_main};
use ipnet::IpNet;
use postroad::clock;
use postroad::mail::{Address, Domain};
use postroad::routing::{
    Change, Draft, MAX_CHANGES_PER_BATCH, MAX_LISTINGS, Matcher, NewDomain, NewRule, Replica, RoutingOptions,
    RuleAction,
};

const DOMAINS: usize = 1000;
const RULES_PER_DOMAIN: usize = 1000;

fn domain(at: usize) -> Domain {
    Domain::parse(&format!("n{at}.example")).unwrap()
}

fn rule(domain: Domain, local: String) -> NewRule {
    let to = RuleAction::Forward(vec![Address::parse("real@dest.example").unwrap()]);
    NewRule::new(domain, Matcher::Local(local), to)
}

fn changes() -> Vec<Change> {
    let address = Address::parse("real@dest.example").unwrap();
    let mut changes = vec![Change::CreateDestination { address, verified: true }];
    for at in 0..DOMAINS {
        let name = domain(at);
        changes.push(Change::CreateDomain(NewDomain::new(name.clone())));
        let rules = (0..RULES_PER_DOMAIN).map(|at| Change::CreateRule(rule(name.clone(), format!("u{at}"))));
        changes.extend(rules);
    }
    changes
}

/// Makes a change as a leader does, and shows the table.
fn make(replica: &mut Replica, change: Change) {
    let stamped = Draft::new(replica.table()).attempt(change, None, None).unwrap();
    replica.apply(&stamped).unwrap();
    replica.publish();
}

fn options() -> RoutingOptions {
    RoutingOptions {
        service_domain: Domain::parse("email.relay.example").unwrap(),
        mx_hosts: Vec::new(),
        postmaster: Address::parse("ops@relay.example").unwrap(),
    }
}

fn listings(c: &mut Criterion) {
    let mut replica = Replica::new(options());
    let view = replica.view().clone();
    let ip = IpAddr::from([192, 0, 2, 7]);
    let mut group = c.benchmark_group("listings");
    group.bench_function("of none", |b| {
        b.iter(|| black_box(view.snapshot().listing(black_box(ip), clock::now()).cloned()));
    });
    // Networks of nine lengths, and none of them holds the client.
    let networks = (0..MAX_LISTINGS as u32).map(|at| {
        let length = 24 + (at % 9) as u8;
        IpNet::new(Ipv4Addr::from(0x0a00_0000 + (at << 8)).into(), length).unwrap()
    });
    let block = |network| Change::Block { network, until: None, reason: String::new() };
    make(&mut replica, Change::Batch(networks.map(block).collect()));
    group.bench_function("of 100,000 of nine lengths", |b| {
        b.iter(|| black_box(view.snapshot().listing(black_box(ip), clock::now()).cloned()));
    });
    group.finish();
}

fn benches(c: &mut Criterion) {
    let mut replica = Replica::new(options());
    for batch in changes().chunks(MAX_CHANGES_PER_BATCH) {
        make(&mut replica, Change::Batch(batch.to_vec()));
    }
    let view = replica.view().clone();
    let mut group = c.benchmark_group("a million rules");
    let addresses: Vec<Address> = (0..10_000)
        .map(|at| Address::parse(&format!("U{}+tag@n{}.example", at * 7 % 1000, at * 13 % 1000)).unwrap())
        .collect();
    let mut next = addresses.iter().cycle();
    group.bench_function("resolve", |b| {
        b.iter(|| black_box(view.snapshot().resolve(next.next().unwrap())));
    });
    let mut local = 0;
    group.bench_function("change", |b| {
        b.iter(|| {
            local += 1;
            let change = Change::CreateRule(rule(domain(0), format!("more{local}")));
            make(&mut replica, change);
        });
    });
    group.finish();
}

criterion_group!(all, listings, benches);
criterion_main!(all);
