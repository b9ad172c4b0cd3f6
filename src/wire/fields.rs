//! Little-endian fields one after the other, in a slice that is known to be long enough.

/// Puts fields into a slice that was zero.
pub struct Writer<'a> {
    bytes: &'a mut [u8],
    at: usize,
}

/// Takes fields from a slice.
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

macro_rules! field {
    ($name:ident, $int:ty) => {
        pub fn $name(&mut self, value: $int) {
            self.bytes[self.at..self.at + size_of::<$int>()].copy_from_slice(&value.to_le_bytes());
            self.at += size_of::<$int>();
        }
    };
    (take $name:ident, $int:ty) => {
        pub fn $name(&mut self) -> $int {
            let mut value = [0; size_of::<$int>()];
            value.copy_from_slice(&self.bytes[self.at..self.at + size_of::<$int>()]);
            self.at += size_of::<$int>();
            <$int>::from_le_bytes(value)
        }
    };
}

impl<'a> Writer<'a> {
    pub fn new(bytes: &'a mut [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes that were put.
    pub fn len(&self) -> usize {
        self.at
    }

    pub fn bytes(&mut self, value: &[u8]) {
        self.bytes[self.at..self.at + value.len()].copy_from_slice(value);
        self.at += value.len();
    }

    field!(u8, u8);
    field!(u16, u16);
    field!(u32, u32);
    field!(u64, u64);
    field!(u128, u128);
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut value = [0; N];
        value.copy_from_slice(&self.bytes[self.at..self.at + N]);
        self.at += N;
        value
    }

    /// Whether all that was not taken is zero.
    pub fn rest_is_zero(&self) -> bool {
        self.bytes[self.at..].iter().all(|&byte| byte == 0)
    }

    field!(take u8, u8);
    field!(take u16, u16);
    field!(take u32, u32);
    field!(take u64, u64);
    field!(take u128, u128);
}
