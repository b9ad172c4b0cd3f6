//! What is measured.

/// One kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    /// As shown, and as named to `--only`.
    pub name: &'static str,
    /// fio's name of the pattern.
    pub pattern: &'static str,
    /// Bytes of each request.
    pub block: u64,
    /// Requests in flight.
    pub depth: u32,
}

impl Case {
    /// Whether throughput is told in MiB/s and not in I/Os a second.
    pub const fn is_sequential(&self) -> bool {
        self.block >= 1 << 20
    }
}

const fn case(name: &'static str, pattern: &'static str, block: u64, depth: u32) -> Case {
    Case {
        name,
        pattern,
        block,
        depth,
    }
}

/// All of them.
pub const CASES: [Case; 5] = [
    case("randwrite-qd1", "randwrite", 4096, 1),
    case("randwrite-qd32", "randwrite", 4096, 32),
    case("randread-qd1", "randread", 4096, 1),
    case("randread-qd32", "randread", 4096, 32),
    case("seqwrite-qd8", "write", 1 << 20, 8),
];
