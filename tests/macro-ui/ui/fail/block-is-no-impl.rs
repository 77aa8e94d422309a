use mpesa_callbacks::prelude::*;

#[mpesa_callbacks]
struct Shop;

fn main() {}
