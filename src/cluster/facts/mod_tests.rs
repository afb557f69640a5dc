use std::net::Ipv4Addr;

use tokio::time::Instant;

use super::kinds::{About, Found};
use super::link::{Answer, Progress};
use super::others::weight;
use super::*;
use crate::blocklist::{Finding, Question, ZoneId};

fn question(at: u32) -> Question {
    Question { zone: ZoneId([1; 16]), ip: Ipv4Addr::from(at).into() }
}

fn link() -> Arc<Link> {
    Arc::new(Link::new("linda".into(), CancellationToken::new()))
}

fn ask(link: &Arc<Link>, at: u32) -> JoinHandle<(Option<Answer>, Duration)> {
    let link = link.clone();
    tokio::spawn(async move {
        let began = Instant::now();
        let answer = link.ask(About::Verdict(question(at)), Patience::default()).await;
        (answer, began.elapsed())
    })
}

async fn sent(link: &Link) -> Vec<(u64, About)> {
    tokio::task::yield_now().await;
    link.unsent(100)
}

fn finding() -> Finding {
    Finding::new(&[], Duration::from_secs(60)).unwrap()
}

#[test]
fn each_node_owns_its_share_and_one_that_goes_leaves_those_of_others_alone() {
    let names = ["amir", "isaac", "linda"].map(NodeName::from);
    let owner =
        |names: &[NodeName], at| names.iter().max_by_key(|name| weight(name, &question(at))).unwrap().clone();
    for name in &names {
        let own = (0..3000).filter(|at| owner(&names, *at) == *name).count();
        assert!((850..1150).contains(&own), "{name} {own}");
    }
    for at in 0..100 {
        let before = owner(&names, at);
        assert!(before == names[2] || owner(&names[..2], at) == before);
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_without_a_sign_costs_20_ms_and_is_asked_again_when_it_is_heard() {
    let link = link();
    let asked = ask(&link, 1);
    assert_eq!(sent(&link).await.len(), 1);
    assert_eq!(asked.await.unwrap(), (None, Duration::from_millis(20)));
    assert!(!link.is_heard());
    link.hear();
    assert!(link.is_heard());
}

#[tokio::test(start_paused = true)]
async fn that_a_peer_asks_the_dns_is_waited_for_and_not_for_ever() {
    let link = link();
    let (answered, forgotten) = (ask(&link, 1), ask(&link, 2));
    let numbers: Vec<u64> = sent(&link).await.into_iter().map(|(number, _)| number).collect();
    numbers.iter().for_each(|number| link.tell(*number, Progress::UnderWay));
    tokio::time::sleep(Duration::from_millis(200)).await;
    link.tell(numbers[0], Progress::Answered(Answer::Found(Found::Verdict(finding()))));
    let (found, took) = answered.await.unwrap();
    assert!(found.is_some() && took < Duration::from_millis(250), "{took:?}");
    assert_eq!(forgotten.await.unwrap(), (None, Duration::from_millis(500)));
    assert!(link.is_heard());
}

#[tokio::test(start_paused = true)]
async fn a_busy_peer_is_waited_for_while_it_is_heard() {
    let link = link();
    let asked = ask(&link, 1);
    let (number, _) = sent(&link).await[0];
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_millis(15)).await;
        link.hear();
    }
    link.tell(number, Progress::Answered(Answer::Unknown));
    let (found, took) = asked.await.unwrap();
    assert!(found == Some(Answer::Unknown) && took >= Duration::from_millis(75), "{took:?}");
    assert!(link.is_heard());
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_link_that_ends_and_what_nobody_waits_for_is_not_sent() {
    let link = link();
    let asked = ask(&link, 1);
    tokio::task::yield_now().await;
    link.end();
    assert_eq!(asked.await.unwrap(), (None, Duration::ZERO));
    assert_eq!(ask(&link, 2).await.unwrap(), (None, Duration::ZERO));
    assert!(sent(&link).await.is_empty());
}
