//! What a checked block says.

use std::time::Duration;

use syn::{Attribute, Ident, LitStr, Path, Type};

use crate::table::Row;

/// A checked block.
pub(crate) struct Model<'b> {
    /// Where the library's own things are found.
    pub(crate) krate: Path,
    pub(crate) handlers: Vec<Handler<'b>>,
    pub(crate) hooks: Vec<Hook<'b>>,
}

/// A method that handles a kind.
pub(crate) struct Handler<'b> {
    pub(crate) kind: KindOf,
    pub(crate) method: &'b Ident,
    pub(crate) payload: &'b Type,
    /// What it takes behind its payload, in its order.
    pub(crate) extras: Vec<Extra<'b>>,
    pub(crate) output: Option<&'b Type>,
    pub(crate) options: Options,
    /// `#[cfg]` of the method, which goes on everything written about it.
    pub(crate) cfgs: Vec<&'b Attribute>,
    /// The attribute's name, to point at.
    pub(crate) marker: &'b Ident,
}

/// Which kind.
#[derive(Clone, Copy)]
pub(crate) enum KindOf {
    BuiltIn(&'static Row),
    Custom,
}

/// What a method may take behind its payload.
pub(crate) enum Extra<'b> {
    /// `&CallbackContext`
    Context,
    /// `&mut Tx`
    Tx(&'b Type),
}

/// What stands in an attribute's brackets.
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

/// A method that is told of something.
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
    /// Where it is received.
    pub(crate) fn path(&self) -> Option<String> {
        let default = match self.kind {
            KindOf::BuiltIn(row) => row.path.map(str::to_owned),
            KindOf::Custom => None,
        };
        self.options.path.as_ref().map(|path| path.value().trim_end_matches('/').to_owned()).or(default)
    }

    /// The transaction that it takes.
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
