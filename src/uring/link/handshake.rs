//! The handshake of a link: carries its messages, and says with whom and for which volume it is.

use std::io;

use super::{Ended, Link, Phase};
use crate::engine::io::Event;
use crate::types::{Time, VolumeId};
use crate::uring::kit::Wants;
use crate::uring::served::Served;
use crate::uring::socket;
use crate::wire::handshake::{
    self, ACK, Acceptor, HELLO, Identity, NONCE, Opener, PROOF, Peer, Refused,
};
use crate::wire::key::ClusterKey;

/// Who this node is, for handshakes.
pub(in crate::uring) struct Credentials {
    pub(in crate::uring) key: ClusterKey,
    pub(in crate::uring) identity: Identity,
}

impl Link {
    /// The wait has ended: begins the handshake.
    ///
    /// # Errors
    /// There is no connection.
    pub(in crate::uring) fn connected(
        &mut self,
        credentials: &Credentials,
        volume: VolumeId,
    ) -> Result<(), Ended> {
        self.connecting = false;
        if self.closed {
            return Ok(());
        }
        socket::connected(&self.socket).map_err(Ended::Failed)?;
        let peer = self.peer.expect("a link out has an aim");
        let (opener, hello) = Opener::new(
            &credentials.key,
            &credentials.identity,
            volume,
            peer,
            nonce().map_err(Ended::Failed)?,
        );
        self.outbound.head(HELLO).copy_from_slice(&hello);
        self.phase = Phase::Opening(Box::new(opener));
        Ok(())
    }

    /// The next message of the handshake, if it is whole.
    fn message<const N: usize>(&mut self) -> Result<Option<[u8; N]>, Refused> {
        let unread = self.inbound.unread();
        let Some(&message) = unread.first_chunk() else {
            return handshake::begins(unread).map(|()| None);
        };
        self.inbound.consume(N);
        Ok(Some(message))
    }

    /// One step of the handshake; none if another may follow.
    pub(super) fn shake(
        &mut self,
        now: Time,
        credentials: &Credentials,
        volumes: &mut [Served],
    ) -> Result<Option<Wants>, Ended> {
        match &self.phase {
            Phase::Opening(opener) => {
                let opener = opener.clone();
                let Some(ack) = self.message::<ACK>()? else {
                    return Ok(Some(Wants::Bytes));
                };
                let (peer, proof) = opener.answered(&ack)?;
                self.outbound.head(PROOF).copy_from_slice(&proof);
                Ok(self.up(now, peer, volumes))
            }
            Phase::Called => {
                let Some(hello) = self.message::<HELLO>()? else {
                    return Ok(Some(Wants::Bytes));
                };
                let knows = |volume| volumes.iter().any(|served| served.id == volume);
                let nonce = nonce().map_err(Ended::Failed)?;
                let Credentials { key, identity } = credentials;
                match Acceptor::new(key, identity, knows, &hello, nonce) {
                    Ok((acceptor, ack)) => {
                        self.outbound.head(ACK).copy_from_slice(&ack);
                        self.phase = Phase::Proving(Box::new(acceptor));
                        Ok(None)
                    }
                    Err(why) => {
                        let reject = handshake::reject(why);
                        self.outbound.head(ACK).copy_from_slice(&reject);
                        Err(why.into())
                    }
                }
            }
            Phase::Proving(acceptor) => {
                let acceptor = acceptor.clone();
                let Some(proof) = self.message::<PROOF>()? else {
                    return Ok(Some(Wants::Bytes));
                };
                let peer = acceptor.proved(&proof)?;
                self.peer = Some(peer.node);
                self.volume = volumes.iter().position(|served| served.id == peer.volume);
                Ok(self.up(now, peer, volumes))
            }
            Phase::Connecting | Phase::Up => Ok(None),
        }
    }

    fn up(&mut self, now: Time, peer: Peer, volumes: &mut [Served]) -> Option<Wants> {
        self.phase = Phase::Up;
        self.deadline = Time::MAX;
        let volume = self
            .volume
            .expect("the handshake has named one that is here");
        let up = Event::LinkUp {
            link: self.id,
            peer: peer.node,
            incarnation: peer.incarnation,
            direction: self.direction,
        };
        volumes[volume].event(now, up).then_some(Wants::Apply)
    }
}

/// A number never used before.
fn nonce() -> io::Result<[u8; NONCE]> {
    let mut nonce = [0; NONCE];
    getrandom::fill(&mut nonce).map_err(io::Error::other)?;
    Ok(nonce)
}
