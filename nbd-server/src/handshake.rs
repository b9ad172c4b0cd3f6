//! The handshake: fixed newstyle, from the greeting to the transmission phase.

use crate::export::Export;
use crate::option::{Malformed, Wanted, list, reply};
use crate::protocol::{
    FLAG_FIXED_NEWSTYLE, FLAG_NO_ZEROES, MAGIC, OPT_ABORT, OPT_EXPORT_NAME, OPT_GO, OPT_INFO,
    OPT_LIST, OPT_STRUCTURED_REPLY, OPTION_DATA_MAX, OPTION_DRAINED_MAX, OPTION_MAGIC, OPTIONS_MAX,
    REP_ACK, REP_ERR_INVALID, REP_ERR_TOO_BIG, REP_ERR_UNKNOWN, REP_ERR_UNSUP, STRING_MAX,
};
use crate::request::Transmission;

/// [`Handshake::input`] stops using bytes once it has this many to send: a client that asks
/// without reading the answers costs no more memory than one answer beyond it.
pub const OUTPUT_PAUSE: usize = 64 << 10;

const FLAGS_LEN: usize = 4;
const HEADER_LEN: usize = 16;

/// How far the handshake is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// More bytes are needed (or what is in `out` has to be sent first).
    Continue,
    /// The client has chosen: send `out`; the bytes not used are requests.
    Transmission(Transmission),
    /// Send `out`, then close.
    Close,
}

/// What comes next on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The client's flags.
    Flags,
    /// An option's header.
    Header,
    /// Data of EXPORT_NAME, INFO or GO.
    Data { option: u32, len: usize },
    /// Data that is not looked at, before the option is answered.
    Drain {
        option: u32,
        left: usize,
        answer: Answer,
    },
    /// The handshake is over.
    Over,
}

/// Answer to an option whose data is not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    List,
    StructuredReply,
    Error(u32, &'static str),
}

/// The handshake of one connection.
#[derive(Debug)]
pub struct Handshake {
    state: State,
    /// The part of the current item that has come.
    item: Vec<u8>,
    options: u32,
    fixed: bool,
    zeroes: bool,
    structured: bool,
}

impl Handshake {
    /// Begins: appends the greeting to `out`.
    #[must_use]
    pub fn new(out: &mut Vec<u8>) -> Self {
        out.extend(MAGIC.to_be_bytes());
        out.extend(OPTION_MAGIC.to_be_bytes());
        out.extend((FLAG_FIXED_NEWSTYLE | FLAG_NO_ZEROES).to_be_bytes());
        Self {
            state: State::Flags,
            item: Vec::new(),
            options: 0,
            fixed: false,
            zeroes: true,
            structured: false,
        }
    }

    /// Takes bytes of the client; appends what is to be sent to `out`.
    ///
    /// Returns how many bytes were used. If `out` has grown to [`OUTPUT_PAUSE`], send it, empty it
    /// and call again with the rest, even if that is nothing; else all bytes were used, or the
    /// outcome is not `Continue`, and the handshake is over and uses nothing more.
    pub fn input(
        &mut self,
        bytes: &[u8],
        exports: &[Export],
        out: &mut Vec<u8>,
    ) -> (usize, Outcome) {
        let mut used = 0;
        while out.len() < OUTPUT_PAUSE {
            let rest = &bytes[used..];
            let outcome = match self.state {
                State::Over => Outcome::Close,
                State::Drain {
                    option,
                    left,
                    answer,
                } => {
                    let skip = left.min(rest.len());
                    used += skip;
                    if skip < left {
                        self.state = State::Drain {
                            option,
                            left: left - skip,
                            answer,
                        };
                        return (used, Outcome::Continue);
                    }
                    self.state = State::Header;
                    self.answer(option, answer, exports, out);
                    Outcome::Continue
                }
                State::Flags | State::Header | State::Data { .. } => {
                    let missing = self.item_len() - self.item.len();
                    let take = missing.min(rest.len());
                    self.item.extend_from_slice(&rest[..take]);
                    used += take;
                    if take < missing {
                        return (used, Outcome::Continue);
                    }
                    let item = std::mem::take(&mut self.item);
                    let outcome = self.item(&item, exports, out);
                    self.item = item;
                    self.item.clear();
                    outcome
                }
            };
            if outcome != Outcome::Continue {
                self.state = State::Over;
                return (used, outcome);
            }
        }
        (used, Outcome::Continue)
    }

    fn item_len(&self) -> usize {
        match self.state {
            State::Flags => FLAGS_LEN,
            State::Header => HEADER_LEN,
            State::Data { len, .. } => len,
            State::Drain { .. } | State::Over => 0,
        }
    }

    /// Takes a whole item.
    fn item(&mut self, item: &[u8], exports: &[Export], out: &mut Vec<u8>) -> Outcome {
        match self.state {
            State::Flags => self.flags(number(item, 0)),
            State::Header => {
                let magic = u64::from(number(item, 0)) << 32 | u64::from(number(item, 4));
                if magic != OPTION_MAGIC || self.options == OPTIONS_MAX {
                    return Outcome::Close;
                }
                self.options += 1;
                self.header(number(item, 8), number(item, 12), out)
            }
            State::Data {
                option: OPT_EXPORT_NAME,
                ..
            } => self.export_name(item, exports, out),
            State::Data { option, .. } => {
                self.state = State::Header;
                self.info(option, item, exports, out)
            }
            State::Drain { .. } | State::Over => unreachable!("no item is collected then"),
        }
    }

    fn flags(&mut self, flags: u32) -> Outcome {
        let fixed = u32::from(FLAG_FIXED_NEWSTYLE);
        let no_zeroes = u32::from(FLAG_NO_ZEROES);
        if flags & !(fixed | no_zeroes) != 0 {
            return Outcome::Close;
        }
        self.fixed = flags & fixed != 0;
        self.zeroes = flags & no_zeroes == 0;
        self.state = State::Header;
        Outcome::Continue
    }

    /// Decides by an option's header what to do with its data.
    fn header(&mut self, option: u32, len: u32, out: &mut Vec<u8>) -> Outcome {
        // Without fixed newstyle the client understands no answer but that of EXPORT_NAME.
        if !self.fixed && option != OPT_EXPORT_NAME {
            return Outcome::Close;
        }
        let data = len as usize;
        let answer = match option {
            OPT_EXPORT_NAME if data > STRING_MAX => return Outcome::Close,
            OPT_EXPORT_NAME => {
                self.state = State::Data { option, len: data };
                return Outcome::Continue;
            }
            OPT_ABORT => {
                reply(option, REP_ACK, &[], out);
                return Outcome::Close;
            }
            OPT_INFO | OPT_GO if data <= OPTION_DATA_MAX => {
                self.state = State::Data { option, len: data };
                return Outcome::Continue;
            }
            OPT_INFO | OPT_GO => Answer::Error(REP_ERR_TOO_BIG, "the option is too long"),
            OPT_LIST if data == 0 => Answer::List,
            OPT_STRUCTURED_REPLY if data == 0 => Answer::StructuredReply,
            OPT_LIST | OPT_STRUCTURED_REPLY => {
                Answer::Error(REP_ERR_INVALID, "the option takes no data")
            }
            _ => Answer::Error(REP_ERR_UNSUP, "the option is not supported"),
        };
        if len > OPTION_DRAINED_MAX {
            return Outcome::Close;
        }
        self.state = State::Drain {
            option,
            left: data,
            answer,
        };
        Outcome::Continue
    }

    fn answer(&mut self, option: u32, answer: Answer, exports: &[Export], out: &mut Vec<u8>) {
        match answer {
            Answer::List => list(exports, out),
            Answer::StructuredReply => {
                self.structured = true;
                reply(option, REP_ACK, &[], out);
            }
            Answer::Error(kind, text) => reply(option, kind, &[text.as_bytes()], out),
        }
    }

    fn export_name(&self, name: &[u8], exports: &[Export], out: &mut Vec<u8>) -> Outcome {
        let Some(export) = Export::find(exports, name) else {
            return Outcome::Close;
        };
        let begun = Transmission::new(export, &exports[export], self.structured);
        out.extend(begun.size.to_be_bytes());
        out.extend(begun.flags.bits().to_be_bytes());
        if self.zeroes {
            out.extend([0; 124]);
        }
        Outcome::Transmission(begun)
    }

    fn info(&self, option: u32, data: &[u8], exports: &[Export], out: &mut Vec<u8>) -> Outcome {
        let mut refuse = |kind: u32, text: &str| {
            reply(option, kind, &[text.as_bytes()], out);
            Outcome::Continue
        };
        let wanted = match Wanted::parse(data) {
            Ok(wanted) => wanted,
            Err(Malformed::Lengths) => {
                return refuse(REP_ERR_INVALID, "the lengths inside the option do not fit");
            }
            Err(Malformed::Name) => return refuse(REP_ERR_TOO_BIG, "the name is too long"),
        };
        let Some(export) = Export::find(exports, wanted.name) else {
            return refuse(REP_ERR_UNKNOWN, "there is no export of that name");
        };
        let begun = Transmission::new(export, &exports[export], self.structured);
        wanted.answer(option, &exports[export], &begun, out);
        if option == OPT_GO {
            Outcome::Transmission(begun)
        } else {
            Outcome::Continue
        }
    }
}

fn number(item: &[u8], at: usize) -> u32 {
    let mut bytes = [0; 4];
    bytes.copy_from_slice(&item[at..at + 4]);
    u32::from_be_bytes(bytes)
}
