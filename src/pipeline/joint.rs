//! The joint between two stages: what a stage is, how a parcel gets to it, and the one actor that runs all of them.
//! The one place that knows actix, with `node`, whose thread holds its system.
//!
//! For each parcel the actor starts a task, under a span with the stage's name and the message's trace id. The task
//! runs the stage, takes its time, and hands on what the stage made of the parcel, or tells and answers its refusal.
//! A panic ends one task: the parcel is dropped, its answer with it, and whoever waits for that hears 451 (see
//! [`super::parcel`]).

use std::future::Future;
use std::io;
use std::sync::Arc;

use actix::dev::SendError;
use actix::prelude::*;
use thiserror::Error;
use tokio::runtime::Runtime;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::chronicle::Chronicle;
pub use super::chronicle::Refused;
use super::parcel::{Nothing, Parcel};
use crate::telemetry::PipelineStage;

/// Parcels that wait in a stage's mailbox; past it whoever hands on waits.
const MAILBOX_PARCELS: usize = 256;

/// One step on a message's way.
pub trait Stage: Send + Sync + 'static {
    /// What it takes.
    type Parcel: Parcel;
    /// What it makes of it.
    type Next: Parcel;
    /// Its name in the log.
    const NAME: &'static str;
    /// Its name in `pipeline_stage_duration_seconds`, if its time is taken.
    const TIMED: Option<PipelineStage> = None;

    /// Does its work for one parcel, in a task of its own. What it shares with other tasks it shares through `self`.
    fn run(&self, parcel: Self::Parcel) -> impl Future<Output = Turn<Self::Next>> + Send;
}

/// What came of a parcel.
#[derive(Debug)]
pub enum Turn<N> {
    /// It goes on, as this.
    Next(N),
    /// The message goes no further.
    Refused(Box<Refused>),
    /// The stage has answered it.
    Answered,
}

impl<N> From<Refused> for Turn<N> {
    fn from(refused: Refused) -> Self {
        Self::Refused(Box::new(refused))
    }
}

/// The way to a stage, for its type of parcel.
pub struct Handoff<P: Parcel> {
    recipient: Recipient<P>,
    broken: CancellationToken,
}

/// The stage is gone: its actor stopped. The node drains and ends when it sees this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the next stage's actor is gone")]
pub struct Gone;

impl<P: Parcel> Handoff<P> {
    /// Hands on to this actor. When it is found gone, the token is cancelled, so that the node ends.
    pub(super) fn new(recipient: Recipient<P>, broken: CancellationToken) -> Self {
        Self { recipient, broken }
    }

    /// Hands a parcel on, waiting while the mailbox is full. Where it is not, nothing is waited for: to hear that the
    /// actor took the parcel would wake this task once more, a hop and message.
    ///
    /// # Errors
    /// When the stage's actor is gone; the parcel, and with it its answer, is dropped.
    pub async fn pass(&self, parcel: P) -> Result<(), Gone> {
        let passed = match self.recipient.try_send(parcel) {
            Ok(()) => Ok(()),
            Err(SendError::Full(parcel)) => self.recipient.send(parcel).await.map_err(|_| Gone),
            Err(SendError::Closed(_)) => Err(Gone),
        };
        if passed.is_err() {
            self.broken.cancel();
        }
        passed
    }
}

impl<P: Parcel> Clone for Handoff<P> {
    fn clone(&self) -> Self {
        Self { recipient: self.recipient.clone(), broken: self.broken.clone() }
    }
}

/// The thread that all stages' actors run on. An actor only starts a task for what it is handed, so that one thread
/// has room for all of them; with one a core, more hops found theirs asleep, and a message cost about 4 % more CPU.
pub struct Joints {
    arbiter: Arbiter,
    chronicle: Chronicle,
    broken: CancellationToken,
}

impl Joints {
    /// Starts the thread; tasks run on this runtime. Refusals are told to this chronicle, and the token is cancelled
    /// when a stage is found gone.
    ///
    /// # Errors
    /// When the thread does not start.
    pub fn start(
        runtime: &Arc<Runtime>,
        chronicle: Chronicle,
        broken: CancellationToken,
    ) -> io::Result<Self> {
        let runtime = runtime.clone();
        let arbiter = Arbiter::try_with_tokio_rt(move || Ok(runtime))?;
        Ok(Self { arbiter, chronicle, broken })
    }

    /// Starts a stage that hands on to another, and answers with the way to it.
    #[must_use]
    pub fn link<S: Stage>(&self, stage: S, next: Handoff<S::Next>) -> Handoff<S::Parcel> {
        self.join(stage, Some(next))
    }

    /// Starts a stage at the end of a way, and answers with the way to it.
    #[must_use]
    pub fn end<S: Stage<Next = Nothing>>(&self, stage: S) -> Handoff<S::Parcel> {
        self.join(stage, None)
    }

    fn join<S: Stage>(&self, stage: S, next: Option<Handoff<S::Next>>) -> Handoff<S::Parcel> {
        let joint = Joint(Arc::new(Link { stage, next, chronicle: self.chronicle.clone() }));
        let actor = Joint::start_in_arbiter(&self.arbiter.handle(), move |context| {
            context.set_mailbox_capacity(MAILBOX_PARCELS);
            joint
        });
        Handoff::new(actor.recipient(), self.broken.clone())
    }

    /// Ends the thread, and all stages with it.
    pub async fn stop(self) {
        self.arbiter.stop();
        let _joined = tokio::task::spawn_blocking(move || self.arbiter.join()).await;
    }
}

/// The actor of every stage.
struct Joint<S: Stage>(Arc<Link<S>>);

struct Link<S: Stage> {
    stage: S,
    next: Option<Handoff<S::Next>>,
    chronicle: Chronicle,
}

impl<S: Stage> Actor for Joint<S> {
    type Context = Context<Self>;
}

impl<S: Stage> Handler<S::Parcel> for Joint<S> {
    type Result = ();

    fn handle(&mut self, parcel: S::Parcel, _: &mut Self::Context) {
        let trace = parcel.trace().map(tracing::field::display);
        let span = tracing::info_span!("stage", stage = S::NAME, trace);
        tokio::spawn(self.0.clone().carry(parcel).instrument(span));
    }
}

impl<S: Stage> Link<S> {
    async fn carry(self: Arc<Self>, parcel: S::Parcel) {
        let started = Instant::now();
        let turn = self.stage.run(parcel).await;
        if let Some(stage) = S::TIMED {
            self.chronicle.metrics().observe_stage(stage, started.elapsed());
        }
        match (turn, &self.next) {
            (Turn::Next(parcel), Some(next)) => {
                if let Err(error) = next.pass(parcel).await {
                    tracing::error!(%error, "a parcel is dropped");
                }
            }
            (Turn::Refused(refused), _) => self.chronicle.refuse(*refused),
            // What makes nothing hands nothing on.
            (Turn::Next(_), None) | (Turn::Answered, _) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::{mpsc, oneshot};

    use super::*;
    use crate::pipeline::parcel::parcels;
    use crate::pipeline::testing::chronicle;

    struct Number(u32, oneshot::Sender<u32>);
    parcels!(Number: |_| None);

    /// Doubles, panics at zero, and answers a hundred itself.
    struct Double;

    impl Stage for Double {
        type Parcel = Number;
        type Next = Number;
        const NAME: &'static str = "double";

        async fn run(&self, Number(number, answer): Number) -> Turn<Number> {
            assert_ne!(number, 0, "poison");
            if number == 100 {
                answer.send(100).unwrap();
                return Turn::Answered;
            }
            Turn::Next(Number(number * 2, answer))
        }
    }

    struct Answer(mpsc::UnboundedSender<u32>);

    impl Stage for Answer {
        type Parcel = Number;
        type Next = Nothing;
        const NAME: &'static str = "answer";

        async fn run(&self, Number(number, answer): Number) -> Turn<Nothing> {
            self.0.send(number).unwrap();
            answer.send(number).unwrap();
            Turn::Answered
        }
    }

    #[test]
    fn a_parcel_goes_on_is_answered_or_dropped_with_its_answer() {
        let runtime = Arc::new(Runtime::new().unwrap());
        let (chronicle, _guard) = chronicle();
        let broken = CancellationToken::new();
        let system = actix::System::with_tokio_rt(|| Runtime::new().unwrap());
        let joints = Joints::start(&runtime, chronicle, broken.clone()).unwrap();
        let (ends, mut ended) = mpsc::unbounded_channel();
        let way = joints.link(Double, joints.end(Answer(ends)));
        system.block_on(async move {
            for (number, expected) in [(4, Some(8)), (0, None), (100, Some(100)), (5, Some(10))] {
                let (answer, answered) = oneshot::channel();
                way.pass(Number(number, answer)).await.unwrap();
                assert_eq!(answered.await.ok(), expected, "{number}");
            }
            assert_eq!((ended.recv().await, ended.recv().await), (Some(8), Some(10)));
            assert!(!broken.is_cancelled());
            joints.stop().await;
            assert_eq!(way.pass(Number(1, oneshot::channel().0)).await, Err(Gone));
            assert!(broken.is_cancelled());
        });
    }
}
