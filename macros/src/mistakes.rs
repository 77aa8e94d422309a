//! A list of mistakes.

use quote::ToTokens;

/// Collects mistakes, so that one build shows all of them.
#[derive(Default)]
pub(crate) struct Mistakes {
    pub(crate) errors: Option<syn::Error>,
    /// Kinds whose attribute exists and has a mistake.
    pub(crate) meant: Vec<&'static str>,
}

impl Mistakes {
    pub(crate) fn add(&mut self, error: syn::Error) {
        match &mut self.errors {
            Some(errors) => errors.combine(error),
            none => *none = Some(error),
        }
    }

    pub(crate) fn at(&mut self, tokens: impl ToTokens, message: impl std::fmt::Display) {
        self.add(syn::Error::new_spanned(tokens, message));
    }
}
