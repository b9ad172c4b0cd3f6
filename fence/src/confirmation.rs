//! From power readings to a verdict.
//!
//! A node is confirmed off when every one of its power supplies has, after OFF was issued to all
//! of them, been read as off [`READINGS`] times in a row. Contact with the node voids it.
//!
//! The caller issues OFF and the readings, reports what came back, and decides how long to go on:
//! there is no clock here. A verdict other than `Confirmed` is what is known so far.

use crate::Verdict;

/// Most power supplies (BMC, outlets of a PDU) of one node.
pub const SUPPLIES_MAX: usize = 8;
/// Readings of off in a row that each supply needs. Two, since some devices say *off* while they
/// are still switching, or once out of a cache.
pub const READINGS: u8 = 2;

/// One of the node's power supplies: `0..supplies`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Supply(pub u8);

/// When a reading was asked for. Readings of an earlier epoch count for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Epoch(u32);

/// What a device says about a supply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reading {
    /// Exactly *off*; not "powering off".
    Off,
    /// On, or any state in which the node may run.
    On,
    /// No answer, or one that is not understood.
    Unknown,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The device has accepted OFF (not cycle, reset or a soft off) for a supply.
    OffIssued(Supply),
    /// The device has refused OFF.
    OffRefused(Supply),
    /// A reading has come back that was asked for in `asked` ([`Confirmation::epoch`] then).
    Read {
        /// Of which supply.
        supply: Supply,
        /// When it was asked for.
        asked: Epoch,
        /// What it said.
        reading: Reading,
    },
    /// The node was heard, or ON was sent to it: all that was learnt is void.
    Contact,
}

/// What is known of one supply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Known {
    issued: bool,
    refused: bool,
    seen_on: bool,
    off_in_a_row: u8,
}

/// One attempt to fence one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confirmation {
    supplies: [Known; SUPPLIES_MAX],
    count: usize,
    epoch: u32,
}

impl Confirmation {
    /// An attempt on a node with this many power supplies, about which nothing is known.
    ///
    /// # Panics
    /// If `supplies` is not within `1..=SUPPLIES_MAX`: the configuration has been checked.
    #[must_use]
    pub fn new(supplies: usize) -> Self {
        assert!((1..=SUPPLIES_MAX).contains(&supplies));
        Self {
            supplies: [Known::default(); SUPPLIES_MAX],
            count: supplies,
            epoch: 0,
        }
    }

    /// To be remembered with every reading that is asked for now.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        Epoch(self.epoch)
    }

    /// Takes note of `event` and says what is known after it.
    ///
    /// # Panics
    /// If it names a supply that the node does not have.
    pub fn step(&mut self, event: Event) -> Verdict {
        match event {
            Event::OffIssued(supply) => {
                // A reading asked for before, of any supply, may tell of a time before this OFF.
                self.void_readings();
                let known = self.known(supply);
                known.issued = true;
                known.refused = false;
            }
            Event::OffRefused(supply) => self.known(supply).refused = true,
            Event::Read {
                supply,
                asked,
                reading,
            } => {
                let counts = asked == self.epoch() && self.all_issued();
                let known = self.known(supply);
                if counts {
                    known.seen_on = reading == Reading::On;
                    known.off_in_a_row = match reading {
                        Reading::Off => known.off_in_a_row.saturating_add(1),
                        Reading::On | Reading::Unknown => 0,
                    };
                }
            }
            Event::Contact => {
                self.void_readings();
                self.supplies = [Known::default(); SUPPLIES_MAX];
            }
        }
        self.verdict()
    }

    /// What is known now.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let supplies = &self.supplies[..self.count];
        let off = |known: &Known| known.issued && known.off_in_a_row >= READINGS;
        if supplies.iter().all(off) {
            Verdict::Confirmed
        } else if supplies
            .iter()
            .any(|known| known.seen_on || (known.refused && !known.issued))
        {
            Verdict::Failed
        } else {
            Verdict::Unknown
        }
    }

    fn all_issued(&self) -> bool {
        self.supplies[..self.count].iter().all(|known| known.issued)
    }

    fn void_readings(&mut self) {
        self.epoch = self
            .epoch
            .checked_add(1)
            .expect("fence attempts are bounded per hour");
        for known in &mut self.supplies {
            known.off_in_a_row = 0;
            known.seen_on = false;
        }
    }

    fn known(&mut self, supply: Supply) -> &mut Known {
        assert!(usize::from(supply.0) < self.count);
        &mut self.supplies[usize::from(supply.0)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Supply = Supply(0);
    const B: Supply = Supply(1);

    fn read(on: &mut Confirmation, supply: Supply, reading: Reading) -> Verdict {
        let asked = on.epoch();
        on.step(Event::Read {
            supply,
            asked,
            reading,
        })
    }

    fn issued(supplies: u8) -> Confirmation {
        let mut on = Confirmation::new(usize::from(supplies));
        for supply in 0..supplies {
            assert_eq!(on.step(Event::OffIssued(Supply(supply))), Verdict::Unknown);
        }
        on
    }

    #[test]
    fn two_readings_of_every_supply_confirm() {
        let mut on = issued(2);
        assert_eq!(read(&mut on, A, Reading::Off), Verdict::Unknown);
        assert_eq!(read(&mut on, A, Reading::Off), Verdict::Unknown);
        assert_eq!(read(&mut on, A, Reading::Off), Verdict::Unknown);
        assert_eq!(read(&mut on, B, Reading::Off), Verdict::Unknown);
        assert_eq!(read(&mut on, B, Reading::Off), Verdict::Confirmed);
    }

    #[test]
    fn readings_before_every_off_count_for_nothing() {
        let mut on = Confirmation::new(2);
        on.step(Event::OffIssued(A));
        for _ in 0..5 {
            assert_eq!(read(&mut on, A, Reading::Off), Verdict::Unknown);
            assert_eq!(read(&mut on, B, Reading::Off), Verdict::Unknown);
        }
        on.step(Event::OffIssued(B));
        assert_eq!(read(&mut on, A, Reading::Off), Verdict::Unknown);
    }

    #[test]
    fn a_reading_asked_for_before_the_off_counts_for_nothing() {
        let mut on = Confirmation::new(1);
        let asked = on.epoch();
        on.step(Event::OffIssued(A));
        for _ in 0..5 {
            let late = on.step(Event::Read {
                supply: A,
                asked,
                reading: Reading::Off,
            });
            assert_eq!(late, Verdict::Unknown);
        }
    }

    #[test]
    fn readings_must_be_in_a_row() {
        for (between, after) in [
            (Reading::On, Verdict::Failed),
            (Reading::Unknown, Verdict::Unknown),
        ] {
            let mut on = issued(1);
            read(&mut on, A, Reading::Off);
            assert_eq!(read(&mut on, A, between), after);
            assert_eq!(read(&mut on, A, Reading::Off), Verdict::Unknown);
            assert_eq!(read(&mut on, A, Reading::Off), Verdict::Confirmed);
            // Someone switched it on again, or the device can no longer be asked.
            assert_eq!(read(&mut on, A, between), after);
        }
    }

    #[test]
    fn contact_voids_a_confirmation() {
        let mut on = issued(1);
        read(&mut on, A, Reading::Off);
        assert_eq!(read(&mut on, A, Reading::Off), Verdict::Confirmed);
        assert_eq!(on.step(Event::Contact), Verdict::Unknown);
        for _ in 0..5 {
            assert_eq!(read(&mut on, A, Reading::Off), Verdict::Unknown);
        }
    }

    #[test]
    fn a_refusal_is_a_failure_until_the_off_is_accepted() {
        let mut on = Confirmation::new(1);
        assert_eq!(on.step(Event::OffRefused(A)), Verdict::Failed);
        assert_eq!(on.step(Event::OffIssued(A)), Verdict::Unknown);
    }

    /// Every sequence of up to seven events: confirmed only if the last two readings of the supply
    /// said off, were asked for after the newest OFF, and there was no contact since.
    #[test]
    fn every_short_sequence() {
        let mut events = vec![(Event::OffIssued(A), 'i'), (Event::Contact, 'c')];
        events.push((Event::OffRefused(A), 'r'));
        for (reading, name) in [
            (Reading::Off, '0'),
            (Reading::On, '1'),
            (Reading::Unknown, '?'),
        ] {
            events.push((
                Event::Read {
                    supply: A,
                    asked: Epoch(0),
                    reading,
                },
                name,
            ));
        }
        for mut number in 0..events.len().pow(7) {
            let (mut on, mut story) = (Confirmation::new(1), String::new());
            for _ in 0..7 {
                let (mut event, name) = events[number % events.len()];
                number /= events.len();
                if let Event::Read { asked, .. } = &mut event {
                    *asked = on.epoch();
                }
                story.push(name);
                let since = story.rsplit(['i', 'c']).next().unwrap().replace('r', "");
                let opener = story.rfind(['i', 'c']).map(|at| &story[at..=at]);
                let confirmed = opener == Some("i") && since.ends_with("00");
                assert_eq!(on.step(event).is_confirmed(), confirmed, "{story}");
            }
        }
    }
}
