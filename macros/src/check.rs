//! The rules. All mistakes are reported at once, each on the smallest wrong token.

use quote::ToTokens;
use syn::{Attribute, FnArg, Ident, LitStr, Meta, ReceiverKind, ReturnType, Safety, Type};

use crate::mistakes::Mistakes;
use crate::model::{Extra, Handler, Hook, KindOf, Model, Options};
use crate::options::options;
use crate::parse::{Arguments, Block, Method, last_segment};
use crate::table::{self, CALLBACK, HOOKS, KINDS};

pub(crate) fn check<'b>(block: &'b Block, arguments: &Arguments) -> syn::Result<Model<'b>> {
    let mut mistakes = Mistakes::default();
    let mut handlers = Vec::new();
    let mut hooks = Vec::new();
    let mut marked = false;

    for method in block.methods() {
        let markers = markers(method, &mut mistakes);
        marked |= !markers.is_empty();
        let Some((attribute, name)) = markers.first().copied() else { continue };
        // A method gets one payload.
        if let Some((_, second)) = markers.get(1) {
            let message =
                format!("`{}` has two callback attributes; write one method per kind", method.signature.ident);
            mistakes.at(second, message);
        }
        if HOOKS.iter().any(|hook| name == hook) {
            hooks.extend(hook(method, attribute, name, &mut mistakes));
        } else {
            handlers.extend(handler(method, attribute, name, &mut mistakes));
        }
    }

    // Otherwise a block without handlers would compile and never be called.
    if !marked && mistakes.errors.is_none() {
        let message = "no method in this block handles a callback; add an attribute such as `#[stk]` or `#[payment]`";
        mistakes.at(block.impl_token, message);
    }
    unique(&handlers, &hooks, &mut mistakes);
    if !arguments.no_timeouts {
        timeouts(&handlers, &mut mistakes);
    }
    one_tx(&handlers, &mut mistakes);
    match mistakes.errors {
        Some(errors) => Err(errors),
        None => Ok(Model { krate: arguments.krate(), handlers, hooks }),
    }
}

/// Returns the method's attributes of this macro. Misspelled ones are mistakes.
fn markers<'b>(method: &'b Method, mistakes: &mut Mistakes) -> Vec<(&'b Attribute, &'b Ident)> {
    let mut markers = Vec::new();
    for attribute in &method.attributes {
        let Some(name) = attribute.path().get_ident() else { continue };
        let text = name.to_string();
        if table::is_marker(&text) {
            markers.push((attribute, name));
        } else if let Some(meant) = method.meant(attribute) {
            mistakes.at(name, format!("unknown callback `{text}`; did you mean `{meant}`?"));
            mistakes.meant.push(meant);
        }
    }
    markers
}

fn cfgs(method: &Method) -> Vec<&Attribute> {
    method.attributes.iter().filter(|attribute| attribute.path().is_ident("cfg")).collect()
}

/// Checks the rules for every marked method.
fn shape(method: &Method, mistakes: &mut Mistakes) {
    let signature = &method.signature;
    let name = &signature.ident;
    // Handlers do I/O, and the engine awaits them.
    if signature.asyncness.is_none() {
        mistakes.at(signature.fn_token, format!("callback `{name}` must be an `async fn`"));
    }
    if let Safety::Unsafe(token) = &signature.safety {
        mistakes.at(token, format!("callback `{name}` must not be `unsafe`: the inbox calls it"));
    }
    // The engine could not choose the types.
    if signature.generics.type_params().next().is_some() || signature.generics.const_params().next().is_some() {
        mistakes.at(
            &signature.generics,
            format!("callback `{name}` must not be generic; make the `impl` block generic instead"),
        );
    }
    match signature.inputs.first() {
        // One object handles many callbacks at once.
        Some(FnArg::Receiver(receiver)) if matches!(receiver.kind, ReceiverKind::Reference(_, _, None)) => {}
        Some(FnArg::Receiver(receiver)) => {
            mistakes.at(receiver, format!("callback `{name}` must take `&self`: many callbacks are handled at once"));
        }
        _ => mistakes.at(name, format!("callback `{name}` must take `&self`")),
    }
}

fn handler<'b>(
    method: &'b Method,
    attribute: &'b Attribute,
    marker: &'b Ident,
    mistakes: &mut Mistakes,
) -> Option<Handler<'b>> {
    let kind = KINDS.iter().find(|row| marker == row.name).map_or(KindOf::Custom, KindOf::BuiltIn);
    shape(method, mistakes);
    let options = options(attribute, kind, mistakes);
    required(&options, kind, marker, mistakes);

    let name = &method.signature.ident;
    let mut types = method.arguments();
    let Some(payload) = types.next() else {
        let message = match kind {
            KindOf::BuiltIn(row) => format!("callback `{name}` must take its payload: `{}`", row.payload),
            KindOf::Custom => {
                format!("callback `{name}` must take its payload: a type of yours that implements `Deserialize`")
            }
        };
        mistakes.at(name, message);
        mistakes.meant.push(kind.name());
        return None;
    };
    check_payload(payload, kind, marker, mistakes);

    let mut extras: Vec<Extra<'b>> = Vec::new();
    for argument in types {
        let Some(extra) = extra(argument) else {
            let message = "after its payload, a callback takes only `&CallbackContext` and `&mut` a transaction";
            mistakes.at(argument, message);
            continue;
        };
        if extras.iter().any(|other| std::mem::discriminant(other) == std::mem::discriminant(&extra)) {
            mistakes.at(argument, format!("callback `{name}` takes this argument twice"));
        }
        // M-Pesa waits, and a transaction may have to wait for another one.
        if kind.is_validation() && matches!(extra, Extra::Tx(_)) {
            mistakes.at(argument, "a validation cannot take a transaction: M-Pesa waits for the answer");
        }
        // It is repeated until there is an answer; in a transaction it would run once.
        if kind.name() == "overdue" && matches!(extra, Extra::Tx(_)) {
            mistakes.at(argument, "`#[overdue]` cannot take a transaction: it runs again until there is an answer");
        }
        extras.push(extra);
    }
    let output = match &method.signature.output {
        ReturnType::Default => None,
        ReturnType::Type(_, output) => Some(&**output),
    };
    if kind.is_validation() && output.is_none() {
        mistakes.at(name, format!("validation `{name}` must return `Validation` or `Result<Validation, E>`"));
    }
    Some(Handler { kind, method: name, payload, extras, output, options, cfgs: cfgs(method), marker })
}

/// Reports a payload of another kind. Other types are left to the compiler, which knows aliases.
fn check_payload(payload: &Type, kind: KindOf, marker: &Ident, mistakes: &mut Mistakes) {
    if let Type::Reference(_) = payload {
        mistakes.at(payload, "a callback takes its payload by value");
        return;
    }
    let (KindOf::BuiltIn(row), Type::Path(path)) = (kind, payload) else { return };
    let Some(last) = path.path.segments.last() else { return };
    let is_another = KINDS.iter().any(|other| last.ident == other.payload) || last.ident == "CallbackContext";
    if is_another && last.ident != row.payload {
        mistakes.at(payload, format!("`#[{marker}]` takes a `{}`, not a `{}`", row.payload, last.ident));
    }
}

/// Classifies a reference: `&` is the context, `&mut` the transaction.
fn extra(argument: &Type) -> Option<Extra<'_>> {
    match argument {
        Type::Reference(reference) if reference.mutability.is_none() => Some(Extra::Context),
        Type::Reference(reference) if last_segment(argument).as_deref() != Some("CallbackContext") => {
            Some(Extra::Tx(&reference.elem))
        }
        _ => None,
    }
}

fn hook<'b>(method: &'b Method, attribute: &Attribute, name: &'b Ident, mistakes: &mut Mistakes) -> Option<Hook<'b>> {
    shape(method, mistakes);
    if !matches!(attribute.meta, Meta::Path(_)) {
        mistakes.at(&attribute.meta, format!("`#[{name}]` has no options"));
    }
    let types: Vec<&Type> = method.arguments().collect();
    let cfgs = cfgs(method);
    let signature = &method.signature;
    let method = &signature.ident;
    if let ReturnType::Type(_, output) = &signature.output
        && !matches!(&**output, Type::Tuple(tuple) if tuple.elems.is_empty())
    {
        mistakes.at(output, format!("hook `{method}` must return `()`: errors of hooks cannot be handled"));
        return None;
    }
    if let [argument] = types[..]
        && matches!(extra(argument), Some(Extra::Context))
    {
        return Some(Hook { name, method, cfgs });
    }
    match types.first() {
        Some(argument) if types.len() == 1 => {
            mistakes.at(argument, format!("hook `{method}` takes a `&CallbackContext`"));
        }
        _ => mistakes.at(method, format!("hook `{method}` takes `&self` and a `&CallbackContext`")),
    }
    None
}

fn required(options: &Options, kind: KindOf, marker: &Ident, mistakes: &mut Mistakes) {
    if let KindOf::Custom = kind {
        if options.path.is_none() {
            mistakes.at(marker, format!("`#[{CALLBACK}]` needs a `path = \"/…\"`"));
        }
        if options.key.is_none() {
            let message = format!("`#[{CALLBACK}]` needs a `key = \"/…\"`: the JSON pointer to the idempotency key");
            mistakes.at(marker, message);
        }
    }
}

/// Reports two handlers of one kind or path: one of them would never be called. Behind `#[cfg]`s they may
/// exclude each other, which the compiler checks.
fn unique(handlers: &[Handler<'_>], hooks: &[Hook<'_>], mistakes: &mut Mistakes) {
    for (i, handler) in handlers.iter().enumerate() {
        for earlier in &handlers[..i] {
            if !handler.cfgs.is_empty() && !earlier.cfgs.is_empty() {
                continue;
            }
            let built_in = matches!(handler.kind, KindOf::BuiltIn(_));
            if built_in && handler.kind.name() == earlier.kind.name() {
                let message = format!("`{}` is already handled by `{}`", handler.kind.name(), earlier.method);
                mistakes.at(handler.marker, message);
            } else if handler.path().is_some() && handler.path() == earlier.path() {
                let path = handler.path().unwrap_or_default();
                let message =
                    format!("path `{path}` is already used by `{}` for `{}`", earlier.method, earlier.kind.name());
                let span = handler.options.path.as_ref().map_or(handler.marker.span(), LitStr::span);
                mistakes.add(syn::Error::new(span, message));
            }
        }
    }
    for (i, hook) in hooks.iter().enumerate() {
        let is_same =
            |earlier: &&Hook<'_>| earlier.name == hook.name && (hook.cfgs.is_empty() || earlier.cfgs.is_empty());
        if let Some(earlier) = hooks[..i].iter().find(is_same) {
            mistakes.at(hook.name, format!("`{}` is already handled by `{}`", hook.name, earlier.method));
        }
    }
}

/// Reports a `…_result` without its `…_timeout`: a request that times out is reported only there, and
/// its outcome would stay unknown.
fn timeouts(handlers: &[Handler<'_>], mistakes: &mut Mistakes) {
    for handler in handlers {
        let Some(family) = handler.kind.name().strip_suffix("_result") else { continue };
        let timeout = format!("{family}_timeout");
        let is_there = handlers.iter().any(|other| other.kind.name() == timeout);
        if !is_there && !mistakes.meant.iter().any(|meant| *meant == timeout) {
            let message = format!(
                "missing `#[{timeout}]`: queue timeouts are only sent there; add a handler or use \
                 `#[mpesa_callbacks(no_timeouts)]`"
            );
            mistakes.at(handler.marker, message);
        }
    }
}

/// Reports two types of transactions: an inbox has one transactor.
fn one_tx(handlers: &[Handler<'_>], mistakes: &mut Mistakes) {
    let mut takers = handlers.iter().filter_map(Handler::tx);
    let Some(first) = takers.next() else { return };
    // `db::Tx` and `Tx` may be the same type, which only the compiler knows.
    for tx in takers.filter(|tx| last_segment(tx) != last_segment(first)) {
        let first = first.to_token_stream();
        mistakes.at(tx, format!("all handlers take the same transaction type, and the first one takes `{first}`"));
    }
}
