//! A small true world: what queries, statuses and reversals answer is what happened in it, whatever
//! was delivered.

mod prompt;
mod transaction;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

pub(crate) use self::prompt::{Prompt, Truth};
pub(crate) use self::transaction::Transaction;

/// Passkey of the sandbox's pay bill 174379, which Safaricom publishes.
const SANDBOX_PASSKEY: (&str, &str) = ("174379", "bfb279f9aa9bdbcf158e97dd71a467cd2e0c893059b10f78e6b72ada1ed2c919");

/// Money of a new short code, in shillings.
const FUNDS: i64 = 1_000_000;

/// Everything that is true.
#[derive(Debug, Default)]
pub(crate) struct Bank {
    /// Money that a test gave to short codes, in shillings.
    pub(crate) funds: HashMap<String, i64>,
    pub(crate) passkeys: HashMap<String, String>,
    transactions: Vec<Transaction>,
    /// Pushes by `CheckoutRequestID`.
    pub(crate) prompts: BTreeMap<String, Prompt>,
    /// C2B URLs by short code.
    pub(crate) registrations: HashMap<String, Registration>,
    /// The merchant's own ids of requests.
    pub(crate) originators: HashSet<String>,
    /// Phone number and name of standing orders.
    pub(crate) standing_orders: HashSet<(String, String)>,
    /// Short codes that use Bill Manager, and where it posts payments.
    pub(crate) billers: HashMap<String, String>,
    /// Invoices by the merchant's `externalReference`.
    pub(crate) invoices: BTreeMap<String, Invoice>,
    /// Short codes that are registered for pull.
    pub(crate) pulls: HashSet<String>,
}

/// C2B URLs of a short code.
#[derive(Clone, Debug)]
pub(crate) struct Registration {
    pub(crate) confirmation_url: String,
    pub(crate) validation_url: String,
    /// Whether a payment is completed when the validation is not answered.
    pub(crate) completes: bool,
    /// Version of the API: 1 hashes phone numbers, 2 masks them.
    pub(crate) version: u8,
}

/// An invoice of Bill Manager.
#[derive(Clone, Debug)]
pub(crate) struct Invoice {
    pub(crate) account: String,
    pub(crate) amount: i64,
    pub(crate) is_paid: bool,
}

impl Bank {
    pub(crate) fn new() -> Bank {
        let (short_code, passkey) = SANDBOX_PASSKEY;
        let passkeys = HashMap::from([(short_code.to_owned(), passkey.to_owned())]);
        Bank { passkeys, ..Bank::default() }
    }

    /// Returns the money of a short code at a moment, in shillings.
    pub(crate) fn funds(&self, short_code: &str, at: Duration) -> i64 {
        let own = self.transactions.iter().filter(|transaction| transaction.short_code == short_code);
        self.funds.get(short_code).copied().unwrap_or(FUNDS)
            + own.map(|transaction| transaction.change(at)).sum::<i64>()
    }

    /// Returns the transactions that have happened, oldest first.
    pub(crate) fn transactions(&self, now: Duration) -> impl Iterator<Item = &Transaction> {
        self.transactions.iter().filter(move |transaction| transaction.since <= now)
    }

    /// Returns the money that came in under this receipt.
    pub(crate) fn received_mut(&mut self, receipt: &str, now: Duration) -> Option<&mut Transaction> {
        let known = self.transactions.iter_mut().filter(|transaction| transaction.is_in && transaction.since <= now);
        known.into_iter().find(|transaction| transaction.receipt == receipt)
    }

    /// Carries out a transaction. What was frozen for later happens then.
    pub(crate) fn carry_out(&mut self, transaction: Transaction) {
        if transaction.is_in {
            self.pay_invoice(&transaction);
        }
        self.transactions.push(transaction);
    }

    fn pay_invoice(&mut self, payment: &Transaction) {
        let mut open = self.invoices.values_mut().filter(|invoice| !invoice.is_paid);
        if let Some(invoice) =
            open.find(|invoice| invoice.account == payment.account && payment.amount >= invoice.amount)
        {
            invoice.is_paid = true;
        }
    }

    /// Returns whether this phone has a prompt on its screen.
    pub(crate) fn is_ringing(&self, phone: &str, now: Duration) -> bool {
        self.prompts.values().any(|prompt| prompt.phone == phone && prompt.is_open(now))
    }
}
