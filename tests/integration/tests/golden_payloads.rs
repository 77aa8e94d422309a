//! The real logs and the official samples, field by field. `golden_payloads.txt` was compared with the bodies by hand; when a payload
//! gets a new field on purpose, `KEEP_GOLDEN=1` writes it anew, to be compared again.

use std::fmt::{Display, Write};

use mpesa_callbacks_conformance::fixtures;
use mpesa_callbacks_core::Kind;
use mpesa_callbacks_core::payload::{
    AccountBalance, BalanceAmount, Callback, Charge, Msisdn, Parameters, Party, ResultHeader, Sensitive, parse,
};

/// The shown fields of one payload.
#[derive(Default)]
struct Pin(String);

impl Pin {
    fn line(&mut self, name: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            writeln!(self.0, "  {name} = {value}").unwrap();
        }
    }

    fn private(&mut self, name: &str, value: Option<&Sensitive>) {
        self.line(name, value.map(|value| format!("{:?}", value.as_str())));
    }

    fn phone(&mut self, name: &str, value: Option<&Msisdn>) {
        let form = |msisdn: &Msisdn| format!("{msisdn:?}").replace("(…)", "");
        self.line(name, value.map(|msisdn| format!("{} {:?}", form(msisdn), msisdn.as_str())));
    }

    fn party(&mut self, name: &str, value: Option<&Party>) {
        self.line(name, value.map(|party| format!("{:?} named {:?}", party.number(), party.name())));
    }

    fn accounts(&mut self, name: &str, accounts: &[AccountBalance]) {
        for account in accounts {
            let more = [account.available, account.reserved, account.uncleared];
            let more: Vec<_> =
                more.iter().map(|amount| amount.map_or("–".into(), |amount| amount.to_string())).collect();
            self.line(
                name,
                Some(format!("{}: {} {} ({})", account.name, account.currency, account.current, more.join(", "))),
            );
        }
    }

    fn charges(&mut self, name: &str, charges: &[Charge]) {
        for charge in charges {
            self.line(name, Some(format!("{}: {} {}", charge.name, charge.currency, charge.amount)));
        }
    }

    fn balance(&mut self, name: &str, balance: Option<&BalanceAmount>) {
        let show = |balance: &BalanceAmount| {
            let minimum = balance.minimum.map_or("–".into(), |minimum| minimum.to_string());
            format!("{} {} (minimum {minimum})", balance.currency.as_deref().unwrap_or("–"), balance.amount)
        };
        self.line(name, balance.map(show));
    }

    fn parameters(&mut self, name: &str, parameters: &Parameters) {
        for parameter in parameters.iter() {
            self.line(
                &format!("{name} {}", parameter.name),
                Some(parameter.value.as_deref().map_or("–".into(), |value| format!("{value:?}"))),
            );
        }
    }

    fn header(&mut self, header: &ResultHeader) {
        self.line("result_type", header.result_type.as_ref());
        self.line("result_code", header.result_code.as_ref());
        self.line("result_desc", header.result_desc.as_ref().map(|text| format!("{text:?}")));
        self.line("originator_conversation_id", header.originator_conversation_id.as_ref());
        self.line("conversation_id", header.conversation_id.as_ref());
        self.line("transaction_id", header.transaction_id.as_ref());
    }

    fn callback(&mut self, callback: &Callback) {
        self.line("outcome", callback.outcome().map(|outcome| format!("{outcome:?}")));
        match callback {
            Callback::Stk(c) => {
                self.line("merchant_request_id", c.merchant_request_id.as_ref());
                self.private("checkout_request_id", Some(&c.checkout_request_id));
                self.line("result_code", c.result_code.as_ref());
                self.line("result_desc", c.result_desc.as_ref().map(|text| format!("{text:?}")));
                self.line("class", c.code_info().map(|content_digest| format!("{:?}", content_digest.category)));
                self.line("amount", c.amount);
                self.line("receipt", c.receipt.as_ref());
                self.line("balance", c.balance);
                self.line("transaction_date", c.transaction_date);
                self.phone("phone_number", c.phone_number.as_ref());
                self.parameters("item", &c.metadata());
            }
            Callback::C2bConfirmation(c) => {
                self.line("transaction_type", c.transaction_type.as_ref());
                self.line("trans_id", Some(&c.trans_id));
                self.line("trans_time", c.trans_time);
                self.line("amount", c.amount);
                self.line("business_short_code", c.business_short_code.as_ref());
                self.private("bill_ref_number", c.bill_ref_number.as_ref());
                self.private("invoice_number", c.invoice_number.as_ref());
                self.line("org_account_balance", c.org_account_balance);
                self.line("third_party_trans_id", c.third_party_trans_id.as_ref());
                self.phone("msisdn", c.msisdn.as_ref());
                self.private("first_name", c.first_name.as_ref());
                self.private("middle_name", c.middle_name.as_ref());
                self.private("last_name", c.last_name.as_ref());
            }
            Callback::C2bValidation(c) => {
                self.line("transaction_type", c.transaction_type.as_ref());
                self.line("trans_id", Some(&c.trans_id));
                self.line("trans_time", c.trans_time);
                self.line("amount", c.amount);
                self.line("business_short_code", c.business_short_code.as_ref());
                self.private("bill_ref_number", c.bill_ref_number.as_ref());
                self.line("org_account_balance", c.org_account_balance);
                self.phone("msisdn", c.msisdn.as_ref());
                self.private("invoice_number", c.invoice_number.as_ref());
                self.line("third_party_trans_id", c.third_party_trans_id.as_ref());
                self.private("first_name", c.first_name.as_ref());
                self.private("middle_name", c.middle_name.as_ref());
                self.private("last_name", c.last_name.as_ref());
            }
            Callback::B2cResult(c) => {
                self.header(&c.header);
                self.line("receipt", c.receipt());
                self.line("amount", c.amount);
                self.line("transaction_receipt", c.transaction_receipt.as_ref());
                self.party("receiver", c.receiver.as_ref());
                self.line("completed", c.completed);
                self.line("utility_account_funds", c.utility_account_funds);
                self.line("working_account_funds", c.working_account_funds);
                self.line("charges_paid_account_funds", c.charges_paid_account_funds);
                self.line("recipient_is_registered", c.recipient_is_registered);
                self.parameters("reference", &c.reference_data());
            }
            Callback::B2bResult(c) => {
                self.header(&c.header);
                self.line("receipt", c.receipt());
                self.line("amount", c.amount);
                self.line("currency", c.currency.as_ref());
                self.line("completed", c.completed);
                self.party("receiver", c.receiver.as_ref());
                self.party("payer", c.payer.as_ref());
                self.charges("charge", &c.charges);
                self.accounts("affected_account", &c.affected_accounts);
                self.accounts("credit_account", &c.credit_accounts);
                self.balance("debit_account_balance", c.debit_account_balance.as_ref());
                self.balance("initiator_account_balance", c.initiator_account_balance.as_ref());
                self.parameters("reference", &c.reference_data());
            }
            Callback::TaxResult(c) => {
                self.header(&c.header);
                self.line("receipt", c.receipt());
                self.line("amount", c.amount);
                self.line("currency", c.currency.as_ref());
                self.line("completed", c.completed);
                self.parameters("reference", &c.reference_data());
            }
            Callback::StatusResult(c) => {
                self.header(&c.header);
                self.line("transaction_status", c.transaction_status.as_ref());
                self.line("receipt", c.receipt.as_ref());
                self.line("amount", c.amount);
                self.line("initiated", c.initiated);
                self.line("finalised", c.finalised);
                self.party("debit_party", c.debit_party.as_ref());
                self.party("credit_party", c.credit_party.as_ref());
                self.line("debit_account_type", c.debit_account_type.as_ref());
                self.line("reason_type", c.reason_type.as_ref());
                self.private("transaction_reason", c.transaction_reason.as_ref());
                self.charges("debit_charge", &c.debit_charges);
                self.charges("credit_charge", &c.credit_charges);
                self.line("transaction_conversation_id", c.transaction_conversation_id.as_ref());
                self.line("transaction_originator_conversation_id", c.transaction_originator_conversation_id.as_ref());
                self.parameters("reference", &c.reference_data());
            }
            Callback::BalanceResult(c) => {
                self.header(&c.header);
                self.accounts("account", &c.accounts);
                self.line("completed", c.completed);
                self.parameters("parameter", &c.parameters());
                self.parameters("reference", &c.reference_data());
            }
            Callback::ReversalResult(c) => {
                self.header(&c.header);
                self.line("receipt", c.receipt());
                self.line("amount", c.amount);
                self.line("charge", c.charge);
                self.line("completed", c.completed);
                self.line("original_transaction_id", c.original_transaction_id.as_ref());
                self.party("credit_party", c.credit_party.as_ref());
                self.party("debit_party", c.debit_party.as_ref());
                self.accounts("debit_account", &c.debit_accounts);
                self.parameters("reference", &c.reference_data());
            }
            Callback::B2bExpress(c) => {
                self.line("request_id", Some(&c.request_id));
                self.line("result_code", c.result_code.as_ref());
                self.line("result_desc", c.result_desc.as_ref().map(|text| format!("{text:?}")));
                self.line("amount", c.amount);
                self.line("transaction_id", c.transaction_id.as_ref());
                self.line("conversation_id", c.conversation_id.as_ref());
                self.private("payment_reference", c.payment_reference.as_ref());
                self.line("status", c.status.as_ref());
            }
            Callback::Ratiba(c) => {
                self.line("request_ref_id", c.request_ref_id.as_ref());
                self.line("response_ref_id", c.response_ref_id.as_ref());
                self.line("result_code", c.result_code.as_ref());
                self.line("result_desc", c.result_desc.as_ref().map(|text| format!("{text:?}")));
                self.line("transaction_id", c.transaction_id.as_ref());
                self.line("status", c.status.as_ref());
                self.phone("msisdn", c.msisdn.as_ref());
                self.parameters("data", &c.data());
            }
            Callback::BillManager(c) => {
                self.line("transaction_id", Some(&c.transaction_id));
                self.line("amount", c.amount);
                self.phone("msisdn", c.msisdn.as_ref());
                self.line("date_created", c.date_created);
                self.private("account_reference", c.account_reference.as_ref());
                self.line("short_code", c.short_code.as_ref());
            }
            Callback::Lipia(c) => {
                self.private("checkout_request_id", Some(&c.checkout_request_id));
                self.private("external_reference", c.external_reference.as_ref());
                self.line("result_code", c.result_code.as_ref());
                self.line("amount", c.amount);
                self.line("receipt", c.receipt.as_ref());
                self.phone("phone", c.phone.as_ref());
                self.line("status", c.status.as_ref());
                self.line("succeeded", c.succeeded);
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Whether a fixture is a real log, or a sample on Safaricom's own pages.
fn is_pinned(index: &str, file: &str) -> bool {
    let row = index.lines().find(|line| line.split('\t').next() == Some(file)).unwrap_or_default();
    let named = ["-prod-", "docs1", "docs2", "docs3", "portal-2017", "sandbox"].iter().any(|word| file.contains(word));
    let noted = ["real ", "REAL", "official", "daraja_docs_v3"].iter().any(|word| row.contains(word));
    (named || noted) && !file.contains("dubious")
}

#[test]
fn real_logs_and_official_samples_are_read_field_by_field() {
    let index = String::from_utf8(fixtures::body("INDEX.tsv")).unwrap();
    let mut pins = String::new();
    let mut count = 0;
    for fixture in fixtures::all() {
        if fixture.kind == "quarantine" || fixture.route.starts_with("callback:") || !is_pinned(&index, &fixture.file) {
            continue;
        }
        let kind = fixture.route.parse::<Kind>().unwrap();
        let parsed = parse(&kind, &fixture.body(), None).unwrap();
        let mut pin = Pin::default();
        pin.callback(&parsed.callback);
        writeln!(pins, "{} ({})\n{}", fixture.file, parsed.kind, pin.0).unwrap();
        count += 1;
    }
    assert!(count >= 45, "{count} are pinned");
    let kept = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden_payloads.txt");
    if std::env::var_os("KEEP_GOLDEN").is_some() {
        std::fs::write(kept, &pins).unwrap();
    }
    let kept = std::fs::read_to_string(kept).unwrap();
    for (now, then) in pins.lines().zip(kept.lines()) {
        assert_eq!(now, then);
    }
    assert_eq!(pins.lines().count(), kept.lines().count());
}
