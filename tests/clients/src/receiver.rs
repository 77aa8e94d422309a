//! A merchant who receives what the clients' requests cause.

use std::collections::BTreeMap;

use mpesa_callbacks::prelude::*;
use mpesa_callbacks::{Kind, TestInbox};
use mpesa_callbacks_daraja::Daraja;
use tokio::net::TcpListener;

#[derive(Debug)]
struct Merchant;

#[mpesa_callbacks]
impl Merchant {
    #[payment]
    async fn paid(&self, _: Payment) {}
    #[c2b_validation]
    async fn check(&self, _: C2bValidation) -> Validation {
        Validation::accept()
    }
    #[b2c_result]
    async fn b2c(&self, _: B2cResult) {}
    #[b2c_timeout]
    async fn b2c_timeout(&self, _: QueueTimeout) {}
    #[b2b_result]
    async fn b2b(&self, _: B2bResult) {}
    #[b2b_timeout]
    async fn b2b_timeout(&self, _: QueueTimeout) {}
    #[tax_result]
    async fn tax(&self, _: TaxResult) {}
    #[tax_timeout]
    async fn tax_timeout(&self, _: QueueTimeout) {}
    #[status_result]
    async fn status(&self, _: StatusResult) {}
    #[status_timeout]
    async fn status_timeout(&self, _: QueueTimeout) {}
    #[balance_result]
    async fn balance(&self, _: BalanceResult) {}
    #[balance_timeout]
    async fn balance_timeout(&self, _: QueueTimeout) {}
    #[reversal_result]
    async fn reversal(&self, _: ReversalResult) {}
    #[reversal_timeout]
    async fn reversal_timeout(&self, _: QueueTimeout) {}
    #[ratiba]
    async fn ordered(&self, _: RatibaCallback) {}
}

/// Starts a merchant. Returns the inbox, and the callback URLs for the environment of a program: `STK_URL`,
/// `C2B_CONFIRMATION_URL`, `B2C_RESULT_URL` and so on.
pub(crate) async fn start(daraja: &Daraja) -> anyhow::Result<(TestInbox, BTreeMap<String, String>)> {
    let inbox = Inbox::for_test(Merchant).await;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    daraja.forward_to(listener.local_addr()?);
    let app = axum::Router::new().nest("/pay", mpesa_callbacks::axum_adapter::router(&inbox));
    tokio::spawn(async move { axum::serve(listener, app).await });
    let urls = inbox.urls_at("https://shop.example.com/pay")?;
    let variable = |kind: &Kind| format!("{}_URL", kind.to_string().to_uppercase());
    let known = urls.iter().map(|(kind, url)| (variable(kind), url.into_string())).collect();
    Ok((inbox, known))
}
