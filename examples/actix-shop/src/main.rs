//! The shop in an actix-web application.
//!
//! ```sh
//! cargo run -p actix-shop      # listens on 127.0.0.1:3000; PORT, DATA_DIR and CALLBACK_SECRET change it
//! ```

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use actix_web::dev::ServiceRequest;
use actix_web::middleware::Logger;
use actix_web::web::{Data, Json};
use actix_web::{App, HttpResponse, HttpServer, error, get, post, web};
use anyhow::Context;
use clap::Parser;
use mpesa_callbacks::{Urls, actix_adapter};
use shop::{NewOrder, Options, Orders, Placed};

/// A small shop with M-Pesa payments, in actix-web.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    options: Options,
}

#[get("/orders")]
async fn list_orders(orders: Data<Orders>) -> actix_web::Result<HttpResponse> {
    Ok(HttpResponse::Ok().json(orders.list().await.map_err(error::ErrorInternalServerError)?))
}

#[post("/orders")]
async fn place_order(orders: Data<Orders>, urls: Data<Urls>, order: Json<NewOrder>) -> actix_web::Result<HttpResponse> {
    let callback_url = urls.stk_for(&order.reference).map_err(error::ErrorUnprocessableEntity)?;
    orders.place(&order).await.map_err(error::ErrorInternalServerError)?;
    Ok(HttpResponse::Created().json(Placed { callback_url }))
}

/// An access log with routes. The default one logs the path, which contains the secret.
fn access_log() -> Logger {
    let route = |request: &ServiceRequest| request.match_pattern().unwrap_or_else(|| "-".to_owned());
    let method = |request: &ServiceRequest| request.method().to_string();
    Logger::new("%{method}xi %{route}xi %s %T s")
        .custom_request_replace("method", method)
        .custom_request_replace("route", route)
}

#[actix_web::main]
async fn main() -> anyhow::Result<()> {
    let Arguments { options } = Arguments::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();

    let (inbox, orders) = shop::open(&options, None).await?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, options.port));
    let urls = shop::urls(&inbox, &options, address)?;
    println!("{}", shop::directions(&urls, address)?);

    let mounted = inbox.clone();
    let app = move || {
        App::new()
            .wrap(access_log())
            .app_data(Data::new(orders.clone()))
            .app_data(Data::new(urls.clone()))
            .service(list_orders)
            .service(place_order)
            .service(web::scope("/pay").configure(actix_adapter::configure(&mounted)))
    };
    // actix-web's timeout for heads is 5 s. It stops on Ctrl-C and SIGTERM.
    HttpServer::new(app).bind(address).with_context(|| format!("cannot listen on {address}"))?.run().await?;
    inbox.shutdown(Duration::from_secs(20)).await?;
    Ok(())
}
