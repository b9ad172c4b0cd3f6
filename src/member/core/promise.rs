//! The promises that entries of the log ask of the pulse: to keep the lease of an incarnation alive no
//! longer. They are in the log, where a restart cannot forget them.

use super::{Core, Out};
use crate::member::entry::Command;
use crate::member::io::CoreEffect;
use crate::types::{Incarnation, Index, NodeId};

impl Core {
    /// Every promise that the log asks for, up to which incarnation of each node. The pulse must keep
    /// them before it acknowledges its first heartbeat: a signal would come too late.
    #[must_use]
    pub fn promises(&self) -> Vec<(NodeId, Incarnation)> {
        if self.config.canaries.forget_promise_at_restart {
            return Vec::new();
        }
        let excluded = self.state.excluded.iter();
        let excluded = excluded.map(|(&node, &incarnation)| (node, incarnation));
        let entries = self.log.after(self.log.base().index);
        let asked = entries.filter_map(|(_, entry)| entry.command.forbids());
        excluded
            .chain(asked.map(|(node, incarnation, _)| (node, incarnation)))
            .collect()
    }

    /// Asks the pulse for every promise in the log. Also at start, where it keeps them already (see
    /// `promises`): it says when D has passed.
    pub(super) fn renew_promises(&mut self, out: Out<'_>) {
        let excluded = self.state.excluded.iter();
        for (&node, &incarnation) in excluded {
            // Committed: nobody waits for an answer.
            out.push(CoreEffect::Forbid {
                node,
                incarnation,
                certificate: true,
            });
        }
        for (_, entry) in self.log.after(self.log.base().index) {
            let Some((node, incarnation, certificate)) = entry.command.forbids() else {
                continue;
            };
            if self.config.canaries.forget_promise_at_restart {
                let promise = self.promises.entry(node).or_default();
                *promise = (*promise).max(incarnation);
                continue;
            }
            out.push(CoreEffect::Forbid {
                node,
                incarnation,
                certificate,
            });
        }
    }

    /// Entries up to here hold no promise that the pulse has not given.
    pub(super) fn promised(&self) -> Index {
        if self.config.canaries.vote_without_promise {
            return self.log.last().index;
        }
        let missing = self.log.after(self.commit).find(|(_, entry)| {
            entry
                .command
                .forbids()
                .is_some_and(|(node, incarnation, _)| {
                    let promised = self.promises.get(&node).copied().unwrap_or_default();
                    promised < incarnation
                })
        });
        missing.map_or(self.log.last().index, |(index, _)| Index(index.0 - 1))
    }

    /// Asks the pulse for the promise that a new entry needs.
    pub(super) fn ask_promise(command: &Command, out: Out<'_>) {
        if let Some((node, incarnation, certificate)) = command.forbids() {
            out.push(CoreEffect::Forbid {
                node,
                incarnation,
                certificate,
            });
        }
    }
}
