//! Owns asking several nodes, each for what it has: side by side, and all by way of the one that we are connected to.

use futures_util::future::join_all;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tonic::Code;

use super::cluster;
use super::failure::Failure;
use super::session::{ServerArgs, Session};
use crate::proto::admin::v1::member::Role;

/// The nodes that a command is about; at least one.
pub(super) struct Nodes(Vec<Node>);

/// One of them.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) name: String,
    /// Asks it.
    pub(super) session: Session,
}

/// What they said.
pub(super) struct Answers<T> {
    /// In the order of the nodes.
    pub(super) said: Vec<T>,
    pub(super) missing: Missing,
}

/// What is missing, a line each.
#[derive(Default)]
pub(super) struct Missing(Vec<String>);

impl Nodes {
    /// The node that is asked for, or all of the cluster.
    pub(super) async fn open(args: &ServerArgs, only: Option<&str>) -> Result<Self, Failure> {
        let session = Session::open(args).await?;
        let names = match only {
            Some(name) => vec![name.to_owned()],
            None => {
                let members = cluster::get(&session).await?.members.into_iter();
                members.filter(|member| member.role() != Role::Removed).map(|member| member.node).collect()
            }
        };
        if only.is_none() && names.len() < 2 {
            let name = names.into_iter().next().unwrap_or_default();
            return Ok(Self(vec![Node { name, session }]));
        }
        let node = |name: String| Ok(Node { session: session.at(&name)?, name });
        Ok(Self(names.into_iter().map(node).collect::<Result<_, Failure>>()?))
    }

    /// Whether it is to be said which node said what.
    pub(super) fn are_several(&self) -> bool {
        self.0.len() > 1
    }

    /// Those of these names.
    pub(super) fn among(&self, is_meant: impl Fn(&str) -> bool) -> Self {
        Self(self.0.iter().filter(|node| is_meant(&node.name)).cloned().collect())
    }

    /// What each says, as far as they can be reached; an error if none says anything.
    pub(super) async fn ask<T, F>(&self, ask: impl Fn(Node) -> F) -> Result<Answers<T>, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let (mut said, mut failures) = (Vec::new(), Vec::new());
        let answers = join_all(self.0.iter().cloned().map(ask)).await;
        for (node, answer) in self.0.iter().zip(answers) {
            match answer {
                Ok(answer) => said.push(answer),
                Err(failure) => failures.push((node.name.clone(), failure)),
            }
        }
        if said.is_empty() {
            return Err(nothing(failures));
        }
        let mut missing = Missing::default();
        failures.iter().for_each(|(name, failure)| missing.add(name, failure));
        Ok(Answers { said, missing })
    }

    /// What the first says that has it.
    pub(super) async fn first<T, F>(&self, ask: impl Fn(Node) -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let ask = |node: &Node| {
            let (name, asked) = (node.name.clone(), ask(node.clone()));
            async move { (name, asked.await) }
        };
        let mut asked: FuturesUnordered<_> = self.0.iter().map(ask).collect();
        let mut failures = Vec::new();
        while let Some((name, answer)) = asked.next().await {
            match answer {
                Ok(found) => return Ok(found),
                Err(failure) => failures.push((name, failure)),
            }
        }
        Err(nothing(failures))
    }
}

/// Why none has said anything: what is wrong with the command itself; else that nobody has it, and who may.
fn nothing(mut failures: Vec<(String, Failure)>) -> Failure {
    if failures.len() == 1
        && let Some((_, only)) = failures.pop()
    {
        return only;
    }
    let (mut missing, mut not_found) = (Missing::default(), None);
    for (name, failure) in failures {
        if failure.is_silence() {
            missing.add(&name, &failure);
        } else if failure.is(Code::NotFound) {
            not_found = not_found.or(Some(failure));
        } else {
            return failure;
        }
    }
    match not_found {
        Some(failure) if missing.0.is_empty() => failure,
        Some(failure) => {
            missing.0.insert(0, failure.to_string());
            missing.failure()
        }
        None => missing.failure(),
    }
}

impl Missing {
    /// What a node did not say, and why.
    pub(super) fn add(&mut self, name: &str, failure: &Failure) {
        let text = failure.to_string();
        self.0.push(if text.starts_with(name) { text } else { format!("{name}: {text}") });
    }

    /// What else was not done.
    pub(super) fn note(&mut self, text: Option<String>) {
        self.0.extend(text);
    }

    /// What there is to say of it, if anything.
    pub(super) fn told(&self) -> Option<String> {
        (!self.0.is_empty()).then(|| self.0.join("; "))
    }

    /// How a command ends that had these answers.
    pub(super) fn end(self) -> Result<(), Failure> {
        if self.0.is_empty() { Ok(()) } else { Err(self.failure()) }
    }

    fn failure(self) -> Failure {
        Failure::Local(self.0.join("; "))
    }
}

#[cfg(test)]
#[path = "nodes_tests.rs"]
mod tests;
