//! The node as a process of its own, to be killed: the program that was built with the tests, or `POSTROAD_NODE`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::verdict::Kill;
use crate::support::LIMIT;

/// How long a node may take until it is ready.
const START: Duration = Duration::from_secs(60);

/// A node that runs. Dropping it kills it.
pub(crate) struct Served {
    child: Child,
    log: PathBuf,
    ready: serde_json::Value,
}

impl Served {
    /// Starts it and waits until it is ready.
    pub(crate) async fn start(config: &str, environment: &[(&str, OsString)]) -> Self {
        let log = Path::new(config).with_extension("log");
        let file = File::create(&log).unwrap();
        let program =
            std::env::var_os("POSTROAD_NODE").unwrap_or_else(|| env!("CARGO_BIN_EXE_postroad").into());
        let child = Command::new(program)
            .args(["serve", "--config", config])
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stderr(file.try_clone().unwrap())
            .stdout(file)
            .spawn()
            .unwrap();
        let mut served = Self { child, log, ready: serde_json::Value::Null };
        let end = Instant::now() + START;
        loop {
            let text = fs::read_to_string(&served.log).unwrap();
            let mut whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
            if let Some(ready) = whole.find(|line| line.contains("\"message\":\"ready\"")) {
                served.ready = serde_json::from_str(ready).unwrap();
                return served;
            }
            assert!(served.child.try_wait().unwrap().is_none(), "the node does not start:\n{text}");
            assert!(Instant::now() < end, "the node is not ready in time:\n{text}");
            sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) fn smtp(&self) -> SocketAddr {
        self.ready["smtp"][0].as_str().unwrap().parse().unwrap()
    }

    /// The operator's listeners: HTTP and gRPC.
    pub(crate) fn operator(&self) -> [SocketAddr; 2] {
        ["http", "admin"].map(|listener| self.ready[listener].as_str().unwrap().parse().unwrap())
    }

    /// Octets of memory that it holds, by Linux's account; 0 where there is none.
    pub(crate) fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        resident.map_or(0, |words| words.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10)
    }

    /// Runs `postroadctl`; what it says, of whatever kind.
    pub(crate) fn tried(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let server = format!("http://{}", self.ready["admin"].as_str().unwrap());
        Command::new(env!("CARGO_BIN_EXE_postroadctl"))
            .args(["--server", &server, "--output", "json"])
            .args(arguments)
            .output()
            .unwrap()
    }

    /// Runs `postroadctl`; it must succeed.
    pub(crate) fn ctl(&self, arguments: &[&str]) -> serde_json::Value {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Messages in the queue, by its own count.
    pub(crate) async fn queued(&self) -> u64 {
        let mut stream = TcpStream::connect(self.ready["http"].as_str().unwrap()).await.unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut text = String::new();
        timeout(START, stream.read_to_string(&mut text)).await.expect("metrics in time").unwrap();
        let series = text.lines().filter(|line| line.starts_with("postroad_queue_messages{"));
        let counts: Vec<u64> = series.map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap()).collect();
        assert!(!counts.is_empty(), "no count of the queue in:\n{text}");
        counts.iter().sum()
    }

    /// Adds what it complained of to a count by message.
    pub(crate) fn complaints(&self, into: &mut BTreeMap<String, usize>) {
        for line in fs::read_to_string(&self.log).unwrap().lines() {
            let Ok(event) = serde_json::from_str::<serde_json::Value>(line) else {
                *into.entry(line.to_owned()).or_default() += usize::from(!line.starts_with('{'));
                continue;
            };
            if event["level"] == "ERROR" {
                let said = format!("{} {}", event["message"], event["reason"]);
                *into.entry(said).or_default() += 1;
            }
        }
    }

    /// Waits until it complains of this.
    pub(crate) async fn complains(&self, complaint: &str) {
        let end = Instant::now() + LIMIT;
        while !fs::read_to_string(&self.log).unwrap().contains(complaint) {
            assert!(Instant::now() < end, "no complaint: {complaint}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until it ends by itself; its exit status.
    pub(crate) async fn ends(mut self) -> Option<i32> {
        let end = Instant::now() + START;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < end, "still running");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) -> Kill {
        let before = Instant::now();
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        Kill { before, after: Instant::now() }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
