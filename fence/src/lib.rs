//! Fencing: verdicts, confirmation and levels, as pure code.
