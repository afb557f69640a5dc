//! RCPT: the destinations of one recipient are asked whether they would take its copies, ahead of the
//! message. The answer comes in the time that RCPT has; whoever says nothing until then is asked at the dot.

use std::sync::Arc;

use futures_util::future::join_all;
use tokio::time::Instant;

use super::destinations::Visit;
use super::job::{Job, Matter, Tries};
use super::journey::Journey;
use super::open_transactions::{Asked, OpenTransaction};
use super::outcome::{Progress, Word};
use super::shipment;
use super::tls::TlsWish;
use super::upstream::attempt::{Attempt, Opening, Trial, Turnout};
use super::upstream::transaction::Budget;
use super::upstreams::Upstreams;
use crate::pipeline::parcel::{Inquired, Inquiry, Readdressed, Shipment, Target, UpstreamReply};
use crate::pipeline::relay;
use crate::telemetry::labels::CutThrough;
use crate::tls::Sighting;

/// Transactions held for one message: what one session may tie up at upstreams. Copies past it are offered
/// at the dot.
const MAX_HELD: usize = 4;

/// Asks, and answers the session.
pub(super) async fn ask(upstreams: Arc<Upstreams>, readdressed: Readdressed) {
    let Readdressed { shipments, inquiry } = readdressed;
    let Inquiry { id, declared, mut advance, until, answer } = inquiry;
    let mut asked = upstreams.transactions.take(id, advance.held.take());
    let job = Job {
        options: upstreams.options.load_full(),
        tls_wish: TlsWish::ahead(&declared.request),
        request: declared.request.clone(),
        matter: Matter::Envelope(declared),
        trace: id,
        budget: Budget { envelope: until, reply: until },
        tries: Tries::default(),
        dialogue: None,
        upstreams: upstreams.clone(),
    };
    let mut room = MAX_HELD.saturating_sub(asked.open.len());
    let mut unasked = false;
    let mut questions = Vec::with_capacity(shipments.len());
    for shipment in shipments {
        let known = asked.part(&shipment);
        if known.open.is_empty() && room == 0 {
            asked.refused.extend(known.refused);
            unasked = true;
            continue;
        }
        room -= usize::from(known.open.is_empty());
        questions.push(ask_one(shipment, known, &job));
    }
    let mut answers = Vec::new();
    for (words, part) in join_all(questions).await {
        answers.extend(words);
        asked.open.extend(part.open);
        asked.refused.extend(part.refused);
    }
    let refused = if unasked { None } else { refusal(answers) };
    if !asked.open.is_empty() || !asked.refused.is_empty() {
        advance.held = Some(upstreams.transactions.hold(id, asked));
    }
    // A session that has ended does not wait for it: what was held is dropped, and so reset.
    let _ = answer.send(Inquired { advance, refused });
}

/// What the recipient hears: the first 4xx, else the first 5xx, if no copy of it would be taken and about
/// none is anything open. As at the dot.
fn refusal(answers: Vec<(Target, Word)>) -> Option<(UpstreamReply, Target)> {
    let mut refused = Vec::with_capacity(answers.len());
    for (target, word) in answers {
        match word {
            Word::Refused(upstream) => refused.push((upstream, target)),
            Word::Taken | Word::None => return None,
        }
    }
    let passing = |(upstream, _): &(UpstreamReply, Target)| relay::relayed_code(&upstream.reply) / 100 == 4;
    let first = refused.iter().position(passing).unwrap_or(0);
    refused.into_iter().nth(first)
}

/// Asks about the copies of one shipment, in the transaction that is open for earlier ones or in a new one.
async fn ask_one(mut shipment: Shipment, mut known: Asked, job: &Job) -> (Vec<(Target, Word)>, Asked) {
    let mut answers = Vec::with_capacity(shipment.targets.len());
    let mut fresh = Vec::with_capacity(shipment.targets.len());
    for target in std::mem::take(&mut shipment.targets) {
        match known.word(&target.destination) {
            Word::None => fresh.push(target),
            word @ (Word::Taken | Word::Refused(_)) => answers.push((target, word)),
        }
    }
    if fresh.is_empty() {
        return (answers, known);
    }
    shipment.targets = fresh;
    let (words, transaction) = match known.open.pop() {
        Some(transaction) => add(transaction, &shipment, job).await,
        None => open(&shipment, job).await,
    };
    for (target, word) in shipment.targets.into_iter().zip(words) {
        job.upstreams.transactions.count(match &word {
            Word::Taken => CutThrough::Taken,
            Word::Refused(upstream) if upstream.reply.is_permanent() => CutThrough::Refused,
            Word::Refused(_) => CutThrough::Tempfailed,
            Word::None => CutThrough::Unanswered,
        });
        if let Word::Refused(upstream) = &word {
            let destination = target.destination.clone();
            known.refused.push((shipment.reverse_path.clone(), destination, upstream.clone()));
        }
        answers.push((target, word));
    }
    known.open.extend(transaction);
    (answers, known)
}

/// A word for each copy, and the transaction that waits for those that were taken.
type Answer = (Vec<Word>, Option<OpenTransaction>);

/// Nobody said anything.
fn silence(shipment: &Shipment) -> Vec<Word> {
    vec![Word::None; shipment.targets.len()]
}

/// Opens a transaction. A destination that is slow at this, or busy, is left for the dot.
async fn open(shipment: &Shipment, job: &Job) -> Answer {
    // Half of a destination's share: those who only ask never keep out those who deliver.
    let most = (job.options.per_destination / 2).max(1);
    let visit = job.upstreams.destinations.enter(&shipment.domain, most);
    let Some(visit) = visit.ok().filter(Visit::may_be_asked) else { return (silence(shipment), None) };
    let copies = shipment::copies(shipment);
    let offer = shipment::offer(shipment, &copies, job);
    let mut journey = Journey::new(shipment, offer, job, &visit);
    journey.travel().await;
    let Journey { progress, open, .. } = journey;
    let Some(Opening { connection, opened }) = open else { return (progress.words(&[]), None) };
    let mut transaction = OpenTransaction {
        reverse_path: shipment.reverse_path.clone(),
        domain: shipment.domain.clone(),
        connection,
        said: offer.parameters.into(),
        taken: Vec::new(),
        used_at: Instant::now(),
        visit,
    };
    transaction.note(&opened.taken, &shipment.targets);
    (progress.words(&opened.taken), Some(transaction))
}

/// Adds recipients to a transaction. In trouble it is gone, and its recipients are offered at the dot.
async fn add(mut transaction: OpenTransaction, shipment: &Shipment, job: &Job) -> Answer {
    let copies = shipment::copies(shipment);
    let offer = shipment::offer(shipment, &copies, job);
    if !transaction.suits(offer.parameters) {
        return (silence(shipment), Some(transaction));
    }
    let peer = transaction.connection.peer.clone();
    let sighting = Sighting::of(&shipment.domain);
    let trial = Trial { means: job.means(), offer, peer: &peer, sighting, budget: job.budget };
    let mut progress = Progress::new(shipment.targets.len());
    let attempt = Attempt::new(trial, progress.pending());
    let Turnout { outcomes, open, trouble, .. } =
        attempt.add(transaction.connection, transaction.taken.len()).await;
    progress.settle(outcomes);
    match open {
        Some(Opening { connection, opened }) => {
            transaction.connection = connection;
            transaction.note(&opened.taken, &shipment.targets);
            (progress.words(&opened.taken), Some(transaction))
        }
        None => {
            if let Some(trouble) = trouble {
                tracing::debug!(%peer, %trouble, "a transaction is lost at RCPT");
                if trouble.is_timeout() {
                    transaction.visit.kept_rcpt_waiting();
                }
            }
            (progress.words(&[]), None)
        }
    }
}
