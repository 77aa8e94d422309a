//! From the tokens of a block to the generated tokens.

use proc_macro2::TokenStream;
use quote::quote;

use crate::parse::{Arguments, Block};
use crate::{check, expand, parse};

/// Returns the user's block, followed by the implementation or the errors.
pub(crate) fn run(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let block = match syn::parse2::<Block>(item.clone()) {
        Ok(block) => block,
        Err(error) => {
            // Without this macro's attributes, so that no second error follows.
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

/// Returns the user's block (for completion in editors), an empty implementation (so that nothing else
/// is reported), and the errors.
fn refuse(block: &Block, arguments: &Arguments, errors: syn::Error) -> TokenStream {
    let (stand_in, errors) = (expand::stand_in(block, &arguments.krate()), errors.into_compile_error());
    quote!(#block #stand_in #errors)
}
