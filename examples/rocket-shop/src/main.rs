//! The shop in a Rocket application.
//!
//! ```sh
//! cargo run -p rocket-shop     # listens on 127.0.0.1:3000; PORT, DATA_DIR and CALLBACK_SECRET change it
//! ```

use std::net::{Ipv4Addr, SocketAddr};

use clap::Parser;
use mpesa_callbacks::{Urls, rocket_adapter};
use rocket::config::LogLevel;
use rocket::fairing::AdHoc;
use rocket::http::Status;
use rocket::serde::json::Json;
use rocket::{Config, State, get, post, routes};
use shop::{NewOrder, Options, Order, Orders, Placed};

/// A small shop with M-Pesa payments, in Rocket.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    options: Options,
}

#[get("/orders")]
async fn list_orders(orders: &State<Orders>) -> Result<Json<Vec<Order>>, Status> {
    orders.list().await.map(Json).map_err(|_| Status::InternalServerError)
}

#[post("/orders", data = "<order>")]
async fn place_order(
    orders: &State<Orders>,
    urls: &State<Urls>,
    order: Json<NewOrder>,
) -> Result<(Status, Json<Placed>), Status> {
    let callback_url = urls.stk_for(&order.reference).map_err(|_| Status::UnprocessableEntity)?;
    orders.place(&order).await.map_err(|_| Status::InternalServerError)?;
    Ok((Status::Created, Json(Placed { callback_url })))
}

/// An access log with routes. Rocket's own logs the path, which contains the secret.
fn access_log() -> AdHoc {
    AdHoc::on_response("access log", |request, response| {
        let route = request.route().map_or_else(|| "-".to_owned(), |route| route.uri.to_string());
        let (method, status) = (request.method().as_str(), response.status().code);
        Box::pin(async move { tracing::info!(method, route, status, "answered") })
    })
}

#[rocket::main]
async fn main() -> anyhow::Result<()> {
    let Arguments { options } = Arguments::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    // Independent of `RUST_LOG`: below warnings Rocket logs whole requests.
    let filter = filter.add_directive("rocket::=warn".parse()?);
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();

    let (inbox, orders) = shop::open(&options, None).await?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, options.port));
    let urls = shop::urls(&inbox, &options, address)?;
    println!("{}", shop::directions(&urls, address)?);

    let config = Config {
        address: address.ip(),
        port: address.port(),
        log_level: LogLevel::Critical,
        ..Config::release_default()
    };
    rocket::custom(config)
        .attach(access_log())
        .attach(rocket_adapter::InboxFairing::starting("/pay", async { Ok::<_, anyhow::Error>(inbox) }))
        .manage(orders)
        .manage(urls)
        .mount("/", routes![list_orders, place_order])
        .launch()
        .await?;
    Ok(())
}
