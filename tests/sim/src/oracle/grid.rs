//! How the volume is cut into registers, and what clients write into each.
//!
//! A register is a sector, or, where the run's clients are unaligned, one of the two parts into
//! which every sector is cut. A client's request covers whole registers; what it writes into one is
//! a number of its own, repeated, in which the register's place is hidden: data that lands in the
//! wrong place, or half, shows.

use std::ops::Range;

use steadfast::types::Extent;

use crate::disk::SECTOR;

/// Low bits of a value: the register it belongs to.
const PLACE_BITS: u32 = 24;

/// The cut of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Where in each sector the second register begins; 0 if there is one register a sector.
    pub shift: u64,
}

impl Grid {
    /// The value that operation number `op` writes into `register`.
    #[must_use]
    pub const fn value(op: u64, register: u32) -> u64 {
        op << PLACE_BITS | register as u64
    }

    /// The operation that wrote a value.
    #[must_use]
    pub const fn op(value: u64) -> u64 {
        value >> PLACE_BITS
    }

    /// Registers of a volume.
    #[must_use]
    pub const fn count(self, size: u64) -> usize {
        let sectors = (size / SECTOR as u64) as usize;
        if self.shift == 0 {
            sectors
        } else {
            sectors * 2
        }
    }

    /// The register that begins at `offset`.
    fn index(self, offset: u64) -> u32 {
        let (sector, at) = (offset / SECTOR as u64, offset % SECTOR as u64);
        if self.shift == 0 {
            assert_eq!(at, 0, "requests cover whole registers");
            return sector as u32;
        }
        assert!(
            at == 0 || at == self.shift,
            "requests cover whole registers"
        );
        (sector * 2 + u64::from(at != 0)) as u32
    }

    /// The registers of an extent.
    #[must_use]
    pub fn registers(self, extent: Extent) -> Range<u32> {
        self.index(extent.offset)..self.index(extent.end())
    }

    /// Where a register begins, and its length.
    #[must_use]
    pub fn extent(self, register: u32) -> (u64, usize) {
        let register = u64::from(register);
        let sector = SECTOR as u64;
        if self.shift == 0 {
            return (register * sector, SECTOR);
        }
        let start = register / 2 * sector;
        if register.is_multiple_of(2) {
            (start, self.shift as usize)
        } else {
            (start + self.shift, (sector - self.shift) as usize)
        }
    }

    /// Fills one register's bytes.
    pub fn fill(bytes: &mut [u8], value: u64) {
        let value = value.to_le_bytes();
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&value[..chunk.len()]);
        }
    }

    /// What a register's bytes say.
    ///
    /// # Errors
    /// They are of several values, or belong elsewhere.
    pub fn parse(bytes: &[u8], register: u32) -> Result<u64, String> {
        let first: [u8; 8] = bytes[..8].try_into().expect("registers have 8 bytes");
        let whole = bytes.chunks(8).all(|chunk| chunk == &first[..chunk.len()]);
        let value = u64::from_le_bytes(first);
        if !whole {
            let at = bytes
                .chunks(8)
                .position(|chunk| chunk != &first[..chunk.len()])
                .unwrap_or(0)
                * 8;
            let end = (at + 8).min(bytes.len());
            return Err(format!(
                "register {register} is torn: {value:#x}, and {:02x?} at byte {at}",
                &bytes[at..end]
            ));
        }
        let place = value & ((1 << PLACE_BITS) - 1);
        if value != 0 && place != u64::from(register) {
            return Err(format!(
                "register {register} holds {value:#x}, which belongs to register {place}"
            ));
        }
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_tile_the_volume() {
        for shift in [0, 8, 77, 504] {
            let grid = Grid { shift };
            let mut at = 0;
            for register in 0..grid.count(8192) as u32 {
                let (offset, len) = grid.extent(register);
                assert_eq!(offset, at);
                at += len as u64;
                let extent = Extent {
                    offset,
                    len: len as u32,
                };
                assert_eq!(grid.registers(extent), register..register + 1);
            }
            assert_eq!(at, 8192);
        }
    }

    #[test]
    fn what_is_filled_is_parsed_and_damage_shows() {
        let mut bytes = [0; 77];
        Grid::fill(&mut bytes, Grid::value(5, 9));
        assert_eq!(Grid::parse(&bytes, 9), Ok(Grid::value(5, 9)));
        assert!(Grid::parse(&bytes, 8).is_err());
        bytes[76] ^= 1;
        assert!(Grid::parse(&bytes, 9).is_err());
        assert_eq!(Grid::parse(&[0; 77], 3), Ok(0));
    }
}
