//! Genuine callbacks while many connections idle or dribble.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use comfy_table::{Table, presets};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, sleep_until, timeout};

use crate::serve::{Place, Running, SECRET};
use crate::side::{Framework, Kept, Side, Work};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// The number of open connections: a third sends nothing, a third sends the head of a request byte by byte, a third sends one
    /// request without the secret and idles after its response. A closed connection is reopened after a second.
    #[arg(long, default_value_t = 10_000)]
    count: usize,
    /// For how many seconds genuine callbacks are sent.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// How many of them a second, each on a connection of its own.
    #[arg(long, default_value_t = 100)]
    rate: u64,
    /// Against this framework only.
    #[arg(long)]
    only: Option<Framework>,
}

struct Measured {
    framework: Framework,
    open: usize,
    reopened: usize,
    alone: Vec<Duration>,
    besieged: Vec<Duration>,
    memory_before: u64,
    memory_besieged: u64,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let frameworks = [Framework::Axum, Framework::Actix, Framework::Rocket];
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(["server", "sockets", "came back", "p50 alone", "p99 alone", "p50", "p99", "worst", "memory"]);
    for framework in frameworks.into_iter().filter(|it| options.only.is_none_or(|only| only == *it)) {
        let measured = runtime.block_on(measure(framework, options))?;
        let millis = |times: &[Duration], per_mille: usize| {
            let at = (times.len() * per_mille / 1000).min(times.len().saturating_sub(1));
            times.get(at).map_or(f64::NAN, |time| time.as_secs_f64() * 1000.0)
        };
        let Measured { alone, besieged, .. } = &measured;
        let grown = measured.memory_besieged.saturating_sub(measured.memory_before) / 1024;
        println!(
            "{}",
            json!({
                "server": format!("{framework:?}").to_lowercase(), "sockets": measured.open, "came_back": measured.reopened,
                "alone_p50_ms": millis(alone, 500), "alone_p99_ms": millis(alone, 990),
                "p50_ms": millis(besieged, 500), "p99_ms": millis(besieged, 990), "worst_ms": millis(besieged, 1000),
                "memory_before_kib": measured.memory_before, "memory_kib": measured.memory_besieged,
            })
        );
        table.add_row([
            format!("{:?}", measured.framework).to_lowercase(),
            measured.open.to_string(),
            measured.reopened.to_string(),
            format!("{:.1} ms", millis(alone, 500)),
            format!("{:.1} ms", millis(alone, 990)),
            format!("{:.1} ms", millis(besieged, 500)),
            format!("{:.1} ms", millis(besieged, 990)),
            format!("{:.1} ms", millis(besieged, 1000)),
            format!("+{grown} MiB"),
        ]);
    }
    println!("{table}");
    Ok(())
}

async fn measure(framework: Framework, options: &Options) -> anyhow::Result<Measured> {
    let side = Side::Ours(framework, Kept::Sqlite, Work::Handle);
    let place = Place::new(side).await?;
    let server = Running::start(side, &place)?;
    let address = server.address;
    // Once without an attack: the baseline of the machine, and a warm server.
    let alone = genuine(address, options, "alone").await?;
    let memory_before = server.resident()?;

    let (open, reopened) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut besiegers = Vec::with_capacity(options.count);
    for number in 0..options.count {
        let (open, reopened) = (open.clone(), reopened.clone());
        besiegers.push(tokio::spawn(async move {
            loop {
                if let Ok(stream) = connect(address, number).await {
                    open.fetch_add(1, Ordering::Relaxed);
                    dawdle(stream, number).await;
                    open.fetch_sub(1, Ordering::Relaxed);
                }
                reopened.fetch_add(1, Ordering::Relaxed);
                sleep(Duration::from_secs(1)).await;
            }
        }));
        if number % 100 == 99 {
            sleep(Duration::from_millis(20)).await;
        }
    }
    let began = Instant::now();
    // Those that were closed for want of room wait a second before they come back.
    let came = || open.load(Ordering::Relaxed) + reopened.load(Ordering::Relaxed);
    while came() < options.count * 95 / 100 {
        ensure!(began.elapsed() < Duration::from_mins(1), "only {} sockets came", came());
        sleep(Duration::from_millis(50)).await;
    }
    let besieged = genuine(address, options, "besieged").await?;
    let measured = Measured {
        framework,
        open: open.load(Ordering::Relaxed),
        reopened: reopened.load(Ordering::Relaxed),
        alone,
        besieged,
        memory_before,
        memory_besieged: server.resident()?,
    };
    besiegers.iter().for_each(tokio::task::JoinHandle::abort);
    Ok(measured)
}

/// From one of many addresses, so that there are ports enough.
async fn connect(address: SocketAddr, number: usize) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    let last = u8::try_from(number % 200).unwrap_or(0) + 2;
    socket.bind(SocketAddr::from(([127, 0, 0, last], 0)))?;
    socket.connect(address).await
}

/// Keeps the server waiting, until it closes.
async fn dawdle(mut stream: TcpStream, number: usize) {
    let head: &[u8] = match number % 3 {
        0 => b"",
        1 => b"POST /pay/0123456789abcdef0123456789abcdef/stk HTTP/1.1\r\nhost: x\r\nx-dribble: ",
        _ => b"GET /pay/0123456789abcdef0123456789abcdef/stk HTTP/1.1\r\nhost: x\r\n\r\n",
    };
    if stream.write_all(head).await.is_err() {
        return;
    }
    let mut buffer = [0; 256];
    loop {
        match timeout(Duration::from_secs(1), stream.read(&mut buffer)).await {
            Ok(Ok(0) | Err(_)) => return,
            Ok(Ok(_)) => {}
            Err(_) if number % 3 != 1 => {}
            Err(_) => {
                if stream.write_all(b"a").await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Callbacks at a steady rate, each from when it was due to when its answer was there; sorted.
async fn genuine(address: SocketAddr, options: &Options, name: &str) -> anyhow::Result<Vec<Duration>> {
    let started = tokio::time::Instant::now() + Duration::from_millis(100);
    let mut sending = Vec::new();
    for number in 0..options.rate * options.seconds {
        let due = started + Duration::from_secs(1) * u32::try_from(number)? / u32::try_from(options.rate)?;
        let key = format!("{name} {number}");
        sending.push(tokio::spawn(async move {
            sleep_until(due).await;
            let body = format!(r#"{{"Body":{{"stkCallback":{{"CheckoutRequestID":"{key}","ResultCode":1032}}}}}}"#);
            let request = format!(
                "POST /pay/{SECRET}/stk HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            let answer = async {
                let mut stream = TcpStream::connect(address).await?;
                stream.write_all(request.as_bytes()).await?;
                let mut answer = String::new();
                stream.read_to_string(&mut answer).await?;
                io::Result::Ok(answer)
            };
            let answer = timeout(Duration::from_secs(30), answer).await.context("no answer in 30 seconds")??;
            ensure!(answer.starts_with("HTTP/1.1 200"), "a genuine callback was refused: {answer}");
            Ok(due.elapsed())
        }));
    }
    let mut times = Vec::with_capacity(sending.len());
    for answered in sending {
        times.push(answered.await??);
    }
    times.sort_unstable();
    Ok(times)
}
