//! Nothing of the user's is shadowed, and nothing of the user's shadows ours.

use mpesa_callbacks::prelude::{Payment, StkCallback, mpesa_callbacks};

#[allow(dead_code)]
struct CallbackContext;
#[allow(dead_code)]
struct Result;
#[allow(dead_code)]
enum Option {
    Some,
    None,
}

trait Routes {
    fn routes(&self) -> u32 {
        7
    }
    fn stk(&self) -> u32 {
        8
    }
}

struct Shop;

impl Routes for Shop {}

#[mpesa_callbacks]
impl Shop {
    #[stk]
    async fn stk(&self, payload: StkCallback, call: &::mpesa_callbacks::CallbackContext) {
        let _ = (payload, call);
    }

    #[payment]
    async fn payment(&self, tx: Payment) {
        let _ = tx;
    }
}

fn main() {
    assert_eq!(Shop.routes(), 7);
}
