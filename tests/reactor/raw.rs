//! An NBD client that does as it is told, also when that is wrong.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

const MAGIC: u64 = 0x4948_4156_454f_5054;

/// A connection.
pub struct Raw(pub UnixStream);

/// The fields of a simple reply.
#[derive(Debug, PartialEq, Eq)]
pub struct Reply {
    pub errno: u32,
    pub cookie: u64,
}

impl Raw {
    /// Connects; nothing has been said yet.
    pub fn connect(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).expect("a connection");
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .expect("the connection lives");
        Self(stream)
    }

    /// Connects and chooses the default export, with simple replies. Gives its size.
    pub fn open(socket: &Path) -> (Self, u64) {
        Self::open_export(socket, "")
    }

    /// Connects and chooses an export, with simple replies. Gives its size.
    pub fn open_export(socket: &Path, name: &str) -> (Self, u64) {
        let mut raw = Self::connect(socket);
        raw.take::<18>();
        raw.0
            .write_all(&3_u32.to_be_bytes())
            .expect("the connection lives");
        // EXPORT_NAME.
        raw.option(1, name.as_bytes());
        let size = u64::from_be_bytes(raw.take());
        raw.take::<2>();
        (raw, size)
    }

    /// Sends an option.
    pub fn option(&mut self, option: u32, data: &[u8]) {
        self.0
            .write_all(&MAGIC.to_be_bytes())
            .expect("the connection lives");
        self.0
            .write_all(&option.to_be_bytes())
            .expect("the connection lives");
        self.0
            .write_all(&(data.len() as u32).to_be_bytes())
            .expect("the connection lives");
        self.0.write_all(data).expect("the connection lives");
    }

    /// Reads exactly `N` bytes.
    pub fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.read_exact(&mut bytes).expect("the connection lives");
        bytes
    }

    /// The header of a request.
    pub fn header(command: u16, flags: u16, cookie: u64, offset: u64, len: u32) -> Vec<u8> {
        let mut bytes = 0x2560_9513_u32.to_be_bytes().to_vec();
        bytes.extend(flags.to_be_bytes());
        bytes.extend(command.to_be_bytes());
        bytes.extend(cookie.to_be_bytes());
        bytes.extend(offset.to_be_bytes());
        bytes.extend(len.to_be_bytes());
        bytes
    }

    /// Sends bytes.
    pub fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).expect("the connection lives");
    }

    /// Reads a simple reply's header.
    pub fn reply(&mut self) -> Reply {
        let bytes: [u8; 16] = self.take();
        assert_eq!(bytes[..4], 0x6744_6698_u32.to_be_bytes());
        Reply {
            errno: u32::from_be_bytes(bytes[4..8].try_into().expect("4 or 8 bytes")),
            cookie: u64::from_be_bytes(bytes[8..].try_into().expect("4 or 8 bytes")),
        }
    }

    /// Whether the server has closed the connection, without another word.
    pub fn is_closed(&mut self) -> bool {
        matches!(self.0.read(&mut [0; 1]), Ok(0) | Err(_))
    }
}
