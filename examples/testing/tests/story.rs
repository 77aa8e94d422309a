//! What the shop promises its customers, in a few lines each.

use mpesa_callbacks_daraja::{Callback, CustomerPayment, Daraja, Fault, Push};
use testing::TestShop;

const PHONE: &str = "254712345678";

#[tokio::test]
async fn an_order_is_paid_once_though_safaricom_tells_twice_and_early() -> anyhow::Result<()> {
    let daraja = Daraja::start().await?; // a free port, seed 0; time stands still
    let directory = tempfile::tempdir()?;
    let shop = TestShop::start(&daraja, directory.path()).await?;
    daraja.on(Push::from(PHONE)).pays().fault(Fault::Duplicate).fault(Fault::Early);

    let order = shop.checkout.buy(PHONE, 1500).await?; // the application's code: token, push
    daraja.settled().await; // all that Safaricom would ever send was sent, and answered

    let push = &daraja.requests("/mpesa/stkpush/v1/processrequest")[0];
    assert_eq!(push.callbacks().len(), 2);
    assert!(push.callbacks().iter().all(Callback::is_acknowledged));
    assert_eq!(shop.order(&order).await?.status, "paid"); // and the application has handled it
    assert_eq!(shop.times_paid(&order).await?, 1);
    Ok(())
}

#[tokio::test]
async fn a_customer_who_cancels_owes_nothing_and_may_try_again() -> anyhow::Result<()> {
    let daraja = Daraja::start().await?;
    let directory = tempfile::tempdir()?;
    let shop = TestShop::start(&daraja, directory.path()).await?;
    daraja.on(Push::from(PHONE)).fails("1032").once();

    let cancelled = shop.checkout.buy(PHONE, 50).await?;
    daraja.settled().await;
    assert_eq!(shop.order(&cancelled).await?.status, "cancelled");

    let paid = shop.checkout.buy(PHONE, 50).await?;
    daraja.settled().await;
    assert_eq!(shop.order(&paid).await?.status, "paid");
    Ok(())
}

#[tokio::test]
async fn the_pay_bill_takes_money_for_orders_only() -> anyhow::Result<()> {
    let daraja = Daraja::start().await?;
    let directory = tempfile::tempdir()?;
    let shop = TestShop::start(&daraja, directory.path()).await?;
    daraja.on(Push::from(PHONE)).fails("1").once(); // too little money at first
    let order = shop.checkout.buy(PHONE, 50).await?;
    daraja.settled().await;

    // Later the customer pays from the phone's menu: a wrong amount, a wrong account, and then the order.
    daraja.on(CustomerPayment::any()).fault(Fault::Duplicate);
    daraja.customer_pays(PHONE, shop.daraja.short_code(), 49, &order);
    daraja.customer_pays(PHONE, shop.daraja.short_code(), 50, "somebody");
    daraja.customer_pays(PHONE, shop.daraja.short_code(), 50, &order.to_lowercase());
    daraja.settled().await;

    assert_eq!(shop.order(&order).await?.status, "paid");
    assert_eq!(shop.times_paid(&order).await?, 1);
    assert_eq!(daraja.balance(shop.daraja.short_code()), 1_000_050);
    Ok(())
}
