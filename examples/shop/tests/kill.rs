//! `kill -9` in the middle of a load, over and over: nothing that was acknowledged is lost, no effect is doubled.
//!
//! The client keeps a journal of deliveries and acknowledgements. `KILLS=1000` makes the run longer; the seed is
//! printed, and `SEED=…` repeats it.

use std::collections::{HashMap, HashSet};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use std::{env, thread};

use mpesa_callbacks::Kind;
use mpesa_callbacks::store::{Filter, SqliteStore, State, Store, Verdict};
use mpesa_callbacks_test_servers::Running;

const SECRET: &str = "00112233445566778899aabbccddeeff";

/// Longer than anything here takes, also on a machine that has much else to do.
const LONG: Duration = Duration::from_mins(5);

/// The journal of the client.
#[derive(Default)]
struct Journal {
    /// Keys that were sent, and whether one of their deliveries was acknowledged.
    sent: Mutex<HashMap<u64, bool>>,
    next: AtomicU64,
}

fn number(name: &str, fallback: u64) -> u64 {
    env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(fallback)
}

/// A push that was paid; each number has a key and a receipt of its own.
fn push(number: u64, code: &str) -> String {
    format!(
        r#"{{"Body":{{"stkCallback":{{"MerchantRequestID":"1-1-1","CheckoutRequestID":"ws_CO_{number:012}","ResultCode":{code},
        "ResultDesc":"","CallbackMetadata":{{"Item":[{{"Name":"Amount","Value":10.00}},{{"Name":"MpesaReceiptNumber","Value":"R{number:09}"}},
        {{"Name":"TransactionDate","Value":20260101120000}},{{"Name":"PhoneNumber","Value":254700000001}}]}}}}}}}}"#
    )
}

fn start(directory: &Path, port: u16) -> Running {
    let mut shop = Command::new(env!("CARGO_BIN_EXE_shop"));
    shop.env("PORT", port.to_string())
        .env("DATA_DIR", directory)
        .env("CALLBACK_SECRET", SECRET)
        .env("DARAJA_PORT", "0");
    shop.env("LEASE_SECONDS", "0.5").env("RUST_LOG", "error").stdout(Stdio::null());
    let shop = Running::start(&mut shop);
    let began = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(began.elapsed() < LONG, "the shop does not listen");
        thread::sleep(Duration::from_millis(2));
    }
    shop
}

/// Sends until `stop` is set, or until the shop has ended.
fn send(journal: &Journal, port: u16, stop: &AtomicBool, mut random: fastrand::Rng) {
    let config = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(5)));
    let agent = config.http_status_as_error(false).build().new_agent();
    let url = format!("http://127.0.0.1:{port}/pay/{SECRET}/stk");
    while !stop.load(Ordering::Relaxed) {
        let newest = journal.next.load(Ordering::Relaxed);
        // One in eight repeats an earlier one, perhaps from before a crash; one in thirty contradicts it.
        let (number, code) = match random.u32(0..30) {
            0 if newest > 0 => (random.u64(0..newest), "1"),
            1..=4 if newest > 0 => (random.u64(0..newest), "0"),
            _ => (journal.next.fetch_add(1, Ordering::Relaxed), "0"),
        };
        let is_first_kind = code == "0";
        if is_first_kind {
            journal.sent.lock().unwrap().entry(number).or_insert(false);
        }
        match agent.post(&url).content_type("application/json").send(push(number, code)) {
            Ok(response) if response.status() == 200 => {
                if is_first_kind {
                    journal.sent.lock().unwrap().insert(number, true);
                }
            }
            Ok(response) => panic!("the shop answered {}", response.status()),
            // The connection broke: the result is unknown.
            Err(_) => return,
        }
    }
}

#[test]
fn killed_in_the_middle_of_a_load_the_shop_loses_nothing_and_doubles_nothing() {
    let kills = number("KILLS", 60);
    let seed = number("SEED", fastrand::u64(..));
    println!("SEED={seed} KILLS={kills}");
    let mut random = fastrand::Rng::with_seed(seed);
    let directory = tempfile::tempdir().unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let journal = Arc::new(Journal::default());

    for _ in 0..kills {
        let mut shop = start(directory.path(), port);
        let stop = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = (0..4)
            .map(|_| {
                let (journal, stop, random) = (journal.clone(), stop.clone(), random.fork());
                thread::spawn(move || send(&journal, port, &stop, random))
            })
            .collect();
        thread::sleep(Duration::from_micros(random.u64(0..120_000)));
        shop.kill().unwrap();
        shop.wait().unwrap();
        stop.store(true, Ordering::Relaxed);
        for client in clients {
            client.join().unwrap();
        }
    }

    let shop = start(directory.path(), port);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(check(directory.path(), &journal, shop));
}

async fn check(directory: &Path, journal: &Journal, mut shop: Running) {
    let inbox = SqliteStore::open(directory.join("inbox.db")).unwrap();
    let began = Instant::now();
    loop {
        let depth = inbox.counts().await.unwrap();
        if depth.ready + depth.running == 0 {
            assert_eq!(depth.dead, 0);
            break;
        }
        assert!(began.elapsed() < LONG, "after {LONG:?} there is still {depth:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // On SIGTERM it shuts down gracefully.
    Command::new("kill").arg(shop.id().to_string()).status().unwrap();
    assert!(shop.wait().unwrap().success());

    let mut first = HashMap::new();
    let mut filter = Filter::default().limit(5000);
    loop {
        let page = inbox.list(&filter).await.unwrap();
        let Some(last) = page.last() else { break };
        filter = filter.before(last.id);
        for entry in page.into_iter().filter(|entry| entry.verdict == Verdict::First) {
            let earlier = first.insert((entry.kind.clone(), entry.key.as_str().to_owned()), entry.state);
            assert_eq!(earlier, None, "two firsts of one key");
        }
    }
    let pool = shop::Orders::open(&directory.join("shop.db")).await.unwrap().pool();
    let booked: Vec<(String, i64)> =
        sqlx::query_as("SELECT receipt, count(*) FROM payments GROUP BY receipt").fetch_all(&pool).await.unwrap();
    let doubled: Vec<_> = booked.iter().filter(|(_, count)| *count > 1).collect();
    let booked: HashSet<_> = booked.iter().map(|(receipt, _)| receipt.as_str()).collect();

    let sent = journal.sent.lock().unwrap();
    let acknowledged: Vec<u64> =
        sent.iter().filter(|(_, acknowledged)| **acknowledged).map(|(number, _)| *number).collect();
    let mut lost = Vec::new();
    let mut unhandled = Vec::new();
    for number in &acknowledged {
        // When a contradiction of it came first, it is held, as it should be.
        match first.get(&(Kind::Stk, format!("ws_CO_{number:012}"))) {
            None => lost.push(*number),
            Some(State::Done) => {}
            Some(_) => unhandled.push(*number),
        }
    }
    let unapplied: Vec<_> = first
        .iter()
        .filter(|((kind, receipt), _)| *kind == Kind::Payment && !booked.contains(receipt.as_str()))
        .collect();
    println!("{} sent, {} acknowledged, {} booked", sent.len(), acknowledged.len(), booked.len());
    assert!(acknowledged.len() > 100, "too few were acknowledged for the test to mean something");
    assert!(lost.is_empty(), "lost: {lost:?}");
    assert!(unhandled.is_empty(), "unhandled: {unhandled:?}");
    assert!(unapplied.is_empty(), "unapplied: {unapplied:?}");
    assert!(doubled.is_empty(), "doubled: {doubled:?}");
}
