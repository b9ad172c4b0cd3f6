//! How a daemon ends, as its parent reads it. Every other end is a crash: it is started again.

/// It was asked to stop.
pub const STOPPED: u8 = 0;
/// Something outside is in the way (a port in use, a store that another process holds): worth a
/// few more tries. `EX_TEMPFAIL`
pub const BUSY: u8 = 75;
/// The configuration or a file is wrong: a person must change something first. `EX_CONFIG`
pub const CONFIG: u8 = 78;
