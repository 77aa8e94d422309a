//! Pages that a person can click. They work without JavaScript.

use axum::extract::{Form, Path, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::internal_error;
use crate::checkout::Checkout;
use crate::orders::Order;

/// Name and price, in shillings.
const GOODS: [(&str, i64); 3] = [("Tea", 50), ("Coffee", 120), ("A kettle", 1500)];

const HEAD: &str = r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Shop</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 40rem; padding: 0 1rem; color: #1b1b1b; background: #fff }
input, select, button { font: inherit; padding: .2rem .5rem }
td, th { text-align: left; padding: .2rem 1rem .2rem 0 }
.paid { color: #060 } .cancelled { color: #a00 }
</style>
"#;

/// The goods, and all orders.
pub(super) async fn index(State(checkout): State<Checkout>) -> Result<Html<String>, StatusCode> {
    let orders = checkout.orders.list().await.map_err(internal_error)?;
    let goods: String = GOODS.iter().enumerate().map(choice).collect();
    let rows: String = orders.iter().rev().map(row).collect();
    Ok(Html(format!(
        "{HEAD}<h1>Shop</h1>
<form method=\"post\" action=\"/buy\">
<p><label>What <select name=\"item\">{goods}</select></label>
<p><label>M-Pesa number <input name=\"phone\" value=\"254708374149\" pattern=\"254[17][0-9]{{8}}\" required></label>
<p><button>Buy</button>
</form>
<h2>Orders</h2>
<table><tr><th>Order<th>Due<th>Paid<th>Status</tr>
{rows}</table>"
    )))
}

fn choice((at, (name, price)): (usize, &(&str, i64))) -> String {
    format!("<option value=\"{at}\">{name}, KES {price}</option>")
}

fn row(order: &Order) -> String {
    let Order { reference, due_cents, paid_cents, status } = order;
    let (reference, status) = (escaped(reference), escaped(status));
    format!(
        "<tr><td><a href=\"/order/{reference}\">{reference}</a><td>KES {}<td>KES {}<td class=\"{status}\">{status}</tr>\n",
        due_cents / 100,
        paid_cents / 100
    )
}

#[derive(Debug, Deserialize)]
pub(super) struct Basket {
    item: usize,
    phone: String,
}

/// Rings the customer's phone.
pub(super) async fn buy(State(checkout): State<Checkout>, Form(basket): Form<Basket>) -> Response {
    let Some((_, price)) = GOODS.get(basket.item) else { return StatusCode::UNPROCESSABLE_ENTITY.into_response() };
    match checkout.buy(basket.phone.trim(), *price).await {
        Ok(reference) => Redirect::to(&format!("/order/{reference}")).into_response(),
        Err(error) => {
            // Daraja's answer, which names the field that it refuses.
            let text =
                format!("{HEAD}<h1>Not bought</h1><p>{}<p><a href=\"/\">Back</a>", escaped(&format!("{error:#}")));
            (StatusCode::BAD_GATEWAY, Html(text)).into_response()
        }
    }
}

/// One order, until it is paid or cancelled.
pub(super) async fn order(
    State(checkout): State<Checkout>,
    Path(reference): Path<String>,
) -> Result<Html<String>, StatusCode> {
    let orders = checkout.orders.list().await.map_err(internal_error)?;
    let order = orders.iter().find(|order| order.reference == reference).ok_or(StatusCode::NOT_FOUND)?;
    let (refresh, says) = match order.status.as_str() {
        "open" => ("<meta http-equiv=\"refresh\" content=\"1\">", "Enter your PIN on your phone."),
        "paid" => ("", "Paid. Thank you."),
        "cancelled" => ("", "Not paid."),
        _ => ("<meta http-equiv=\"refresh\" content=\"5\">", "M-Pesa does not know yet."),
    };
    let (reference, status) = (escaped(&order.reference), escaped(&order.status));
    let due = order.due_cents / 100;
    Ok(Html(format!(
        "{HEAD}{refresh}<h1>Order {reference}</h1><p>KES {due}<p class=\"{status}\" id=\"status\">{status}<p>{says}<p><a href=\"/\">Back</a>"
    )))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
