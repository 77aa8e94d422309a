//! The attribute macro of `mpesa-callbacks`. Its documentation is where it is re-exported, so that the examples in it are
//! compiled against the real thing.
//!
//! A block is read (`parse`), looked up in the table of kinds (`model`), checked as a whole (`check`) and written
//! out (`expand`). The last step takes a checked model and cannot fail.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod parse;

mod model;

mod check;

mod mistakes;

mod options;

mod expand;

mod table;

mod pipeline;

#[allow(missing_docs, reason = "documented on the re-export in `mpesa-callbacks`")]
#[proc_macro_attribute]
pub fn mpesa_callbacks(arguments: proc_macro::TokenStream, item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    pipeline::run(arguments.into(), item.into()).into()
}

#[cfg(test)]
mod tests;
