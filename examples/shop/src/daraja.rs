//! A client of Daraja, as small as the shop needs it: token, push, query, pull, payout.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use chrono::{FixedOffset, Utc};
use data_encoding::BASE64;
use serde_json::{Value, json};

/// Kenya has used +03:00 all year since 1960.
const NAIROBI: FixedOffset = FixedOffset::east_opt(3 * 60 * 60).unwrap();

/// The merchant, as Daraja knows it.
#[derive(Clone)]
#[allow(missing_debug_implementations, reason = "it holds secrets")]
pub struct Merchant {
    /// `https://sandbox.safaricom.co.ke`, `https://api.safaricom.co.ke`, or that of a simulator.
    pub base_url: String,
    /// Consumer key of the application.
    pub consumer_key: String,
    /// Consumer secret of the application.
    pub consumer_secret: String,
    /// Pay bill.
    pub short_code: String,
    /// Passkey of the pay bill.
    pub passkey: String,
}

impl Merchant {
    /// The pay bill of the sandbox, whose passkey Safaricom publishes, at this address.
    pub fn of_sandbox(base_url: String, consumer_key: String, consumer_secret: String) -> Merchant {
        Merchant {
            base_url,
            consumer_key,
            consumer_secret,
            short_code: "174379".to_owned(),
            passkey: "bfb279f9aa9bdbcf158e97dd71a467cd2e0c893059b10f78e6b72ada1ed2c919".to_owned(),
        }
    }
}

/// Why a push has no id.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// Daraja refuses it, or it was not sent: no phone rings.
    #[error("the push was not made")]
    NotMade(#[source] anyhow::Error),
    /// The answer is lost: the phone may ring all the same.
    #[error("nobody knows whether the push was made")]
    Unknown(#[source] anyhow::Error),
}

/// A client. Clones share one token.
#[derive(Clone)]
#[allow(missing_debug_implementations, reason = "it holds secrets")]
pub struct Daraja(Arc<Shared>);

struct Shared {
    merchant: Merchant,
    agent: ureq::Agent,
    token: Mutex<Option<(String, Instant)>>,
}

impl Daraja {
    /// Makes a client.
    pub fn new(merchant: Merchant) -> Daraja {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(20)))
            .build()
            .new_agent();
        Daraja(Arc::new(Shared { merchant, agent, token: Mutex::new(None) }))
    }

    /// Returns the pay bill.
    pub fn short_code(&self) -> &str {
        &self.0.merchant.short_code
    }

    /// Sends a push, in whole shillings, and returns its `CheckoutRequestID`.
    ///
    /// # Errors
    /// When Daraja refuses it, or its answer is lost.
    pub async fn push(
        &self,
        phone: &str,
        shillings: i64,
        account: &str,
        callback_url: &str,
    ) -> Result<String, PushError> {
        let Merchant { short_code, .. } = &self.0.merchant;
        let (timestamp, password) = self.0.password();
        let body = json!({
            "BusinessShortCode": short_code, "Password": password, "Timestamp": timestamp,
            "TransactionType": "CustomerPayBillOnline", "Amount": shillings, "PartyA": phone, "PartyB": short_code,
            "PhoneNumber": phone, "CallBackURL": callback_url, "AccountReference": account,
            "TransactionDesc": "An order",
        });
        let shared = self.0.clone();
        let sending = tokio::task::spawn_blocking(move || {
            // Without a token nothing is sent.
            let token = shared.token().map_err(PushError::NotMade)?;
            shared.send("/mpesa/stkpush/v1/processrequest", &body, &token).map_err(PushError::Unknown)
        });
        let (status, answer) = sending.await.map_err(|error| PushError::Unknown(error.into()))??;
        match answer["CheckoutRequestID"].as_str() {
            Some(id) => Ok(id.to_owned()),
            None if is_refusal(status, &answer) => Err(PushError::NotMade(anyhow!("Daraja refuses it: {answer}"))),
            None => Err(PushError::Unknown(anyhow!("status {status}: {answer}"))),
        }
    }

    /// Returns the result code of a push, `4999` while it is under way. A success comes without its
    /// receipt.
    ///
    /// # Errors
    /// When Daraja does not answer, or not now: try again later.
    pub async fn query(&self, checkout_request_id: &str) -> anyhow::Result<String> {
        let (timestamp, password) = self.0.password();
        let body = json!({
            "BusinessShortCode": self.0.merchant.short_code, "Password": password, "Timestamp": timestamp,
            "CheckoutRequestID": checkout_request_id,
        });
        let answer = self.post("/mpesa/stkpushquery/v1/query", body).await?;
        let code = answer["ResultCode"].as_str();
        code.map(str::to_owned).with_context(|| format!("Daraja cannot tell now: {answer}"))
    }

    /// Returns the receipt of the payment for this account of the last 47 hours.
    ///
    /// # Errors
    /// When Daraja does not answer, or pull is not enabled for the pay bill.
    pub async fn receipt_of(&self, account: &str) -> anyhow::Result<Option<String>> {
        let now = Utc::now().with_timezone(&NAIROBI);
        let time = |hours: i64| (now + chrono::Duration::hours(hours)).format("%Y-%m-%d %H:%M:%S").to_string();
        let body = json!({
            "ShortCode": self.0.merchant.short_code, "StartDate": time(-47), "EndDate": time(1), "OffSetValue": "0",
        });
        let answer = self.post("/pulltransactions/v1/query", body).await?;
        let rows = answer["Response"].as_array().into_iter().flatten().filter_map(Value::as_array).flatten();
        let found = rows.into_iter().find(|row| row["billreference"].as_str() == Some(account));
        Ok(found.and_then(|row| row["transactionId"].as_str()).map(str::to_owned))
    }

    /// Enables pull, once; a second time changes nothing.
    ///
    /// # Errors
    /// When Daraja does not answer.
    pub async fn enable_pull(&self, callback_url: &str) -> anyhow::Result<()> {
        let body = json!({
            "ShortCode": self.0.merchant.short_code, "RequestType": "Pull", "NominatedNumber": "254722000000",
            "CallBackURL": callback_url,
        });
        self.post("/pulltransactions/v1/register", body).await.map(drop)
    }

    /// Sends a request and returns the body of the answer, also if it is an error of Daraja's.
    ///
    /// # Errors
    /// When there is no answer, or it is not JSON.
    pub async fn post(&self, path: &str, body: Value) -> anyhow::Result<Value> {
        let (shared, path) = (self.0.clone(), path.to_owned());
        tokio::task::spawn_blocking(move || shared.post(&path, &body)).await?
    }
}

/// Whether an error says that nothing was done. After any other the phone may ring.
fn is_refusal(status: u16, answer: &Value) -> bool {
    let (code, message) = (answer["errorCode"].as_str(), answer["errorMessage"].as_str().unwrap_or_default());
    match code {
        // One code, several meanings: with an empty message Daraja does not know either.
        Some("500.001.1001") => ["Wrong credentials", "Merchant does not exist", "Unable to lock subscriber"]
            .iter()
            .any(|refusal| message.contains(refusal)),
        // Too many requests; the quota is used up.
        Some("500.003.02" | "500.003.03") => true,
        _ => (400..500).contains(&status),
    }
}

impl Shared {
    /// Timestamp and password of a push or query.
    fn password(&self) -> (String, String) {
        let timestamp = Utc::now().with_timezone(&NAIROBI).format("%Y%m%d%H%M%S").to_string();
        let Merchant { short_code, passkey, .. } = &self.merchant;
        let password = BASE64.encode(format!("{short_code}{passkey}{timestamp}").as_bytes());
        (timestamp, password)
    }

    /// A token lives for an hour.
    fn token(&self) -> anyhow::Result<String> {
        let mut known = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((token, until)) = &*known
            && Instant::now() < *until
        {
            return Ok(token.clone());
        }
        let Merchant { base_url, consumer_key, consumer_secret, .. } = &self.merchant;
        let basic = BASE64.encode(format!("{consumer_key}:{consumer_secret}").as_bytes());
        let url = format!("{base_url}/oauth/v1/generate?grant_type=client_credentials");
        let request = self.agent.get(url).header("authorization", format!("Basic {basic}"));
        let mut response = request.call().context("Daraja does not answer")?;
        let answer: Value = serde_json::from_str(&response.body_mut().read_to_string()?).context("the token")?;
        let Some(token) = answer["access_token"].as_str() else { bail!("Daraja refuses the credentials: {answer}") };
        *known = Some((token.to_owned(), Instant::now() + Duration::from_mins(50)));
        Ok(token.to_owned())
    }

    fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.send(path, body, &self.token()?).map(|(_, answer)| answer)
    }

    /// Returns the status and the body of the answer.
    fn send(&self, path: &str, body: &Value, token: &str) -> anyhow::Result<(u16, Value)> {
        let request = self.agent.post(format!("{}{path}", self.merchant.base_url));
        let request = request.header("authorization", format!("Bearer {token}"));
        let request = request.content_type("application/json");
        let mut response = request.send(body.to_string()).context("Daraja does not answer")?;
        let status = response.status().as_u16();
        if matches!(status, 401 | 404) {
            // Perhaps the token has expired early. The next request gets another one.
            *self.token.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        let text = response.body_mut().read_to_string()?;
        let answer = serde_json::from_str(&text).with_context(|| format!("not JSON, status {status}"))?;
        Ok((status, answer))
    }
}
