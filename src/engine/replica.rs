//! A replica: takes what the primary of the newest term sends, by its newest link.
//!
//! Taking up a link: what came by older links, of any peer, is drained first; the term becomes
//! durable; then the replica reports what it holds that others may miss, and serves. Nothing that
//! came by an older link has any effect after that.

mod frames;

use super::config::VolumeConfig;
use super::io::{Buf, Effect, Effects, LinkId};
use super::store::{Compare, Done, FlushUser, Owner, Store, release};
use crate::record::VolumeRecord;
use crate::types::{Index, NodeId, Seq, Term};
use crate::wire::frame::{Frame, Purpose, Refusal};

/// A term has so many sequence numbers, as a power of two.
const SEQ_BITS: u32 = 40;
/// A primary that has given out so many asks for a new term.
pub(super) const SEQ_SOFT: u64 = 1 << (SEQ_BITS - 1);
/// The last term that has numbers, and another one after it.
pub(super) const TERM_MAX: Term = Term((1 << (64 - SEQ_BITS)) - 2);

/// Sequence numbers of a term begin above this one: nothing that a term gave out, and that may be
/// lost, is ever given out again.
pub(super) const fn base_of(term: Term) -> Seq {
    Seq(term.0 << SEQ_BITS)
}

/// What an answer to a `Mark*` or `DirtyRunsEnd` waits for.
#[derive(Clone, Copy, Debug)]
enum Wait {
    Superblock(u64),
    Marked { replica: NodeId, since: Index },
    AllMarked,
}

/// An attach that is being prepared, or has been answered.
#[derive(Clone, Copy, Debug)]
struct Attach {
    link: LinkId,
    term: Term,
    purpose: Purpose,
    resync: u32,
    /// The superblock that makes the term durable, once everything older has been drained.
    superblock: Option<u64>,
}

/// What a replica needs of its surroundings in each call.
pub(super) struct ReplicaCx<'a> {
    pub config: &'a VolumeConfig,
    pub record: Option<&'a VolumeRecord>,
    pub store: &'a mut Store,
    pub out: &'a mut Effects,
}

/// The replica's side of the links from primaries.
#[derive(Clone, Debug)]
pub(super) struct Replica {
    pending: Option<Attach>,
    attached: Option<Attach>,
    /// Only with `Canaries::keep_old_link_frames`.
    kept: Option<LinkId>,
    importing: bool,
    waits: Vec<(LinkId, Index, Wait)>,
}

impl Replica {
    pub fn new() -> Self {
        Self {
            pending: None,
            attached: None,
            kept: None,
            importing: false,
            waits: Vec::with_capacity(16),
        }
    }

    /// Whether the link is one of a primary that this replica serves, or is about to.
    pub fn owns(&self, link: LinkId) -> bool {
        let is = |attach: Option<Attach>| attach.is_some_and(|attach| attach.link == link);
        is(self.pending) || is(self.attached) || self.kept == Some(link)
    }

    /// Whether nothing is being prepared.
    pub fn at_rest(&self) -> bool {
        self.pending.is_none() && self.waits.is_empty()
    }

    /// The highest term that was attached, or is about to be.
    pub fn term(&self) -> Term {
        let of = |attach: Option<Attach>| attach.map_or(Term(0), |attach| attach.term);
        of(self.pending).max(of(self.attached))
    }

    /// This node becomes primary itself, or its store is of no use: no link is served any more.
    pub fn close(&mut self, out: &mut Effects) {
        for attach in [self.pending.take(), self.attached.take()]
            .into_iter()
            .flatten()
        {
            out.push(Effect::Close { link: attach.link });
        }
        self.kept = None;
        self.importing = false;
        self.waits.clear();
    }

    /// A link has ended. What came by it is still applied.
    pub fn link_down(&mut self, link: LinkId) {
        if self.pending.is_some_and(|attach| attach.link == link) {
            self.pending = None;
        }
        if self.attached.is_some_and(|attach| attach.link == link) {
            self.attached = None;
            self.importing = false;
        }
        if self.kept == Some(link) {
            self.kept = None;
        }
        self.waits.retain(|wait| wait.0 != link);
    }

    /// A primary attaches: the first frame of its link. The caller has made sure that its term is
    /// not below any that this node has seen.
    pub fn attach(
        &mut self,
        link: LinkId,
        term: Term,
        purpose: Purpose,
        resync: u32,
        cx: &mut ReplicaCx<'_>,
    ) {
        if cx.config.canaries.keep_old_link_frames {
            self.kept = self.attached.take().map(|attach| attach.link);
        }
        self.close_but(self.kept, cx.out);
        // What has not reached the disk was never acknowledged; the new primary sends what counts.
        if !cx.config.canaries.keep_old_link_frames {
            cx.store.cancel_waiting(cx.out);
        }
        self.pending = Some(Attach {
            link,
            term,
            purpose,
            resync,
            superblock: None,
        });
        self.advance(cx);
    }

    fn close_but(&mut self, kept: Option<LinkId>, out: &mut Effects) {
        self.close(out);
        self.kept = kept;
    }

    /// Goes on with what waited.
    pub fn advance(&mut self, cx: &mut ReplicaCx<'_>) {
        self.answer_waits(cx);
        let Some(mut attach) = self.pending else {
            return;
        };
        if cx.store.broken.is_some() {
            refuse(attach.link, Refusal::StoreFailed, attach.term, cx.out);
            self.pending = None;
            return;
        }
        let drained = cx.store.is_drained() || cx.config.canaries.keep_old_link_frames;
        if attach.superblock.is_none() && drained {
            let term = attach.term.max(cx.store.term);
            attach.superblock = Some(cx.store.set_term(term, cx.out));
            self.pending = Some(attach);
        }
        if attach
            .superblock
            .is_some_and(|superblock| cx.store.is_durable(superblock))
        {
            self.pending = None;
            self.attached = Some(attach);
            self.begin(attach, cx);
        }
    }

    fn begin(&mut self, attach: Attach, cx: &mut ReplicaCx<'_>) {
        cx.store.give_up_handing_over(cx.out);
        let behind = attach.purpose == Purpose::Resync;
        if behind {
            cx.store.set_behind();
        } else {
            cx.store.set_counting();
        }
        cx.store.take_stock(base_of(attach.term), behind);
        let Attach { link, resync, .. } = attach;
        let mut say = |frame| {
            cx.out.push(Effect::Send {
                link,
                frame,
                buf: Buf::NONE,
            });
        };
        let exact = cx.store.unstable.is_exact();
        say(Frame::ReportBegin {
            resync,
            store: cx.store.id,
            boot: cx.config.boot,
            seq: cx.store.seq,
            exact,
            windows: cx.store.windows.is_complete(),
        });
        for held in cx.store.unstable.iter() {
            say(Frame::ReportChange {
                seq: held.seq,
                extent: held.extent,
            });
        }
        if !exact && !cx.config.canaries.restarted_replica_reports_nothing {
            let mut regions: Vec<u32> = cx.store.active_regions().collect();
            regions.sort_unstable();
            runs(regions.into_iter(), |first, regions| {
                say(Frame::ReportActive { first, regions });
            });
        }
        if behind {
            let written = cx.store.written().ones().map(|region| region as u32);
            runs(written, |first, regions| {
                say(Frame::ReportWritten { first, regions });
            });
        }
        say(Frame::ReportEnd { resync });
    }

    /// A frame has come by a link that this replica owns.
    pub fn frame(&mut self, link: LinkId, frame: Frame, buf: Buf, cx: &mut ReplicaCx<'_>) {
        let Some(attach) = self
            .attached
            .filter(|attach| attach.link == link || self.kept == Some(link))
        else {
            // It speaks before it has been answered.
            release(buf, cx.out);
            self.hang_up(link, cx.out);
            return;
        };
        if self.take(link, attach, frame, buf, cx).is_none() {
            release(buf, cx.out);
            self.hang_up(link, cx.out);
        }
        self.answer_waits(cx);
    }

    /// Something of a link of this replica has ended on the disk.
    pub fn done(&mut self, done: Done, cx: &mut ReplicaCx<'_>) {
        let (link, frame, failed) = match done {
            Done::Applied {
                owner: Owner::Change { link, seq },
                errno,
            } => (link, Frame::Changed { seq, errno }, errno),
            Done::Applied {
                owner: Owner::Copy { link, resync, id },
                errno,
            } => (link, Frame::Copied { resync, id, errno }, errno),
            Done::Compared {
                compare: Compare {
                    link, resync, id, ..
                },
                same,
                errno,
            } => {
                let frame = Frame::Compared {
                    resync,
                    id,
                    same,
                    errno,
                };
                (link, frame, errno)
            }
            Done::Flushed {
                user: FlushUser::Replica { link, id },
                errno,
            } => (link, Frame::Flushed { id, errno }, errno),
            Done::Applied { .. } | Done::Flushed { .. } => unreachable!("the primary's"),
        };
        if failed != 0 && cx.store.broken.is_none() {
            // What it holds is not what the primary thinks any more.
            cx.store.break_down(failed, cx.out);
        }
        if self.owns(link) {
            cx.out.push(Effect::Send {
                link,
                frame,
                buf: Buf::NONE,
            });
        }
    }

    fn answer_waits(&mut self, cx: &mut ReplicaCx<'_>) {
        while let Some(&(link, entry, wait)) = self.waits.first() {
            let errno = cx.store.broken.unwrap_or(0);
            let ready = match wait {
                Wait::Superblock(superblock) => cx.store.is_durable(superblock),
                // A bitmap that was given up since is waited for by nobody.
                Wait::Marked { replica, since } => {
                    cx.store.is_marked(replica, since)
                        || cx.store.dirty(replica).is_none_or(|dirty| dirty.0 != since)
                }
                Wait::AllMarked => cx.store.all_marked(),
            };
            if !ready && errno == 0 {
                return;
            }
            self.waits.remove(0);
            cx.out.push(Effect::Send {
                link,
                frame: Frame::Configured { entry, errno },
                buf: Buf::NONE,
            });
        }
    }

    fn hang_up(&mut self, link: LinkId, out: &mut Effects) {
        out.push(Effect::Close { link });
        self.link_down(link);
    }
}

/// Refuses a primary and closes its link.
pub(super) fn refuse(link: LinkId, why: Refusal, term: Term, out: &mut Effects) {
    out.push(Effect::Send {
        link,
        frame: Frame::Refused { why, term },
        buf: Buf::NONE,
    });
    out.push(Effect::Close { link });
}

/// Calls `found` for each run of consecutive numbers.
fn runs(numbers: impl Iterator<Item = u32>, mut found: impl FnMut(u32, u32)) {
    let mut run: Option<(u32, u32)> = None;
    for number in numbers {
        run = match run {
            Some((first, count)) if first + count == number => Some((first, count + 1)),
            Some((first, count)) => {
                found(first, count);
                Some((number, 1))
            }
            None => Some((number, 1)),
        };
    }
    if let Some((first, count)) = run {
        found(first, count);
    }
}
