//! The schedules that broke earlier wordings of the design, by name.

use crate::world::World;

/// A named schedule.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// Its row in the list of counter-examples.
    pub row: &'static str,
    /// Its name.
    pub name: &'static str,
    play: fn(bool) -> Result<(), String>,
}

impl Scenario {
    /// Plays it, printing what happens if asked to.
    ///
    /// # Errors
    /// The rule that did not hold.
    pub fn play(&self, tracing: bool) -> Result<(), String> {
        (self.play)(tracing)
    }
}

/// All of them.
pub const ALL: &[Scenario] = &[];

/// What a world says at the end.
pub fn verdict(world: &World) -> Result<(), String> {
    match &world.failed {
        None => Ok(()),
        Some(violation) => Err(format!("{}: {}", violation.oracle, violation.text)),
    }
}
