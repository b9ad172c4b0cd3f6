//! Who is alive: as this node's pulse hears it, and as the other voters say that they do.

use std::collections::BTreeMap;
use std::time::Duration;

use super::io::{Member, PulseSignal};
use super::message::{ARRIVALS_MAX, Arrival, Outlook, SUSPECTS_MAX, Suspect};
use super::state::State;
use crate::types::{BootId, Incarnation, NodeId, NodeSet, Time};

/// One node, as this node's pulse tells.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// Newest incarnation heard.
    incarnation: Incarnation,
    boot: BootId,
    /// Silent for D.
    suspected: bool,
    /// Known to be dead up to here.
    dead: Incarnation,
    /// Both ways.
    hearing: bool,
    /// Whom it hears.
    reach: NodeSet,
}

/// What another voter said last.
#[derive(Clone, Debug)]
struct Told {
    outlook: Outlook,
    at: Time,
}

/// What is known of everybody's liveness.
#[derive(Clone, Debug)]
pub(super) struct Liveness {
    me: Member,
    voters: NodeSet,
    interval: Duration,
    seen: BTreeMap<NodeId, Seen>,
    told: BTreeMap<NodeId, Told>,
}

impl Liveness {
    /// Nothing heard yet.
    pub(super) fn new(me: Member, voters: NodeSet, interval: Duration) -> Self {
        Self {
            me,
            voters,
            interval,
            seen: BTreeMap::new(),
            told: BTreeMap::new(),
        }
    }

    /// This node, as it would be admitted.
    pub(super) const fn me(&self) -> Member {
        self.me
    }

    /// This node's new incarnation.
    pub(super) const fn adopt(&mut self, incarnation: Incarnation) {
        self.me.incarnation = incarnation;
    }

    /// Takes note of what the pulse says.
    pub(super) fn signal(&mut self, signal: PulseSignal) {
        match signal {
            PulseSignal::Heard {
                node,
                incarnation,
                boot,
            } => {
                let seen = self.seen.entry(node).or_default();
                seen.incarnation = incarnation;
                seen.boot = boot;
                seen.suspected = false;
            }
            PulseSignal::Suspected { node, .. } => {
                self.seen.entry(node).or_default().suspected = true;
            }
            PulseSignal::Dead { node, incarnation } => {
                let seen = self.seen.entry(node).or_default();
                seen.dead = seen.dead.max(incarnation);
                seen.suspected = true;
            }
            PulseSignal::Hearing { node, heard } => {
                self.seen.entry(node).or_default().hearing = heard;
            }
            PulseSignal::Reach { node, reach } => self.seen.entry(node).or_default().reach = reach,
            PulseSignal::Forbidden { .. } | PulseSignal::Obsolete { .. } => {}
        }
    }

    /// Takes note of what another voter says, unless something newer was there before. True if it
    /// was news.
    pub(super) fn take(&mut self, now: Time, from: NodeId, outlook: Outlook) -> bool {
        if !self.voters.contains(from) || from == self.me.node {
            return false;
        }
        let order = |outlook: &Outlook| (outlook.incarnation, outlook.sequence);
        let known = self.told.get(&from);
        if known.is_some_and(|known| order(&known.outlook) >= order(&outlook)) {
            return false;
        }
        self.told.insert(from, Told { outlook, at: now });
        true
    }

    /// Whether this node's pulse hears the node.
    pub(super) fn is_heard(&self, node: NodeId) -> bool {
        node == self.me.node || self.heard(node).is_some()
    }

    /// Whether this node's pulse has given the node up.
    pub(super) fn is_suspected(&self, node: NodeId) -> bool {
        node != self.me.node && self.seen.get(&node).is_some_and(|seen| seen.suspected)
    }

    /// Whether this node and the other hear each other.
    pub(super) fn is_hearing(&self, node: NodeId) -> bool {
        node == self.me.node || self.seen.get(&node).is_some_and(|seen| seen.hearing)
    }

    /// The next hop to a node: itself, or one that reaches it where it does not hear us.
    pub(super) fn route(&self, to: NodeId) -> NodeId {
        if self.is_hearing(to) {
            return to;
        }
        let through = self
            .seen
            .iter()
            .find(|(_, seen)| seen.hearing && !seen.suspected && seen.reach.contains(to));
        through.map_or(to, |(&node, _)| node)
    }

    /// The nodes that this node's pulse hears, itself included.
    pub(super) fn alive(&self) -> NodeSet {
        let heard = self
            .seen
            .keys()
            .copied()
            .filter(|&node| self.is_heard(node));
        let mut alive: NodeSet = heard.collect();
        alive.insert(self.me.node);
        alive
    }

    /// Newest incarnation of each node, as far as it is known.
    pub(super) fn incarnations(&self) -> impl Iterator<Item = (NodeId, Incarnation)> {
        let others = self
            .seen
            .iter()
            .map(|(&node, seen)| (node, seen.incarnation));
        others.filter(|(_, incarnation)| incarnation.0 > 0)
    }

    /// How this node sees the others, as part of what it tells them. Members first: those that an
    /// exclusion could be about.
    pub(super) fn outlook(&self, state: &State) -> Outlook {
        let is_member = |node: &NodeId| state.member(*node).is_some();
        let members = self.seen.iter().filter(|(node, _)| is_member(node));
        let others = self.seen.iter().filter(|(node, _)| !is_member(node));
        let suspects = members
            .chain(others)
            .filter(|(_, seen)| seen.suspected)
            .map(|(&node, seen)| Suspect {
                node,
                incarnation: seen.incarnation.max(seen.dead),
                dead: seen.dead >= seen.incarnation && seen.dead.0 > 0,
            })
            .take(SUSPECTS_MAX)
            .collect();
        // Voters first: a new cluster waits for them.
        let (voters, others): (Vec<NodeId>, Vec<NodeId>) = self
            .seen
            .keys()
            .partition(|node| self.voters.contains(**node));
        let arrivals = voters
            .into_iter()
            .chain(others)
            .filter_map(|node| self.heard(node))
            // A voter also where it is a member: its log may be blank, and it has to know that it is
            // heard before it believes how the cluster began.
            .filter(|it| self.voters.contains(it.node) || state.is_admissible(it))
            .map(|member| Arrival {
                node: member.node,
                incarnation: member.incarnation,
                boot: member.boot,
            })
            .take(ARRIVALS_MAX)
            .collect();
        Outlook {
            incarnation: self.me.incarnation,
            suspects,
            arrivals,
            ..Outlook::default()
        }
    }

    /// Whether somebody knows that the member is dead: by a death notice, or by a newer incarnation.
    pub(super) fn is_dead(&self, member: &Member) -> bool {
        let seen = self.seen.get(&member.node);
        let by_me = seen.is_some_and(|seen| {
            seen.dead >= member.incarnation || seen.incarnation > member.incarnation
        });
        by_me
            || self
                .told
                .values()
                .any(|told| says_dead(&told.outlook, member))
    }

    /// Whether a majority of the voters has given the member up. `settled`: the member is no
    /// newcomer, so that a voter that has not heard of this incarnation had the time to.
    pub(super) fn is_given_up(&self, now: Time, member: &Member, settled: bool) -> bool {
        let suspects = |incarnation: Incarnation| settled || incarnation >= member.incarnation;
        let by_me = self.is_suspected(member.node)
            && self.voters.contains(self.me.node)
            && suspects(
                self.seen
                    .get(&member.node)
                    .map_or(Incarnation(0), |s| s.incarnation),
            );
        let others = self.told.iter().filter(|&(&voter, told)| {
            let fresh = self.is_heard(voter) || now < told.at.after(self.interval * 12);
            let mut listed = told.outlook.suspects.iter();
            fresh && listed.any(|s| s.node == member.node && suspects(s.incarnation))
        });
        others.count() + usize::from(by_me) >= self.voters.majority()
    }

    /// Nodes that could be admitted: heard by this node, or by a voter that says so.
    pub(super) fn arrivals(&self, state: &State) -> Vec<Member> {
        let mut arrivals: Vec<Member> = self
            .seen
            .keys()
            .filter_map(|&node| self.heard(node))
            .collect();
        for told in self.told.values() {
            arrivals.extend(told.outlook.arrivals.iter().map(|arrival| Member {
                node: arrival.node,
                incarnation: arrival.incarnation,
                boot: arrival.boot,
            }));
        }
        arrivals.push(self.me);
        arrivals.retain(|member| state.is_admissible(member) && !self.is_over(member));
        // The newest incarnation of each.
        arrivals.sort_by_key(|member| (member.node, std::cmp::Reverse(member.incarnation)));
        arrivals.dedup_by_key(|member| member.node);
        arrivals
    }

    /// What another voter said last.
    pub(super) fn told(&self, voter: NodeId) -> Option<&Outlook> {
        self.told.get(&voter).map(|told| &told.outlook)
    }

    /// Other voters that said lately that they have no leader, and what they said.
    pub(super) fn leaderless(&self, now: Time) -> impl Iterator<Item = (NodeId, &Outlook)> {
        let fresh = self.interval * 3;
        let told = self.told.iter();
        // A run that has ended neither votes nor stands.
        let over = |voter: &NodeId, told: &Told| {
            let seen = self.seen.get(voter);
            seen.is_some_and(|seen| told.outlook.incarnation <= seen.dead)
        };
        told.filter(move |&(voter, told)| !over(voter, told))
            .filter(move |(_, told)| told.outlook.leaderless && now < told.at.after(fresh))
            .map(|(&voter, told)| (voter, &told.outlook))
    }

    /// The largest term that a voter without a leader has mentioned.
    pub(super) fn term_max(&self) -> u64 {
        let outlooks = self.told.values().map(|told| &told.outlook);
        let leaderless = outlooks.filter(|outlook| outlook.leaderless);
        leaderless.map(|outlook| outlook.term).max().unwrap_or(0)
    }

    /// The incarnation that is known to have ended: a report of it is outdated, and it will not be
    /// admitted.
    fn is_over(&self, member: &Member) -> bool {
        member.node == self.me.node && member.incarnation < self.me.incarnation
            || self.is_dead(member)
    }

    /// The node, as this node's pulse hears it.
    pub(super) fn heard(&self, node: NodeId) -> Option<Member> {
        let seen = self.seen.get(&node)?;
        (seen.incarnation.0 > 0 && !seen.suspected).then_some(Member {
            node,
            incarnation: seen.incarnation,
            boot: seen.boot,
        })
    }
}

fn says_dead(outlook: &Outlook, member: &Member) -> bool {
    let suspects = outlook.suspects.iter().any(|suspect| {
        let dead = suspect.dead && suspect.incarnation >= member.incarnation;
        suspect.node == member.node && (dead || suspect.incarnation > member.incarnation)
    });
    let mut arrivals = outlook.arrivals.iter();
    suspects || arrivals.any(|new| new.node == member.node && new.incarnation > member.incarnation)
}
