//! The attribute macro of `mpesa-callbacks`. Its documentation is where it is re-exported, so that the examples in it are
//! compiled against the real thing.
//!
//! A block is read (`parse`), looked up in the table of kinds (`model`), checked as a whole (`check`) and written
//! out (`expand`). The last step takes a checked model and cannot fail.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod parse;

mod model;

mod check;

mod options;

mod expand;

mod table;

use proc_macro2::TokenStream;
use quote::quote;

use crate::parse::{Arguments, Block};

#[allow(missing_docs, reason = "documented on the re-export in `mpesa-callbacks`")]
#[proc_macro_attribute]
pub fn mpesa_callbacks(arguments: proc_macro::TokenStream, item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    write(arguments.into(), item.into()).into()
}

fn write(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let block = match syn::parse2::<Block>(item.clone()) {
        Ok(block) => block,
        Err(error) => {
            // Nothing is known of it but its tokens; without our attributes, so that no second error follows.
            let (error, item) = (error.into_compile_error(), parse::without_markers(item));
            return quote!(#item #error);
        }
    };
    let arguments = match syn::parse2::<Arguments>(arguments) {
        Ok(arguments) => arguments,
        Err(error) => return refuse(&block, &Arguments::default(), error),
    };
    match check::check(&block, &arguments) {
        Ok(model) => {
            let implementation = expand::expand(&block, &model);
            quote!(#block #implementation)
        }
        Err(errors) => refuse(&block, &arguments, errors),
    }
}

/// The user's block, so that editors complete in it; a stand-in, so that nothing else is reported; and the mistakes.
fn refuse(block: &Block, arguments: &Arguments, errors: syn::Error) -> TokenStream {
    let (stand_in, errors) = (expand::stand_in(block, &arguments.krate()), errors.into_compile_error());
    quote!(#block #stand_in #errors)
}

#[cfg(test)]
mod tests;
