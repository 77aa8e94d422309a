//! The simulator: how soon it is there, how fast its time passes, how much memory it takes. On one core.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::any;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use mpesa_callbacks_daraja::{Daraja, Fault, Push};
use tokio::net::{TcpListener, TcpStream};

use crate::measure::{Report, cell, median};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// How often each is measured; the median is printed.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
}

/// So many exchanges are kept, so this fills the journal.
const MANY: u32 = 5_000;

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    // One thread: the simulator, the client and the application share a core.
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(measure(options))
}

async fn measure(options: &Options) -> anyhow::Result<()> {
    let mut report = Report::new("simulator", &["what", "measured", "bar"]);
    let mut row = |what: &str, shown: String, value: f64, bar: &str| {
        report.row(vec![cell(what, what), cell(shown, value), cell(bar, bar)]);
    };
    let milliseconds = |times: Vec<Duration>| {
        let median = median(times.iter().map(|time| time.as_secs_f64() * 1e3).collect());
        (format!("{median:.1} ms"), median)
    };

    let begin = resident()?;
    let mut starts = Vec::new();
    for _ in 0..options.rounds {
        let began = Instant::now();
        let daraja = Daraja::start().await?;
        starts.push(began.elapsed());
        drop(daraja);
    }
    let (shown, value) = milliseconds(starts);
    row("start", shown, value, "100 ms");

    let idle = Daraja::start().await?;
    let resident_idle = resident()?;
    row("memory of the whole process, idle", megabytes(resident_idle), resident_idle, "30 MB");
    drop(idle);

    let (mut late, mut thousand, mut rates) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        late.push(ten_minutes().await?);
        let (pushed, delivered) = pushes(1_000).await?.1;
        thousand.push(pushed + delivered);
        rates.push(1_000.0 / delivered.as_secs_f64());
    }
    let (shown, value) = milliseconds(late);
    row("a callback ten minutes later", shown, value, "50 ms");
    let (shown, value) = milliseconds(thousand);
    row("1,000 pushes and their callbacks", shown, value, "2,000 ms");
    let rate = median(rates);
    row("callbacks a second", format!("{rate:.0}"), rate, "1,000");

    let (full, _) = pushes(MANY).await?;
    ensure!(full.journal().len() == MANY as usize, "the journal is not full");
    let resident_full = resident()?;
    row("memory of the whole process, journal full", megabytes(resident_full), resident_full, "60 MB");
    row("of which before the first start", megabytes(begin), begin, "");
    report.print();
    Ok(())
}

/// From a push whose callback is late to the settled end.
async fn ten_minutes() -> anyhow::Result<Duration> {
    let daraja = with_application().await?;
    let mut client = Client::connect(&daraja).await?;
    daraja.on(Push::any()).fault(Fault::Late);
    let began = Instant::now();
    client.push(0).await?;
    daraja.settled().await;
    ensure!(daraja.callbacks().len() == 1, "no callback");
    Ok(began.elapsed())
}

/// Pushes, then delivers all callbacks. Returns the times of both.
async fn pushes(count: u32) -> anyhow::Result<(Daraja, (Duration, Duration))> {
    let daraja = with_application().await?;
    let mut client = Client::connect(&daraja).await?;
    let began = Instant::now();
    for number in 0..count {
        client.push(number).await?;
    }
    let pushed = began.elapsed();
    let began = Instant::now();
    daraja.settled().await;
    let delivered = began.elapsed();
    let answered = daraja.callbacks().iter().filter(|callback| callback.status == Some(200)).count();
    // The token's exchange pushes one out of a full journal.
    ensure!(answered >= count as usize - 1, "{answered} of {count} callbacks arrived");
    Ok((daraja, (pushed, delivered)))
}

/// A simulator, and an application that answers 200 and does nothing.
async fn with_application() -> anyhow::Result<Daraja> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let daraja = Daraja::start().await?;
    daraja.forward_to(listener.local_addr()?);
    let answer = || async { ([(CONTENT_TYPE, "application/json")], r#"{"ResultCode":0,"ResultDesc":"Success"}"#) };
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(any(answer))).await });
    Ok(daraja)
}

/// A client with one connection.
struct Client {
    sender: SendRequest<Full<Bytes>>,
    token: String,
}

impl Client {
    async fn connect(daraja: &Daraja) -> anyhow::Result<Client> {
        let base = daraja.base_url();
        let stream = TcpStream::connect(base.trim_start_matches("http://")).await?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let mut client = Client { sender, token: String::new() };
        let basic = "Basic a2V5OnNlY3JldA==";
        let path = "/oauth/v1/generate?grant_type=client_credentials";
        let answer = client.send("GET", path, basic, String::new()).await?;
        answer["access_token"].as_str().context("a token")?.clone_into(&mut client.token);
        Ok(client)
    }

    async fn push(&mut self, number: u32) -> anyhow::Result<()> {
        let phone = format!("25471{number:07}");
        // Of the sandbox's pay bill and passkey, at 20260101120000.
        let password = "MTc0Mzc5YmZiMjc5ZjlhYTliZGJjZjE1OGU5N2RkNzFhNDY3Y2QyZTBjODkzMDU5YjEwZjc4ZTZiNzJhZGExZWQyYzkxOTIwMjYwMTAxMTIwMDAw";
        let body = serde_json::json!({
            "BusinessShortCode": "174379", "Password": password, "Timestamp": "20260101120000", "Amount": 100,
            "TransactionType": "CustomerPayBillOnline", "PartyA": phone, "PartyB": "174379", "PhoneNumber": phone,
            "CallBackURL": "https://shop.example.com/pay/stk", "AccountReference": "order", "TransactionDesc": "order",
        });
        let bearer = format!("Bearer {}", self.token);
        let answer = self.send("POST", "/mpesa/stkpush/v1/processrequest", &bearer, body.to_string()).await?;
        ensure!(answer["ResponseCode"] == "0", "refused: {answer}");
        Ok(())
    }

    async fn send(
        &mut self,
        method: &str,
        path: &str,
        authorization: &str,
        body: String,
    ) -> anyhow::Result<serde_json::Value> {
        let request = hyper::Request::builder().method(method).uri(path).header("host", "127.0.0.1");
        let request = request.header("authorization", authorization).header("content-type", "application/json");
        self.sender.ready().await?;
        let response = self.sender.send_request(request.body(Full::new(Bytes::from(body)))?).await?;
        Ok(serde_json::from_slice(&response.into_body().collect().await?.to_bytes())?)
    }
}

/// Bytes of this process that are in memory.
fn resident() -> anyhow::Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status").context("memory is read from /proc, on Linux")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes * 1024.0)
}

fn megabytes(bytes: f64) -> String {
    format!("{:.1} MB", bytes / 1e6)
}
