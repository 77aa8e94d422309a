//! The forms of the page. Each does what a client or a test would, and leads back to the page.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Form, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::post;
use data_encoding::BASE64;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::{self, Request};
use crate::bodies::compact;
use crate::daraja::send_changed;
use crate::script::Rule;
use crate::world::World;

/// The sandbox's pay bill.
const SHORT_CODE: &str = "174379";

pub(super) fn routes() -> Router<Arc<World>> {
    Router::new()
        .route("/_/forms/pay", post(pay))
        .route("/_/forms/push", post(push))
        .route("/_/forms/rules", post(add_rule))
        .route("/_/forms/rules/clear", post(clear_rules))
        .route("/_/forms/exchanges/{number}/{callback}", post(send))
}

fn back() -> Response {
    Redirect::to("/_/").into_response()
}

#[derive(Deserialize)]
struct Pay {
    phone: String,
    short_code: String,
    amount: i64,
    account: String,
}

async fn pay(State(world): State<Arc<World>>, Form(paid): Form<Pay>) -> Response {
    let Pay { phone, short_code, amount, account } = paid;
    world.act("customer pays", |state| api::pay(state, &phone, &short_code, amount, &account, false));
    back()
}

#[derive(Deserialize)]
struct Push {
    phone: String,
    amount: i64,
    account: String,
    callback_url: String,
}

/// Gets a token and sends the push, as a client does.
async fn push(State(world): State<Arc<World>>, Form(form): Form<Push>) -> Response {
    let (credentials, passkey, timestamp) = {
        let state = world.state();
        let credentials = state.behaviour.credentials.clone().unwrap_or_else(|| "key:secret".to_owned());
        let passkey = state.bank.passkeys.get(SHORT_CODE).cloned().unwrap_or_default();
        (credentials, passkey, compact(state.unix_in(Duration::ZERO)))
    };
    let request = |method: &str, path: &str, query: &str, authorization: String, body: Vec<u8>| Request {
        method: method.to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        authorization: Some(authorization),
        body,
    };
    let basic = format!("Basic {}", BASE64.encode(credentials.as_bytes()));
    let grant = "grant_type=client_credentials";
    let (_, token) = world.take(request("GET", "/oauth/v1/generate", grant, basic, Vec::new())).await;
    let token: Value = serde_json::from_str(&token).unwrap_or_default();
    let bearer = format!("Bearer {}", token["access_token"].as_str().unwrap_or_default());
    let password = BASE64.encode(format!("{SHORT_CODE}{passkey}{timestamp}").as_bytes());
    let Push { phone, amount, account, callback_url } = form;
    let body = json!({
        "BusinessShortCode": SHORT_CODE, "Password": password, "Timestamp": timestamp,
        "TransactionType": "CustomerPayBillOnline", "Amount": amount, "PartyA": phone, "PartyB": SHORT_CODE,
        "PhoneNumber": phone, "CallBackURL": callback_url, "AccountReference": account, "TransactionDesc": "A push",
    });
    let path = "/mpesa/stkpush/v1/processrequest";
    world.take(request("POST", path, "", bearer, body.to_string().into_bytes())).await;
    back()
}

#[derive(Deserialize)]
struct WantedRule {
    product: String,
    #[serde(default)]
    party: String,
    #[serde(default)]
    ends: String,
    #[serde(default)]
    fault: String,
    #[serde(default)]
    once: bool,
}

async fn add_rule(State(world): State<Arc<World>>, Form(wanted): Form<WantedRule>) -> Response {
    let WantedRule { product, party, ends, fault, once } = wanted;
    let some = |text: String| (!text.trim().is_empty()).then(|| text.trim().to_owned());
    let faults: Vec<String> = some(fault).into_iter().collect();
    let rule = json!({
        "match": { "product": product, "party": some(party) }, "ends": some(ends), "faults": faults, "once": once,
    });
    let rule = serde_json::from_value::<Rule>(rule).map_err(|error| error.to_string());
    match rule.and_then(|rule| rule.checked().map_err(|error| error.to_string())) {
        Ok(rule) => {
            world.state().rules.add(rule);
            back()
        }
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    }
}

async fn clear_rules(State(world): State<Arc<World>>) -> Response {
    world.state().rules.clear();
    back()
}

#[derive(Deserialize)]
struct Changed {
    body: String,
}

/// Posts a callback again, with this body.
async fn send(
    State(world): State<Arc<World>>,
    Path((number, callback)): Path<(usize, usize)>,
    Form(Changed { body }): Form<Changed>,
) -> Response {
    match send_changed(&world, number, callback, body) {
        true => back(),
        false => (StatusCode::NOT_FOUND, "no such callback\n").into_response(),
    }
}
