//! Compares the table with core's, and one expansion with a stored one.

use mpesa_callbacks_core::{FORBIDDEN_WORDS, Kind};
use quote::quote;

use crate::table::KINDS;
use crate::{forbidden_words, spelling};

#[test]
fn the_table_is_cores_table() {
    let kinds: Vec<Kind> = Kind::built_in().collect();
    assert_eq!(kinds.len(), KINDS.len());
    for (kind, row) in kinds.iter().zip(&KINDS) {
        assert_eq!(kind.name(), row.name);
        assert_eq!(kind.payload(), Some(row.payload), "{kind}");
        assert_eq!(kind.default_path(), row.path, "{kind}");
        assert_eq!(
            kind.counterpart().is_some(),
            row.name.ends_with("_result") || row.name.ends_with("_timeout"),
            "{kind}"
        );
    }
    assert_eq!(forbidden_words::FORBIDDEN_WORDS, FORBIDDEN_WORDS);
}

#[test]
fn a_misspelling_is_known_and_a_stranger_is_left_alone() {
    for (misspelled, meant) in [
        ("skt", "stk"),
        ("stk_push", "stk"),
        ("stk_callback", "stk"),
        ("c2b_confirm", "c2b_confirmation"),
        ("b2c_results", "b2c_result"),
        ("c2b_validaton", "c2b_validation"),
        ("payments", "payment"),
        ("on_conflicts", "on_conflict"),
        ("ratiba_", "ratiba"),
    ] {
        assert_eq!(spelling::meant(misspelled), Some(meant), "{misspelled}");
    }
    for stranger in
        ["instrument", "inline", "test", "tokio", "must_use", "route", "get", "post", "cached", "retry", "sdk_only"]
    {
        assert_eq!(spelling::meant(stranger), None, "{stranger}");
    }
}

#[test]
fn the_expansion_stays_readable() {
    let item = quote! {
        impl Shop {
            #[stk(path = "/push", max_retries = 3)]
            async fn paid(&self, callback: StkCallback, ctx: &CallbackContext, tx: &mut SqliteTx) -> Result<(), ShopError> {
                todo!()
            }

            #[c2b_validation(timeout = "2s", fallback = "reject")]
            async fn check(&self, request: C2bValidation) -> Validation {
                todo!()
            }

            #[on_dead]
            async fn dead(&self, ctx: &CallbackContext) {}
        }
    };
    let written = syn::parse2(crate::pipeline::run(quote!(), item)).expect("the expansion is Rust");
    let written = prettyplease::unparse(&written);
    let kept = include_str!("../tests/expansion.rs.txt");
    if std::env::var_os("KEEP_EXPANSION").is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/expansion.rs.txt"), &written)
            .expect("cannot keep it");
        return;
    }
    assert!(
        written == kept,
        "the expansion has changed; if it is meant to, run again with KEEP_EXPANSION=1:\n{written}"
    );
}

#[test]
fn a_block_that_is_no_block_comes_back_without_our_attributes() {
    let written = crate::pipeline::run(
        quote!(),
        quote!(
            #[stk]
            async fn paid() {}
        ),
    )
    .to_string();
    assert!(!written.contains("stk") && written.contains("paid") && written.contains("compile_error"), "{written}");
}
