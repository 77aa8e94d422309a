//! The paid amount is compared with the requested one.

use std::time::Duration;

use mpesa_callbacks::Kind;
use shop::{NewOrder, Options};

fn push(key: &str, receipt: &str, amount: u32) -> String {
    format!(
        r#"{{"Body":{{"stkCallback":{{"CheckoutRequestID":"{key}","ResultCode":0,"CallbackMetadata":{{"Item":[
        {{"Name":"Amount","Value":{amount}}},{{"Name":"MpesaReceiptNumber","Value":"{receipt}"}}]}}}}}}}}"#
    )
}

#[tokio::test]
async fn an_order_is_paid_when_all_of_it_came_and_not_before() {
    let directory = tempfile::tempdir().unwrap();
    let (inbox, orders) = shop::open(&Options::in_directory(directory.path().to_owned()), None).await.unwrap();
    orders.place(&NewOrder { reference: "A".into(), due_cents: 10_000, checkout_request_id: None }).await.unwrap();
    for (receipt, amount, expected) in [("R1", 1, (100, "open")), ("R2", 99, (10_000, "paid"))] {
        inbox.replay_for(&Kind::Stk, "A", push(receipt, receipt, amount).as_bytes()).await.unwrap();
        while inbox.counts().await.unwrap().ready + inbox.counts().await.unwrap().running > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let order = &orders.list().await.unwrap()[0];
        assert_eq!((order.paid_cents, order.status.as_str()), expected);
    }
}
