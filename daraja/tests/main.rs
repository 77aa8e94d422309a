//! The simulator as clients and applications see it: one module per theme, one binary.

mod bodies;
mod control;
mod documents;
mod errors;
mod faults;
mod support;
mod world;
