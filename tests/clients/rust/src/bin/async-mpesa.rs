//! The calls of async-mpesa. Its configuration is a trait.
#![forbid(unsafe_code)]

use std::fmt::Display;

use async_mpesa::config::{Config, MpesaConfig};
use async_mpesa::types::*;
use async_mpesa::{Bpaybill, C2bRegister, C2bSimulate, Client};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rust_clients::{
    INITIATOR, OTHER_SHORT_CODE, PASSKEY, PHONE, RECEIPT, SHORT_CODE, begins, daraja_url, is_done, report, url,
};
use serde::Serialize;
use serde_json::Value;

/// The client's own configuration, at the simulator.
#[derive(Clone)]
struct Simulator(MpesaConfig);

impl Config for Simulator {
    fn headers(&self) -> HeaderMap {
        self.0.headers()
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", daraja_url())
    }

    fn api_url(&self) -> &str {
        self.0.api_url()
    }

    fn access_token(&self) -> &str {
        self.0.access_token()
    }
}

type HeaderMap = reqwest::header::HeaderMap;

const TIMESTAMP: &str = "20260101120000";
const CREDENTIAL: &str = "c2VjcmV0";

fn value<T: Serialize, E: Display>(answer: Result<T, E>) -> Result<Value, String> {
    answer.map(|answer| serde_json::to_value(answer).expect("JSON")).map_err(|error| error.to_string())
}

/// Builds a request: every member is set by a function of its name.
macro_rules! request {
    ($builder:ident { $($member:ident: $value:expr),* $(,)? }) => {
        $builder::default()$(.$member($value))*.build().expect("all is set")
    };
}

#[tokio::main]
async fn main() {
    let simulator = |token: &str| Client::with_config(Simulator(MpesaConfig::new().with_access_token(token)));
    let asked = request!(AuthorizationRequestArgs { ConsumerKey: "key", ConsumerSecret: "secret" });
    let token = value(simulator("").authorization().create(asked).await);
    let token = report("token", token, |answer| answer["access_token"].as_str().is_some_and(|text| text.len() == 28));
    let client = simulator(token["access_token"].as_str().unwrap_or_default());

    let password = STANDARD.encode(format!("{SHORT_CODE}{PASSKEY}{TIMESTAMP}"));
    let push = request!(ExpressPushRequestArgs {
        BusinessShortCode: SHORT_CODE,
        Password: password.as_str(),
        Timestamp: TIMESTAMP,
        TransactionType: "CustomerPayBillOnline",
        Amount: "100",
        PartyA: PHONE,
        PartyB: SHORT_CODE,
        PhoneNumber: PHONE,
        CallBackURL: url("STK"),
        AccountReference: "order-1",
        TransactionDesc: "An order",
    });
    let pushed = value(client.stkpush().create(push).await);
    let pushed = report("push", pushed, begins("CheckoutRequestID", "ws_CO_"));
    let query = request!(ExpressQueryRequestArgs {
        BusinessShortCode: SHORT_CODE,
        Password: password.as_str(),
        Timestamp: TIMESTAMP,
        CheckoutRequestID: pushed["CheckoutRequestID"].as_str().unwrap_or_default(),
    });
    report("query", value(client.expressquery().create(query).await), |answer| answer["ResultCode"] == "0");

    let register = request!(C2bRegisterRequestArgs {
        ShortCode: SHORT_CODE,
        ResponseType: "Completed",
        ConfirmationURL: url("C2B_CONFIRMATION"),
        ValidationURL: url("C2B_VALIDATION"),
    });
    report("register_v2", value(C2bRegister::new(&client).create(register).await), is_done);
    let simulate = request!(C2bSimulateRequestArgs {
        ShortCode: SHORT_CODE,
        CommandID: "CustomerPayBillOnline",
        Amount: "100",
        Msisdn: PHONE,
        BillRefNumber: "order-2",
    });
    report("simulate_v2", value(C2bSimulate::new(&client).create(simulate).await), is_done);

    let payout = request!(B2CRequestArgs {
        InitiatorName: INITIATOR,
        SecurityCredential: CREDENTIAL,
        CommandID: "BusinessPayment",
        Amount: "100",
        PartyA: SHORT_CODE,
        PartyB: PHONE,
        Remarks: "Refund",
        QueueTimeOutURL: url("B2C_TIMEOUT"),
        ResultURL: url("B2C_RESULT"),
        Occassion: "Refund",
    });
    report("b2c", value(client.b2c().create(payout).await), begins("ConversationID", "AG_"));
    let pochi = request!(B2PochiRequestArgs {
        OriginatorConversationID: "refund-2",
        InitiatorName: INITIATOR,
        SecurityCredential: CREDENTIAL,
        CommandID: "BusinessPayToPochi",
        Amount: "100",
        PartyA: SHORT_CODE,
        PartyB: PHONE,
        Remarks: "Refund",
        QueueTimeOutURL: url("B2C_TIMEOUT"),
        ResultURL: url("B2C_RESULT"),
        Occassion: "Refund",
    });
    report("b2pochi", value(client.b2pochi().create(pochi).await), is_done);
    let pay_bill = request!(BusinessPayBillRequestArgs {
        Initiator: INITIATOR,
        SecurityCredential: CREDENTIAL,
        CommandID: "BusinessPayBill",
        SenderIdentifierType: "4",
        ReceiverIdentifierType: "4",
        Amount: "100",
        PartyA: SHORT_CODE,
        PartyB: OTHER_SHORT_CODE,
        AccountReference: "353353",
        Requester: PHONE,
        Remarks: "Supplies",
        QueueTimeoutURL: url("B2B_TIMEOUT"),
        ResultURL: url("B2B_RESULT"),
    });
    report("b2b_paybill", value(Bpaybill::new(&client).create(pay_bill).await), is_done);
    let buy_goods = request!(BusinessBuyGoodsRequestArgs {
        Initiator: INITIATOR,
        SecurityCredential: CREDENTIAL,
        CommandID: "BusinessBuyGoods",
        SenderIdentifierType: "4",
        ReceiverIdentifierType: "2",
        Amount: "100",
        PartyA: SHORT_CODE,
        PartyB: OTHER_SHORT_CODE,
        AccountReference: "353353",
        Requester: PHONE,
        Remarks: "Supplies",
        QueueTimeoutURL: url("B2B_TIMEOUT"),
        ResultURL: url("B2B_RESULT"),
    });
    report("b2b_buygoods", value(client.bbuygoods().create(buy_goods).await), is_done);
    let top_up = request!(B2cTopUpRequestArgs {
        Initiator: INITIATOR,
        SecurityCredential: CREDENTIAL,
        CommandID: "BusinessPayToBulk",
        SenderIdentifierType: "4",
        ReceiverIdentifierType: "4",
        Amount: "100",
        PartyA: SHORT_CODE,
        PartyB: OTHER_SHORT_CODE,
        AccountReference: "353353",
        Requester: PHONE,
        Remarks: "Wages",
        QueueTimeOutURL: url("B2B_TIMEOUT"),
        ResultURL: url("B2B_RESULT"),
    });
    report("b2c_topup", value(client.b2btopup().create(top_up).await), is_done);
    let tax = request!(TaxRemitRequestArgs {
        Initiator: INITIATOR,
        SecurityCredential: CREDENTIAL,
        CommandID: "PayTaxToKRA",
        SenderIdentifierType: "4",
        ReceiverIdentifierType: "4",
        Amount: "100",
        PartyA: SHORT_CODE,
        PartyB: "572572",
        AccountReference: "353353",
        Remarks: "Tax",
        QueueTimeoutURL: url("TAX_TIMEOUT"),
        ResultURL: url("TAX_RESULT"),
    });
    report("tax", value(client.taxremit().create(tax).await), is_done);
    let express = request!(B2bExpressRequestArgs {
        primaryShortCode: OTHER_SHORT_CODE,
        receiverShortCode: SHORT_CODE,
        amount: "100",
        paymentRef: "order-3",
        CallBackUrl: url("B2B_EXPRESS"),
        partnerName: "Shop",
        RequestRefID: "550e8400-e29b-41d4-a716-446655440000",
    });
    report("b2b_express", value(client.b2bexpress().create(express).await), |answer| answer["code"] == "0");

    let balance = request!(AccountBalanceRequestArgs {
        CommandID: "AccountBalance",
        PartyA: SHORT_CODE,
        IdentifierType: "4",
        Remarks: "Daily",
        Initiator: INITIATOR,
        SecurityCredential: CREDENTIAL,
        QueueTimeoutURL: url("BALANCE_TIMEOUT"),
        ResultURL: url("BALANCE_RESULT"),
    });
    report("balance", value(client.accountbalance().create(balance).await), is_done);
    let status = request!(TransactionStatusRequestArgs {
        Initiator: INITIATOR,
        SecurityCredential: CREDENTIAL,
        CommandID: "TransactionStatusQuery",
        TranscationID: RECEIPT,
        OriginatorConversationID: "refund-2",
        PartyA: 174_379_i64,
        IdentifierType: 4_u16,
        ResultURL: url("STATUS_RESULT"),
        QueueTimeoutURL: url("STATUS_TIMEOUT"),
        Remarks: "Where?",
        Occasion: "Where?",
    });
    report("status", value(client.transactionstatus().create(status).await), is_done);
    let reversal = request!(ReversalRequestArgs {
        Initiator: INITIATOR,
        SecurityCredential: CREDENTIAL,
        CommandID: "TransactionReversal",
        TransactionID: RECEIPT,
        Amount: "100",
        ReceiverParty: SHORT_CODE,
        ReceiverIdentifierType: "11",
        ResultURL: url("REVERSAL_RESULT"),
        QueueTimeoutURL: url("REVERSAL_TIMEOUT"),
        Remarks: "Twice",
        Occasion: "Twice",
    });
    report("reversal", value(client.reversal().create(reversal).await), is_done);

    let qr = request!(QrRequestArgs {
        MerchantName: "Shop",
        RefNo: "order-4",
        Amount: "100",
        TrxCode: "PB",
        CPI: SHORT_CODE,
        Size: "300",
    });
    report("qr", value(client.qr().create(qr).await), |answer| answer["ResponseCode"] == "00");
    let ratiba = request!(RatibaRequestArgs {
        StandingOrderName: "Rent",
        StartDate: "20260105",
        EndDate: "20261205",
        BusinessShortCode: SHORT_CODE,
        TransactionType: "Standing Order Customer Pay Bill",
        ReceiverPartyIdentifierType: "4",
        Amount: "100",
        PartyA: PHONE,
        CallBackURL: url("RATIBA"),
        AccountReference: "flat-7",
        TransactionDesc: "Rent",
        Frequency: "4",
    });
    let ordered = value(client.ratiba().create(ratiba).await);
    report("ratiba", ordered, |answer| answer["ResponseHeader"]["responseCode"] == "200");

    let pull = request!(RegisterPullRequestArgs {
        ShortCode: SHORT_CODE,
        RequestType: "Pull",
        NominatedNumber: PHONE,
        CallBackURL: url("C2B_CONFIRMATION"),
    });
    report("pull_register", value(client.registerpull().create(pull).await), |answer| {
        answer["ResponseStatus"] == "1000"
    });
    let pull = request!(PullTransactionsRequestArgs {
        ShortCode: SHORT_CODE,
        StartDate: "2026-01-01 00:00:00",
        EndDate: "2026-01-02 00:00:00",
        OffSetValue: "0",
    });
    report("pull", value(client.pulltransactions().create(pull).await), |answer| answer["ResponseCode"] == "1000");

    let biller = request!(BillOnboardingRequestArgs {
        shortcode: SHORT_CODE,
        email: "bills@example.com",
        officialContact: "0708374149",
        sendReminders: "1",
        logo: "logo",
        Callbackurl: url("BILL_MANAGER"),
    });
    report("bill_optin", value(client.billmanager().create(biller).await), |answer| answer["rescode"] == "200");
    let change = request!(BillUpdateRequestArgs {
        shortcode: SHORT_CODE,
        email: "new@example.com",
        officialContact: "0708374149",
        sendReminders: "1",
        logo: "logo",
        Callbackurl: url("BILL_MANAGER"),
    });
    report("bill_update_optin", value(client.billupdate().create(change).await), |answer| answer["rescode"] == "200");
    let invoice = request!(SingleInvoicingRequestArgs {
        externalReference: "invoice-1",
        billedFullName: "John Doe",
        billedPhoneNumber: "0708374149",
        billedPeriod: "January 2026",
        invoiceName: "Rent",
        dueDate: "2026-01-31",
        accountReference: "flat-7",
        amount: "100",
        // An item has private members, and no function that makes one.
        invoiceItems: Vec::new(),
    });
    report("bill_invoice", value(client.singleinvoice().create(invoice).await), |answer| answer["rescode"] == 200);
    let cancel = request!(CancelInvoiceRequestArgs { externalReference: "invoice-1" });
    report("bill_cancel", value(client.cancelinvoice().create(cancel).await), |answer| answer["rescode"] == "200");
    let paid = request!(ReconciliationRequestArgs {
        transactionId: RECEIPT,
        paidAmount: "100",
        msisdn: PHONE,
        dateCreated: "2026-01-01",
        accountReference: "flat-7",
        shortCode: SHORT_CODE,
    });
    report("bill_reconcile", value(client.billreconciliation().create(paid).await), |answer| {
        answer["rescode"] == "200"
    });
}
