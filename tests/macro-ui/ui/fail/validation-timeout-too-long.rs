use mpesa_callbacks::prelude::*;

struct Shop;

#[mpesa_callbacks]
impl Shop {
    #[c2b_validation(timeout = "9s")]
    async fn check(&self, _: C2bValidation) -> Validation {
        Validation::accept()
    }
}

fn main() {}
