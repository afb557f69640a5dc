//! Which rule an address meets, and where its mail ends (contract "Rules").
//!
//! 1. The local part in lower case: the first enabled rule for it.
//! 2. With subaddressing, the part before the first `+` (RFC 5233): the first enabled rule for that.
//! 3. postmaster and abuse (RFC 5321 §4.5.1, RFC 2142 §4): the service's postmaster, before any catch-all.
//! 4. The first enabled catch-all.
//!
//! postmaster and abuse of our own host names and of the service's domain are the service's postmaster too.
//!
//! A destination in a domain that we host is resolved in its turn, at most [`MAX_DEPTH`] rules deep. What
//! becomes of the whole when its parts differ:
//! - Parts that drop add no destination; when no part adds any, all is dropped.
//! - A part that refuses, refuses all: nobody has the message yet, and the sender hears it rather than
//!   nobody. Of several, a circle or too many goes first, then one that may change by itself (waiting),
//!   then the order of destinations.
//! - The same final destination by two ways counts once.
//!
//! Cycles are refused when a rule is set. One can still come to be: a rule that is deleted or disabled
//! uncovers the one behind it, a domain's subaddressing is switched. Then the mail is refused as a loop.

use std::collections::HashSet;

use ulid::Ulid;

use super::explain::Step;
use super::model::{MAX_DESTINATIONS_PER_RULE, Rule, RuleAction};
use super::table::{Coverage, Table};
use crate::mail::{Address, Domain};

/// Rules that may follow each other, the first and the last included.
pub const MAX_DEPTH: usize = 10;
/// Rules that are followed for one address, over all branches.
const MAX_RULES_FOLLOWED: usize = 200;

/// Where mail to an address ends. `rule` is the one that decided, which another may have led to; `matcher`
/// says how the address itself met its rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// We do not route for the domain, or it is disabled.
    UnknownDomain,
    /// No rule, here or for an alias that the address leads to.
    UnknownRecipient,
    /// A rule has a destination that is not verified.
    Waiting {
        /// That rule.
        rule: Ulid,
        /// How the address met its rule.
        matcher: MatchedBy,
    },
    /// A rule rejects.
    Reject {
        /// That rule.
        rule: Ulid,
        /// How the address met its rule.
        matcher: MatchedBy,
        /// Its text.
        text: String,
    },
    /// Every branch ends in a rule that drops.
    Drop {
        /// The first of them.
        rule: Ulid,
        /// How the address met its rule.
        matcher: MatchedBy,
    },
    /// It goes on.
    Forward {
        /// The rule that the address met; none for postmaster and abuse without a rule.
        rule: Option<Ulid>,
        /// How it met it.
        matcher: MatchedBy,
        /// 1 to 20, different, none in a domain that we host.
        destinations: Vec<Address>,
    },
    /// The rules lead to themselves, or on for too long.
    Cycle {
        /// The addresses in turn, at most [`MAX_DEPTH`] and one.
        chain: Vec<String>,
    },
    /// More than 20 final destinations.
    TooMany,
    /// `service.postmaster` is in a domain that we host, and no rule there takes it.
    NoPostmaster,
    /// The table has no domain or rule for it, and is not the whole one: see [`Coverage`].
    NotKnown,
}

/// How an address met its rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MatchedBy {
    /// By its whole local part.
    Exact,
    /// By its local part without the subaddress.
    Subaddress,
    /// As postmaster or abuse, without a rule.
    Role,
    /// By the domain's catch-all.
    CatchAll,
}

/// The first rule on the way of an address.
enum Met<'t> {
    NotHosted,
    Disabled,
    Nothing,
    Role,
    Rule(&'t Rule, MatchedBy),
}

/// Why a walk ends without destinations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stop {
    UnknownDomain,
    UnknownRecipient,
    Waiting(Ulid),
    Reject(Ulid, String),
    Cycle(Vec<String>),
    TooDeep(Vec<String>),
    TooMany,
    NoPostmaster,
}

impl Stop {
    /// Whether the rules themselves are at fault: then no other branch is looked at.
    fn is_structural(&self) -> bool {
        matches!(self, Self::Cycle(_) | Self::TooDeep(_) | Self::TooMany)
    }

    /// Whether it may change by itself: then it goes before the others.
    fn may_pass(&self) -> bool {
        matches!(self, Self::Waiting(_) | Self::NoPostmaster)
    }
}

/// Whether an address is postmaster or abuse, in whatever case: the mailboxes that a domain must have
/// (RFC 5321 §4.5.1, RFC 2142 §4).
#[must_use]
pub fn is_role(address: &Address) -> bool {
    ["postmaster", "abuse"].iter().any(|role| address.local().eq_ignore_ascii_case(role))
}

impl Table {
    /// Resolves an address of a domain that we may route for, to its final destinations.
    #[must_use]
    pub fn resolve(&self, address: &Address) -> Resolution {
        self.walk(address, &mut Walk::new(self, Regard::AsItIs, None))
    }

    /// Resolves `service.postmaster`, through our own rules when it is in a domain that we host: for
    /// `<Postmaster>`, and for postmaster@ of our own host names.
    #[must_use]
    pub fn resolve_postmaster(&self) -> Resolution {
        let mut walk = Walk::new(self, Regard::AsItIs, None);
        let outcome = walk.visit_postmaster(0);
        walk.conclude(outcome, None, MatchedBy::Role)
    }

    pub(super) fn walk(&self, address: &Address, walk: &mut Walk<'_, '_>) -> Resolution {
        let (rule, matcher) = match self.meet(address, Regard::AsItIs) {
            Met::NotHosted | Met::Disabled => (None, MatchedBy::Exact),
            Met::Nothing => (None, MatchedBy::CatchAll),
            Met::Role => (None, MatchedBy::Role),
            Met::Rule(rule, matcher) => (Some(rule.id), matcher),
        };
        let outcome = walk.visit(address, 0);
        walk.conclude(outcome, rule, matcher)
    }

    /// The rule that an address meets first.
    fn meet(&self, address: &Address, regard: Regard) -> Met<'_> {
        let Some(domain) = self.domain(address.domain()) else {
            // Mail reaches us under these names, so they have a postmaster too (RFC 5321 §4.5.1).
            let role = is_role(address) && is_ours(self, address.domain());
            return if role { Met::Role } else { Met::NotHosted };
        };
        if !domain.enabled && regard == Regard::AsItIs {
            return Met::Disabled;
        }
        let sought = address.lookup_form();
        if let Some(rule) = self.exact(&domain.name, sought.local()) {
            return Met::Rule(rule, MatchedBy::Exact);
        }
        let user = sought.without_subaddress().filter(|_| domain.subaddressing);
        if let Some(rule) = user.and_then(|user| self.exact(&domain.name, user.local())) {
            return Met::Rule(rule, MatchedBy::Subaddress);
        }
        if is_role(address) {
            return Met::Role;
        }
        self.catch_all(&domain.name).map_or(Met::Nothing, |rule| Met::Rule(rule, MatchedBy::CatchAll))
    }

    /// Follows a rule as if mail had met it, every destination were verified and every domain enabled, for the
    /// checks when it is set.
    pub(super) fn follow(&self, rule: &Rule, alias: String) -> Result<(), Stop> {
        Walk::new(self, Regard::AsIfReady, None).follow(rule, alias, 0)
    }
}

/// Whether what may yet change stops a walk: unverified destinations, disabled domains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Regard {
    /// For mail.
    AsItIs,
    /// For the check of a rule: the circle would be there as soon as all is ready.
    AsIfReady,
}

/// One resolution under way.
pub(super) struct Walk<'t, 's> {
    table: &'t Table,
    regard: Regard,
    /// The rules on the way here, and the addresses that met them.
    path: Vec<(Option<Ulid>, String)>,
    /// Rules that were followed to their end: what they lead to is found already.
    done: HashSet<Ulid>,
    found: Vec<Address>,
    known: HashSet<Address>,
    dropped: Option<Ulid>,
    steps: Option<&'s mut Vec<Step>>,
}

impl<'t, 's> Walk<'t, 's> {
    pub(super) fn new(table: &'t Table, regard: Regard, steps: Option<&'s mut Vec<Step>>) -> Self {
        Self {
            table,
            regard,
            path: Vec::new(),
            done: HashSet::new(),
            found: Vec::new(),
            known: HashSet::new(),
            dropped: None,
            steps,
        }
    }

    /// Follows an address of a domain that we host, or takes it as a final destination. The domain of the
    /// first address must be ours.
    fn visit(&mut self, address: &Address, depth: usize) -> Result<(), Stop> {
        let table = self.table;
        match table.meet(address, self.regard) {
            Met::NotHosted if depth > 0 => self.arrive(address, depth),
            Met::NotHosted => self.stop(address, depth, "no domain of ours", Stop::UnknownDomain),
            Met::Disabled => self.stop(address, depth, "the domain is disabled", Stop::UnknownDomain),
            Met::Nothing => self.stop(address, depth, "no rule", Stop::UnknownRecipient),
            Met::Role => {
                self.tell(address, depth, None, || {
                    "no rule of its own: goes to the service's postmaster".to_owned()
                });
                self.visit_postmaster(depth)
            }
            Met::Rule(rule, matcher) => {
                self.tell(address, depth, Some(rule), || super::explain::met(rule, matcher));
                self.follow(rule, address.to_string(), depth)
            }
        }
    }

    /// Follows a rule that an address has met.
    fn follow(&mut self, rule: &Rule, alias: String, depth: usize) -> Result<(), Stop> {
        let turn = self.path.iter().any(|(id, _)| *id == Some(rule.id));
        if turn || self.path.len() >= MAX_DEPTH {
            let mut chain: Vec<String> = self.path.iter().map(|(_, alias)| alias.clone()).collect();
            chain.push(alias);
            return Err(if turn { Stop::Cycle(chain) } else { Stop::TooDeep(chain) });
        }
        if !self.done.insert(rule.id) {
            return Ok(());
        }
        if self.done.len() > MAX_RULES_FOLLOWED {
            return Err(Stop::TooMany);
        }
        match &rule.action {
            RuleAction::Drop => {
                self.dropped.get_or_insert(rule.id);
                Ok(())
            }
            RuleAction::Reject(text) => Err(Stop::Reject(rule.id, text.clone())),
            RuleAction::Forward(_) if self.regard == Regard::AsItIs && self.table.is_waiting(rule) => {
                self.tell_waiting(rule, depth);
                Err(Stop::Waiting(rule.id))
            }
            RuleAction::Forward(destinations) => {
                self.path.push((Some(rule.id), alias));
                let outcome = self.visit_all(destinations, depth + 1);
                self.path.pop();
                outcome
            }
        }
    }

    fn visit_all(&mut self, destinations: &[Address], depth: usize) -> Result<(), Stop> {
        let mut stopped: Option<Stop> = None;
        for destination in destinations {
            match self.visit(destination, depth) {
                Ok(()) => {}
                Err(stop) if stop.is_structural() => return Err(stop),
                Err(stop) if stopped.as_ref().is_none_or(|first| stop.may_pass() && !first.may_pass()) => {
                    stopped = Some(stop);
                }
                Err(_) => {}
            }
        }
        stopped.map_or(Ok(()), Err)
    }

    /// Goes on to `service.postmaster`, once.
    fn visit_postmaster(&mut self, depth: usize) -> Result<(), Stop> {
        if self.path.iter().any(|(id, _)| id.is_none()) {
            return Err(Stop::NoPostmaster);
        }
        let postmaster = self.table.options().postmaster.clone();
        if !self.table.hosts(postmaster.domain()) {
            return self.arrive(&postmaster, depth + 1);
        }
        self.path.push((None, postmaster.to_string()));
        let outcome = self.visit(&postmaster, depth + 1);
        self.path.pop();
        outcome.map_err(|stop| if stop.is_structural() { stop } else { Stop::NoPostmaster })
    }

    /// Takes a final destination.
    fn arrive(&mut self, address: &Address, depth: usize) -> Result<(), Stop> {
        if !self.known.insert(address.folded()) {
            self.tell(address, depth, None, || "has it already by another way".to_owned());
            return Ok(());
        }
        self.tell(address, depth, None, || "final destination".to_owned());
        if self.found.len() >= MAX_DESTINATIONS_PER_RULE {
            return Err(Stop::TooMany);
        }
        self.found.push(address.clone());
        Ok(())
    }

    fn stop(&mut self, address: &Address, depth: usize, why: &str, stop: Stop) -> Result<(), Stop> {
        self.tell(address, depth, None, || why.to_owned());
        Err(stop)
    }

    fn conclude(&mut self, outcome: Result<(), Stop>, rule: Option<Ulid>, matcher: MatchedBy) -> Resolution {
        match outcome {
            Err(Stop::UnknownDomain | Stop::UnknownRecipient) if self.table.coverage() != Coverage::Whole => {
                Resolution::NotKnown
            }
            Err(Stop::UnknownDomain) => Resolution::UnknownDomain,
            Err(Stop::UnknownRecipient) => Resolution::UnknownRecipient,
            Err(Stop::Waiting(rule)) => Resolution::Waiting { rule, matcher },
            Err(Stop::Reject(rule, text)) => Resolution::Reject { rule, matcher, text },
            Err(Stop::Cycle(chain) | Stop::TooDeep(chain)) => Resolution::Cycle { chain },
            Err(Stop::TooMany) => Resolution::TooMany,
            Err(Stop::NoPostmaster) => Resolution::NoPostmaster,
            Ok(()) => match self.dropped {
                Some(rule) if self.found.is_empty() => Resolution::Drop { rule, matcher },
                _ => Resolution::Forward { rule, matcher, destinations: std::mem::take(&mut self.found) },
            },
        }
    }

    fn tell(&mut self, address: &Address, depth: usize, rule: Option<&Rule>, text: impl FnOnce() -> String) {
        if let Some(steps) = &mut self.steps {
            steps.push(Step {
                depth,
                address: address.to_string(),
                rule: rule.map(|rule| rule.id),
                text: text(),
            });
        }
    }

    fn tell_waiting(&mut self, rule: &Rule, depth: usize) {
        let table = self.table;
        let unverified = |address: &&Address| {
            table.destination(address).is_none_or(|destination| destination.verified_at.is_none())
        };
        for address in rule.destinations().iter().filter(unverified) {
            self.tell(address, depth + 1, None, || "not verified: the rule waits".to_owned());
        }
    }
}

/// Whether a domain is one that mail reaches us under, beside those that we route for: the service's and
/// those of our MX hosts.
pub(super) fn is_ours(table: &Table, domain: &Domain) -> bool {
    let options = table.options();
    options.mx_hosts.contains(domain) || (options.service_domain == *domain && !table.hosts(domain))
}

#[cfg(test)]
#[path = "resolve_tests.rs"]
mod tests;
