//! Control over HTTP, below `/_/`: for tests in other languages, and for the page.

mod forms;
mod page;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Form, Path, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api;
use crate::daraja::resend;
use crate::post::{Exchange, Happening};
use crate::script::Rule;
use crate::world::World;

/// The routes below `/_/`.
pub(crate) fn routes() -> Router<Arc<World>> {
    let routes = Router::new()
        .merge(forms::routes())
        .route("/_/", get(show))
        .route("/_/page.css", get(async || asset("text/css", include_str!("assets/page.css"))))
        .route("/_/page.js", get(async || asset("text/javascript", include_str!("assets/page.js"))))
        .route("/_/events", get(events))
        .route("/_/rules", get(rules).post(add_rule).delete(clear_rules))
        .route("/_/journal", get(journal))
        .route("/_/pay", post(pay))
        .route("/_/phones/{id}", post(answer))
        .route("/_/clock", post(move_clock))
        .route("/_/exchanges/{number}/resend", post(send_again))
        .route("/_/state", axum::routing::delete(reset));
    routes.layer(from_fn(guard))
}

/// Refuses requests that another site makes a browser send.
async fn guard(request: Request, next: Next) -> Response {
    if is_from_here(request.method(), request.headers()) {
        next.run(request).await
    } else {
        (StatusCode::FORBIDDEN, "only for this machine\n").into_response()
    }
}

/// Returns `false` for a foreign `Host` (DNS rebinding), and for requests with an effect from another
/// origin.
fn is_from_here(method: &Method, headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let host = text("host").unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let is_same_site = text("sec-fetch-site").is_none_or(|site| matches!(site, "same-origin" | "none"));
    let is_same_origin = text("origin").is_none_or(|origin| origin == format!("http://{host}"));
    matches!(name, "127.0.0.1" | "localhost" | "[::1]") && (method.is_safe() || is_same_site && is_same_origin)
}

type Shared = State<Arc<World>>;

/// Nothing inline, and nothing of others.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; \
                      base-uri 'none'; frame-ancestors 'none'";

async fn show(State(world): Shared, headers: HeaderMap) -> impl IntoResponse {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("127.0.0.1");
    let page = page::render(&world.state(), &format!("http://{host}"));
    ([(header::CONTENT_SECURITY_POLICY, POLICY), (header::CACHE_CONTROL, "no-store")], Html(page))
}

fn asset(kind: &'static str, text: &'static str) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")], text)
}

/// Tells, by server-sent events, that something happened.
async fn events(State(world): Shared) -> impl IntoResponse {
    let follower = world.followers.follow();
    let happened = futures_util::stream::unfold(follower, |mut follower| async move {
        let event = match follower.next().await? {
            Happening::Exchange(_) => Event::default().data("exchange"),
            Happening::Callback { .. } => Event::default().data("callback"),
        };
        Some((Ok::<_, Infallible>(event), follower))
    });
    Sse::new(happened).keep_alive(KeepAlive::default())
}

async fn rules(State(world): Shared) -> Json<Vec<Rule>> {
    Json(world.state().rules.all().to_vec())
}

async fn add_rule(State(world): Shared, Json(rule): Json<Value>) -> Response {
    let rule = serde_json::from_value::<Rule>(rule).map_err(|error| error.to_string());
    match rule.and_then(|rule| rule.checked().map_err(|error| error.to_string())) {
        Ok(rule) => {
            let number = world.state().rules.add(rule);
            (StatusCode::CREATED, Json(json!({ "rule": number }))).into_response()
        }
        Err(error) => (StatusCode::BAD_REQUEST, Json(json!({ "error": error }))).into_response(),
    }
}

async fn clear_rules(State(world): Shared) -> StatusCode {
    world.state().rules.clear();
    StatusCode::NO_CONTENT
}

async fn journal(State(world): Shared) -> Json<Vec<Exchange>> {
    Json(world.state().journal.all())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pay {
    phone: String,
    short_code: String,
    amount: i64,
    #[serde(default)]
    account: String,
}

async fn pay(State(world): Shared, Json(paid): Json<Pay>) -> StatusCode {
    let Pay { phone, short_code, amount, account } = paid;
    world.act("customer pays", |state| api::pay(state, &phone, &short_code, amount, &account, false));
    StatusCode::ACCEPTED
}

#[derive(Deserialize)]
struct Answered {
    code: String,
}

/// The customer answers a prompt, by a button of the page or from a test.
async fn answer(
    State(world): Shared,
    Path(id): Path<String>,
    headers: HeaderMap,
    Form(Answered { code }): Form<Answered>,
) -> Response {
    let answered = api::answer(&mut world.state(), &id, &code);
    world.added.notify_one();
    let accepts = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match answered {
        true if accepts.contains("text/html") => Redirect::to("/_/").into_response(),
        true => StatusCode::ACCEPTED.into_response(),
        false => (StatusCode::NOT_FOUND, "no phone rings for this id\n").into_response(),
    }
}

/// `{"advance_ms": 600000}`, or `{"settle": true}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Move {
    #[serde(default)]
    advance_ms: u64,
    #[serde(default)]
    settle: bool,
}

async fn move_clock(State(world): Shared, Json(wanted): Json<Move>) -> StatusCode {
    let until = world.state().now() + Duration::from_millis(wanted.advance_ms);
    let by = if wanted.settle { Duration::MAX } else { until };
    while world.step(by).await.is_some() {}
    world.state().clock.move_to(until);
    StatusCode::NO_CONTENT
}

async fn send_again(State(world): Shared, Path(number): Path<usize>) -> StatusCode {
    if resend(&world, number) { StatusCode::ACCEPTED } else { StatusCode::NOT_FOUND }
}

async fn reset(State(world): Shared) -> StatusCode {
    world.state().reset();
    StatusCode::NO_CONTENT
}
