//! A loss of power at any place of the log: a sender is told once of what became of a copy, and of every copy.

use std::collections::BTreeMap;
use std::fs;

use super::*;
use crate::mail::Notify;
use crate::routing::Asker;
use crate::spool::FORMAT;
use crate::wal::{Piece, Scan};

/// Of each copy that a notification tells of, how many do.
type Told = BTreeMap<String, usize>;

/// A queue whose notifications wait: their way is suspended.
async fn world(configure: impl FnOnce(&mut Settings)) -> World {
    let world = World::with(Limits::default(), configure).await;
    world
        .queue
        .suspend(Asker::default(), domain("sender.example"), None, "they are read".to_owned())
        .await
        .unwrap();
    world
}

/// A message with copies of their own aliases.
fn letter(destinations: &[String], notify: Notify) -> Queued {
    let destinations: Vec<&str> = destinations.iter().map(String::as_str).collect();
    let mut queued = aged(1, HOUR, &destinations);
    for copy in &mut queued.copies {
        copy.alias = address(&format!("{}@ours.example", copy.destination.local()));
        copy.request.notify = notify;
    }
    queued
}

fn numbered(name: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{name}{number}@dest.example")).collect()
}

const EVERY_WORD: Notify = Notify::On { success: true, failure: true, delay: true };

impl World {
    /// Waits until a notification tells of each of these copies.
    async fn all_told(&self, aliases: &[String]) {
        until(async || told(&self.queue.inner.spool).await.len() == aliases.len()).await;
    }

    /// The spool as it would be opened with its log cut off: at the end of each frame, right before and behind it, and
    /// in its middle.
    async fn at_each_cut(&self, check: impl AsyncFn(&Spool)) {
        let segment = "segments/0000000000000001.log";
        let log = fs::read(self.dir.path().join("spool").join(segment)).unwrap();
        for piece in Scan::new(FORMAT, &log, None).skip(2) {
            let Piece::Frame(_, range) = piece else { panic!("{piece:?}") };
            for end in
                [range.start, range.start + 1, range.start.midpoint(range.end), range.end - 1, range.end]
            {
                let dir = tempfile::tempdir().unwrap();
                fs::create_dir_all(dir.path().join("segments")).unwrap();
                fs::write(dir.path().join(segment), &log[..end]).unwrap();
                let options = spool::Options { min_free_octets: 0, ..spool::Options::default() };
                let metrics = Arc::new(Metrics::new().unwrap());
                let (spool, recovered) = Spool::open(dir.path(), options, metrics).unwrap();
                assert_eq!(recovered.quarantined, []);
                check(&spool).await;
            }
        }
    }

    /// Whether each of these copies is there or told of, and none is both, wherever the log ends.
    async fn left_or_told(&self, id: TraceId, aliases: &[String]) {
        self.at_each_cut(async |spool| {
            let told = told(spool).await;
            let left: Vec<String> =
                copies(spool, id).await.iter().map(|copy| copy.alias.to_string()).collect();
            for alias in aliases {
                let often = told.get(alias).copied().unwrap_or_default();
                assert_eq!(often + usize::from(left.contains(alias)), 1, "{alias}, told of {often} times");
            }
        })
        .await;
    }
}

async fn copies(spool: &Spool, id: TraceId) -> Vec<QueuedCopy> {
    spool.get(id).await.unwrap().map_or_else(Vec::new, |queued| queued.copies)
}

/// Of whom the notifications in a queue tell.
async fn told(spool: &Spool) -> Told {
    let mut told = Told::new();
    for queued in spool.list(None, 1000).await.unwrap() {
        if queued.reverse_path != ReversePath::Null {
            continue;
        }
        let (_, message) = spool.load(queued.id).await.unwrap().unwrap();
        let Body::Memory(body) = message.body() else { panic!("a file") };
        for line in String::from_utf8_lossy(body).lines() {
            if let Some(alias) = line.strip_prefix("Final-Recipient: rfc822; ") {
                *told.entry(alias.to_owned()).or_default() += 1;
            }
        }
    }
    told
}

fn aliases(queued: &Queued) -> Vec<String> {
    queued.copies.iter().map(|copy| copy.alias.to_string()).collect()
}

#[actix_rt::test]
async fn a_refusal_is_told_once_wherever_the_log_ends() {
    let world = world(|_| {}).await;
    let mut queued = letter(&numbered("refuse", 1), Notify::Unsaid);
    let refused = aliases(&queued);
    let mut waiting = queued.copies[0].clone();
    (waiting.destination, waiting.due) = (address("ana@other.example"), clock::now() + HOUR);
    waiting.alias = address("ana@ours.example");
    queued.copies.push(waiting);
    let id = world.put(queued).await;
    let _running = world.run();
    world.all_told(&refused).await;
    until(async || world.copies(id).await.len() == 1).await;
    world.left_or_told(id, &refused).await;
}

#[actix_rt::test]
async fn more_refusals_than_one_notification_tells_of_are_told_once_wherever_the_log_ends() {
    let world = world(|_| {}).await;
    let queued = letter(&numbered("refuse", 150), Notify::Unsaid);
    let refused = aliases(&queued);
    let id = world.put(queued).await;
    let _running = world.run();
    world.all_told(&refused).await;
    until(async || world.copies(id).await.is_empty()).await;
    world.left_or_told(id, &refused).await;
}

#[actix_rt::test]
async fn a_delivery_and_a_refusal_of_one_attempt_are_each_told_once_wherever_the_log_ends() {
    let world = world(|_| {}).await;
    let queued = letter(&[numbered("take", 1), numbered("refuse", 1)].concat(), EVERY_WORD);
    let ended = aliases(&queued);
    let id = world.put(queued).await;
    let _running = world.run();
    world.all_told(&ended).await;
    until(async || world.copies(id).await.is_empty()).await;
    world.left_or_told(id, &ended).await;
}

#[actix_rt::test]
async fn what_is_given_up_is_told_once_wherever_the_log_ends() {
    let world = world(|settings| settings.give_up_after = Duration::from_secs(60)).await;
    let queued = tried(letter(&numbered("old", 150), Notify::Unsaid), later().await);
    let ended = aliases(&queued);
    let id = world.put(queued).await;
    world.queue.inner.give_up(&world.stop).await.unwrap();
    world.all_told(&ended).await;
    until(async || world.copies(id).await.is_empty()).await;
    world.left_or_told(id, &ended).await;
}

#[actix_rt::test]
async fn a_delay_is_told_once_wherever_the_log_ends() {
    let world = world(|settings| settings.delay_notice_after = Duration::from_secs(1)).await;
    let queued = letter(&numbered("slow", 150), EVERY_WORD);
    let delayed = aliases(&queued);
    let id = world.put(queued).await;
    let _watching = world.watch();
    world.all_told(&delayed).await;
    until(async || world.copies(id).await.iter().all(|copy| copy.delay_told)).await;
    world
        .at_each_cut(async |spool| {
            let told = told(spool).await;
            for copy in copies(spool, id).await {
                let often = told.get(&copy.alias.to_string()).copied().unwrap_or_default();
                assert_eq!(often, usize::from(copy.delay_told), "{} told of", copy.alias);
            }
        })
        .await;
}
