//! The intent ring, read and replayed: which records count, and which damage may be overlooked.

use super::Read;
use crate::meta::ring::{self, BadPage, Decoded};
use crate::meta::superblock::Superblock;
use crate::meta::{Finding, PAGE, Refused, Severity, layout};
use crate::types::Seq;

/// The intent ring, replayed.
#[derive(Debug)]
pub(super) struct Ring {
    pub number: u64,
    pub seq: Seq,
    pub table: Vec<Option<u32>>,
}

pub(super) fn read_ring(
    read: &mut Read<'_>,
    superblock: &Superblock,
    findings: &mut Vec<Finding>,
) -> Result<Ring, Refused> {
    let layout = &superblock.layout;
    let damaged = |what: String| Refused::RingDamaged { what };
    let pages: Vec<Result<Decoded, BadPage>> = (0..ring::PAGES as u64)
        .map(|index| {
            let mut page = [0; PAGE];
            match read(layout.ring_page(index), &mut page) {
                Ok(()) => ring::decode(superblock.store, &page),
                Err(_) => Err(BadPage::Rotten(Vec::new())),
            }
        })
        .collect();
    let in_place = |index: u64, record: &Decoded| record.number % ring::PAGES as u64 == index;
    let last = (0..)
        .zip(&pages)
        .filter_map(|(index, page)| page.as_ref().ok().filter(|record| in_place(index, record)))
        .map(|record| record.number)
        .max()
        .ok_or_else(|| damaged(String::from("no record in it is intact")))?;
    if last < ring::PAGES as u64 {
        return Err(damaged(String::from("it was never formatted whole")));
    }
    // From the oldest to the newest; `first` moves behind each gap.
    let oldest = last - (ring::PAGES as u64 - 1);
    let mut first = oldest;
    for number in oldest..=last {
        let offset = layout.ring_page(number);
        let fault = match &pages[(number % ring::PAGES as u64) as usize] {
            Ok(record) if record.number == number => continue,
            Ok(record) => format!("holds record {} instead of {number}", record.number),
            Err(BadPage::OtherStore) => String::from("holds a record of another store"),
            Err(BadPage::Torn(numbers)) if number == oldest => {
                let next = last + 1;
                if numbers.contains(&(next as u32))
                    && numbers
                        .iter()
                        .all(|&n| n == next as u32 || n == oldest as u32)
                {
                    findings.push(Finding {
                        severity: Severity::Suspicious,
                        offset,
                        what: format!(
                            "record {next} of the intent ring was cut off by a loss of power; it \
                             had not been relied on"
                        ),
                    });
                    first = number + 1;
                    continue;
                }
                String::from("is a mixture of records")
            }
            Err(BadPage::Torn(_)) => String::from("is a mixture of records"),
            Err(BadPage::Rotten(numbers)) if number == oldest => {
                // Only what is left of it tells whether this is the oldest record, which nobody
                // needs, or one newer than all the others.
                if numbers.is_empty() || numbers.contains(&((last + 1) as u32)) {
                    return Err(damaged(format!(
                        "the page after record {last}, at byte {offset}, cannot be read, and may \
                         have held a newer record"
                    )));
                }
                String::from("has a wrong checksum")
            }
            Err(BadPage::Rotten(_)) => String::from("has a wrong checksum"),
        };
        let what = format!("the page of record {number} of the intent ring {fault}");
        if number + ring::ROTATION as u64 > last {
            return Err(damaged(format!("{what}, at byte {offset}")));
        }
        findings.push(Finding {
            severity: Severity::Damaged,
            offset,
            what: format!("{what}; the newer records tell the same"),
        });
        first = number + 1;
    }
    let mut table = vec![None; ring::SLOTS];
    let mut seq = Seq(0);
    for number in first..=last {
        if let Ok(record) = &pages[(number % ring::PAGES as u64) as usize] {
            record.apply(&mut table);
            seq = seq.max(record.seq);
        }
    }
    let regions = layout::regions(superblock.size);
    if let Some(region) = table
        .iter()
        .flatten()
        .find(|&&region| u64::from(region) >= regions)
    {
        return Err(damaged(format!(
            "it names region {region} of a volume of {regions} regions"
        )));
    }
    Ok(Ring {
        number: last,
        seq,
        table,
    })
}
