//! Reading a log file at start.

use super::page::{self, Body, Found};
use super::{Geometry, Identity, LogRefused, PAGE, RecoveredLog, header};
use crate::member::entry::Entry;
use crate::member::state::State;
use crate::types::{Index, NodeId};

/// Reads a log file whole.
///
/// # Errors
/// The file is not this node's log, or a page that counts is damaged. A page that was being written
/// when the power went is no error: nobody has relied on it.
pub fn recover(image: &[u8], cluster: u128, node: NodeId) -> Result<RecoveredLog, LogRefused> {
    let identity = Identity { cluster, node };
    let header = headers(image, identity)?;
    let geometry = header.geometry;
    let expected = geometry.pages() as usize * PAGE;
    if image.len() < expected {
        let bytes = image.len();
        return Err(LogRefused::Short { bytes, expected });
    }
    let (newest, torn) = newest(image, &identity, geometry)?;
    let mut log = RecoveredLog {
        identity,
        geometry,
        id: header.id,
        incarnation: header.incarnation,
        ballot: newest.ballot(),
        sequence: newest.sequence,
        tail: newest.tail,
        torn,
        snapshot: newest.snapshot,
        state: Vec::new(),
        entries: Vec::new(),
    };
    log.state = snapshot(image, &log)?;
    for sequence in newest.tail..=newest.sequence {
        let number = geometry.slot(sequence);
        let damaged = LogRefused::Damaged {
            page: number,
            what: "entries",
        };
        match page::decode(page_at(image, number), &identity) {
            Found::Page(body) if body.sequence == sequence => {
                replay(&mut log, *body).ok_or(damaged)?;
            }
            _ => return Err(damaged),
        }
    }
    Ok(log)
}

fn page_at(image: &[u8], number: u32) -> &[u8] {
    let at = number as usize * PAGE;
    image.get(at..at + PAGE).unwrap_or_default()
}

fn headers(image: &[u8], identity: Identity) -> Result<header::Header, LogRefused> {
    let found = [0, 1].map(|number| header::decode(page_at(image, number)));
    let mut best: Option<header::Header> = None;
    for found in found {
        match found {
            header::Found::Version(found) => return Err(LogRefused::Version { found }),
            header::Found::Header(header) => {
                let newer = best.is_none_or(|best| best.incarnation < header.incarnation);
                best = if newer { Some(header) } else { best };
            }
            header::Found::Blank | header::Found::Damaged | header::Found::Foreign => {}
        }
    }
    let Some(best) = best else {
        return Err(if found.contains(&header::Found::Damaged) {
            let what = "the header";
            LogRefused::Damaged { page: 0, what }
        } else if found == [header::Found::Blank; 2] {
            LogRefused::Blank
        } else {
            LogRefused::Foreign
        });
    };
    if best.identity.cluster != identity.cluster {
        let found = best.identity.cluster;
        return Err(LogRefused::Cluster { found });
    }
    if best.identity.node != identity.node {
        let found = best.identity.node.0;
        return Err(LogRefused::Node { found });
    }
    Ok(best)
}

/// The page with the largest number. The one after it may have been torn, but not changed since;
/// whether it was.
fn newest(
    image: &[u8],
    identity: &Identity,
    geometry: Geometry,
) -> Result<(Body, bool), LogRefused> {
    let mut newest: Option<Body> = None;
    for number in geometry.ring()..geometry.pages() {
        match page::decode(page_at(image, number), identity) {
            Found::Page(body) if geometry.slot(body.sequence) == number => {
                if newest.as_ref().is_none_or(|n| n.sequence < body.sequence) {
                    newest = Some(*body);
                }
            }
            Found::Version(found) => return Err(LogRefused::Version { found }),
            Found::Page(_) | Found::Damaged(_) | Found::Blank | Found::Mixed(_) => {}
        }
    }
    let Some(newest) = newest else {
        let (page, what) = (geometry.ring(), "the ring");
        return Err(LogRefused::Damaged { page, what });
    };
    let next = newest.sequence + 1;
    let before = next.checked_sub(u64::from(geometry.ring_pages));
    let tags = [page::tag(next), before.map_or(0, page::tag), 0];
    let page = geometry.slot(next);
    let torn = match page::decode(page_at(image, page), identity) {
        Found::Blank | Found::Version(_) => false,
        Found::Mixed(found) if found.iter().all(|tag| tags.contains(tag)) => true,
        // What was there a round before, sound or not, counts for nothing any more.
        Found::Page(body) if Some(body.sequence) == before => false,
        Found::Damaged(tag) if tag == tags[1] => false,
        Found::Mixed(_) | Found::Damaged(_) | Found::Page(_) => {
            let what = "the newest entries";
            return Err(LogRefused::Damaged { page, what });
        }
    };
    let tail_is_sane = newest.tail <= newest.sequence
        && newest.sequence - newest.tail < u64::from(geometry.ring_pages)
        && newest.snapshot.area <= 1
        && newest.snapshot.len as usize <= geometry.snapshot_max();
    if !tail_is_sane {
        let (page, what) = (geometry.slot(newest.sequence), "the newest entries");
        return Err(LogRefused::Damaged { page, what });
    }
    Ok((newest, torn))
}

fn snapshot(image: &[u8], log: &RecoveredLog) -> Result<Vec<u8>, LogRefused> {
    let page = log.geometry.area(log.snapshot.area);
    let start = page as usize * PAGE;
    let bytes = &image[start..start + log.snapshot.len as usize];
    if crc32fast::hash(bytes) != log.snapshot.crc || State::decode(bytes).is_none() {
        let what = "a snapshot";
        return Err(LogRefused::Damaged { page, what });
    }
    Ok(bytes.to_vec())
}

/// Adds the entries of a page; none if they do not follow what is there.
fn replay(log: &mut RecoveredLog, body: Body) -> Option<()> {
    let base = log.snapshot.last.index.0;
    let entries = body.entries.into_iter().enumerate();
    for (at, entry) in entries {
        let index = body.first.0 + at as u64;
        if index > base {
            place(&mut log.entries, Index(index - base - 1), entry)?;
        }
    }
    Some(())
}

fn place(entries: &mut Vec<Entry>, at: Index, entry: Entry) -> Option<()> {
    let at = usize::try_from(at.0).ok()?;
    match entries.get(at) {
        Some(known) if known.term == entry.term => {}
        Some(_) => {
            entries.truncate(at);
            entries.push(entry);
        }
        None if at == entries.len() => entries.push(entry),
        None => return None,
    }
    Some(())
}
