//! The block as it is after the checks.

use std::time::Duration;

use syn::{Attribute, Ident, LitStr, Path, Type};

use crate::table::Row;

/// A block without mistakes: everything that the expansion needs.
pub(crate) struct Model<'b> {
    /// Path of the library's private module.
    pub(crate) krate: Path,
    pub(crate) handlers: Vec<Handler<'b>>,
    pub(crate) hooks: Vec<Hook<'b>>,
}

/// A method that handles a kind.
pub(crate) struct Handler<'b> {
    pub(crate) kind: KindOf,
    pub(crate) method: &'b Ident,
    pub(crate) payload: &'b Type,
    /// Arguments after the payload, in order.
    pub(crate) extras: Vec<Extra<'b>>,
    pub(crate) output: Option<&'b Type>,
    pub(crate) options: Options,
    /// `#[cfg]`s of the method, which are added to everything generated for it.
    pub(crate) cfgs: Vec<&'b Attribute>,
    /// Name of the attribute, for spans.
    pub(crate) marker: &'b Ident,
}

/// A built-in or a custom kind.
#[derive(Clone, Copy)]
pub(crate) enum KindOf {
    BuiltIn(&'static Row),
    Custom,
}

/// An argument after the payload.
pub(crate) enum Extra<'b> {
    /// The method takes `&CallbackContext`.
    Context,
    /// The method takes a transaction, `&mut Tx`.
    Tx(&'b Type),
}

/// Options of an attribute.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) path: Option<LitStr>,
    pub(crate) key: Option<LitStr>,
    pub(crate) ack_body: Option<LitStr>,
    pub(crate) max_retries: Option<u32>,
    pub(crate) timeout: Option<Duration>,
    /// The variant of `Fallback`.
    pub(crate) fallback: Option<Ident>,
}

/// A method that is called as a hook.
pub(crate) struct Hook<'b> {
    pub(crate) name: &'b Ident,
    pub(crate) method: &'b Ident,
    pub(crate) cfgs: Vec<&'b Attribute>,
}

impl KindOf {
    pub(crate) fn name(self) -> &'static str {
        match self {
            KindOf::BuiltIn(row) => row.name,
            KindOf::Custom => crate::table::CALLBACK,
        }
    }

    pub(crate) fn is_validation(self) -> bool {
        self.name() == "c2b_validation"
    }
}

impl Handler<'_> {
    /// Returns the path of the kind, below the secret.
    pub(crate) fn path(&self) -> Option<String> {
        let default = match self.kind {
            KindOf::BuiltIn(row) => row.path.map(str::to_owned),
            KindOf::Custom => None,
        };
        self.options.path.as_ref().map(|path| path.value().trim_end_matches('/').to_owned()).or(default)
    }

    /// Type of its transaction.
    pub(crate) fn tx(&self) -> Option<&Type> {
        self.extras.iter().find_map(|extra| match extra {
            Extra::Tx(tx) => Some(*tx),
            Extra::Context => None,
        })
    }

    pub(crate) fn takes_tx(&self) -> bool {
        self.tx().is_some()
    }
}
