#![no_implicit_prelude]

use ::mpesa_callbacks::mpesa_callbacks;

struct Shop;

#[mpesa_callbacks]
impl Shop {
    #[stk]
    async fn paid(&self, _: ::mpesa_callbacks::payload::StkCallback, delivery: &::mpesa_callbacks::Delivery, tx: &mut ::mpesa_callbacks::ledger::SqliteTx) {
        let _ = (delivery, tx);
    }

    #[c2b_validation]
    async fn check(&self, _: ::mpesa_callbacks::payload::C2bValidation) -> ::mpesa_callbacks::Validation {
        ::mpesa_callbacks::Validation::accept()
    }

    #[callback(path = "/open", key = "/id")]
    async fn open(&self, _: ::std::string::String, tx: &mut ::mpesa_callbacks::ledger::SqliteTx) {
        let _ = tx;
    }

    #[on_conflict]
    async fn conflict(&self, _: &::mpesa_callbacks::Delivery) {}
}

fn main() {}
