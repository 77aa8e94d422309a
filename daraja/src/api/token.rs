//! OAuth.

use std::time::Duration;

use data_encoding::BASE64;

use super::answer::{Answer, Trouble};
use super::{Request, Taken};
use crate::bodies::object;
use crate::state::State;

/// Life of a token.
const LIFE: Duration = Duration::from_secs(3600);

/// Any key and secret get a token, unless some were set. Earlier tokens stay valid: the documentation denies it, and nobody
/// has seen it.
pub(super) fn generate(state: &mut State, request: &Request) -> Taken {
    let credentials = request.credentials("Basic").ok_or_else(Trouble::not_basic)?;
    let decoded = BASE64.decode(credentials.as_bytes()).map_err(|_| Trouble::not_basic())?;
    if !decoded.contains(&b':') {
        return Err(Trouble::not_basic());
    }
    if state.behaviour.credentials.as_ref().is_some_and(|known| known.as_bytes() != decoded) {
        return Err(Trouble::wrong_key());
    }
    if !request.query.split('&').any(|pair| pair == "grant_type=client_credentials") {
        return Err(Trouble::grant_type());
    }
    let token = state.ids.token();
    let expires = state.now() + LIFE;
    state.tokens.insert(token.clone(), expires);
    // Text in every log, although the documentation shows a number.
    Ok(Answer::ok(&object([("access_token", token.into()), ("expires_in", "3599".into())])))
}
