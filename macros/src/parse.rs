//! Reading an `impl` block, method bodies unread: a body that is half typed is still a body, and an editor completes in it.

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use quote::{ToTokens, TokenStreamExt, quote};
use syn::parse::{Parse, ParseStream};
use syn::{Attribute, Generics, Ident, LitStr, Path, Signature, Token, Type, Visibility, braced};

use crate::table;

/// `#[mpesa_callbacks(crate = …, no_timeouts)]`
#[derive(Default)]
pub(crate) struct Arguments {
    pub(crate) krate: Option<Path>,
    pub(crate) no_timeouts: bool,
}

/// The user's block.
pub(crate) struct Block {
    attributes: Vec<Attribute>,
    pub(crate) impl_token: Token![impl],
    pub(crate) generics: Generics,
    pub(crate) self_type: Type,
    items: Vec<Item>,
}

enum Item {
    Method(Box<Method>),
    /// A constant, a type, a macro: as it is.
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
        let mut items = Vec::new();
        while !content.is_empty() {
            items.push(content.parse()?);
        }
        Ok(Block { attributes, impl_token, generics, self_type, items })
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
        // Anything else ends at a semicolon, or at the braces of a macro call.
        let mut tokens = quote!(#(#attributes)* #visibility);
        let is_macro = input.peek2(Token![!]);
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

/// Whether it marks a method for us, or was meant to.
fn is_ours(attribute: &Attribute) -> bool {
    attribute.path().get_ident().is_some_and(|name| {
        let name = name.to_string();
        table::is_marker(&name) || table::meant(&name).is_some()
    })
}

/// The block as the user wrote it, without our attributes.
impl ToTokens for Block {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        let Block { attributes, impl_token, generics, self_type, items } = self;
        let where_clause = &generics.where_clause;
        let items = items.iter().map(|item| match item {
            Item::Other(tokens) => tokens.clone(),
            Item::Method(method) => {
                let Method { attributes, visibility, signature, body } = &**method;
                let is_marked = attributes.iter().any(is_ours);
                let attributes = attributes.iter().filter(|attribute| !is_ours(attribute));
                // It is we who want it `async`, whether it awaits anything or not.
                let allow = is_marked.then(|| quote!(#[allow(clippy::unused_async)]));
                quote!(#(#attributes)* #allow #visibility #signature #body)
            }
        });
        tokens.extend(quote!(#(#attributes)* #impl_token #generics #self_type #where_clause { #(#items)* }));
    }
}

/// The same tokens without our attributes, wherever they stand.
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
