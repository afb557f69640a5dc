//! Nothing that was answered 250 is lost, whenever the node is killed or the power fails; what arrives twice
//! has a cause. `POSTROAD_CRASH_ROUNDS` says how often the node dies; few times unless told.

mod clients;
mod faults;
pub(crate) mod letters;
mod power;
pub(crate) mod served;
pub(crate) mod sink;
pub(crate) mod verdict;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use self::clients::Clients;
use self::power::PowerCut;
use self::served::Served;
use self::sink::{Mood, Sink};
use self::verdict::{Disk, Kill, Seen};
use crate::support::World;

/// Clients at a time.
const CLIENTS: usize = 64;
/// Rounds when the environment does not say.
const ROUNDS: u32 = 4;
/// What has left the queue is durable a second later, at most (`crate::spool`), and a busy machine is given two more.
const POWER_LAG: Duration = Duration::from_secs(3);
/// And each sync that fails takes another second.
const FAILING_LAG: Duration = Duration::from_secs(5);
/// What fails then, by the rules of `shim.c`: EIO is 5, ENOSPC 28.
const FAILING: &str = "sync 5 30 /spool/segments/\nwrite 28 30 /spool/segments/\n\
                       sync 5 100 /spool/bodies/\nwrite 28 20 /spool/bodies/\n";
/// How long the queue may take to get empty at the end.
const EMPTYING: Duration = Duration::from_secs(120);

/// What a round does besides killing the node.
trait Disaster {
    /// What the process is started with.
    fn environment(&self) -> Vec<(&'static str, OsString)>;
    /// Whether the disk takes all that it is given.
    fn disk(&self) -> Disk;
    /// Is called once the node is ready.
    fn begin(&mut self);
    /// Is called once the node is gone.
    fn strike(&mut self);
}

/// The process is gone, and nothing else.
struct Killed;

impl Disaster for Killed {
    fn environment(&self) -> Vec<(&'static str, OsString)> {
        Vec::new()
    }

    fn disk(&self) -> Disk {
        Disk::Well
    }

    fn begin(&mut self) {}

    fn strike(&mut self) {}
}

#[tokio::test]
async fn what_was_answered_250_survives_kill_9() {
    let stage = Stage::set().await;
    stage.play("kill -9", Killed, Duration::from_secs(1)).await;
}

#[tokio::test]
async fn what_was_answered_250_survives_a_loss_of_power() {
    let stage = Stage::set().await;
    if let Some(cut) = stage.power_cut() {
        stage.play("power cut", cut, POWER_LAG).await;
    }
}

#[tokio::test]
async fn what_was_answered_250_survives_a_loss_of_power_on_a_disk_that_fails_now_and_then() {
    let stage = Stage::set().await;
    let Some(mut cut) = stage.power_cut() else { return };
    // EIO is 5, ENOSPC 28.
    cut.rules = FAILING.to_owned();
    stage.play("power cut, failing disk", cut, FAILING_LAG).await;
}

fn rounds() -> u32 {
    std::env::var("POSTROAD_CRASH_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().unwrap())
}

/// What outlives the node.
struct Stage {
    _world: World,
    config: String,
    sink: Sink,
}

impl Stage {
    async fn set() -> Self {
        let world = World::start().await;
        let sink = Sink::start(world.listener(3).await);
        world.dns.replace(&format!("mx.dest.example A {}", world.upstream_ip(3))).unwrap();
        let config = world.node_file().to_owned();
        let text = fs::read_to_string(&config).unwrap();
        let text = text.replace("min_free_octets = 0", "min_free_octets = 0\nsessions_per_network = 1000");
        let text = text.replace(
            "in_session_timeout = \"20s\"",
            "in_session_timeout = \"1s\"\non_tempfail = \"verified\"\nretry_first = \"1s\"\nretry_longest = \"1s\"",
        );
        fs::write(&config, text).unwrap();
        Self { _world: world, config, sink }
    }

    /// `None`, and said: there is no C compiler.
    fn power_cut(&self) -> Option<PowerCut> {
        let cut = PowerCut::of(PathBuf::from(&self.config).with_file_name("data-of-binary"));
        if cut.is_none() {
            println!("skipped: no C compiler `cc` for the shim");
        }
        cut
    }

    fn route(&self, served: &Served) {
        served.ctl(&["domain", "add", "ours.example"]);
        served.ctl(&["destination", "add", "ana@dest.example", "--verified"]);
        served.ctl(&["rule", "add", "ours.example", "--to", "info", "--forward", "ana@dest.example"]);
    }

    async fn play(self, title: &str, disaster: impl Disaster, done_may_lag: Duration) {
        let limit = Duration::from_secs(60) + EMPTYING + rounds() * Duration::from_secs(10);
        timeout(limit, self.run(title, disaster, done_may_lag)).await.expect("all rounds in time");
    }

    async fn run(self, title: &str, mut disaster: impl Disaster, done_may_lag: Duration) {
        let mut served = Served::start(&self.config, &disaster.environment()).await;
        self.route(&served);
        let clients = Clients::start(CLIENTS);
        let mut kills: Vec<Kill> = Vec::new();
        let mut complaints = BTreeMap::new();
        for round in 0..rounds() {
            disaster.begin();
            served.ctl(&["domain", "add", &format!("round{round}.example")]);
            clients.go_to(served.smtp());
            self.weather(Duration::from_millis(rand::random_range(100..800))).await;
            served.complaints(&mut complaints);
            kills.push(served.kill());
            self.sink.node_died();
            disaster.strike();
            served = Served::start(&self.config, &disaster.environment()).await;
        }
        let domains = served.ctl(&["domain", "list"])["domains"].as_array().unwrap().len();
        assert_eq!(domains, 1 + rounds() as usize, "every change that was answered is there");
        clients.go_to(served.smtp());
        self.sink.be(Mood::Kind);
        let started = clients.started();
        let told = clients.finish().await;
        emptied(&served).await;
        served.complaints(&mut complaints);
        let seen = Seen { told, copies: self.sink.copies(), kills, done_may_lag, disk: disaster.disk() };
        let verdict = seen.judge();
        println!(
            "{title}: {} rounds, {started} messages; {verdict}; errors logged: {complaints:?}",
            rounds()
        );
        assert!(verdict.wrong.is_empty(), "{:#?}", &verdict.wrong[..verdict.wrong.len().min(10)]);
    }

    /// Lets the upstream change its mood for a while.
    async fn weather(&self, while_: Duration) {
        let end = Instant::now() + while_;
        while Instant::now() < end {
            self.sink.change_mood();
            let left = end - Instant::now();
            sleep(left.min(Duration::from_millis(100))).await;
        }
    }
}

/// Waits until nothing is queued any more. The gauge is cheap to ask, and zero until the node first sets it.
async fn emptied(served: &Served) {
    let end = Instant::now() + EMPTYING;
    while served.queued().await > 0 || served.ctl(&["queue", "list"])["messages"] != serde_json::json!([]) {
        assert!(Instant::now() < end, "still queued: {}", served.ctl(&["queue", "list"]));
        sleep(Duration::from_millis(50)).await;
    }
}
