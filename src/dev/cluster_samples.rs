//! Owns the samples of a cluster: a rule made on one node is used by another, and one node is stopped while mail goes on.

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use tokio::time::sleep;

use super::DevError;
use super::check::{self, Check};
use super::client::{self, Exchange, Letter};
use super::samples;
use super::transcript::Transcript;
use super::world::{AGREED_WITHIN, DOMAIN, LOOKS_EVERY, SENDER, World, millis};
use crate::ctl;
use crate::mail::{Address, Domain};
use crate::node::Ended;
use crate::routing::Matcher;

/// The local part whose rule the samples make and change.
pub(super) const LOCAL: &str = "news";
/// Where it goes first.
const FIRST: &str = "ana@dest.test";
/// Where it goes then.
const SECOND: &str = "ben@dest.test";
/// Where mail goes that only shows that mail goes on.
const OTHER: &str = "info";
/// The exit status of `postroadctl` for what a node did not do; another try may go better.
const NOT_DONE: u8 = 1;

/// Plays what can be shown of so many nodes, and prints what became of it. Answers how many went as they must, and of
/// how many.
pub(super) async fn run_all(
    world: &mut World,
    played: usize,
    now: SystemTime,
) -> Result<(usize, usize), DevError> {
    let names: Vec<&'static str> = world.nodes.iter().map(|(name, _)| *name).collect();
    let [.., user, maker] = names.as_slice() else { return Ok((0, 0)) };
    let (text, shared) = Play::new(world, now).share(maker, user).await?;
    println!("sample {}  a rule made on {maker} is used by {user}\n{text}", played + 1);
    // Of two nodes none can be spared: a change needs the majority.
    let [maker, user, lost] = names.as_slice() else { return Ok((usize::from(shared), 1)) };
    let (text, survived) = Play::new(world, now).lose(lost, maker, user).await?;
    println!("sample {}  {lost} is stopped while mail goes on, and comes back\n{text}", played + 2);
    Ok((usize::from(shared) + usize::from(survived), 2))
}

/// A sample as it goes.
struct Play<'a> {
    world: &'a mut World,
    transcript: Transcript,
    start: Instant,
    now: SystemTime,
}

impl<'a> Play<'a> {
    fn new(world: &'a mut World, now: SystemTime) -> Self {
        Self { world, transcript: Transcript::new(), start: Instant::now(), now }
    }

    /// One node is told a rule, another uses it.
    async fn share(mut self, maker: &'static str, user: &'static str) -> Result<(String, bool), DevError> {
        self.order(maker, &format!("rule add {DOMAIN} --to {LOCAL} --forward {FIRST}")).await?;
        self.catch_up(user, maker, "has it").await?;
        self.deliver(user, FIRST).await?;
        Ok(self.transcript.end(&millis(self.start.elapsed())))
    }

    /// A node is stopped while the others get mail; one of them is told a change, the other uses it, and so does the one
    /// that was stopped, once it runs again.
    async fn lose(
        mut self,
        lost: &'static str,
        maker: &'static str,
        user: &'static str,
    ) -> Result<(String, bool), DevError> {
        self.stop(lost, [maker, user]).await?;
        self.order(maker, &format!("destination add {SECOND} --verified")).await?;
        let rule = self.rule(maker)?;
        self.order(maker, &format!("rule set {rule} --forward {SECOND}")).await?;
        self.catch_up(user, maker, "has the change").await?;
        self.deliver(user, SECOND).await?;
        let start = Instant::now();
        self.world.start_node(lost).await?;
        self.note(lost, format!("started again with the files it had, {}", millis(start.elapsed())), true);
        self.catch_up(lost, maker, "is back and has the change").await?;
        self.deliver(lost, SECOND).await?;
        Ok(self.transcript.end(&millis(self.start.elapsed())))
    }

    /// Stops a node. The others get mail until it has ended, and once after that.
    async fn stop(&mut self, name: &'static str, others: [&'static str; 2]) -> Result<(), DevError> {
        let at = self.world.nodes.iter().position(|(other, _)| *other == name);
        let (_, node) = at.map(|at| self.world.nodes.remove(at)).ok_or(DevError::NoNode(name))?;
        let start = Instant::now();
        let ending = tokio::spawn(async move { (node.drain().await, start.elapsed()) });
        let (mut sent, mut forwarded) = (0, 0);
        loop {
            let is_last = ending.is_finished();
            for other in others {
                let letter = self.letter(OTHER);
                let exchanges = self.send(other, &letter).await?;
                let arrived = check::recipients(&self.world.sink.take(), FIRST).holds;
                sent += 1;
                forwarded += usize::from(arrived && check::reply(&exchanges, 250, &["sink kept"]).holds);
            }
            if is_last {
                break;
            }
        }
        let (ended, took) = ending.await.unwrap_or((Ended::Broken, Duration::ZERO));
        let found = format!("stopped without a word to the others, {}", millis(took));
        self.note(name, found, ended == Ended::Drained);
        let [one, other] = others;
        let found = format!(
            "{sent} messages to {one} and {other}, the last two after the stop: {forwarded} forwarded"
        );
        self.note("meanwhile", found, sent == forwarded);
        Ok(())
    }

    /// Has `postroadctl` say something to a node, again while the nodes do not agree.
    async fn order(&mut self, name: &'static str, words: &str) -> Result<(), DevError> {
        let admin = self.world.node(name)?.addresses().admin;
        let line = format!("postroadctl --server http://{admin} {words}");
        self.transcript.command(&line);
        let start = Instant::now();
        let (status, said) = loop {
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let terminal = ctl::Terminal { out: &mut out, err: &mut err };
            let status = ctl::run(line.split(' ').map(Into::into), terminal).await;
            if status != NOT_DONE || start.elapsed() > AGREED_WITHIN {
                break (status, String::from_utf8_lossy(err.trim_ascii()).into_owned());
            }
            sleep(LOOKS_EVERY).await;
        };
        let took = millis(start.elapsed());
        let found = if status == 0 { format!("took it, {took}") } else { format!("{said}, {took}") };
        self.note(name, found, status == 0);
        Ok(())
    }

    /// Waits until a node has all that another has.
    async fn catch_up(
        &mut self,
        name: &'static str,
        other: &'static str,
        done: &str,
    ) -> Result<(), DevError> {
        let start = Instant::now();
        let revision = self.world.node(other)?.routing().snapshot().revision();
        let has = self.world.has(name, revision).await?;
        let took = start.elapsed();
        let found = match (has, took.as_millis()) {
            (true, 0) => format!("{done}, at once"),
            (true, _) => format!("{done}, {} later", millis(took)),
            (false, _) => format!("is behind after {}", millis(took)),
        };
        self.note(name, found, has);
        Ok(())
    }

    /// Sends a node a message for the rule, which must end there.
    async fn deliver(&mut self, name: &'static str, destination: &str) -> Result<(), DevError> {
        let letter = self.letter(LOCAL);
        let smtp = self.smtp(name)?;
        self.transcript.way(letter.from_ip, name, smtp);
        let exchanges = self.send(name, &letter).await?;
        self.transcript.dialogue(&exchanges);
        self.transcript.route(self.world.node(name)?, &Address::parse(&letter.recipient)?);
        self.transcript.check(&check::reply(&exchanges, 250, &["sink kept", "upstream mx.dest.test"]));
        self.transcript.check(&check::recipients(&self.world.sink.take(), destination));
        Ok(())
    }

    async fn send(&self, name: &'static str, letter: &Letter) -> Result<Vec<Exchange>, DevError> {
        Ok(client::send(letter, self.smtp(name)?).await?)
    }

    fn smtp(&self, name: &'static str) -> Result<SocketAddr, DevError> {
        self.world.node(name)?.addresses().smtp.first().copied().ok_or(DevError::NoListener)
    }

    /// A message that SPF vouches for, unlike any other.
    fn letter(&self, local: &str) -> Letter {
        let (from, to) = ("alice@sender.test", format!("{local}@{DOMAIN}"));
        let id = format!("{:032x}", rand::random::<u128>());
        let text = samples::text((from, &to), ("A message to the cluster", &id), self.now);
        Letter {
            from_ip: SENDER,
            helo: "mail.sender.test".to_owned(),
            reverse_path: from.to_owned(),
            recipient: to,
            message: text.into_bytes(),
        }
    }

    /// The id of the rule, as a node has it.
    fn rule(&self, name: &'static str) -> Result<String, DevError> {
        let (domain, matcher) = (Domain::parse(DOMAIN)?, Matcher::Local(LOCAL.to_owned()));
        let table = self.world.node(name)?.routing().snapshot();
        let rule = table.rules(&domain).find(|rule| rule.matcher == matcher);
        Ok(rule.map(|rule| rule.id.to_string()).unwrap_or_default())
    }

    fn note(&mut self, what: &'static str, found: String, holds: bool) {
        self.transcript.check(&Check { what, found, holds });
    }
}
