//! The scheduler's task and its attempts against a stage that delivers by script.

mod clocks;
mod crowd;
mod suspended;
mod told;

use std::future::Future;

use bytes::Bytes;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::config::test_files::Files;
use crate::mail::{Body, Message as Letter, MessageRequest, RecipientRequest, ReversePath, SmtpUtf8};
use crate::pipeline::deferred::Tried;
use crate::pipeline::parcel::{Delivery, NoAnswer, Outcome, Recorded, Silence, Target, UpstreamReply};
use crate::pipeline::testing::{nowhere, played};
use crate::routing::test_table::in_memory;
use crate::routing::{Change, NewDomain, RoutingOptions};
use crate::smtp::reply::Reply;
use crate::spool::{self, Bounces, Direction, LastAttempt, QueuedCopy};
use crate::store::Store;
use crate::telemetry::labels::{Contained, DsnAction};

/// How long anything may take that is expected to happen; generous, since machines are slow at times.
const LIMIT: Duration = Duration::from_secs(20);
const HOUR: Duration = Duration::from_secs(3600);
/// Pauses that do not make a test wait.
const BRISK: Backoff = Backoff { first: Duration::from_millis(50), longest: Duration::from_millis(50) };

/// What the stage does with what is due for a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    /// It is delivered, but for the copies that are refused for good.
    Take,
    /// Nothing, until the test says so.
    Hang,
    /// It panics: the answer is dropped.
    Break,
}

/// The stage that delivers. What it does is said by the destination's
/// local part: `hang`, `break`, `refuse`, or any other for what is delivered.
#[derive(Clone, Default)]
struct Upstream {
    heard: Arc<Mutex<Vec<(TraceId, String)>>>,
    hanging: Arc<Mutex<Vec<Due>>>,
}

impl Upstream {
    fn play(&self, due: Due) {
        let shipment = &due.shipments[0];
        let local = shipment.targets[0].destination.local().to_owned();
        self.heard.lock().push((due.id, shipment.domain.to_string()));
        let act = match () {
            () if local.starts_with("hang") => Act::Hang,
            () if local.starts_with("break") => Act::Break,
            () => Act::Take,
        };
        match act {
            Act::Take => answer(due, taken_or_refused),
            Act::Hang => self.hanging.lock().push(due),
            Act::Break => {}
        }
    }

    /// Whether the message was offered for this domain.
    fn has_heard(&self, id: TraceId, domain: &str) -> bool {
        self.heard.lock().iter().any(|(heard, at)| *heard == id && at == domain)
    }

    /// Messages that hang.
    fn hanging(&self) -> usize {
        self.hanging.lock().len()
    }

    /// Lets go of what hangs: nobody answered.
    fn release(&self) {
        let no_answer = |_: &Target| {
            Outcome::NoAnswer(NoAnswer { silence: Silence::Interrupted, detail: "timed out".to_owned() })
        };
        self.hanging.lock().drain(..).for_each(|due| answer(due, no_answer));
    }
}

fn taken_or_refused(target: &Target) -> Outcome {
    if !target.destination.local().starts_with("refuse") {
        return Outcome::Recorded(Recorded::Queued);
    }
    let reply = Reply { code: 550, enhanced: None, reason: "upstream", lines: vec!["no".to_owned()] };
    Outcome::Refused(UpstreamReply { host: "mx.dest.example".to_owned(), reply })
}

fn answer(due: Due, outcome: impl Fn(&Target) -> Outcome) {
    let shipments = due.shipments.into_iter();
    let deliveries = shipments.flat_map(|shipment| {
        let reverse_path = shipment.reverse_path;
        let outcome = &outcome;
        shipment.targets.into_iter().map(move |target| Delivery {
            outcome: outcome(&target),
            target,
            reverse_path: reverse_path.clone(),
        })
    });
    let deliveries = deliveries.collect();
    due.answer.send(Tried { deliveries, dialogue: Vec::new() }).unwrap();
}

/// Messages that it takes.
const MESSAGES: usize = 64;

/// A queue over a spool of its own.
struct World {
    queue: Queue,
    upstream: Upstream,
    /// What deliver would look up.
    suspended: Suspended,
    stop: CancellationToken,
    dir: TempDir,
}

impl World {
    async fn new() -> Self {
        Self::with(Limits::default(), |_| {}).await
    }

    async fn with(limits: Limits, configure: impl FnOnce(&mut Settings)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let metrics = Arc::new(Metrics::new().unwrap());
        let store = Store::open(dir.path()).unwrap();
        let routing = RoutingOptions {
            service_domain: domain("email.relay.example"),
            mx_hosts: vec![],
            postmaster: address("ops@relay.example"),
        };
        let routing = in_memory(routing);
        routing.change(Change::CreateDomain(NewDomain::new(domain("ours.example")))).await.unwrap();
        let options =
            spool::Options { min_free_octets: 0, max_messages: MESSAGES, ..spool::Options::default() };
        let (upstream, suspended) = (Upstream::default(), Suspended::default());
        let around = Surroundings {
            spool: Spool::open(&dir.path().join("spool"), options, metrics.clone()).unwrap().0,
            journal: Journal::open(&store, crate::journal::Limits::default()).unwrap(),
            routing,
            metrics,
            deliver: played({
                let upstream = upstream.clone();
                move |due| upstream.play(due)
            }),
            rewrite: nowhere(),
            suspended: suspended.clone(),
        };
        let config = Config::parse(&Files::new().minimal(), &[]).unwrap();
        let mut settings = Settings { backoff: BRISK, ..(&config).into() };
        configure(&mut settings);
        let queue = Queue::with(around, settings, limits);
        Self { queue, upstream, suspended, stop: CancellationToken::new(), dir }
    }

    /// Queues a message.
    async fn put(&self, queued: Queued) -> TraceId {
        self.put_with(queued, b"Hello\r\n").await
    }

    /// Queues a message with this body.
    async fn put_with(&self, queued: Queued, body: &'static [u8]) -> TraceId {
        let id = queued.id;
        let body = Body::Memory(Bytes::from_static(body));
        let letter = Letter::new(Bytes::from_static(b"Subject: one\r\n\r\n"), body);
        self.queue.inner.spool.put(queued.clone(), &letter).await.unwrap();
        self.queue.inner.note(&queued);
        id
    }

    /// Queues a message whose body cannot be read for now: its file is a symbolic link to itself.
    async fn put_unreadable(&self, queued: Queued) -> TraceId {
        static LARGE: [u8; 300 << 10] = [b'x'; 300 << 10];
        let id = self.put_with(queued, &LARGE).await;
        let body = self.dir.path().join("spool/bodies").join(id.to_string());
        std::fs::remove_file(&body).unwrap();
        std::os::unix::fs::symlink(&body, &body).unwrap();
        id
    }

    /// Starts the scheduler.
    fn run(&self) -> JoinHandle<Result<(), SpoolError>> {
        tokio::spawn(self.queue.clone().run(self.stop.clone()))
    }

    /// Starts what looks after ages.
    fn watch(&self) -> JoinHandle<()> {
        tokio::spawn(self.queue.clone().watch_ages(self.stop.clone()))
    }

    /// The message's copies as the queue has them.
    async fn copies(&self, id: TraceId) -> Vec<QueuedCopy> {
        self.queue.show(id).await.unwrap().map_or_else(Vec::new, |described| described.queued.copies)
    }

    /// Waits until the message was offered for this domain.
    async fn offered(&self, id: TraceId, domain: &str) {
        until(async || self.upstream.has_heard(id, domain)).await;
    }
}

#[track_caller]
fn until(holds: impl AsyncFn() -> bool) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let end = Instant::now() + LIMIT;
        while !holds().await {
            assert!(Instant::now() < end, "not within {LIMIT:?}: {caller}");
            sleep(Duration::from_millis(5)).await;
        }
    }
}

fn domain(name: &str) -> Domain {
    Domain::parse(name).unwrap()
}

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

/// A message that has just come, to these destinations, due now; ids sort by number.
fn message(number: u64, destinations: &[&str]) -> Queued {
    aged(number, Duration::ZERO, destinations)
}

/// A message that came so long ago, from alice, who wants to hear of it.
fn aged(number: u64, age: Duration, destinations: &[&str]) -> Queued {
    let now = clock::now();
    let copy = |destination: &&str| QueuedCopy {
        alias: address("info@ours.example"),
        destination: address(destination),
        reverse_path: ReversePath::Null,
        direction: Direction::Forward,
        state: CopyState::Waiting,
        attempts: 1,
        due: now,
        request: RecipientRequest::default(),
        delay_told: false,
        last: None,
    };
    let received_at = now - age + Duration::from_millis(number);
    Queued {
        id: TraceId::new(received_at, u128::from(number)),
        received_at,
        reverse_path: ReversePath::Mailbox(address("alice@sender.example")),
        bounces: Bounces::Permitted,
        request: MessageRequest::default(),
        smtp_utf8: SmtpUtf8::NotRequested,
        client: None,
        copies: destinations.iter().map(copy).collect(),
    }
}

/// A message of an hour ago whose next attempt is in an hour.
fn waiting(number: u64, destination: &str) -> Queued {
    let mut queued = aged(number, HOUR, &[destination]);
    queued.copies.iter_mut().for_each(|copy| copy.due += HOUR);
    queued
}

/// The same, tried last at this time.
fn tried(mut queued: Queued, at: SystemTime) -> Queued {
    let last = LastAttempt {
        at,
        host: String::new(),
        code: 0,
        enhanced: None,
        lines: vec!["connection refused".to_owned()],
        dialogue: Vec::new(),
    };
    queued.copies.iter_mut().for_each(|copy| copy.last = Some(last.clone()));
    queued
}

/// A time that has come, in another millisecond than what was before it.
async fn later() -> SystemTime {
    let then = clock::now() + Duration::from_millis(1);
    until(async || clock::now() > then).await;
    then
}

#[actix_rt::test]
async fn messages_in_other_hands_do_not_hide_those_behind_them() {
    let world = World::new().await;
    let mut held = Vec::new();
    for number in 0..10 {
        let slow = if number < 5 { "hang@one.example" } else { "hang@two.example" };
        let mut queued = message(number, &[slow, "ana@fast.example"]);
        queued.copies[1].due += HOUR;
        held.push(world.put(queued).await);
    }
    let _running = world.run();
    until(async || world.upstream.hanging() == 10).await;
    for id in held {
        let mut queued = world.queue.show(id).await.unwrap().unwrap().queued;
        queued.copies[1].due = clock::now();
        world.queue.inner.write(&queued).await.unwrap();
    }
    let last = world.put(message(11, &["ana@fast.example"])).await;
    world.offered(last, "fast.example").await;
}

#[actix_rt::test]
async fn a_message_whose_attempt_breaks_off_does_not_stand_before_the_others() {
    let world = World::new().await;
    let poison = world.put(message(1, &["break@dest.example"])).await;
    let _running = world.run();
    world.offered(poison, "dest.example").await;
    let good = world.put(message(2, &["ana@dest.example"])).await;
    world.offered(good, "dest.example").await;
    until(async || world.copies(poison).await[0].attempts > 2).await;
    let poisoned = &world.queue.inner.metrics.poisoned_messages_total;
    assert!(poisoned.of(Contained::Queue).get() > 1);
}

#[actix_rt::test]
async fn a_message_put_off_in_memory_is_not_tried_and_hides_nothing_behind_it_until_an_operator_wants_it() {
    let world = World::new().await;
    let mut put_off = Vec::new();
    for number in 0..10 {
        let queued = message(number, &["ana@dest.example"]);
        let far = clock::now() + HOUR;
        assert!(world.queue.inner.notes.put(queued.id, far, clock::now()));
        put_off.push(world.put(queued).await);
    }
    let last = world.put(message(11, &["ana@dest.example"])).await;
    let _running = world.run();
    world.offered(last, "dest.example").await;
    assert_eq!(world.upstream.heard.lock().len(), 1);
    world.queue.retry(put_off[3]).await.unwrap();
    world.offered(put_off[3], "dest.example").await;
    assert_eq!(world.upstream.heard.lock().len(), 2);
}

#[actix_rt::test]
async fn destinations_that_hang_do_not_keep_every_permit() {
    let limits = Limits { quick: 4, slow: 4, slow_after: Duration::from_millis(20) };
    let world = World::with(limits, |_| {}).await;
    for number in 0..4 {
        world.put(message(number, &[&format!("hang@d{number}.example")])).await;
    }
    let _running = world.run();
    until(async || world.upstream.hanging() == 4).await;
    let good = world.put(message(5, &["ana@good.example"])).await;
    world.offered(good, "good.example").await;
}

#[actix_rt::test]
async fn what_waits_for_a_permit_is_in_nobodys_hand_and_starts_when_one_comes_back() {
    let limits = Limits { quick: 1, slow: 1, slow_after: Duration::from_millis(20) };
    let world = World::with(limits, |_| {}).await;
    for number in 0..2 {
        world.put(message(number, &[&format!("hang@d{number}.example")])).await;
    }
    let _running = world.run();
    until(async || world.upstream.hanging() == 2).await;
    let waiting = world.put(message(3, &["ana@two.example"])).await;
    world.queue.retry(waiting).await.unwrap();
    assert!(!world.upstream.has_heard(waiting, "two.example"));
    world.upstream.release();
    world.offered(waiting, "two.example").await;
}

#[actix_rt::test]
async fn told_to_stop_the_queue_starts_nothing_more_whatever_hangs() {
    let world = World::with(Limits { quick: 1, slow: 0, ..Limits::default() }, |_| {}).await;
    let hanging = world.put(message(1, &["hang@one.example"])).await;
    let second = world.put(message(2, &["ana@two.example"])).await;
    let running = world.run();
    world.offered(hanging, "one.example").await;
    world.stop.cancel();
    until(async || running.is_finished()).await;
    world.upstream.release();
    world.queue.idle().await;
    assert!(!world.upstream.has_heard(second, "two.example"));
}

#[actix_rt::test]
async fn a_delay_is_told_of_others_while_one_is_in_hand_and_of_that_one_later() {
    let delay = |settings: &mut Settings| {
        settings.delay_notice_after = Duration::from_secs(1);
        settings.backoff.longest = HOUR;
    };
    let world = World::with(Limits::default(), delay).await;
    let held = world.put(aged(1, HOUR, &["hang@one.example"])).await;
    let waiting = world.put(waiting(2, "ana@two.example")).await;
    let _running = world.run();
    world.offered(held, "one.example").await;
    let _watching = world.watch();
    until(async || world.copies(waiting).await[0].delay_told).await;
    assert!(!world.copies(held).await[0].delay_told);
    world.upstream.release();
    until(async || world.copies(held).await[0].delay_told).await;
    let sent = &world.queue.inner.metrics.dsn_sent_total;
    assert_eq!(sent.of(DsnAction::Delayed).get(), 2);
}

#[actix_rt::test]
async fn told_to_stop_nobody_waits_to_tell_of_a_delay() {
    let delay = |settings: &mut Settings| settings.delay_notice_after = Duration::from_secs(1);
    let world = World::with(Limits::default(), delay).await;
    let held = world.put(aged(1, HOUR, &["hang@one.example"])).await;
    let waiting = world.put(waiting(2, "ana@two.example")).await;
    let _running = world.run();
    world.offered(held, "one.example").await;
    let watching = world.watch();
    until(async || world.copies(waiting).await[0].delay_told).await;
    world.stop.cancel();
    until(async || watching.is_finished()).await;
}

#[actix_rt::test]
async fn what_is_too_old_is_given_up_behind_one_in_hand_and_one_that_cannot_be_read() {
    let old = |settings: &mut Settings| {
        settings.give_up_after = Duration::from_secs(60);
        settings.backoff.longest = 2 * HOUR;
    };
    let world = World::with(Limits::default(), old).await;
    let held = world.put(aged(1, HOUR, &["hang@one.example"])).await;
    let at = later().await;
    let unread = world.put_unreadable(tried(waiting(2, "ana@two.example"), at)).await;
    let waiting = world.put(tried(waiting(3, "ana@three.example"), at)).await;
    let _running = world.run();
    world.offered(held, "one.example").await;
    let _watching = world.watch();
    until(async || world.copies(waiting).await.is_empty()).await;
    assert!(!world.upstream.has_heard(waiting, "three.example"));
    assert_eq!((world.copies(held).await.len(), world.copies(unread).await.len()), (1, 1));
}

#[actix_rt::test]
async fn a_late_reply_settles_its_copy_though_the_message_cannot_be_read() {
    let world = World::new().await;
    let refused = |code| Reply { code, enhanced: None, reason: "upstream", lines: vec!["no".to_owned()] };
    for (number, reply) in [(1, Some(refused(550))), (2, None), (3, Some(refused(250)))] {
        let mut queued = aged(number, HOUR, &["ana@dest.example"]);
        queued.copies[0].state = CopyState::AwaitingReply;
        let unread = world.put_unreadable(queued).await;
        let (sender, late) = oneshot::channel();
        if let Some(reply) = reply.clone() {
            sender.send(UpstreamReply { host: "mx.dest.example".to_owned(), reply }).unwrap();
        } else {
            drop(sender);
        }
        let late = Late { id: unread, destination: address("ana@dest.example"), reply: late };
        world.queue.inner.settle_late(late).await;
        let states: Vec<_> = world.copies(unread).await.iter().map(|copy| copy.state).collect();
        let left = match reply.map(|reply| reply.code) {
            Some(250) => vec![],
            Some(_) => vec![CopyState::Waiting],
            None => vec![CopyState::Unknown],
        };
        assert_eq!(states, left, "{number}");
    }
}
