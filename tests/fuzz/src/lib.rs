//! Properties of any input, as functions that panic if one does not hold.
//!
//! The tests run them on all that is known; `cargo xtask fuzz` runs them under libFuzzer (`fuzz/targets`), on what nobody
//! has thought of.

pub mod payloads;

pub mod forwarded;

pub mod tokens;

pub mod attributes;

// The macro's own files: a proc-macro crate cannot be called as a library.
#[path = "../../../macros/src/check.rs"]
mod check;
#[path = "../../../macros/src/expand.rs"]
mod expand;
#[path = "../../../macros/src/forbidden_words.rs"]
mod forbidden_words;
#[path = "../../../macros/src/model.rs"]
mod model;
#[path = "../../../macros/src/options.rs"]
mod options;
#[path = "../../../macros/src/parse.rs"]
mod parse;
#[path = "../../../macros/src/pipeline.rs"]
mod pipeline;
#[path = "../../../macros/src/spelling.rs"]
mod spelling;
#[path = "../../../macros/src/table.rs"]
mod table;

#[path = "../../../macros/src/mistakes.rs"]
mod mistakes;
