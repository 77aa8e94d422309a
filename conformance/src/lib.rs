//! The contracts of stores and ledgers as tests that anyone can run.
pub mod fixtures;
