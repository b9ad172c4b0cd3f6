//! Connections between nodes: in order, cut anywhere.

use super::*;

impl World {
    pub(super) fn connect(&mut self, at: usize, nth: usize) {
        let peer = self.nodes[at].connecting.remove(nth);
        let to = peer.0 as usize;
        let up = self.nodes[to].volume.is_some() && !self.nodes[to].paused;
        if !up || self.is_cut(at, to) {
            let down = Event::LinkDown {
                link: None,
                peer,
                direction: Direction::Out,
            };
            self.event(at, down);
            return;
        }
        self.links += 2;
        self.pipes.push(Pipe {
            ends: [(at, LinkId(self.links)), (to, LinkId(self.links + 1))],
            queues: [
                VecDeque::from([Item::Up(Direction::Out)]),
                VecDeque::from([Item::Up(Direction::In)]),
            ],
            closed: [false; 2],
            broken: false,
        });
    }

    pub(super) fn end(&self, at: usize, link: LinkId) -> Option<(usize, usize)> {
        self.pipes.iter().enumerate().find_map(|(pipe, one)| {
            let side = one.ends.iter().position(|end| *end == (at, link))?;
            Some((pipe, side))
        })
    }

    pub(super) fn send(&mut self, at: usize, link: LinkId, frame: Frame, buf: Buf) {
        let bytes = buf.is_some().then(|| self.buffer(at, buf));
        let len = frame.payload_len();
        assert_eq!(len > 0, bytes.is_some(), "n{at}: payload of {frame:?}");
        let Some((pipe, side)) = self.end(at, link) else {
            panic!("n{at} sends by {link:?}, which it has closed");
        };
        let pipe = &mut self.pipes[pipe];
        assert!(!pipe.closed[side], "n{at} sends by a closed link");
        if !pipe.broken && !pipe.closed[1 - side] {
            pipe.queues[1 - side].push_back(Item::Frame(frame, bytes));
        }
    }

    pub(super) fn close(&mut self, at: usize, link: LinkId) {
        let Some((pipe, side)) = self.end(at, link) else {
            panic!("n{at} closes {link:?}, which it does not have");
        };
        assert!(
            !self.pipes[pipe].closed[side],
            "n{at} closes {link:?} twice"
        );
        self.pipes[pipe].closed[side] = true;
        self.break_pipe(pipe);
        self.sweep();
    }

    /// Cuts a connection: each end gets part of what was on its way, then the end of the link.
    pub(super) fn break_pipe(&mut self, at: usize) {
        let pipe = &mut self.pipes[at];
        if pipe.broken {
            for side in 0..2 {
                if pipe.closed[side] {
                    pipe.queues[side].clear();
                }
            }
            return;
        }
        pipe.broken = true;
        for side in 0..2 {
            let queue = &mut pipe.queues[side];
            if pipe.closed[side] {
                queue.clear();
                continue;
            }
            let up = matches!(queue.front(), Some(Item::Up(_)));
            let keep = self.rng.below(queue.len() as u64 + 1) as usize;
            queue.truncate(keep.max(usize::from(up)));
            queue.push_back(Item::Down(if side == 0 {
                Direction::Out
            } else {
                Direction::In
            }));
        }
    }

    pub(super) fn sweep(&mut self) {
        self.pipes.retain(|pipe| pipe.closed != [true; 2]);
    }

    pub(super) fn deliver(&mut self, at: usize, side: usize) {
        let (node, link) = self.pipes[at].ends[side];
        let (peer, _) = self.pipes[at].ends[1 - side];
        let Some(item) = self.pipes[at].queues[side].pop_front() else {
            return;
        };
        let id = NodeId(peer as u8);
        match item {
            Item::Up(direction) => {
                let incarnation = self.nodes[peer].incarnation;
                self.event(
                    node,
                    Event::LinkUp {
                        link,
                        peer: id,
                        incarnation,
                        direction,
                    },
                );
            }
            Item::Frame(frame, bytes) => {
                let buf = match bytes {
                    None => Buf::NONE,
                    Some(bytes) => {
                        let (skip, len) =
                            (frame.payload_skip() as usize, frame.payload_len() as usize);
                        let mut copy = vec![0xee; (skip + len).next_multiple_of(PAGE)];
                        copy[skip..skip + len].copy_from_slice(&bytes.borrow()[skip..skip + len]);
                        self.new_buffer(node, copy)
                    }
                };
                self.event(node, Event::Frame { link, frame, buf });
            }
            Item::Down(direction) => {
                self.pipes[at].closed[side] = true;
                self.sweep();
                self.event(
                    node,
                    Event::LinkDown {
                        link: Some(link),
                        peer: id,
                        direction,
                    },
                );
            }
        }
    }
}
