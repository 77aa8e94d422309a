//! The common parts of the measurements: the bodies, and how a developer would parse them by hand.

pub mod bodies;

pub mod plain;
