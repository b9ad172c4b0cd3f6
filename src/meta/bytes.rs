//! Little-endian fields at fixed places of a page.

use super::PAGE;

macro_rules! field {
    ($get:ident, $put:ident, $int:ty) => {
        /// The field at byte `at`.
        pub fn $get(page: &[u8], at: usize) -> $int {
            let mut bytes = [0; size_of::<$int>()];
            bytes.copy_from_slice(&page[at..at + size_of::<$int>()]);
            <$int>::from_le_bytes(bytes)
        }

        /// Sets the field at byte `at`.
        pub fn $put(page: &mut [u8], at: usize, value: $int) {
            page[at..at + size_of::<$int>()].copy_from_slice(&value.to_le_bytes());
        }
    };
}

field!(u16_at, put_u16, u16);
field!(u32_at, put_u32, u32);
field!(u64_at, put_u64, u64);
field!(u128_at, put_u128, u128);

/// Whether every byte is zero.
pub fn is_zero(bytes: &[u8]) -> bool {
    // By pieces, each without a branch: whole stores go through here.
    bytes
        .chunks(PAGE)
        .all(|piece| piece.iter().fold(0, |all, byte| all | byte) == 0)
}
