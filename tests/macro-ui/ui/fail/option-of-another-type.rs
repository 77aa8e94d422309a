use mpesa_callbacks::prelude::*;

struct Shop;

#[mpesa_callbacks]
impl Shop {
    #[stk(max_retries = "5", timeout = 3)]
    async fn paid(&self, _: StkCallback) {}

    #[c2b_validation(timeout = "soon", fallback = "maybe")]
    async fn check(&self, _: C2bValidation) -> Validation {
        Validation::accept()
    }
}

fn main() {}
