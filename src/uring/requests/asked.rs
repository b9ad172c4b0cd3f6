//! One request of a client, and how it is cut into pieces.

use nbd_server::{Command, Request};

use crate::engine::io::Buf;
use crate::types::{Extent, REGION};
use crate::wire::frame::{Ask, Change};

/// Pieces of one long trim or zero that are in flight at once: leaves room for other requests.
pub(super) const ZEROES_IN_FLIGHT: u32 = 64;

/// One request.
#[derive(Debug)]
pub(super) struct Asked {
    /// The client's slot; none once it has gone.
    pub(super) client: Option<u32>,
    pub(super) request: Request,
    /// First byte that no piece has been made for.
    pub(super) next: u64,
    pub(super) in_flight: u32,
    /// A flush is still to be done before the answer.
    pub(super) flush_after: bool,
    /// It is in its volume's list of requests that may have more pieces.
    pub(super) listed: bool,
    /// Of the first piece that failed.
    pub(super) errno: u16,
    /// The first piece's data, of a read.
    pub(super) first: Buf,
    /// The other pieces' data.
    pub(super) rest: Vec<Buf>,
}

impl Asked {
    pub(super) fn end(&self) -> u64 {
        self.request.offset + u64::from(self.request.len)
    }

    /// The next piece, if one is left.
    pub(super) fn next_extent(&self) -> Option<Extent> {
        let end = self.end().min((self.next / REGION + 1) * REGION);
        (self.next < end).then(|| Extent {
            offset: self.next,
            len: (end - self.next) as u32,
        })
    }

    /// Whether a piece may be made now, as far as this request goes.
    pub(super) fn may_emit(&self) -> bool {
        match self.request.command {
            Command::Trim | Command::WriteZeroes => self.in_flight < ZEROES_IN_FLIGHT,
            Command::Read | Command::Write | Command::Flush | Command::Cache => true,
        }
    }

    /// Keeps the data of a piece until the last one has come.
    pub(super) fn keep(&mut self, index: usize, buf: Buf) {
        if index == 0 {
            self.first = buf;
            return;
        }
        if self.rest.len() < index {
            self.rest.resize(index, Buf::NONE);
        }
        self.rest[index - 1] = buf;
    }

    pub(super) fn in_one_piece(&self) -> bool {
        self.request.offset / REGION == (self.end() - 1) / REGION
    }

    pub(super) fn ask(&self) -> Ask {
        // A request in several pieces is made durable by one flush behind them.
        let fua = self.request.fua && self.in_one_piece();
        let change = match self.request.command {
            Command::Read => return Ask::Read,
            Command::Write => Change::Write,
            Command::Trim => Change::Trim,
            Command::WriteZeroes if self.request.no_hole => Change::ZeroAllocated,
            Command::WriteZeroes => Change::Zero,
            Command::Flush | Command::Cache => unreachable!("neither has pieces"),
        };
        Ask::Change { change, fua }
    }
}

/// Buffers that a read needs: bytes of one, and how many of these.
pub(super) fn needs(request: &Request) -> [(usize, u32); 3] {
    let whole = Extent {
        offset: request.offset,
        len: request.len,
    };
    let bytes = |from: u64, to: u64| {
        Extent {
            offset: from,
            len: (to - from) as u32,
        }
        .blocks()
        .len as usize
    };
    let (first, last) = (whole.offset / REGION, (whole.end() - 1) / REGION);
    if first == last {
        return [(bytes(whole.offset, whole.end()), 1), (0, 0), (0, 0)];
    }
    [
        (bytes(whole.offset, (first + 1) * REGION), 1),
        (REGION as usize, (last - first - 1) as u32),
        (bytes(last * REGION, whole.end()), 1),
    ]
}
