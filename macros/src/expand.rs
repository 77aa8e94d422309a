//! Writes the implementation of the trait from a checked model; this cannot fail.
//!
//! All paths are absolute, so that they work with `no_implicit_prelude` and any names of the user. Spans
//! are chosen so that the compiler reports errors about a user's type at that type.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::visit::Visit;
use syn::{Generics, Ident, Lifetime, Path, Type, TypeReference, parse_quote};

use crate::model::{Extra, Handler, Hook, KindOf, Model};
use crate::parse::{Block, last_segment};

pub(crate) fn expand(block: &Block, model: &Model<'_>) -> TokenStream {
    // A handler behind a `cfg` may not be compiled, so its type may not exist.
    let always = model.handlers.iter().filter(|handler| handler.cfgs.is_empty()).find_map(Handler::tx);
    implementation(block, model, always.or_else(|| model.handlers.iter().find_map(Handler::tx)))
}

/// Returns an implementation for a refused block, so that only the mistakes are reported and not
/// its use.
pub(crate) fn stand_in(block: &Block, krate: &Path) -> TokenStream {
    let (generics, tx) = generics(block, None);
    let (impl_generics, _, where_clause) = generics.split_for_impl();
    let self_type = &block.self_type;
    quote! {
        #[automatically_derived]
        impl #impl_generics #krate::__private::MpesaCallbacks<#tx> for #self_type #where_clause {
            fn routes(&self) -> #krate::__private::Routes {
                #krate::__private::Routes::new()
            }
        }
    }
}

fn implementation(block: &Block, model: &Model<'_>, tx: Option<&Type>) -> TokenStream {
    let krate = &model.krate;
    let self_type = &block.self_type;
    let (generics, tx) = generics(block, tx);
    let (impl_generics, _, where_clause) = generics.split_for_impl();

    let routes = model.handlers.iter().map(|handler| route(handler, model));
    let handlers = model.handlers.iter().filter(|handler| matches!(handler.kind, KindOf::BuiltIn(_)));
    let handlers = handlers.map(|handler| method(handler, model, &tx));
    let callbacks = callbacks(model, &tx);
    let hooks = model.hooks.iter().map(|hook| hook_method(hook, model));
    let all = local("routes");
    let type_name = last_segment(self_type).unwrap_or_default();
    let (marked_generics, _, marked_where) = block.generics.split_for_impl();
    quote! {
        // A second marked block of the same type would never be called; it conflicts here.
        #[automatically_derived]
        impl #marked_generics #krate::__private::Marked for #self_type #marked_where {}

        #[automatically_derived]
        impl #impl_generics #krate::__private::MpesaCallbacks<#tx> for #self_type #where_clause {
            fn name(&self) -> ::std::string::String {
                #krate::__private::inbox_name(::core::option_env!("CARGO_PKG_NAME"), #type_name)
            }

            fn routes(&self) -> #krate::__private::Routes {
                let #all = #krate::__private::Routes::new();
                #(#routes)*
                #all
            }
            #(#handlers)*
            #callbacks
            #(#hooks)*
        }
    }
}

/// Returns the block's generics, and the type of the transaction: that of the handlers, or any.
fn generics(block: &Block, tx: Option<&Type>) -> (Generics, TokenStream) {
    let mut generics = block.generics.clone();
    // The engine calls from any thread. With a lifetime parameter the compiler does not see inside a
    // future that this bound holds, so the block must bound its parameters itself.
    let has_lifetime = has_lifetime(&block.self_type);
    if generics.type_params().next().is_some() && !has_lifetime {
        let self_type = &block.self_type;
        generics
            .make_where_clause()
            .predicates
            .push(parse_quote!(#self_type: ::core::marker::Send + ::core::marker::Sync));
    }
    match tx {
        Some(tx) => (generics, quote!(#tx)),
        None => {
            generics.params.push(parse_quote!(__Tx: ::core::marker::Send));
            (generics, quote!(__Tx))
        }
    }
}

/// Returns whether a type contains a lifetime, named or elided.
fn has_lifetime(ty: &Type) -> bool {
    struct Lifetimes(bool);
    impl<'ast> Visit<'ast> for Lifetimes {
        fn visit_lifetime(&mut self, _: &'ast Lifetime) {
            self.0 = true;
        }

        fn visit_type_reference(&mut self, _: &'ast TypeReference) {
            self.0 = true;
        }
    }
    let mut lifetimes = Lifetimes(false);
    lifetimes.visit_type(ty);
    lifetimes.0
}

/// Returns a name that no constant or static of the user has: a pattern would refer to it.
fn local(name: &str) -> Ident {
    Ident::new(&format!("__{name}"), Span::mixed_site())
}

/// Returns the user's position, with the macro's name resolution.
fn at(span: Span) -> Span {
    span.resolved_at(Span::call_site())
}

/// Writes the route of a handler: `let routes =
/// routes.with(Route::new(Kind::Stk)…);`.
fn route(handler: &Handler<'_>, model: &Model<'_>) -> TokenStream {
    let krate = &model.krate;
    let all = local("routes");
    let Handler { cfgs, options, payload, .. } = handler;
    let mut route = match handler.kind {
        KindOf::BuiltIn(row) => {
            // The variant, so that a kind which this version of the library lacks does not compile.
            let variant = row.variant();
            let route = quote!(#krate::__private::Route::new(#krate::__private::Kind::#variant));
            match &options.path {
                Some(path) => quote!(#route.path(#path)),
                None => route,
            }
        }
        KindOf::Custom => {
            let (path, key) = (&options.path, &options.key);
            // Reported at the payload's type, which must implement `Deserialize`.
            let reads = quote_spanned!(at(payload.span())=> .payload::<#payload>());
            quote!(#krate::__private::Route::custom(#path, #key) #reads)
        }
    };
    if let Some(ack_body) = &options.ack_body {
        route.extend(quote!(.ack_body(#ack_body)));
    }
    if let Some(max_retries) = options.max_retries {
        route.extend(quote!(.max_retries(#max_retries)));
    }
    if let Some(timeout) = options.timeout.map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)) {
        route.extend(quote!(.timeout(::core::time::Duration::from_millis(#timeout))));
    }
    if let Some(fallback) = &options.fallback {
        route.extend(quote!(.fallback(#krate::__private::Fallback::#fallback)));
    }
    if handler.takes_tx() {
        route.extend(quote!(.transactional()));
    }
    quote! {
        #(#cfgs)*
        let #all = #all.with(#route);
    }
}

/// Returns the trait's method of a built-in kind.
fn method(handler: &Handler<'_>, model: &Model<'_>, tx: &TokenStream) -> TokenStream {
    let krate = &model.krate;
    let Handler { cfgs, payload, .. } = handler;
    let KindOf::BuiltIn(row) = handler.kind else { return TokenStream::new() };
    let name = format_ident!("{}", row.name);
    let core_payload = format_ident!("{}", row.payload);
    let call = call(handler, model);
    // Reported at the user's type if it differs from the trait's.
    let (said, ctx, called) = (local("payload"), local("ctx"), local("call"));
    // rustc reports a mismatch at the type that the user wrote.
    let there = Ident::new(&said.to_string(), Span::mixed_site().located_at(payload.span()));
    let payload = quote_spanned!(at(payload.span())=> let #said: #payload = #there;);
    let boxed = boxed(handler, quote!(#payload #call));
    if handler.kind.is_validation() {
        return quote! {
            #(#cfgs)*
            fn #name<'__a>(
                &'__a self,
                #said: #krate::__private::#core_payload,
                #ctx: &'__a #krate::__private::CallbackContext,
            ) -> #krate::__private::ValidationFuture<'__a> {
                #boxed
            }
        };
    }
    let takes = takes(handler);
    let boxed = quote!(#takes #boxed);
    quote! {
        #(#cfgs)*
        fn #name<'__a>(
            &'__a self,
            #said: #krate::__private::#core_payload,
            #called: #krate::__private::HandlerArgs<'__a, #tx>,
        ) -> #krate::__private::HandlerFuture<'__a> {
            #boxed
        }
    }
}

/// One method for all custom kinds; it dispatches by the context's kind.
fn callbacks(model: &Model<'_>, tx: &TokenStream) -> TokenStream {
    let krate = &model.krate;
    let custom: Vec<_> = model.handlers.iter().filter(|handler| matches!(handler.kind, KindOf::Custom)).collect();
    if custom.is_empty() {
        return TokenStream::new();
    }
    let (said, calling) = (local("payload"), local("call"));
    let arms = custom.iter().map(|handler| {
        let Handler { cfgs, payload, options, .. } = handler;
        let path = &options.path;
        let call = call(handler, model);
        let payload = quote_spanned!(at(payload.span())=> let #said: #payload = #said.to::<#payload>()?;);
        let boxed = boxed(handler, quote!(#payload #call));
        let takes = takes(handler);
        quote! {
            #(#cfgs)*
            if *#calling.ctx.kind() == #krate::__private::Kind::custom(#path) {
                #takes
                return #boxed;
            }
        }
    });
    quote! {
        fn callback<'__a>(
            &'__a self,
            #said: #krate::__private::CustomCallback,
            #calling: #krate::__private::HandlerArgs<'__a, #tx>,
        ) -> #krate::__private::HandlerFuture<'__a> {
            #(#arms)*
            #krate::__private::unhandled(#calling.ctx)
        }
    }
}

/// Returns the arguments that are taken out before the future is made.
fn takes(handler: &Handler<'_>) -> TokenStream {
    let (ctx, tx, call) = (local("ctx"), local("tx"), local("call"));
    let takes_context = handler.extras.iter().any(|extra| matches!(extra, Extra::Context));
    let take_context = takes_context.then(|| quote!(let #ctx = #call.ctx;));
    let take_tx = if handler.takes_tx() { quote!(let #tx = #call.into_tx();) } else { quote!(let _ = #call;) };
    quote!(#take_context #take_tx)
}

/// Returns the call of the user's method, with its result converted.
fn call(handler: &Handler<'_>, model: &Model<'_>) -> TokenStream {
    let krate = &model.krate;
    let method = handler.method;
    let extras = handler.extras.iter().map(|extra| match extra {
        Extra::Context => local("ctx").into_token_stream(),
        Extra::Tx(ty) => {
            let tx = local("tx");
            quote_spanned!(at(ty.span())=> #tx?)
        }
    });
    // Resolved in the block, so that a trait in scope with a method of this name is not called.
    let span = at(handler.output.map_or(method.span(), Spanned::span));
    let payload = local("payload");
    let called = quote_spanned!(span=> Self::#method(self, #payload #(, #extras)*).await);
    if handler.kind.is_validation() {
        quote_spanned!(span=> #krate::__private::IntoValidationResult::into_decided(#called))
    } else {
        quote_spanned!(span=> #krate::__private::IntoHandlerResult::into_handled(#called))
    }
}

/// Boxed. If the future is not `Send`, that is reported at the method's name.
fn boxed(handler: &Handler<'_>, body: TokenStream) -> TokenStream {
    quote_spanned!(at(handler.method.span())=> ::std::boxed::Box::pin(async move { #body }))
}

fn hook_method(hook: &Hook<'_>, model: &Model<'_>) -> TokenStream {
    let krate = &model.krate;
    let Hook { name, method, cfgs } = hook;
    let ctx = local("ctx");
    let called =
        quote_spanned!(at(method.span())=> ::std::boxed::Box::pin(async move { Self::#method(self, #ctx).await; }));
    quote! {
        #(#cfgs)*
        fn #name<'__a>(&'__a self, #ctx: &'__a #krate::__private::CallbackContext) -> #krate::__private::HookFuture<'__a> {
            #called
        }
    }
}
