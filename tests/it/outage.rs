//! A destination that is down for an hour, at six hundred times the pace: asked by one message at a time while
//! it is silent, and emptied fairly and without a rush when it is back.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::support::{ALICE, Act, LIMIT, Stage, World, letter, until};

/// What is a minute in life.
const MINUTE: Duration = Duration::from_millis(100);
const DOMAINS: [&str; 3] = ["a.other.example", "b.other.example", "c.other.example"];
const MESSAGES: usize = 60;

async fn world() -> World {
    let world = World::with(|config| {
        config.delivery.cut_through = false;
        config.delivery.retry_first = MINUTE;
        config.delivery.retry_longest = 60 * MINUTE;
    })
    .await;
    let ip = world.upstream_ip(2);
    for (number, domain) in DOMAINS.iter().enumerate() {
        let records = format!("{domain}. 300 IN MX 10 mx.{domain}.\nmx.{domain}. 300 IN A {ip}");
        world.dns.replace(&records).unwrap();
        let destination = format!("user@{domain}");
        world.destination(&destination).await;
        world.forward(&format!("to{number}@ours.example"), &[&destination]).await;
    }
    world
}

/// Every message submitted, the domains in turn.
async fn submit_all(world: &World) {
    let mut client = world.sender().await;
    for number in 0..MESSAGES {
        let to = format!("to{}@ours.example", number % DOMAINS.len());
        client.submit(ALICE, &[&to], &letter(&format!("no{number}"))).await.starts("250 2.0.0 Queued");
    }
}

#[tokio::test]
async fn an_hours_outage_ends_without_a_rush_and_each_message_arrives_once() {
    let world = world().await;
    world.mx.at(Stage::Banner, Act::Close);
    submit_all(&world).await;
    let begun = Instant::now();
    let mut connections = world.mx.connections().len();
    let mut by_ten_minutes = Vec::new();
    for tenth in 1..=6 {
        sleep_until(begun + 10 * tenth * MINUTE).await;
        let now = world.mx.connections().len();
        by_ten_minutes.push(now - connections);
        connections = now;
    }
    println!("connections in each ten minutes of the outage: {by_ten_minutes:?}");
    // A probe a destination after pauses of about 1, 2, 4 and 8 minutes, then every ten; beside the five that
    // were under way when it went silent.
    let most = DOMAINS.len() * (5 + 12);
    assert!(by_ten_minutes.iter().sum::<usize>() <= most, "{by_ten_minutes:?}, more than {most}");
    assert!(by_ten_minutes.iter().skip(2).all(|probes| *probes <= 2 * DOMAINS.len()), "{by_ten_minutes:?}");

    world.mx.be_kind();
    until("all arrive", || world.mx.taken().len() >= MESSAGES, LIMIT).await;
    let taken = world.mx.taken();
    let mut first_half: BTreeMap<String, usize> = BTreeMap::new();
    for message in taken.iter().take(MESSAGES / 2) {
        *first_half.entry(message.recipients()[0].to_owned()).or_default() += 1;
    }
    println!("of the first {} to arrive: {first_half:?}", MESSAGES / 2);
    let mut subjects: Vec<String> = taken
        .iter()
        .map(|message| message.text().split_once("Subject: ").unwrap().1.lines().next().unwrap().to_owned())
        .collect();
    subjects.sort();
    subjects.dedup();
    assert_eq!((subjects.len(), taken.len()), (MESSAGES, MESSAGES));
}
