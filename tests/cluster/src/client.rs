//! An NBD client that nobody here wrote (crate `nbd`): one request at a time.

use std::io::{Error, Read, Seek, SeekFrom, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use nbd::client::{NbdClient, handshake};

/// A connection to a volume.
pub struct Client {
    nbd: NbdClient<TcpStream>,
}

impl Client {
    /// Connects to the export `volume`.
    ///
    /// # Errors
    ///
    /// The connection or the handshake failed.
    pub fn connect(address: SocketAddr, volume: &str) -> Result<Self, Error> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        // Longer than any failover: a test must see an error or an answer, never hang for ever.
        stream.set_read_timeout(Some(Duration::from_secs(120)))?;
        let export = handshake(&mut stream, volume.as_bytes())?;
        Ok(Self {
            nbd: NbdClient::new(stream, &export),
        })
    }

    /// Writes `data` at `offset`.
    ///
    /// # Errors
    ///
    /// The server answered with an error, or the connection broke.
    pub fn write(&mut self, offset: u64, data: &[u8]) -> Result<(), Error> {
        self.nbd.seek(SeekFrom::Start(offset))?;
        self.nbd.write_all(data)
    }

    /// Reads into `data` at `offset`.
    ///
    /// # Errors
    ///
    /// As `write`.
    pub fn read(&mut self, offset: u64, data: &mut [u8]) -> Result<(), Error> {
        self.nbd.seek(SeekFrom::Start(offset))?;
        self.nbd.read_exact(data)
    }
}
