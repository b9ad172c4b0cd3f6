//! The cluster configuration: schema, validation and shipped examples.
