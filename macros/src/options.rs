//! Parses the options of an attribute.

use std::time::Duration;

use quote::ToTokens;
use syn::ext::IdentExt;
use syn::meta::ParseNestedMeta;
use syn::{Attribute, Ident, LitInt, LitStr, Meta, Token};

use crate::forbidden_words::FORBIDDEN_WORDS;
use crate::mistakes::Mistakes;
use crate::model::{KindOf, Options};

/// Parses the options of a handler: `path = "…", timeout = "3s", …`.
pub(crate) fn options(attribute: &Attribute, kind: KindOf, mistakes: &mut Mistakes) -> Options {
    let mut options = Options::default();
    if let Meta::Path(_) = attribute.meta {
        return options;
    }
    let mut given: Vec<String> = Vec::new();
    let parsed = attribute.parse_nested_meta(|meta| {
        let Some(name) = meta.path.get_ident().cloned() else { return Err(meta.error("not an option")) };
        let allowed = allowed(kind);
        if !allowed.iter().any(|option| name == option) {
            skip_value(&meta)?;
            let list = allowed.iter().map(|option| format!("`{option}`")).collect::<Vec<_>>().join(", ");
            mistakes.at(&name, format!("`#[{}]` has no option `{name}`; its options are {list}", kind.name()));
            return Ok(());
        }
        let is_repeated = given.contains(&name.to_string());
        given.push(name.to_string());
        if is_repeated {
            mistakes.at(&name, format!("`{name}` is set twice"));
        }
        if let Err(error) = option(&mut options, kind, &name, &meta) {
            mistakes.add(error);
        }
        Ok(())
    });
    if let Err(error) = parsed {
        mistakes.add(error);
    }
    options
}

fn allowed(kind: KindOf) -> &'static [&'static str] {
    match kind {
        KindOf::Custom => &["path", "key", "ack_body", "max_retries", "timeout"],
        KindOf::BuiltIn(row) if row.path.is_none() => &["max_retries", "timeout"],
        KindOf::BuiltIn(_) if kind.is_validation() => &["path", "timeout", "fallback"],
        KindOf::BuiltIn(_) => &["path", "max_retries", "timeout"],
    }
}

fn skip_value(meta: &ParseNestedMeta<'_>) -> syn::Result<()> {
    if meta.input.peek(Token![=]) {
        meta.value()?.parse::<proc_macro2::TokenTree>()?;
    }
    Ok(())
}

fn option(options: &mut Options, kind: KindOf, name: &Ident, meta: &ParseNestedMeta<'_>) -> syn::Result<()> {
    match name.unraw().to_string().as_str() {
        "path" => {
            let path = options.path.insert(text(meta)?);
            check_path(path)?;
        }
        "key" => {
            let key = options.key.insert(text(meta)?);
            if !key.value().starts_with('/') {
                return Err(syn::Error::new(
                    key.span(),
                    "the key is a JSON pointer and starts with `/`, as in `\"/data/id\"`",
                ));
            }
        }
        "ack_body" => options.ack_body = Some(text(meta)?),
        "fallback" => {
            let fallback = text(meta)?;
            options.fallback = Some(match fallback.value().as_str() {
                "accept" => Ident::new("Accept", fallback.span()),
                "reject" => Ident::new("Reject", fallback.span()),
                _ => return Err(syn::Error::new(fallback.span(), "`fallback` is `\"accept\"` or `\"reject\"`")),
            });
        }
        "timeout" => {
            let timeout = text(meta)?;
            let duration = duration(&timeout.value()).ok_or_else(|| {
                syn::Error::new(timeout.span(), "a timeout is a number with the unit `ms`, `s` or `m`, as in `\"3s\"`")
            })?;
            if kind.is_validation() && duration > Duration::from_secs(8) {
                let message = "the timeout of a validation is at most 8 s: M-Pesa does not wait longer";
                return Err(syn::Error::new(timeout.span(), message));
            }
            options.timeout = Some(duration);
        }
        _ => {
            let max_retries: LitInt = value(meta, "`max_retries` is a whole number, as in `max_retries = 5`")?;
            options.max_retries = Some(max_retries.base10_parse()?);
        }
    }
    Ok(())
}

fn text(meta: &ParseNestedMeta<'_>) -> syn::Result<LitStr> {
    let name = meta.path.to_token_stream();
    value(meta, &format!("`{name}` is text, as in `{name} = \"…\"`"))
}

/// Parses the value after `=`, also an invalid one, so that the next option is parsed, too.
fn value<T: syn::parse::Parse>(meta: &ParseNestedMeta<'_>, message: &str) -> syn::Result<T> {
    if !meta.input.peek(Token![=]) {
        return Err(syn::Error::new_spanned(&meta.path, message));
    }
    let token: proc_macro2::TokenTree = meta.value()?.parse()?;
    syn::parse2(token.clone().into()).map_err(|_| syn::Error::new_spanned(token, message))
}

fn duration(text: &str) -> Option<Duration> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok().filter(|number| *number > 0)?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_secs(number.checked_mul(60)?)),
        _ => None,
    }
}

fn check_path(path: &LitStr) -> syn::Result<()> {
    let text = path.value();
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'/');
    if !text.starts_with('/') || text.trim_matches('/').is_empty() || text.contains("//") || !text.bytes().all(fits) {
        let message = "a path starts with `/` and contains only letters, digits, `-`, `_`, `.` and `/`";
        return Err(syn::Error::new(path.span(), message));
    }
    let lower = text.to_ascii_lowercase();
    match FORBIDDEN_WORDS.into_iter().find(|word| lower.contains(word)) {
        Some(word) => {
            let message = format!("the path contains `{word}`: Safaricom rejects URLs with that word, in any case");
            Err(syn::Error::new(path.span(), message))
        }
        None => Ok(()),
    }
}
