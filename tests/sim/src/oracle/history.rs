//! Everything that clients asked and were told, cut into one history per register and checked.
//!
//! Times are true times: a call is when the request reached its node, an answer is when the
//! primary let it out (both inside the client's own waiting, so the check is sharper than the
//! client's view). An answer that never reached its client is none.
//!
//! Where every in-sync replica lost power, the history is cut at that time: what was asked before
//! and not answered before may have happened before, or after, or both.

use steadfast::types::Extent;

use super::grid::Grid;
use super::zones::{Checker, Op};
use crate::queue::Instant;

/// One piece of a request, by number (from 1: the number 0 is the zeroes of a new volume).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece(pub u64);

#[derive(Clone, Copy, Debug)]
struct Asked {
    extent: Extent,
    write: bool,
    fua: bool,
    call: Instant,
    ret: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    piece: u64,
    value: u64,
}

/// The history of one run.
#[derive(Debug)]
pub struct History {
    grid: Grid,
    asked: Vec<Asked>,
    registers: Vec<Vec<Entry>>,
    /// Flushes that succeeded.
    flushes: Vec<(Instant, Instant)>,
    /// When all in-sync replicas had lost power.
    crashes: Vec<Instant>,
    operations: u64,
}

/// What was found wrong in a register's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anomaly {
    /// Which.
    pub register: u32,
    /// What, in words, with the register's history.
    pub text: String,
}

impl History {
    /// Of a volume of `size` bytes.
    #[must_use]
    pub fn new(grid: Grid, size: u64) -> Self {
        Self {
            grid,
            asked: Vec::new(),
            registers: vec![Vec::new(); grid.count(size)],
            flushes: Vec::new(),
            crashes: Vec::new(),
            operations: 0,
        }
    }

    /// Operations (per register) that a check covers.
    #[must_use]
    pub const fn operations(&self) -> u64 {
        self.operations
    }

    /// A request has reached its node.
    pub fn call(&mut self, extent: Extent, write: bool, fua: bool, now: Instant) -> Piece {
        self.asked.push(Asked {
            extent,
            write,
            fua,
            call: now,
            ret: Instant::MAX,
        });
        let piece = self.asked.len() as u64;
        if write {
            for register in self.grid.registers(extent) {
                self.operations += 1;
                self.registers[register as usize].push(Entry {
                    piece,
                    value: Grid::value(piece, register),
                });
            }
        }
        Piece(piece)
    }

    /// The bytes that a write carries: those of its extent.
    pub fn fill(&self, piece: Piece, bytes: &mut [u8]) {
        let asked = self.asked[piece.0 as usize - 1];
        for register in self.grid.registers(asked.extent) {
            let (offset, len) = self.grid.extent(register);
            let at = (offset - asked.extent.offset) as usize;
            Grid::fill(&mut bytes[at..at + len], Grid::value(piece.0, register));
        }
    }

    /// It succeeded; `bytes` are what a read returned for its extent.
    ///
    /// # Errors
    /// The bytes are none that anybody wrote there.
    pub fn ret(&mut self, piece: Piece, bytes: &[u8], now: Instant) -> Result<(), String> {
        let asked = &mut self.asked[piece.0 as usize - 1];
        asked.ret = now;
        let asked = *asked;
        if asked.write {
            return Ok(());
        }
        for register in self.grid.registers(asked.extent) {
            let (offset, len) = self.grid.extent(register);
            let at = (offset - asked.extent.offset) as usize;
            let value = Grid::parse(&bytes[at..at + len], register)
                .map_err(|e| format!("read of {:?}: {e}", asked.extent))?;
            self.operations += 1;
            self.registers[register as usize].push(Entry {
                piece: piece.0,
                value,
            });
        }
        Ok(())
    }

    /// A flush, asked at `call`, succeeded.
    pub fn flushed(&mut self, call: Instant, ret: Instant) {
        self.operations += 1;
        self.flushes.push((call, ret));
    }

    /// The last in-sync replica that had kept its power lost it at `at`.
    pub fn crashed(&mut self, at: Instant) {
        self.crashes.push(at);
    }

    /// When a power loss took every in-sync replica.
    #[must_use]
    pub fn crashes(&self) -> &[Instant] {
        &self.crashes
    }

    /// Checks every register; `last` gives what the volume holds now, where that is known.
    ///
    /// # Errors
    /// The first register whose history is impossible.
    pub fn check(&mut self) -> Result<(), Anomaly> {
        self.crashes.sort_unstable();
        self.crashes.dedup();
        let mut checker = Checker::default();
        let mut ops = Vec::new();
        for register in 0..self.registers.len() {
            if self.registers[register].is_empty() {
                continue;
            }
            if let Err(text) = self.check_register(register, &mut checker, &mut ops) {
                return Err(Anomaly {
                    register: register as u32,
                    text: format!("{text}\n{}", self.tell(register)),
                });
            }
        }
        Ok(())
    }

    /// The latest call of a flush that was answered before `end`.
    fn flushed_before(&self, end: Instant) -> Instant {
        let done = self.flushes.iter().filter(|(_, ret)| *ret < end);
        done.map(|(call, _)| *call).max().unwrap_or(0)
    }

    fn check_register(
        &self,
        register: usize,
        checker: &mut Checker,
        ops: &mut Vec<Op>,
    ) -> Result<(), String> {
        let begins: Vec<Instant> = std::iter::once(0)
            .chain(self.crashes.iter().copied())
            .collect();
        let end_of = |at: usize| begins.get(at + 1).copied().unwrap_or(Instant::MAX);
        let mut values = vec![Some(0); begins.len()];
        // Backwards: what nobody read and nobody wrote is what was found after the next loss.
        for at in (1..begins.len()).rev() {
            values[at] = self.found(register, begins[at], end_of(at))?;
            if values[at].is_none()
                && let Some(Some(later)) = values.get(at + 1).copied()
                && self.older(later, begins[at])
            {
                values[at] = Some(later);
            }
        }
        for (at, &begin) in begins.iter().enumerate() {
            let end = end_of(at);
            let found = values.get(at + 1).copied().flatten();
            self.segment(register, begin, end, values[at], ops);
            checker.check(ops, found.map(|value| (value, end)))?;
        }
        Ok(())
    }

    /// Whether nothing at or after `begin` can have written the value.
    fn older(&self, value: u64, begin: Instant) -> bool {
        let op = Grid::op(value);
        op == 0 || self.asked[op as usize - 1].ret < begin
    }

    /// The operations of one register between two losses of power, `value` being there at first.
    fn segment(
        &self,
        register: usize,
        begin: Instant,
        end: Instant,
        value: Option<u64>,
        ops: &mut Vec<Op>,
    ) {
        ops.clear();
        let flushed = self.flushed_before(end);
        if let Some(value) = value {
            ops.push(Op {
                value,
                write: true,
                call: begin,
                ret: begin,
                // What was there after a loss of power is durable.
                covered: true,
            });
        }
        for entry in &self.registers[register] {
            let asked = self.asked[entry.piece as usize - 1];
            if asked.call >= end || asked.ret < begin || Some(entry.value) == value && asked.write {
                continue;
            }
            let answered = asked.ret < end;
            if !asked.write && !answered {
                continue;
            }
            ops.push(Op {
                value: entry.value,
                write: asked.write,
                call: asked.call.max(begin),
                ret: if answered { asked.ret } else { Instant::MAX },
                covered: answered && (asked.ret < flushed || asked.fua),
            });
        }
    }

    /// What the register held after the loss of power at `begin`: the value of a read before
    /// `end` that nothing of this time wrote. None if no read tells.
    fn found(&self, register: usize, begin: Instant, end: Instant) -> Result<Option<u64>, String> {
        let mut found = None;
        for entry in &self.registers[register] {
            let asked = self.asked[entry.piece as usize - 1];
            if asked.write || asked.ret < begin || asked.ret >= end {
                continue;
            }
            if !self.older(entry.value, begin) {
                // Written (again) after the loss, or may have been.
                continue;
            }
            if found.is_some_and(|value| value != entry.value) {
                return Err(format!(
                    "after the loss of power at {begin} both {:#x} and {:#x} were read",
                    found.unwrap_or(0),
                    entry.value
                ));
            }
            found = Some(entry.value);
        }
        Ok(found)
    }

    /// A register's history, for people.
    #[must_use]
    pub fn tell(&self, register: usize) -> String {
        let mut text = String::new();
        let mut entries = self.registers[register].clone();
        entries.sort_by_key(|entry| self.asked[entry.piece as usize - 1].call);
        for entry in entries {
            let asked = self.asked[entry.piece as usize - 1];
            let ret = if asked.ret == Instant::MAX {
                "?".to_owned()
            } else {
                asked.ret.to_string()
            };
            text.push_str(&format!(
                "  {:>12} .. {ret:>12}  #{} {}{} {:#x} (#{})\n",
                asked.call,
                entry.piece,
                if asked.write { "write" } else { "read " },
                if asked.fua { " fua" } else { "" },
                entry.value,
                Grid::op(entry.value),
            ));
        }
        for (call, ret) in &self.flushes {
            text.push_str(&format!("  {call:>12} .. {ret:>12}  flush\n"));
        }
        for at in &self.crashes {
            text.push_str(&format!(
                "  {at:>12}  every in-sync replica has lost power\n"
            ));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXTENT: Extent = Extent {
        offset: 512,
        len: 512,
    };

    fn write(history: &mut History, call: Instant, ret: Option<Instant>) -> u64 {
        let piece = history.call(EXTENT, true, false, call);
        if let Some(ret) = ret {
            history.ret(piece, &[], ret).unwrap();
        }
        piece.0
    }

    fn read(history: &mut History, op: u64, call: Instant, ret: Instant) {
        let piece = history.call(EXTENT, false, false, call);
        let mut bytes = [0; 512];
        if op > 0 {
            Grid::fill(&mut bytes, Grid::value(op, 1));
        }
        history.ret(piece, &bytes, ret).unwrap();
    }

    fn history() -> History {
        History::new(Grid { shift: 0 }, 4096)
    }

    #[test]
    fn a_stale_read_is_found() {
        let mut h = history();
        write(&mut h, 10, Some(20));
        read(&mut h, 0, 30, 40);
        assert!(h.check().is_err());
    }

    #[test]
    fn an_unflushed_write_may_be_lost_and_a_flushed_one_not() {
        for flushed in [false, true] {
            let mut h = history();
            write(&mut h, 10, Some(20));
            if flushed {
                h.flushed(25, 30);
            }
            h.crashed(50);
            read(&mut h, 0, 60, 70);
            assert_eq!(h.check().is_err(), flushed);
        }
    }

    #[test]
    fn without_a_loss_of_power_nothing_may_be_lost() {
        let mut h = history();
        let first = write(&mut h, 10, Some(20));
        write(&mut h, 30, Some(40));
        read(&mut h, first, 60, 70);
        assert!(h.check().is_err());
    }

    #[test]
    fn after_a_loss_reads_agree() {
        let mut h = history();
        let first = write(&mut h, 10, Some(20));
        let second = write(&mut h, 30, Some(40));
        h.crashed(50);
        read(&mut h, first, 60, 70);
        assert!(h.check().is_ok());
        read(&mut h, second, 80, 90);
        assert!(h.check().is_err());
    }

    #[test]
    fn a_write_asked_before_a_loss_and_answered_after_it_counts_after_it() {
        let mut h = history();
        let lost = write(&mut h, 10, Some(60));
        read(&mut h, lost, 20, 30);
        h.crashed(50);
        read(&mut h, 0, 51, 52);
        read(&mut h, lost, 70, 80);
        assert_eq!(h.check(), Ok(()));
        read(&mut h, 0, 90, 95);
        assert!(h.check().is_err());
    }

    #[test]
    fn what_survived_two_losses_was_there_between_them() {
        let mut h = history();
        let first = write(&mut h, 10, Some(20));
        h.crashed(50);
        h.crashed(60);
        read(&mut h, first, 70, 80);
        assert_eq!(h.check(), Ok(()));
    }
}
