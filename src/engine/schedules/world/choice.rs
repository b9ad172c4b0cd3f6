//! What may happen next.

use super::*;

impl World {
    pub(super) fn step(&mut self) {
        self.now = self
            .now
            .after(Duration::from_nanos(self.rng.below(100_000)));
        self.clock += 1;
        if !self.quiet {
            let every = self.options.fault_every;
            if every > 0 && self.rng.once_in(every) {
                self.fault();
            }
            if self.rng.once_in(64) || self.client_count == 0 {
                self.come_or_go();
            }
        }
        let choices = self.choices();
        match self.rng.pick(&choices) {
            Some(choice) => self.act(choice),
            None => self.wait(),
        }
    }

    /// Nothing can happen now: time passes until something is due.
    pub(super) fn wait(&mut self) {
        let due = self
            .nodes
            .iter()
            .filter(|node| !node.paused)
            .filter_map(|node| node.volume.as_ref())
            .map(Volume::deadline)
            .min();
        let most = self.now.after(Duration::from_millis(50));
        self.now = due.map_or(most, |due| due.min(most)).max(self.now);
    }

    pub(super) fn choices(&mut self) -> Vec<Choice> {
        let mut list = Vec::new();
        let asks = !self.quiet && (!self.options.bursts || (self.clock / 150).is_multiple_of(4));
        for (at, node) in self.nodes.iter().enumerate() {
            if node.paused {
                if self.now.since(node.since) > Duration::from_millis(5) {
                    list.push(Choice::Unpause(at));
                }
                self.may_exclude(at, &mut list);
                continue;
            }
            let Some(volume) = &node.volume else {
                if node.disk.is_empty() {
                    list.push(Choice::Start(at));
                }
                self.may_exclude(at, &mut list);
                continue;
            };
            list.extend(node.disk.keys().map(|id| Choice::Disk(at, *id)));
            list.extend((0..node.connecting.len()).map(|nth| Choice::Connect(at, nth)));
            list.extend(node.gone.iter().map(|client| Choice::Gone(at, *client)));
            if node.unsettled {
                list.push(Choice::Settle(at));
            }
            let hears = matches!(node.told.front(), Some(Told::Hearing(..)));
            if !node.told.is_empty() && (!node.isolated || hears) {
                list.push(Choice::Told(at));
            }
            if volume.deadline() <= self.now {
                list.push(Choice::Tick(at));
            }
            if asks && volume.room() > 8 && self.outstanding(at) < 12 {
                list.extend(node.clients.iter().map(|client| Choice::Ask(at, *client)));
            }
            if node.isolated {
                self.may_exclude(at, &mut list);
            } else if !self.is_member(at) {
                list.push(Choice::Admit(at));
            }
        }
        for (at, pipe) in self.pipes.iter().enumerate() {
            let (a, b) = (pipe.ends[0].0, pipe.ends[1].0);
            let cut = self.is_cut(a, b);
            for side in 0..2 {
                let node = &self.nodes[pipe.ends[side].0];
                let stuck = cut && !pipe.broken;
                if !pipe.queues[side].is_empty() && !node.paused && !stuck {
                    list.push(Choice::Frame(at, side));
                }
            }
            if cut && !pipe.broken && self.rng.once_in(20) {
                list.push(Choice::Break(at));
            }
        }
        list.extend((0..self.proposals.len()).map(Choice::Propose));
        if !self.log.primary_lives() {
            list.push(Choice::Promote);
        }
        list
    }

    pub(super) fn may_exclude(&self, at: usize, list: &mut Vec<Choice>) {
        let long = self.now.since(self.nodes[at].since) > SUSPICION;
        if self.is_member(at) && long {
            list.push(Choice::Exclude(at));
        }
    }

    pub(super) fn is_member(&self, at: usize) -> bool {
        let member = self.log.members.get(&NodeId(at as u8));
        member.is_some_and(|m| m.0 == self.nodes[at].incarnation)
    }

    pub(super) fn outstanding(&self, at: usize) -> usize {
        self.requests.range((at, 0)..(at + 1, 0)).count()
    }

    pub(super) fn is_cut(&self, a: usize, b: usize) -> bool {
        self.cuts.contains(&(a.min(b), a.max(b)))
    }

    pub(super) fn act(&mut self, choice: Choice) {
        if self.options.trace {
            println!("{} {choice:?}", self.clock);
        }
        match choice {
            Choice::Disk(at, id) => self.disk_ends(at, id),
            Choice::Frame(pipe, side) => self.deliver(pipe, side),
            Choice::Connect(at, nth) => self.connect(at, nth),
            Choice::Told(at) => self.tell(at),
            Choice::Propose(nth) => self.propose(nth),
            Choice::Tick(at) => self.event(at, Event::Tick),
            Choice::Settle(at) => self.settle(at),
            Choice::Ask(at, client) => self.ask(at, client),
            Choice::Gone(at, client) => {
                self.nodes[at].gone.remove(&client);
                let client = ClientId(client);
                self.event(at, Event::ClientWent { client });
            }
            Choice::Admit(at) => self.admit(at),
            Choice::Start(at) => {
                if self.quiet || self.rng.once_in(8) {
                    self.start(at);
                }
            }
            Choice::Promote => self.promote(),
            Choice::Break(at) => self.break_pipe(at),
            Choice::Unpause(at) => {
                if self.quiet || self.rng.once_in(50) {
                    self.nodes[at].paused = false;
                    self.hear();
                }
            }
            Choice::Exclude(at) => self.exclude(at),
        }
    }
}
