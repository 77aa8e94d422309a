//! Parses an `impl` block without the bodies of methods: an incomplete body is kept, so that editors can
//! complete in it.

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use quote::{ToTokens, TokenStreamExt, quote};
use syn::parse::{Parse, ParseStream};
use syn::{Attribute, FnArg, Generics, Ident, LitStr, Path, Signature, Token, Type, Visibility, braced, parse_quote};

use crate::{spelling, table};

/// The options of the block: `#[mpesa_callbacks(crate = …, no_timeouts)]`.
#[derive(Default)]
pub(crate) struct Arguments {
    krate: Option<Path>,
    pub(crate) no_timeouts: bool,
}

impl Arguments {
    /// Returns the path of the library.
    pub(crate) fn krate(&self) -> Path {
        self.krate.clone().unwrap_or_else(|| parse_quote!(::mpesa_callbacks))
    }
}

/// The `impl` block as the user wrote it.
pub(crate) struct Block {
    attributes: Vec<Attribute>,
    pub(crate) impl_token: Token![impl],
    pub(crate) generics: Generics,
    pub(crate) self_type: Type,
    inner_attributes: Vec<Attribute>,
    items: Vec<Item>,
}

enum Item {
    Method(Box<Method>),
    /// A constant, a type or a macro, unchanged.
    Other(TokenStream),
}

/// A method of the block.
pub(crate) struct Method {
    pub(crate) attributes: Vec<Attribute>,
    visibility: Visibility,
    pub(crate) signature: Signature,
    body: TokenTree,
}

impl Block {
    pub(crate) fn methods(&self) -> impl Iterator<Item = &Method> {
        self.items.iter().filter_map(|item| match item {
            Item::Method(method) => Some(&**method),
            Item::Other(_) => None,
        })
    }
}

impl Parse for Arguments {
    fn parse(input: ParseStream<'_>) -> syn::Result<Arguments> {
        let mut arguments = Arguments::default();
        while !input.is_empty() {
            if input.peek(Token![crate]) {
                input.parse::<Token![crate]>()?;
                input.parse::<Token![=]>()?;
                arguments.krate = Some(if input.peek(LitStr) {
                    input.parse::<LitStr>()?.parse()?
                } else {
                    input.call(Path::parse_mod_style)?
                });
            } else {
                let name: Ident = input.parse()?;
                if name != "no_timeouts" {
                    let message =
                        format!("`mpesa_callbacks` has no option `{name}`; it has `no_timeouts` and `crate = …`");
                    return Err(syn::Error::new_spanned(name, message));
                }
                arguments.no_timeouts = true;
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(arguments)
    }
}

impl Parse for Block {
    fn parse(input: ParseStream<'_>) -> syn::Result<Block> {
        let attributes = input.call(Attribute::parse_outer)?;
        if !input.peek(Token![impl]) {
            return Err(input.error("`#[mpesa_callbacks]` goes on an `impl` block"));
        }
        let impl_token = input.parse()?;
        let mut generics: Generics = input.parse()?;
        let self_type: Type = input.parse()?;
        if let Some(for_token) = input.parse::<Option<Token![for]>>()? {
            let message =
                "`#[mpesa_callbacks]` goes on an inherent block, `impl Type { … }`; it writes the trait itself";
            return Err(syn::Error::new_spanned(for_token, message));
        }
        generics.where_clause = input.parse()?;
        let content;
        braced!(content in input);
        let inner_attributes = content.call(Attribute::parse_inner)?;
        let mut items = Vec::new();
        while !content.is_empty() {
            items.push(content.parse()?);
        }
        Ok(Block { attributes, impl_token, generics, self_type, inner_attributes, items })
    }
}

impl Parse for Item {
    fn parse(input: ParseStream<'_>) -> syn::Result<Item> {
        let attributes = input.call(Attribute::parse_outer)?;
        let visibility: Visibility = input.parse()?;
        if is_method(input) {
            let (signature, body) = (input.parse()?, input.parse()?);
            return Ok(Item::Method(Box::new(Method { attributes, visibility, signature, body })));
        }
        // Other items end at a semicolon, or at the braces of a macro call.
        let mut tokens = quote!(#(#attributes)* #visibility);
        let ahead = input.fork();
        let is_macro = ahead.call(Path::parse_mod_style).is_ok() && ahead.peek(Token![!]);
        while !input.is_empty() {
            let token: TokenTree = input.parse()?;
            let braces = matches!(&token, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace);
            let ends = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == ';') || (is_macro && braces);
            tokens.append(token);
            if ends {
                break;
            }
        }
        Ok(Item::Other(tokens))
    }
}

fn is_method(input: ParseStream<'_>) -> bool {
    let ahead = input.fork();
    loop {
        if ahead.peek(Token![fn]) {
            return true;
        }
        let is_qualifier = ahead.peek(Token![const])
            || ahead.peek(Token![async])
            || ahead.peek(Token![unsafe])
            || ahead.peek(Token![extern]);
        let qualifies = is_qualifier || ahead.peek(LitStr);
        if !qualifies || ahead.parse::<TokenTree>().is_err() {
            return false;
        }
    }
}

impl Method {
    /// Types of the arguments after `self`.
    pub(crate) fn arguments(&self) -> impl Iterator<Item = &Type> {
        self.signature.inputs.iter().filter_map(|argument| match argument {
            FnArg::Typed(typed) => Some(ungrouped(&typed.ty)),
            FnArg::Receiver(_) => None,
        })
    }

    /// Returns the correct name of a misspelled attribute, if the method has an argument that only
    /// handlers have.
    pub(crate) fn meant(&self, attribute: &Attribute) -> Option<&'static str> {
        let meant = spelling::meant(&attribute.path().get_ident()?.to_string())?;
        let takes_ours = self.arguments().filter_map(last_segment).any(|name| table::is_payload(&name));
        takes_ours.then_some(meant)
    }

    /// Returns whether the attribute belongs to this macro, or is a misspelling of one.
    fn is_ours(&self, attribute: &Attribute) -> bool {
        let marks = attribute.path().get_ident().is_some_and(|name| table::is_marker(&name.to_string()));
        marks || self.meant(attribute).is_some()
    }
}

/// Unwraps the invisible group of a type from `macro_rules`.
pub(crate) fn ungrouped(ty: &Type) -> &Type {
    match ty {
        Type::Group(group) => ungrouped(&group.elem),
        Type::Paren(paren) => ungrouped(&paren.elem),
        other => other,
    }
}

/// Returns the last segment of a type's path, without references.
pub(crate) fn last_segment(ty: &Type) -> Option<String> {
    match ungrouped(ty) {
        Type::Path(path) => path.path.segments.last().map(|segment| segment.ident.to_string()),
        Type::Reference(reference) => last_segment(&reference.elem),
        _ => None,
    }
}

/// The user's block, without this macro's attributes.
impl ToTokens for Block {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        let Block { attributes, impl_token, generics, self_type, inner_attributes, items } = self;
        let where_clause = &generics.where_clause;
        let items = items.iter().map(|item| match item {
            Item::Other(tokens) => tokens.clone(),
            Item::Method(method) => {
                let Method { attributes, visibility, signature, body } = &**method;
                let is_marked = attributes.iter().any(|attribute| method.is_ours(attribute));
                let attributes = attributes.iter().filter(|attribute| !method.is_ours(attribute));
                // The macro requires `async`, whether the method awaits or not.
                let allow = is_marked.then(|| quote!(#[allow(clippy::unused_async)]));
                quote!(#(#attributes)* #allow #visibility #signature #body)
            }
        });
        tokens.extend(
            quote!(#(#attributes)* #impl_token #generics #self_type #where_clause { #(#inner_attributes)* #(#items)* }),
        );
    }
}

/// Returns the same tokens without this macro's attributes.
pub(crate) fn without_markers(tokens: TokenStream) -> TokenStream {
    let mut kept = TokenStream::new();
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match (&token, tokens.peek()) {
            (TokenTree::Punct(punct), Some(TokenTree::Group(group))) if punct.as_char() == '#' && is_marker(group) => {
                tokens.next();
            }
            (TokenTree::Group(group), _) => {
                let mut inner = Group::new(group.delimiter(), without_markers(group.stream()));
                inner.set_span(group.span());
                kept.append(inner);
            }
            _ => kept.append(token),
        }
    }
    kept
}

fn is_marker(attribute: &Group) -> bool {
    let first = attribute.stream().into_iter().next();
    attribute.delimiter() == Delimiter::Bracket
        && matches!(first, Some(TokenTree::Ident(name)) if table::is_marker(&name.to_string()))
}
