//! The attribute macro: any tokens, and in particular any attributes on methods.

use proc_macro2::TokenStream;

use crate::pipeline::run;

/// The first line is the macro's arguments, the rest the item that it stands on.
pub fn block(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else { return };
    let (arguments, item) = text.split_once('\n').unwrap_or(("", text));
    expand(arguments, item);
}

/// A method's attributes and arguments, in a block that is otherwise right.
pub fn attribute(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else { return };
    let (attribute, arguments) = text.split_once('\n').unwrap_or((text, "_: StkCallback"));
    expand("", &format!("impl Shop {{ #[{attribute}] async fn method(&self, {arguments}) {{}} }}"));
}

fn expand(arguments: &str, item: &str) {
    // The compiler refuses deeper nesting before a macro sees it.
    if item.bytes().filter(|byte| b"([{<&*-!".contains(byte)).count() > 100 {
        return;
    }
    let (Ok(arguments), Ok(item)) = (arguments.parse::<TokenStream>(), item.parse::<TokenStream>()) else { return };
    let is_block = syn::parse2::<syn::ItemImpl>(item.clone()).is_ok();
    let written = run(arguments, item);
    assert!(!is_block || syn::parse2::<syn::File>(written.clone()).is_ok(), "not Rust: {written}");
}
