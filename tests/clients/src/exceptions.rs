//! Calls that fail, and would fail at Safaricom, too. The simulator does not bend to them.

/// A call that contradicts Daraja.
pub(crate) struct Exception {
    pub(crate) client: &'static str,
    pub(crate) call: &'static str,
    /// What its error contains, so that nothing else hides behind it.
    pub(crate) error: &'static str,
    /// What the client does.
    pub(crate) reason: &'static str,
    /// On whose word Daraja is otherwise.
    pub(crate) source: &'static str,
}

#[rustfmt::skip]
pub(crate) const EXCEPTIONS: &[Exception] = &[
    Exception { client: "noriapay", call: "qr", error: "Invalid RefNo", reason: "its request has `MerchantShortCode` and `QRType`; Daraja wants `RefNo`, `TrxCode`, `CPI` and `Size`", source: "Daraja 3.0, Dynamic QR" },
    Exception { client: "mpesakit", call: "bill_invoices", error: "Invalid Request Payload", reason: "it sends `{\"invoices\":[…]}`; Daraja takes the array itself", source: "Daraja 3.0, Bill Manager, bulk invoicing" },
    Exception { client: "mpesakit", call: "bill_cancel_bulk", error: "Invalid Request Payload", reason: "it sends `{\"invoices\":[…]}`; Daraja takes the array itself", source: "Daraja 3.0, Bill Manager, cancel bulk invoices" },
    Exception { client: "mpesa", call: "register_v1", error: "performing the http request", reason: "it reads `OriginatorConverstionID`; Daraja writes `OriginatorCoversationID`", source: "Daraja 3.0, register URL; every log" },
    Exception { client: "mpesa", call: "simulate_v1", error: "performing the http request", reason: "it reads `OriginatorConversationID` and `ResponseCode`; version 1 writes `OriginatorCoversationID`, and no code", source: "log of 2018" },
    Exception { client: "mpesa", call: "bill_optin", error: "Invalid callbackurl", reason: "it sends `callbackUrl`; Daraja wants `callbackurl`", source: "Daraja 3.0, Bill Manager, opt in" },
    Exception { client: "mpesa", call: "bill_cancel_bulk", error: "Invalid Request Payload", reason: "it sends a list to `cancel-single-invoice`", source: "Daraja 3.0, Bill Manager, cancel bulk invoices" },
    Exception { client: "async-mpesa", call: "register_v2", error: "OriginatorConversationID", reason: "it reads `OriginatorConversationID`; Daraja writes `OriginatorCoversationID`", source: "Daraja 3.0, register URL; every log" },
    Exception { client: "async-mpesa", call: "simulate_v2", error: "OriginatorConversationID", reason: "it reads `OriginatorConversationID`; Daraja writes `OriginatorCoversationID`", source: "Daraja 3.0, simulate" },
    Exception { client: "async-mpesa", call: "b2c", error: "Invalid OriginatorConversationID", reason: "it calls version 3 without `OriginatorConversationID`", source: "Daraja 3.0, Business to Customer" },
    Exception { client: "async-mpesa", call: "b2pochi", error: "Resource not found", reason: "it calls `/b2pochi/…`; the path is `/mpesa/b2pochi/…`", source: "Daraja 3.0, Business to Pochi" },
    Exception { client: "async-mpesa", call: "b2b_paybill", error: "expected ", reason: "it reads `ResponseCode` as a number; Daraja writes \"0\"", source: "Daraja 3.0; every log" },
    Exception { client: "async-mpesa", call: "b2b_buygoods", error: "expected ", reason: "it reads `ResponseCode` as a number; Daraja writes \"0\"", source: "Daraja 3.0; every log" },
    Exception { client: "async-mpesa", call: "tax", error: "expected ", reason: "it reads `ResponseCode` as a number; Daraja writes \"0\"", source: "Daraja 3.0; every log" },
    Exception { client: "async-mpesa", call: "balance", error: "expected ", reason: "it reads `ResponseCode` as a number; Daraja writes \"0\"", source: "Daraja 3.0; every log" },
    Exception { client: "async-mpesa", call: "status", error: "expected ", reason: "it reads `ResponseCode` as a number; Daraja writes \"0\"", source: "Daraja 3.0; every log" },
    Exception { client: "async-mpesa", call: "b2b_express", error: "Invalid callbackUrl", reason: "it sends `CallBackUrl`; Daraja wants `callbackUrl`", source: "Daraja 3.0, B2B Express" },
    Exception { client: "async-mpesa", call: "reversal", error: "Invalid RecieverIdentifierType", reason: "it sends `ReceiverIdentifierType`; Daraja wants `RecieverIdentifierType`, and said so", source: "LOG 2023, safaricom/LNMOnlineAndroidSample issue 8" },
    Exception { client: "async-mpesa", call: "pull", error: "Invalid RequestType", reason: "it asks the path of the registration", source: "Daraja 3.0, Pull" },
    Exception { client: "async-mpesa", call: "bill_optin", error: "Invalid callbackurl", reason: "it sends `Callbackurl`; Daraja wants `callbackurl`", source: "Daraja 3.0, Bill Manager, opt in" },
    Exception { client: "async-mpesa", call: "bill_invoice", error: "expected i32", reason: "it reads `rescode` as a number, and `resmg`; Daraja writes \"200\", and `resmsg`", source: "Daraja 3.0, Bill Manager, single invoicing" },
    Exception { client: "async-mpesa", call: "bill_cancel", error: "missing field `error`", reason: "it reads `error`; Daraja writes `errors`", source: "Daraja 3.0, Bill Manager, cancel invoice" },
];
