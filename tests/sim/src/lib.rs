//! Deterministic simulation of whole clusters.
