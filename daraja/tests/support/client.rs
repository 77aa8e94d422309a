//! A client as an application has it: a token, and one request after the other.

use data_encoding::BASE64;
use mpesa_callbacks::{Kind, Urls};
use mpesa_callbacks_daraja::Daraja;
use serde_json::{Value, json};

/// An HTTP response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The error code, or an empty text.
    pub fn code(&self) -> String {
        self.json()["errorCode"].as_str().unwrap_or_default().to_owned()
    }
}

#[derive(Clone, Debug)]
pub struct Client {
    base: String,
    pub token: String,
}

impl Client {
    pub async fn new(daraja: &Daraja) -> Client {
        let mut client = Client { base: daraja.base_url(), token: String::new() };
        client.log_in().await;
        client
    }

    /// Gets a token.
    pub async fn log_in(&mut self) {
        let basic = format!("Basic {}", BASE64.encode(b"key:secret"));
        let path = "/oauth/v1/generate?grant_type=client_credentials";
        let answer = self.send("GET", path, Some(&basic), String::new()).await;
        answer.json()["access_token"].as_str().expect("a token").clone_into(&mut self.token);
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, Some(&format!("Bearer {}", self.token)), body.to_string()).await
    }

    pub async fn send(&self, method: &str, path: &str, authorization: Option<&str>, body: String) -> Answer {
        let (url, method) = (format!("{}{path}", self.base), method.to_owned());
        let authorization = authorization.map(str::to_owned);
        let sending = move || {
            let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
            let mut request = ureq::http::Request::builder().method(method.as_str()).uri(url);
            request = request.header("content-type", "application/json");
            if let Some(authorization) = authorization {
                request = request.header("authorization", authorization);
            }
            let response = match method.as_str() {
                "GET" | "DELETE" => agent.run(request.body(()).unwrap()),
                _ => agent.run(request.body(body).unwrap()),
            };
            let mut response = response.expect("a response");
            let status = response.status().as_u16();
            Answer { status, text: response.body_mut().read_to_string().expect("a text") }
        };
        tokio::task::spawn_blocking(sending).await.unwrap()
    }
}

/// Bodies of requests, as the documentation has them.
pub mod requests {
    use super::*;

    const PASSKEY: &str = "bfb279f9aa9bdbcf158e97dd71a467cd2e0c893059b10f78e6b72ada1ed2c919";

    pub fn password() -> String {
        BASE64.encode(format!("174379{PASSKEY}20260101080000").as_bytes())
    }

    pub fn push(phone: &str, callback_url: &str) -> Value {
        json!({
            "BusinessShortCode": 174_379, "Password": password(), "Timestamp": "20260101080000",
            "TransactionType": "CustomerPayBillOnline", "Amount": "1500", "PartyA": phone, "PartyB": "174379",
            "PhoneNumber": phone, "CallBackURL": callback_url, "AccountReference": "order-1",
            "TransactionDesc": "an order",
        })
    }

    pub fn query(checkout_request_id: &str) -> Value {
        json!({
            "BusinessShortCode": "174379", "Password": password(), "Timestamp": "20260101080000",
            "CheckoutRequestID": checkout_request_id,
        })
    }

    pub fn register(confirmation_url: &str, validation_url: &str) -> Value {
        json!({
            "ShortCode": "600638", "ResponseType": "Completed", "ConfirmationURL": confirmation_url,
            "ValidationURL": validation_url,
        })
    }

    fn url(urls: &Urls, kind: &Kind) -> String {
        urls.url(kind).unwrap().into_string()
    }

    pub fn b2c(urls: &Urls, id: &str) -> Value {
        json!({
            "OriginatorConversationID": id, "InitiatorName": "testapi", "SecurityCredential": "c2VjcmV0",
            "CommandID": "BusinessPayment", "Amount": 1500, "PartyA": "600996", "PartyB": "254708374149",
            "Remarks": "wages", "QueueTimeOutURL": url(urls, &Kind::B2cTimeout), "ResultURL": url(urls, &Kind::B2cResult),
            "Occassion": "",
        })
    }

    pub fn b2b(urls: &Urls) -> Value {
        json!({
            "Initiator": "testapi", "SecurityCredential": "c2VjcmV0", "CommandID": "BusinessPayBill",
            "SenderIdentifierType": "4", "RecieverIdentifierType": "4", "Amount": "239", "PartyA": "600996",
            "PartyB": "000000", "AccountReference": "353353", "Remarks": "ok",
            "QueueTimeOutURL": url(urls, &Kind::B2bTimeout), "ResultURL": url(urls, &Kind::B2bResult),
        })
    }

    pub fn tax(urls: &Urls) -> Value {
        json!({
            "Initiator": "taxpayer", "SecurityCredential": "c2VjcmV0", "CommandID": "PayTaxToKRA",
            "SenderIdentifierType": "4", "RecieverIdentifierType": "4", "Amount": "239", "PartyA": "600996",
            "PartyB": "572572", "AccountReference": "353353", "Remarks": "ok",
            "QueueTimeOutURL": url(urls, &Kind::TaxTimeout), "ResultURL": url(urls, &Kind::TaxResult),
        })
    }

    pub fn status(urls: &Urls, receipt: &str) -> Value {
        json!({
            "Initiator": "testapi", "SecurityCredential": "c2VjcmV0", "CommandID": "TransactionStatusQuery",
            "TransactionID": receipt, "PartyA": "600996", "IdentifierType": "4", "Remarks": "ok", "Occasion": "OK",
            "QueueTimeOutURL": url(urls, &Kind::StatusTimeout), "ResultURL": url(urls, &Kind::StatusResult),
        })
    }

    pub fn balance(urls: &Urls) -> Value {
        json!({
            "Initiator": "testapi", "SecurityCredential": "c2VjcmV0", "CommandID": "AccountBalance",
            "PartyA": "600996", "IdentifierType": "4", "Remarks": "ok",
            "QueueTimeOutURL": url(urls, &Kind::BalanceTimeout), "ResultURL": url(urls, &Kind::BalanceResult),
        })
    }

    pub fn reversal(urls: &Urls, receipt: &str) -> Value {
        json!({
            "Initiator": "testapi", "SecurityCredential": "c2VjcmV0", "CommandID": "TransactionReversal",
            "TransactionID": receipt, "Amount": "1500", "ReceiverParty": "174379", "RecieverIdentifierType": "11",
            "Remarks": "ok", "Occasion": "",
            "QueueTimeOutURL": url(urls, &Kind::ReversalTimeout), "ResultURL": url(urls, &Kind::ReversalResult),
        })
    }

    pub fn business_push(urls: &Urls) -> Value {
        json!({
            "primaryShortCode": "000001", "receiverShortCode": "000002", "amount": "100", "paymentRef": "TestAccount",
            "callbackUrl": url(urls, &Kind::B2bExpress), "partnerName": "Test", "RequestRefID": "c2a9ba32-9e11",
        })
    }

    pub fn standing_order(urls: &Urls, name: &str) -> Value {
        json!({
            "StandingOrderName": name, "StartDate": "20260905", "EndDate": "20270905", "BusinessShortCode": "174379",
            "TransactionType": "Standing Order Customer Pay Bill", "ReceiverPartyIdentifierType": "4",
            "Amount": "4500", "PartyA": "254708374149", "CallBackURL": url(urls, &Kind::Ratiba),
            "AccountReference": "order-1", "TransactionDesc": "rent", "Frequency": "4",
        })
    }
}
