//! What a completion belongs to, packed into the kernel's 64 bits of user data.

/// One kind of operation in flight; the number is a slot of its owner's table, which is not freed
/// before the completion has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// The inbox's eventfd was read.
    Wake,
    /// A listener has a new connection.
    Accept(u32),
    /// A client's bytes.
    ClientReceive(u32),
    /// Bytes to a client.
    ClientSend(u32),
    /// An outgoing link's connect.
    LinkConnect(u32),
    /// A link's bytes.
    LinkReceive(u32),
    /// Bytes to a link.
    LinkSend(u32),
    /// A disk operation.
    Disk(u32),
    /// A cancellation; nobody waits for it.
    Cancel,
}

impl Token {
    pub(super) const fn pack(self) -> u64 {
        let (kind, slot) = match self {
            Self::Wake => (1, 0),
            Self::Accept(slot) => (2, slot),
            Self::ClientReceive(slot) => (3, slot),
            Self::ClientSend(slot) => (4, slot),
            Self::LinkConnect(slot) => (5, slot),
            Self::LinkReceive(slot) => (6, slot),
            Self::LinkSend(slot) => (7, slot),
            Self::Disk(slot) => (8, slot),
            Self::Cancel => (9, 0),
        };
        (kind << 32) | slot as u64
    }

    /// # Panics
    /// The kernel gave back something that `pack` did not make.
    pub(super) fn unpack(packed: u64) -> Self {
        let slot = packed as u32;
        match packed >> 32 {
            1 => Self::Wake,
            2 => Self::Accept(slot),
            3 => Self::ClientReceive(slot),
            4 => Self::ClientSend(slot),
            5 => Self::LinkConnect(slot),
            6 => Self::LinkReceive(slot),
            7 => Self::LinkSend(slot),
            8 => Self::Disk(slot),
            9 => Self::Cancel,
            kind => panic!("completion of an operation of kind {kind}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_the_kernel() {
        for token in [
            Token::Wake,
            Token::Accept(1),
            Token::ClientReceive(u32::MAX),
            Token::ClientSend(0),
            Token::LinkConnect(7),
            Token::LinkReceive(7),
            Token::LinkSend(7),
            Token::Disk(99),
            Token::Cancel,
        ] {
            assert_eq!(Token::unpack(token.pack()), token);
        }
    }
}
