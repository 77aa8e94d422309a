//! The attribute macro of `mpesa-callbacks`. It is documented at its re-export, so that the examples are
//! compiled with the whole library.
//!
//! The steps: `parse` the block, `check` it against the table of kinds, which returns a `model`, and
//! `expand` that, which cannot fail.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod parse;

mod model;

mod check;

mod forbidden_words;

mod mistakes;

mod options;

mod expand;

mod spelling;

mod table;

mod pipeline;

#[allow(missing_docs, reason = "documented on the re-export in `mpesa-callbacks`")]
#[proc_macro_attribute]
pub fn mpesa_callbacks(arguments: proc_macro::TokenStream, item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    pipeline::run(arguments.into(), item.into()).into()
}

#[cfg(test)]
mod tests;
