//! Posts a callback as Daraja does, and judges the response.

use std::fmt;
use std::io::Read;
use std::time::{Duration, Instant};

use anyhow::Context;
use mpesa_callbacks_core::Kind;
use serde_json::Value;

/// M-Pesa waits "less than 8 seconds" for the answer to a validation (Daraja 3.0, register URL). For the
/// others no limit is documented; 30 s are reported by the community.
const VALIDATION_DEADLINE: Duration = Duration::from_secs(8);
const DEADLINE: Duration = Duration::from_secs(30);

/// An acknowledgement is shorter; what is longer is a page of another program.
const LONGEST: u64 = 1024;

/// Posts callbacks.
#[derive(Debug)]
pub(crate) struct Poster(ureq::Agent);

/// The response to a callback.
#[derive(Debug)]
pub(crate) struct Response {
    status: u16,
    text: String,
    took: Duration,
    fault: Option<String>,
}

impl Poster {
    pub(crate) fn new() -> Poster {
        let agent = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(DEADLINE));
        // A redirected callback is lost: Daraja does not follow.
        Poster(agent.max_redirects(0).max_redirects_will_error(false).build().into())
    }

    /// Posts a callback of this kind.
    pub(crate) fn post(&self, kind: &Kind, url: &str, body: &[u8]) -> anyhow::Result<Response> {
        let began = Instant::now();
        let sent = self.0.post(url).header("content-type", "application/json;charset=UTF-8").send(body);
        let mut response = sent.with_context(|| format!("no response from {}", without_secret(url)))?;
        let took = began.elapsed();
        let mut text = Vec::new();
        response.body_mut().as_reader().take(LONGEST).read_to_end(&mut text).context("no whole response")?;
        let (status, text) = (response.status().as_u16(), String::from_utf8_lossy(&text).trim_end().to_owned());
        let fault = fault(kind, status, &text, took);
        Ok(Response { status, text, took, fault })
    }
}

impl Response {
    /// Whether it is the response that Daraja waits for.
    pub(crate) fn is_right(&self) -> bool {
        self.fault.is_none()
    }
}

impl fmt::Display for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Response { status, text, took, fault } = self;
        writeln!(f, "  {status} in {} ms   {text}", took.as_millis())?;
        write!(f, "  {}", fault.as_deref().unwrap_or("what Daraja waits for"))
    }
}

/// Returns what is wrong with a response.
pub(crate) fn fault(kind: &Kind, status: u16, text: &str, took: Duration) -> Option<String> {
    let is_validation = *kind == Kind::C2bValidation;
    match status {
        200 => {}
        300..=399 => return Some("Daraja does not follow redirects: give it the final URL".to_owned()),
        401 | 403 => return Some("refused: by a list of addresses, a login, or a CSRF check".to_owned()),
        404 => {
            return Some(
                "nothing is mounted at this path, the secret is wrong, or the application has no handler of this kind"
                    .to_owned(),
            );
        }
        405 => return Some("the path takes no POST".to_owned()),
        _ => return Some("not acknowledged, and Daraja does not send it again".to_owned()),
    }
    let Ok(answer) = serde_json::from_str::<Value>(text) else {
        return Some("200, but the body is not JSON: is it another program's?".to_owned());
    };
    let code = answer.get("ResultCode");
    if is_validation && code.is_none() {
        return Some("the answer to a validation needs a `ResultCode`".to_owned());
    }
    if is_validation && took > VALIDATION_DEADLINE {
        let took = took.as_secs_f64();
        return Some(format!("took {took:.1} s of 8 s: M-Pesa decides by the registration's `ResponseType`"));
    }
    let is_zero = code.is_none_or(|code| *code == 0 || *code == "0");
    (!is_validation && !is_zero).then(|| "a `ResultCode` other than 0 does not acknowledge".to_owned())
}

/// Hides the secret, which is a long segment of the path.
pub(crate) fn without_secret(url: &str) -> String {
    let mut parts: Vec<&str> = url.split('/').collect();
    for part in parts.iter_mut().skip(3).filter(|part| part.len() >= 16) {
        *part = "•••";
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_that_daraja_does_not_wait_for() {
        let judged = |kind: &Kind, status, text| fault(kind, status, text, Duration::ZERO).unwrap_or_default();
        assert_eq!(judged(&Kind::Stk, 200, r#"{"ResultCode":0,"ResultDesc":"Success"}"#), "");
        assert_eq!(judged(&Kind::C2bValidation, 200, r#"{"ResultCode":"C2B00012","ResultDesc":"Rejected"}"#), "");
        assert!(judged(&Kind::Stk, 200, "<html>").contains("not JSON"));
        assert!(judged(&Kind::Stk, 200, r#"{"ResultCode":1}"#).contains("other than 0"));
        assert!(judged(&Kind::C2bValidation, 200, "{}").contains("needs"));
        assert!(judged(&Kind::Stk, 301, "").contains("redirects"));
        let late = fault(&Kind::C2bValidation, 200, r#"{"ResultCode":"0"}"#, Duration::from_secs(9));
        assert!(late.is_some_and(|fault| fault.contains("9.0 s of 8 s")));
    }

    #[test]
    fn the_secret_is_hidden() {
        let url = "https://shop.example.com/pay/00112233445566778899aabbccddeeff/c2b/confirmation";
        assert_eq!(without_secret(url), "https://shop.example.com/pay/•••/c2b/confirmation");
    }
}
