//! The load generator, in a process of its own: keep-alive connections, distinct bodies, one in ten repeated.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::process;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, bail};
use bench::bodies::body;
use hdrhistogram::Histogram;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{Instant, sleep_until};

use crate::measure::Usage;

#[derive(clap::Args, Clone)]
pub(crate) struct Options {
    #[arg(long)]
    pub(crate) address: SocketAddr,
    #[arg(long)]
    pub(crate) path: String,
    #[arg(long)]
    pub(crate) connections: usize,
    #[arg(long)]
    pub(crate) seconds: f64,
    /// Requests per second at a steady rate; without, as many as the server answers.
    #[arg(long)]
    pub(crate) rate: Option<u32>,
    /// The number of the first body.
    #[arg(long, default_value_t = 0)]
    pub(crate) first: u64,
}

/// The number of requests and the responses.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Generated {
    /// How many were answered with 200, in how many seconds.
    pub(crate) acknowledged: u64,
    pub(crate) seconds: f64,
    /// The number of the next body, which was not sent.
    pub(crate) next: u64,
    /// From when a request should have been sent until its answer was there, in milliseconds.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) worst: f64,
    /// CPU time of the generator, in seconds.
    pub(crate) cpu: f64,
}

/// The shared state of the connections.
struct Shared {
    options: Options,
    began: Instant,
    until: Instant,
    /// How many requests were taken by a connection, and how many bodies.
    requests: Cell<u32>,
    bodies: Cell<u64>,
    /// In microseconds.
    times: RefCell<Histogram<u64>>,
}

/// One request in ten repeats one of the last so many.
const RECENT: u64 = 500;

/// Sends, and prints the results.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let generated = LocalSet::new().block_on(&runtime, generate(options))?;
    println!("{}", serde_json::to_string(&generated)?);
    Ok(())
}

async fn generate(options: &Options) -> anyhow::Result<Generated> {
    let mut senders = Vec::with_capacity(options.connections);
    for _ in 0..options.connections {
        let stream = TcpStream::connect(options.address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        spawn_local(connection);
        senders.push(sender);
    }
    let before = Usage::of(process::id())?;
    let began = Instant::now();
    let shared = Rc::new(Shared {
        began,
        until: began + Duration::from_secs_f64(options.seconds),
        requests: Cell::new(0),
        bodies: Cell::new(options.first),
        times: RefCell::new(Histogram::new(3)?),
        options: options.clone(),
    });
    let sending: Vec<_> = senders.into_iter().map(|sender| spawn_local(send_all(shared.clone(), sender))).collect();
    for sent in sending {
        sent.await??;
    }
    let seconds = began.elapsed().as_secs_f64();
    let times = shared.times.borrow();
    #[allow(clippy::cast_precision_loss, reason = "microseconds of minutes")]
    let millis = |micros: u64| micros as f64 / 1000.0;
    Ok(Generated {
        acknowledged: times.len(),
        seconds,
        next: shared.bodies.get(),
        p50: millis(times.value_at_quantile(0.5)),
        p99: millis(times.value_at_quantile(0.99)),
        p999: millis(times.value_at_quantile(0.999)),
        worst: millis(times.max()),
        cpu: (Usage::of(process::id())? - before).cpu.as_secs_f64(),
    })
}

/// One connection: a request, its answer, the next.
async fn send_all(shared: Rc<Shared>, mut sender: SendRequest<Full<Bytes>>) -> anyhow::Result<()> {
    let host = shared.options.address.to_string();
    let mut random = fastrand::Rng::with_seed(u64::from(shared.requests.get()) + 1);
    while let Some(due) = shared.next_due().await {
        let number = shared.next_body(&mut random);
        let request = Request::post(shared.options.path.as_str())
            .header(HOST, host.as_str())
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body(number))))?;
        sender.ready().await?;
        let response = sender.send_request(request).await.context("no answer")?;
        let status = response.status();
        response.into_body().collect().await?;
        if status != 200 {
            bail!("{status} in place of 200");
        }
        let micros = u64::try_from(due.elapsed().as_micros())?;
        shared.times.borrow_mut().record(micros.max(1))?;
    }
    Ok(())
}

impl Shared {
    /// When the next request is to be sent: at its place in the schedule, or now; none when the time is over.
    async fn next_due(&self) -> Option<Instant> {
        let Some(rate) = self.options.rate else {
            return Some(Instant::now()).filter(|now| *now < self.until);
        };
        let number = self.requests.get();
        self.requests.set(number + 1);
        let due = self.began + Duration::from_secs(1) * number / rate;
        if due >= self.until {
            return None;
        }
        sleep_until(due).await;
        Some(due)
    }

    fn next_body(&self, random: &mut fastrand::Rng) -> u64 {
        let (first, next) = (self.options.first, self.bodies.get());
        let recent = (next - first).min(RECENT);
        if recent > 0 && random.u8(0..10) == 0 {
            return next - 1 - random.u64(0..recent);
        }
        self.bodies.set(next + 1);
        next
    }
}
