//! Numbers of the protocol (NetworkBlockDevice/nbd `doc/proto.md`) and the limits chosen here.
//! Everything on the wire is big-endian.

/// First eight bytes of the server: `NBDMAGIC`.
pub const MAGIC: u64 = 0x4e42_444d_4147_4943;
/// Begins the greeting's second part and every option: `IHAVEOPT`.
pub const OPTION_MAGIC: u64 = 0x4948_4156_454f_5054;
/// Begins every reply to an option.
pub const OPTION_REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
/// Begins every request.
pub const REQUEST_MAGIC: u32 = 0x2560_9513;
/// Begins every simple reply.
pub const SIMPLE_REPLY_MAGIC: u32 = 0x6744_6698;
/// Begins every chunk of a structured reply.
pub const STRUCTURED_REPLY_MAGIC: u32 = 0x668e_33ef;

/// Handshake flag, both ways: options other than EXPORT_NAME may be used.
pub const FLAG_FIXED_NEWSTYLE: u16 = 1;
/// Handshake flag, both ways: no 124 zeroes after the answer to EXPORT_NAME.
pub const FLAG_NO_ZEROES: u16 = 2;

/// Option: choose an export and begin; a failure can only be told by closing.
pub const OPT_EXPORT_NAME: u32 = 1;
/// Option: end the negotiation.
pub const OPT_ABORT: u32 = 2;
/// Option: list the exports.
pub const OPT_LIST: u32 = 3;
/// Option: begin TLS.
pub const OPT_STARTTLS: u32 = 5;
/// Option: tell about an export.
pub const OPT_INFO: u32 = 6;
/// Option: tell about an export and begin.
pub const OPT_GO: u32 = 7;
/// Option: use structured replies.
pub const OPT_STRUCTURED_REPLY: u32 = 8;

/// Reply to an option: done.
pub const REP_ACK: u32 = 1;
/// Reply to LIST: one export.
pub const REP_SERVER: u32 = 2;
/// Reply to INFO and GO: one piece of information.
pub const REP_INFO: u32 = 3;
/// Reply to an option: not known here.
pub const REP_ERR_UNSUP: u32 = (1 << 31) + 1;
/// Reply to an option: its data is malformed.
pub const REP_ERR_INVALID: u32 = (1 << 31) + 3;
/// Reply to an option: no such export.
pub const REP_ERR_UNKNOWN: u32 = (1 << 31) + 6;
/// Reply to an option: its data is too long.
pub const REP_ERR_TOO_BIG: u32 = (1 << 31) + 9;

/// Information: size and transmission flags.
pub const INFO_EXPORT: u16 = 0;
/// Information: the export's own name.
pub const INFO_NAME: u16 = 1;
/// Information: a text for people.
pub const INFO_DESCRIPTION: u16 = 2;
/// Information: smallest, preferred and largest sizes.
pub const INFO_BLOCK_SIZE: u16 = 3;

/// Command: read.
pub const CMD_READ: u16 = 0;
/// Command: write; the only one with a payload.
pub const CMD_WRITE: u16 = 1;
/// Command: close, no answer.
pub const CMD_DISC: u16 = 2;
/// Command: flush.
pub const CMD_FLUSH: u16 = 3;
/// Command: trim.
pub const CMD_TRIM: u16 = 4;
/// Command: prefetch.
pub const CMD_CACHE: u16 = 5;
/// Command: write zeroes.
pub const CMD_WRITE_ZEROES: u16 = 6;

/// Command flag: durable before the answer.
pub const CMD_FLAG_FUA: u16 = 1;
/// Command flag of WRITE_ZEROES: keep the space allocated.
pub const CMD_FLAG_NO_HOLE: u16 = 1 << 1;
/// Command flag of READ: one chunk only.
pub const CMD_FLAG_DF: u16 = 1 << 2;
/// Command flag of WRITE_ZEROES: fail at once rather than be slow.
pub const CMD_FLAG_FAST_ZERO: u16 = 1 << 4;

/// Chunk flag: the last one of the reply.
pub const CHUNK_DONE: u16 = 1;
/// Chunk type: nothing.
pub const CHUNK_NONE: u16 = 0;
/// Chunk type: data of a read.
pub const CHUNK_OFFSET_DATA: u16 = 1;
/// Chunk type: an error with a text.
pub const CHUNK_ERROR: u16 = (1 << 15) + 1;

/// Smallest block size told to clients. Smaller and unaligned requests are served all the same:
/// the kernel's client never asks for block sizes and never learns them.
pub const BLOCK_MIN: u32 = 512;
/// Preferred block size told to clients.
pub const BLOCK_PREFERRED: u32 = 4096;
/// Largest payload told to clients, in bytes: what qemu accepts.
pub const PAYLOAD_ADVERTISED_MAX: u32 = 32 << 20;
/// Largest READ and WRITE that is served, in bytes: what nbdkit accepts and libnbd sends.
pub const PAYLOAD_ACCEPTED_MAX: u32 = 64 << 20;
/// Longest payload of a refused WRITE that is read and thrown away; a longer one ends the
/// connection, since swallowing it would cost more than connecting again.
pub const PAYLOAD_DRAINED_MAX: u32 = 80 << 20;

/// Longest export name, description or error text, in bytes (the protocol's own limit).
pub const STRING_MAX: usize = 4096;
/// Longest data of INFO and GO that is looked at, in bytes: a name and some 2000 information
/// requests.
pub const OPTION_DATA_MAX: usize = 8192;
/// Longest data of an option that is read and thrown away to answer it politely.
pub const OPTION_DRAINED_MAX: u32 = 1 << 20;
/// Most options of one handshake: `qemu-nbd -L` sends a few for each export.
pub const OPTIONS_MAX: u32 = 4096;

const _: () = assert!(PAYLOAD_ADVERTISED_MAX <= PAYLOAD_ACCEPTED_MAX);
const _: () = assert!(PAYLOAD_ACCEPTED_MAX < PAYLOAD_DRAINED_MAX);
const _: () = assert!(OPTION_DATA_MAX > 4 + STRING_MAX + 2);
