//! The end of a reactor: nothing is let go before the kernel has done with it.

use std::io;
use std::time::Duration;

use super::clock;
use super::kit::Kit;
use super::pass::Pass;
use super::ring::Completion;
use super::token::Token;

/// How long `Input::Stop` waits for the kernel to end what is in flight.
const STOP_LIMIT: Duration = Duration::from_secs(5);

impl Pass {
    /// Ends everything: closes all connections and waits for the kernel. Whether it has ended all.
    pub(super) fn stop(&mut self) -> io::Result<bool> {
        self.end_clients();
        self.end_links();
        self.end_accepts();
        // Ends the read of the inbox.
        self.inbox.wake();
        let limit = clock::now().after(STOP_LIMIT);
        while self.kit.ring.in_flight() > 0 && clock::now() < limit {
            self.kit.ring.wait(Some(Duration::from_millis(100)))?;
            let mut completions = std::mem::take(&mut self.completions);
            self.kit.ring.reap(&mut completions, usize::MAX);
            for completion in completions.drain(..) {
                self.ended(completion);
            }
            self.completions = completions;
        }
        Ok(self.kit.ring.in_flight() == 0)
    }

    /// A completion while stopping: nothing follows from it, but what is left of a transfer.
    fn ended(&mut self, completion: Completion) {
        match completion.token {
            Token::Disk(slot) => {
                let Kit {
                    ring, slab, disk, ..
                } = &mut self.kit;
                disk.ended(ring, slab, slot, completion.count());
            }
            Token::ClientReceive(_)
            | Token::ClientSend(_)
            | Token::LinkReceive(_)
            | Token::LinkSend(_)
            | Token::LinkConnect(_)
            | Token::Accept(_)
            | Token::Wake
            | Token::Cancel => {}
        }
    }
}
