//! A client that writes 4 KiB at queue depth 1, times every write, and can prove afterwards that
//! nothing acknowledged is gone.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use crate::client::Client;
use crate::latency::boot_nanos;

const BLOCK: u64 = 4096;

/// One acknowledged write: when it was sent and answered, nanoseconds of `CLOCK_BOOTTIME`.
#[derive(Clone, Copy, Debug)]
pub struct Timed {
    /// Sent.
    pub sent: u64,
    /// Answered.
    pub answered: u64,
}

/// What a writer did.
pub struct Written {
    /// Its first block.
    pub first: u64,
    /// Every write, in order.
    pub times: Vec<Timed>,
    /// By block: the tag that was last acknowledged, 0 for none; and one that may have been stored.
    pub blocks: Vec<(u64, Option<u64>)>,
    /// The error that ended it, if one did.
    pub error: Option<std::io::Error>,
}

/// A running writer.
pub struct Writer {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
    thread: JoinHandle<Written>,
}

/// Content of a block with this tag: every 8 bytes say it, so a torn block is seen.
fn content(tag: u64) -> [u8; BLOCK as usize] {
    let mut data = [0; BLOCK as usize];
    for word in data.chunks_exact_mut(8) {
        word.copy_from_slice(&tag.to_le_bytes());
    }
    data
}

impl Writer {
    /// Writes `blocks` blocks from block `first` on, in a scattered order, until stopped.
    #[must_use]
    pub fn start(address: SocketAddr, volume: &str, first: u64, blocks: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let count = Arc::new(AtomicU64::new(0));
        let (stopped, counted, volume) = (Arc::clone(&stop), Arc::clone(&count), volume.to_owned());
        let thread = std::thread::spawn(move || {
            let mut done = Written {
                first,
                times: Vec::new(),
                blocks: vec![(0, None); blocks as usize],
                error: None,
            };
            let mut client = match Client::connect(address, &volume) {
                Ok(client) => client,
                Err(error) => {
                    done.error = Some(error);
                    return done;
                }
            };
            let mut tag = 0_u64;
            while !stopped.load(Ordering::Relaxed) {
                tag += 1;
                // An odd multiplier scatters and still visits every block.
                let block = tag.wrapping_mul(0x9e37_79b9_7f4a_7c15) % blocks;
                let sent = boot_nanos();
                if let Err(error) = client.write((first + block) * BLOCK, &content(tag)) {
                    done.blocks[block as usize].1 = Some(tag);
                    done.error = Some(error);
                    return done;
                }
                done.times.push(Timed {
                    sent,
                    answered: boot_nanos(),
                });
                done.blocks[block as usize] = (tag, None);
                counted.fetch_add(1, Ordering::Relaxed);
            }
            done
        });
        Self {
            stop,
            count,
            thread,
        }
    }

    /// Writes acknowledged so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether it has ended by itself, with an error.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Stops it after the write in flight.
    ///
    /// # Panics
    ///
    /// The thread panicked.
    #[must_use]
    pub fn stop(self) -> Written {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the writer")
    }
}

impl Written {
    /// Reads every block back: what was acknowledged last is there, or what may have been stored
    /// after it.
    ///
    /// # Panics
    ///
    /// It is not.
    pub fn verify(&self, address: SocketAddr, volume: &str) {
        let mut client = Client::connect(address, volume).expect("connect to verify");
        let mut data = [0; BLOCK as usize];
        for (block, &(tag, maybe)) in self.blocks.iter().enumerate() {
            client
                .read((self.first + block as u64) * BLOCK, &mut data)
                .expect("read to verify");
            if tag == 0 {
                // An earlier writer may have been here.
                continue;
            }
            let first = self.first;
            let possible = [Some(tag), maybe]
                .into_iter()
                .flatten()
                .any(|tag| data == content(tag));
            assert!(
                possible,
                "block {block} of {first}..: acknowledged {tag}, perhaps {maybe:?}, found {}",
                u64::from_le_bytes(data[..8].try_into().expect("8 bytes"))
            );
        }
    }

    /// The longest time between sending and answer among writes that were in flight at or sent
    /// after `from` and before `to` (`CLOCK_BOOTTIME`).
    #[must_use]
    pub fn pause(&self, from: u64, to: u64) -> Option<std::time::Duration> {
        self.times
            .iter()
            .filter(|write| write.answered >= from && write.sent < to)
            .map(|write| write.answered - write.sent)
            .max()
            .map(std::time::Duration::from_nanos)
    }
}
