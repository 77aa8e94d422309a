use mpesa_callbacks::prelude::*;

struct Shop;

#[mpesa_callbacks]
impl Shop {
    #[stk]
    fn paid(&self, _: StkCallback) {
        self.helper();
    }

    fn helper(&self) -> u32 {
        1
    }
}

fn main() {
    // One error above, and none here: the block is still there.
    let _: u32 = Shop.helper();
}
