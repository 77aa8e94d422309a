extern crate mpesa_callbacks as renamed;

mod mpesa_callbacks {}

use renamed::payload::StkCallback;
use renamed::prelude::mpesa_callbacks;

struct Shop;

#[mpesa_callbacks(crate = renamed, no_timeouts)]
impl Shop {
    #[stk]
    async fn paid(&self, _: StkCallback) {}

    #[b2c_result]
    async fn sent(&self, _: renamed::payload::B2cResult) {}
}

fn main() {}
