#![no_implicit_prelude]

use ::mpesa_callbacks::mpesa_callbacks;

struct Shop;

#[mpesa_callbacks]
impl Shop {
    #[stk]
    async fn paid(&self, _: ::mpesa_callbacks::payload::StkCallback, ctx: &::mpesa_callbacks::CallbackContext, tx: &mut ::mpesa_callbacks::transactor::SqliteTx) {
        let _ = (ctx, tx);
    }

    #[c2b_validation]
    async fn check(&self, _: ::mpesa_callbacks::payload::C2bValidation) -> ::mpesa_callbacks::Validation {
        ::mpesa_callbacks::Validation::accept()
    }

    #[callback(path = "/open", key = "/id")]
    async fn open(&self, _: ::std::string::String, tx: &mut ::mpesa_callbacks::transactor::SqliteTx) {
        let _ = tx;
    }

    #[on_conflict]
    async fn conflict(&self, _: &::mpesa_callbacks::CallbackContext) {}
}

fn main() {}
