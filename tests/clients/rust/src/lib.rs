//! Reports the calls of a client to the program that runs it, and what their requests have in common.
#![forbid(unsafe_code)]

use std::fmt::Display;
use std::io::stdin;

use serde_json::{Value, json};

pub const SHORT_CODE: &str = "174379";
pub const OTHER_SHORT_CODE: &str = "600000";
/// The public one of the sandbox.
pub const PASSKEY: &str = "bfb279f9aa9bdbcf158e97dd71a467cd2e0c893059b10f78e6b72ada1ed2c919";
pub const PHONE: &str = "254708374149";
pub const INITIATOR: &str = "testapi";
/// An unknown receipt: Daraja accepts a request about it, and the result says that there is no such payment.
pub const RECEIPT: &str = "OEI2AK4Q16";

/// The base URL of the simulator.
pub fn daraja_url() -> String {
    std::env::var("DARAJA_URL").expect("DARAJA_URL is set")
}

/// The URL for callbacks of a kind: `STK`, `B2C_RESULT`.
pub fn url(kind: &str) -> String {
    std::env::var(format!("{kind}_URL")).expect("the URL is set")
}

/// Reports a call, and waits until everything happened that it caused. Returns what the client returned.
pub fn report<E: Display>(call: &str, returned: Result<Value, E>, is_answer: impl Fn(&Value) -> bool) -> Value {
    let (line, value) = match returned {
        Ok(value) if is_answer(&value) => (json!({ "call": call, "ok": true }), value),
        Ok(value) => (json!({ "call": call, "ok": false, "error": format!("returned {value}") }), Value::Null),
        Err(error) => (json!({ "call": call, "ok": false, "error": error.to_string() }), Value::Null),
    };
    println!("{line}");
    let mut go_on = String::new();
    stdin().read_line(&mut go_on).expect("the runner answers");
    value
}

/// Whether a request was accepted: `ResponseCode` 0.
pub fn is_done(answer: &Value) -> bool {
    answer["ResponseCode"] == "0"
}

/// Whether a member begins with this.
pub fn begins(name: &'static str, with: &'static str) -> impl Fn(&Value) -> bool {
    move |answer| answer[name].as_str().is_some_and(|text| text.starts_with(with))
}
