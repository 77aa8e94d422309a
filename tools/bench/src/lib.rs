//! What the measurements have in common: what is sent, and how a developer would read it by hand.

pub mod bodies;

pub mod plain;
