//! Real-process cluster tests: harness.
