//! When a node leaves it to others to lead.

use std::time::Duration;

use tokio::time::Instant;

use super::super::network::LocalNode as _;
use super::hearing::COUNTS_FOR;
use super::seat::Running;
use super::steward::Steward;

/// How long ago a voter was heard who may give its vote, at least: it says Hello every half a second.
const HEARD_LATELY: Duration = Duration::from_secs(1);
/// How long others have to lead in the place of a node that stands back: several elections.
const OTHERS_LEAD_WITHIN: Duration = Duration::from_secs(10);

/// Whether this node leaves it to others to lead.
#[derive(Debug, Clone, Copy)]
pub(super) enum StandingBack {
    No,
    /// It was led by another then, or began to wait for that.
    Since(Instant),
    /// None of them did.
    InVain,
}

impl Steward {
    /// While an operator has the node take no new sessions, it leaves it to others to lead, if they can. If none of them does
    /// in time, it leads on: somebody must.
    pub(super) fn stand_back(&mut self) {
        let Running::Part { part, .. } = &self.running else { return };
        let metrics = part.raft.metrics().borrow().clone();
        let is_led = metrics.current_leader.is_some_and(|leader| leader != metrics.id);
        let wanted = self.local.is_drained() && self.others_decide();
        self.standing_back = match self.standing_back {
            _ if !wanted => StandingBack::No,
            StandingBack::No => StandingBack::Since(Instant::now()),
            StandingBack::Since(at) if at.elapsed() >= OTHERS_LEAD_WITHIN && !is_led => StandingBack::InVain,
            StandingBack::Since(_) if is_led => StandingBack::Since(Instant::now()),
            kept @ (StandingBack::Since(_) | StandingBack::InVain) => kept,
        };
        let leads = !matches!(self.standing_back, StandingBack::Since(_));
        let engine = part.raft.runtime_config();
        // Who hears no majority gets no vote of one: its terms would only depose who leads when it is back.
        engine.elect(leads && self.hears_majority());
        engine.heartbeat(leads);
    }

    fn hears_majority(&self) -> bool {
        // Nobody asks for votes sooner than this after it was led last.
        let within = HEARD_LATELY.max(Duration::from_millis(2 * self.timing.election.0));
        let mut ids = self.hearing.ids(|_, ago| ago < within);
        ids.insert(self.identity.node);
        // Who votes is not known before the log is read.
        self.local
            .disk()
            .settled()
            .is_none_or(|state| state.membership.voters.is_empty() || state.membership.is_led_by(&ids))
    }

    /// Whether those of the voters who answer, and are not drained themselves, are a majority without this node.
    fn others_decide(&self) -> bool {
        let others = self.hearing.ids(|greeting, ago| ago < COUNTS_FOR && !greeting.report.drained);
        self.local.disk().settled().is_some_and(|state| state.membership.is_led_by(&others))
    }
}
