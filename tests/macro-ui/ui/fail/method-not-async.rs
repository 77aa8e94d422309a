use mpesa_callbacks::prelude::*;

struct Shop;

#[mpesa_callbacks]
impl Shop {
    #[stk]
    fn paid(&self, _: StkCallback) {}
}

fn main() {}
