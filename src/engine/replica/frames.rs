//! What each frame of a primary does.

use super::{Attach, Replica, ReplicaCx, Wait, base_of};
use crate::engine::io::{Buf, LinkId};
use crate::engine::store::{Begin, Compare, FlushUser, Job, Owner};
use crate::types::{BLOCK, Index, NodeId, Seq, Term};
use crate::wire::frame::{Change, Frame, Origin, Purpose};

impl Replica {
    /// Carries out a frame. None if it breaks the protocol; the buffer is not taken then.
    pub(super) fn take(
        &mut self,
        link: LinkId,
        attach: Attach,
        frame: Frame,
        buf: Buf,
        cx: &mut ReplicaCx<'_>,
    ) -> Option<()> {
        match frame {
            Frame::Change {
                seq,
                stable,
                flushed,
                change,
                extent,
                origin,
                absent,
            } => {
                let in_term = seq > base_of(attach.term) && seq < base_of(Term(attach.term.0 + 1));
                if extent.end() > cx.config.size || !in_term || stable >= seq || flushed > stable {
                    return None;
                }
                cx.store.set_watermarks(stable, flushed, cx.out);
                let kinds = self.kinds(absent, cx);
                let job = Job {
                    owner: Owner::Change { link, seq },
                    seq,
                    change,
                    extent,
                    buf,
                    release: true,
                    origin,
                    kinds,
                };
                cx.store.apply(job, cx.out);
            }
            Frame::Copy {
                resync,
                id,
                extent,
                zero,
            } => {
                let expected = resync == attach.resync && attach.purpose == Purpose::Resync;
                if extent.end() > cx.config.size || !expected {
                    return None;
                }
                let job = Job {
                    owner: Owner::Copy { link, resync, id },
                    seq: Seq(0),
                    change: if zero { Change::Zero } else { Change::Write },
                    extent,
                    buf,
                    release: true,
                    origin: Origin::default(),
                    kinds: 0,
                };
                cx.store.apply(job, cx.out);
            }
            Frame::Compare {
                resync,
                id,
                extent,
                digest,
            } => {
                let expected = resync == attach.resync && attach.purpose == Purpose::Resync;
                if extent.end() > cx.config.size || !expected {
                    return None;
                }
                let compare = Compare {
                    link,
                    resync,
                    id,
                    extent,
                    digest,
                };
                cx.store.compare(compare, cx.out);
            }
            Frame::Flush { id } => {
                cx.store.flush(FlushUser::Replica { link, id }, cx.out);
            }
            Frame::Watermark { stable, flushed } => {
                if stable >= base_of(Term(attach.term.0 + 1)) || flushed > stable {
                    return None;
                }
                cx.store.set_watermarks(stable, flushed, cx.out);
                if stable == flushed {
                    // Nothing is under way anywhere.
                    cx.store.clear_idle(cx.out);
                }
            }
            Frame::Window(window) => {
                self.begin_import(cx);
                cx.store.windows.import(attach.term, window);
            }
            Frame::WindowsEnd => {
                self.begin_import(cx);
                self.importing = false;
                cx.store.windows.import_end();
                if attach.purpose == Purpose::Resync {
                    cx.store.set_counting();
                }
            }
            Frame::Reconciled { through } => {
                if through >= base_of(Term(attach.term.0 + 1)) {
                    return None;
                }
                cx.store.reconcile_through(through);
            }
            Frame::MarkAbsent { replica, entry, .. } => {
                self.check(replica, cx)?;
                let how = if entry == Index(0) {
                    Begin::Written
                } else {
                    Begin::Unstable
                };
                cx.store.begin_absent(replica, entry, how, cx.out);
                let since = entry;
                self.waits
                    .push((link, entry, Wait::Marked { replica, since }));
            }
            Frame::MarkPresent { replica, entry } => {
                if replica == cx.config.me {
                    cx.store.set_in_sync();
                } else {
                    self.check(replica, cx)?;
                    cx.store.end_absent(replica, cx.out);
                }
                let wait = Wait::Superblock(cx.store.wanted());
                self.waits.push((link, entry, wait));
            }
            Frame::DirtyRun {
                absent,
                since,
                first,
                blocks,
            } => {
                self.check(absent, cx)?;
                if blocks == 0 {
                    cx.store.begin_absent(absent, since, Begin::Empty, cx.out);
                } else if first + blocks <= cx.config.size / BLOCK {
                    cx.store.mark_run(absent, first, blocks);
                } else {
                    return None;
                }
            }
            Frame::DirtyRunsEnd { entry } => {
                cx.store.handed_over(cx.out);
                self.waits.push((link, entry, Wait::AllMarked));
            }
            _ => return None,
        }
        Some(())
    }

    fn begin_import(&mut self, cx: &mut ReplicaCx<'_>) {
        if !self.importing {
            self.importing = true;
            cx.store.windows.import_begin();
        }
    }

    /// The bitmaps of the replicas that a frame names, as bits.
    fn kinds(&self, absent: u8, cx: &ReplicaCx<'_>) -> u16 {
        if absent == 0 {
            return 0;
        }
        let Some(record) = cx.record else { return 0 };
        let named = |at: usize| at < 8 && absent & 1 << at != 0;
        let nodes = record.replicas.iter().enumerate();
        cx.store
            .kinds(nodes.filter(|&(at, _)| named(at)).map(|(_, r)| r.node))
    }

    /// Whether it is another replica of this volume.
    fn check(&self, replica: NodeId, cx: &ReplicaCx<'_>) -> Option<()> {
        let known = cx.record.is_some_and(|r| r.replica(replica).is_some());
        (known && replica != cx.config.me).then_some(())
    }
}
