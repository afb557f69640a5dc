//! One attempt: the due copies of one message for one destination, offered and judged.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::oneshot;

use super::Inner;
use super::hands::Hold;
use super::history::Standing;
use super::judge::{Judgement, Rules, ended};
use super::notify::{Action, NotYet};
use super::poison::{BrokeOff, contained};
use super::schedule::Ended;
use crate::clock;
use crate::mail::{Domain, Message};
use crate::pipeline::deadline::Deadline;
use crate::pipeline::deferred::{Due, Tried};
use crate::pipeline::parcel::{Delivery, Outcome, Shipment, Target, TargetKind};
use crate::spool::{Direction, Queued, QueuedCopy, SpoolError};
use crate::telemetry::labels::Mode;

/// How long an attempt may take up to the reply to DATA, and the message with its reply once more. RFC 5321
/// §4.5.3.2 gives single commands five minutes.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(20 * 60);

/// How long after the disk did not take a change it is asked again.
pub(super) const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Tells the scheduler that an attempt is over.
struct UnderWay {
    inner: Arc<Inner>,
    domain: Domain,
    /// What it says of the destination; `None`: nothing, it broke off.
    ended: Option<Ended>,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let (now, pause) = (clock::now(), self.inner.pause());
        let mut schedule = self.inner.schedule.lock();
        match self.ended {
            Some(ended) => schedule.ended(&self.domain, ended, now, pause),
            None => {
                schedule.broke_off(&self.domain);
                // When the message is due next is not known here.
                schedule.note(&self.domain, now);
            }
        }
        self.inner.changed.notify_one();
    }
}

impl Inner {
    /// Tries what is due of a message for a destination.
    pub(super) async fn attempt(self: Arc<Self>, hold: Hold, domain: Domain) {
        let mut under_way = UnderWay { inner: self.clone(), domain, ended: None };
        under_way.ended = match contained(self.try_due(&hold, &under_way.domain)).await {
            Ok(ended) => Some(ended),
            Err(why) => {
                self.tell_broken(hold.id(), &why);
                self.put_off(hold.id(), &under_way.domain, &why).await
            }
        };
        drop(hold);
    }

    /// What it says of the destination.
    async fn try_due(&self, hold: &Hold, domain: &Domain) -> Result<Ended, BrokeOff> {
        let Some((mut queued, message)) = self.load(hold.id()).await? else {
            return Ok(Ended::Answered);
        };
        let now = clock::now();
        let (due, rest): (Vec<_>, Vec<_>) =
            queued.copies.into_iter().partition(|copy| is_due(copy, domain, now));
        queued.copies = rest;
        if due.is_empty() {
            return Ok(Ended::Answered);
        }
        let tried = self.offer(&queued, &message, domain, &due).await?;
        let ended = ended(tried.deliveries.iter().map(|delivery| &delivery.outcome));
        self.settle(queued, &message, (due, tried)).await.map_err(NotYet::from)?;
        Ok(ended)
    }

    /// Has the copies delivered.
    async fn offer(
        &self,
        queued: &Queued,
        message: &Message,
        domain: &Domain,
        due: &[QueuedCopy],
    ) -> Result<Tried, BrokeOff> {
        let (answer, answered) = oneshot::channel();
        let parcel = Due {
            id: queued.id,
            message: message.clone(),
            smtp_utf8: queued.smtp_utf8,
            request: queued.request.clone(),
            shipments: shipments(domain, due),
            deadline: Deadline::after(ATTEMPT_LIMIT),
            answer,
        };
        self.deliver.pass(parcel).await.map_err(|_| BrokeOff::Gone)?;
        answered.await.map_err(|_| BrokeOff::Panicked)
    }

    /// Judges every copy, tells the sender what it must hear, and writes down what is left. What was delivered leaves
    /// whatever comes of telling; a failure stands once it is told.
    pub(super) async fn settle(
        &self,
        mut queued: Queued,
        message: &Message,
        (due, tried): (Vec<QueuedCopy>, Tried),
    ) -> Result<(), SpoolError> {
        let rules = self.rules(queued.received_at);
        let (mut judged, unasked) = judge(rules, due, &tried);
        queued.copies.extend(unasked);
        queued.copies.extend(picked(&judged, Judgement::kept));
        if let Written::Not { untold } = self.part_with_ended(&queued, message, &judged).await {
            let is_told =
                |judgement: &Judgement| judgement.failed().is_none_or(|copy| !untold.contains(copy));
            for (_, judgement) in judged.iter_mut().filter(|(_, judgement)| !is_told(judgement)) {
                *judgement = judgement.clone().unless_failed(rules);
                queued.copies.extend(judgement.kept().cloned());
            }
            self.write_down(&queued).await?;
        }
        for (before, judgement) in &judged {
            self.tell(&queued, judgement);
            self.record_attempt(queued.id, *before, judgement);
        }
        for delivery in tried.deliveries {
            if let Outcome::AwaitingReply { late, .. } = delivery.outcome {
                self.follow(queued.id, delivery.target.destination, late);
            }
        }
        Ok(())
    }

    /// Has the copies that were delivered or failed leave a message, where the sender is to hear of it. A panic at
    /// that is one at telling: what was delivered is not delivered again for it.
    async fn part_with_ended(&self, queued: &Queued, message: &Message, judged: &[Judged]) -> Written {
        let mut failed = picked(judged, Judgement::failed);
        let mut relayed = picked(judged, Judgement::delivered);
        relayed.retain(|copy| Action::Relayed.is_wanted(copy.request.notify));
        let mut is_written = false;
        if !relayed.is_empty() {
            let mut left = queued.clone();
            left.copies.extend_from_slice(&failed);
            let parted = contained(self.part(&left, message, &mut relayed, Action::Relayed)).await;
            is_written = parted.is_ok() && failed.is_empty();
            if let Err(error) = parted {
                tracing::error!(trace = %queued.id, %error, "a delivery is not told to the sender that asked for it");
            }
        }
        if !failed.is_empty() {
            let parted = contained(self.part(queued, message, &mut failed, Action::Failed)).await;
            is_written = parted.is_ok();
            if let Err(error) = parted {
                tracing::error!(trace = %queued.id, %error, "a failure cannot be told: tried again until it can");
            }
        }
        if is_written { Written::All } else { Written::Not { untold: failed } }
    }

    /// As [`Self::write`]; while the disk cannot take it, it is asked again and the message stays in hand: what was
    /// delivered would be delivered again.
    pub(super) async fn write_down(&self, queued: &Queued) -> Result<(), SpoolError> {
        while let Err(error) = self.write(queued).await {
            tracing::error!(trace = %queued.id, %error, "what became of a queued message cannot be written down");
            if !may_pass(&error) {
                return Err(error);
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
        Ok(())
    }

    /// The message as it stands now: on the disk, or gone from it when nothing is left.
    pub(super) async fn write(&self, queued: &Queued) -> Result<(), SpoolError> {
        if queued.copies.is_empty() {
            return self.spool.remove(queued.id).await;
        }
        self.spool.update(queued.clone()).await?;
        self.note(queued);
        Ok(())
    }

    /// One line for each copy that was tried.
    fn tell(&self, queued: &Queued, judgement: &Judgement) {
        let (copy, outcome) = match judgement {
            Judgement::Delivered(copy) => (copy, "delivered"),
            Judgement::Failed(copy) => (copy, "failed"),
            Judgement::Kept(copy) => (copy, "kept"),
        };
        let settings = self.settings.load();
        let last = copy.last.as_ref();
        tracing::info!(
            trace = %queued.id,
            to = settings.addresses.show(&copy.alias),
            outcome,
            attempts = copy.attempts,
            host = last.map(|last| last.host.as_str()),
            code = last.map(|last| last.code),
            "queued copy tried"
        );
        if let Judgement::Delivered(_) = judgement {
            let age = clock::now().duration_since(queued.received_at).unwrap_or_default();
            let latency = self.metrics.delivery_latency_seconds.of(Mode::Queued);
            latency.observe(age.as_secs_f64());
        }
    }
}

/// Whether a copy for this domain is to be tried.
pub(super) fn is_due(copy: &QueuedCopy, domain: &Domain, now: SystemTime) -> bool {
    copy.state.is_scheduled() && copy.due <= now && copy.destination.domain() == domain
}

/// Whether a message is on the disk as an attempt left it.
enum Written {
    /// It is.
    All,
    /// It is not, nor are these failures told.
    Not { untold: Vec<QueuedCopy> },
}

/// A copy before an attempt, and what the attempt makes of it.
type Judged = (Standing, Judgement);

/// What became of the copies, with the dialogue where they are kept; and those that the attempt says nothing of.
fn judge(rules: Rules, due: Vec<QueuedCopy>, tried: &Tried) -> (Vec<Judged>, Vec<QueuedCopy>) {
    let (mut judged, mut unasked) = (Vec::new(), Vec::new());
    for copy in due {
        let of_copy = |delivery: &&Delivery| {
            delivery.target.destination == copy.destination && delivery.reverse_path == copy.reverse_path
        };
        let Some(delivery) = tried.deliveries.iter().find(of_copy) else {
            unasked.push(copy);
            continue;
        };
        let before = Standing::of(&copy);
        let mut judgement = rules.judge(copy, &delivery.outcome);
        if let Judgement::Kept(QueuedCopy { last: Some(last), .. }) = &mut judgement {
            last.dialogue.clone_from(&tried.dialogue);
        }
        judged.push((before, judgement));
    }
    (judged, unasked)
}

fn picked(judged: &[Judged], pick: impl Fn(&Judgement) -> Option<&QueuedCopy>) -> Vec<QueuedCopy> {
    judged.iter().filter_map(|(_, judgement)| pick(judgement)).cloned().collect()
}

/// Whether the disk may take later what it does not take now.
fn may_pass(error: &SpoolError) -> bool {
    matches!(error, SpoolError::NoRoom | SpoolError::Failed | SpoolError::Io { .. })
}

/// What deliver is told of a copy.
pub(super) fn target(copy: &QueuedCopy) -> Target {
    Target {
        alias: copy.alias.clone(),
        destination: copy.destination.clone(),
        kind: match copy.direction {
            Direction::Forward => TargetKind::Forward,
            Direction::Return => TargetKind::Return,
        },
        request: copy.request.clone(),
    }
}

/// The copies, grouped by reverse-path: one upstream transaction each.
fn shipments(domain: &Domain, due: &[QueuedCopy]) -> Vec<Shipment> {
    let mut shipments: Vec<Shipment> = Vec::new();
    for copy in due {
        let target = target(copy);
        match shipments.iter_mut().find(|shipment| shipment.reverse_path == copy.reverse_path) {
            Some(shipment) => shipment.targets.push(target),
            None => shipments.push(Shipment {
                reverse_path: copy.reverse_path.clone(),
                domain: domain.clone(),
                targets: vec![target],
            }),
        }
    }
    shipments
}
