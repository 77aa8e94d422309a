//! Daraja's HTTP API: which product a path is, its checks, its answer, and the events that follow.

mod answer;
mod b2b_express;
mod bill_manager;
mod c2b;
mod express;
mod pull;
mod qr;
mod ratiba;
mod request;
mod results;
mod token;

use std::time::Duration;

use mpesa_callbacks_core::{Environment, lint_url};

pub(crate) use self::answer::Answer;
use self::answer::Trouble;
pub(crate) use self::c2b::{confirm, pay};
pub(crate) use self::express::{answer, expire};
use self::request::Fields;
pub(crate) use self::request::Request;
use crate::bodies::Json;
use crate::script::{Fault, Rule};
use crate::state::State;

/// What a product answers, or the error.
type Taken = Result<Answer, Trouble>;

/// Delay of a result after its request.
const RESULT_DELAY: Duration = Duration::from_secs(1);

const BILL_MANAGER_PATH: &str = "/v1/billmanager-invoice/";

/// Takes a request.
pub(crate) fn take(state: &mut State, request: &Request) -> Answer {
    let taken = match request.path.as_str() {
        "/oauth/v1/generate" => token::generate(state, request),
        "/mpesa/stkpush/v1/processrequest" => product(state, request, &EXPRESS, express::push),
        "/mpesa/stkpushquery/v1/query" => product(state, request, &EXPRESS, express::query),
        "/mpesa/c2b/v1/registerurl" => product(state, request, &C2B, |state, fields| c2b::register(state, fields, 1)),
        "/mpesa/c2b/v2/registerurl" => product(state, request, &C2B, |state, fields| c2b::register(state, fields, 2)),
        "/mpesa/c2b/v1/simulate" => product(state, request, &C2B, |state, fields| c2b::simulate(state, fields, 1)),
        "/mpesa/c2b/v2/simulate" => product(state, request, &C2B, |state, fields| c2b::simulate(state, fields, 2)),
        "/v1/ussdpush/get-msisdn" => product(state, request, &OTHERS, b2b_express::push),
        "/standingorder/v1/createStandingOrderExternal" => product(state, request, &OTHERS, ratiba::create),
        "/mpesa/qrcode/v1/generate" => product(state, request, &OTHERS, qr::generate),
        "/pulltransactions/v1/register" => product(state, request, &PULL, pull::register),
        "/pulltransactions/v1/query" => product(state, request, &PULL, pull::query),
        path if path.starts_with(BILL_MANAGER_PATH) => bill(state, request, &path[BILL_MANAGER_PATH.len()..]),
        path => match results::product(path) {
            Some(row) => product(state, request, &row.access, |state, fields| results::take(state, fields, row)),
            None => Err(Trouble::not_found()),
        },
    };
    taken.unwrap_or_else(|trouble| trouble.answer(&mut state.ids))
}

/// How a product reports errors that all products have.
struct Access {
    is_express: bool,
    /// The code for a wrong token.
    token: &'static str,
}

const EXPRESS: Access = Access { is_express: true, token: "404.001.03" };
const C2B: Access = Access { is_express: false, token: "400.003.01" };
const PULL: Access = Access { is_express: false, token: "401.001" };
const OTHERS: Access = Access { is_express: true, token: "404.001.03" };

/// Checks method, token and form of a request, as every product does.
fn product(
    state: &mut State,
    request: &Request,
    access: &Access,
    take: impl FnOnce(&mut State, &Fields) -> Taken,
) -> Taken {
    admit(state, request, access)?;
    take(state, &request.fields(access.is_express)?)
}

/// Bill Manager takes lists, too.
fn bill(state: &mut State, request: &Request, path: &str) -> Taken {
    admit(state, request, &OTHERS)?;
    bill_manager::take(state, path, &request.json().ok_or_else(|| Trouble::not_json(false))?)
}

fn admit(state: &State, request: &Request, access: &Access) -> Result<(), Trouble> {
    // The documentation of pull writes GET, and every client sends POST.
    let is_pull_query = request.path == "/pulltransactions/v1/query";
    if request.method != "POST" && !(is_pull_query && request.method == "GET") {
        return Err(Trouble::method(&request.method));
    }
    let token = request.credentials("Bearer").ok_or_else(Trouble::no_authorization)?;
    let now = state.now();
    if state.tokens.get(token).is_none_or(|expires| *expires <= now) {
        return Err(Trouble::token(access.token, token));
    }
    Ok(())
}

/// A URL as Safaricom takes it: with a scheme, without spaces, in production `https` and public.
fn url(state: &State, fields: &Fields, name: &str) -> Result<String, Trouble> {
    let url = fields.required(name)?;
    let is_url = url.starts_with("http://") || url.starts_with("https://");
    let refused = state.behaviour.is_production && !lint_url(&url, Environment::Production).is_empty();
    if is_url && !url.contains(char::is_whitespace) && !refused { Ok(url) } else { Err(Trouble::field(name)) }
}

/// The result code that a rule chooses, and its faults; an error if the request is refused.
fn unless_refused(rule: Option<Rule>) -> Result<(Option<String>, Vec<Fault>), Trouble> {
    let Some(rule) = rule else { return Ok((None, Vec::new())) };
    if rule.faults.contains(&Fault::SpikeArrest) {
        return Err(Trouble::spike_arrest());
    }
    match rule.refused {
        Some(code) => Err(Trouble::of_code(&code)),
        None => Ok((rule.ends, rule.faults)),
    }
}

/// The answer to a request that was accepted.
fn taken(state: &mut State, answer: &Json, faults: &[Fault]) -> Answer {
    if faults.contains(&Fault::TokenExpires) {
        state.tokens.clear();
    }
    match faults.contains(&Fault::LostAnswer) {
        true => Answer { status: 500, body: String::new() },
        false => Answer::ok(answer),
    }
}
