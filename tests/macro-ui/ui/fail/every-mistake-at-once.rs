use mpesa_callbacks::prelude::*;

struct Shop;

#[mpesa_callbacks]
impl Shop {
    #[skt]
    async fn misspelled(&self, _: StkCallback) {}

    #[stk(path = "/sql")]
    fn paid(&self, _: LipiaCallback) {}

    #[b2c_result]
    async fn sent(self, _: B2cResult) {}

    fn helper(&self) -> u32 {
        1
    }
}

fn main() {}
