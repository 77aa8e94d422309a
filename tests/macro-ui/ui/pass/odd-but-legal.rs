//! Inner attributes, macros by path, foreign attributes, names that ours might collide with, blocks made by macros.

use mpesa_callbacks::CallbackContext as Told;
use mpesa_callbacks::prelude::*;

mod my {
    macro_rules! accessor {
        ($name:ident) => {
            pub fn $name(&self) -> u32 {
                7
            }
        };
    }
    pub(crate) use accessor;
}

#[allow(non_upper_case_globals, dead_code)]
const payload: u8 = 1;
#[allow(non_upper_case_globals, dead_code)]
const routes: u8 = 1;
#[allow(non_upper_case_globals, dead_code)]
static ctx: u8 = 1;
#[allow(non_camel_case_types, dead_code)]
struct call;

struct Shop<'a, T> {
    name: &'a str,
    thing: T,
}

#[mpesa_callbacks]
impl<'s, T: Send + Sync> Shop<'s, T> {
    #![allow(clippy::needless_pass_by_value)]

    my::accessor! { helper }

    #[stk]
    async fn paid(&self, _: StkCallback, told: &Told) {
        let _ = (self.name, &self.thing, told.attempt(), self.helper());
    }
}

struct Elided<'a, T>(&'a T);

#[mpesa_callbacks]
impl<T: Send + Sync> Elided<'_, T> {
    #[payment]
    async fn paid(&self, _: Payment) {
        let _ = self.0;
    }
}

macro_rules! handlers {
    ($name:ident, $payload:ty, $ctx:ty) => {
        struct $name;

        #[mpesa_callbacks]
        impl $name {
            #[lipia]
            async fn lipia(&self, callback: $payload, told: $ctx) {
                let _ = (callback, told);
            }
        }
    };
}

handlers!(Made, LipiaCallback, &CallbackContext);

fn main() {
    let _ = Inbox::builder(Made);
}
