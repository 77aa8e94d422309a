//! Attacks: without the secret; and with it, ahead of the genuine callback.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use mpesa_callbacks::prelude::*;
use mpesa_callbacks::store::{CallbackId, Filter, MemoryStore, SqliteStore, State, Verdict};
use mpesa_callbacks::{Clock, IpAllowlist, Request, SAFARICOM_ADDRESSES, TrustedProxies};
use mpesa_callbacks_conformance::fixtures;
use mpesa_callbacks_tests::{Chunks, Mounted, SECRET, its_contradiction, paid_push};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection, Row};
use tokio::sync::Semaphore;

/// Handles callbacks that report money, one at a time, each when it is allowed to.
#[derive(Clone)]
struct Shop {
    gate: Arc<Semaphore>,
    handled: Arc<Mutex<Vec<String>>>,
}

impl Shop {
    fn new(open: usize) -> Shop {
        Shop { gate: Arc::new(Semaphore::new(open)), handled: Arc::default() }
    }

    async fn note(&self, what: &str, ctx: &CallbackContext) {
        self.gate.acquire().await.unwrap().forget();
        self.handled.lock().unwrap().push(format!("{what} {}", ctx.id()));
    }

    fn handled(&self, what: &str) -> usize {
        self.handled.lock().unwrap().iter().filter(|handled| handled.starts_with(what)).count()
    }

    /// Waits for a hook, which runs beside everything else.
    async fn told(&self, what: &str, count: usize) {
        for _ in 0..1000 {
            if self.handled(what) >= count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[mpesa_callbacks(no_timeouts)]
impl Shop {
    #[payment]
    async fn paid(&self, _: Payment, ctx: &CallbackContext) {
        self.note("payment", ctx).await;
    }

    #[stk]
    async fn stk(&self, callback: StkCallback, ctx: &CallbackContext) {
        self.note(if callback.outcome().is_success() { "success" } else { "failure" }, ctx).await;
    }

    #[b2c_result]
    async fn sent(&self, _: B2cResult, ctx: &CallbackContext) {
        self.note("sent", ctx).await;
    }

    #[c2b_validation]
    async fn check(&self, _: C2bValidation) -> Validation {
        Validation::accept()
    }

    #[on_conflict]
    async fn contradicted(&self, ctx: &CallbackContext) {
        self.handled.lock().unwrap().push(format!("conflict {}", ctx.id()));
    }
}

#[derive(Clone, Debug)]
struct Hostile {
    method: &'static str,
    path: String,
    peer: Option<IpAddr>,
    forwarded: String,
    body: Vec<u8>,
}

/// Requests of an attacker who knows everything but the secret.
fn hostile() -> impl Strategy<Value = Hostile> {
    let useless = [tokens(SECRET, true), tokens("ffeeddccbbaa99887766554433221100", false)].concat();
    let first = prop_oneof![
        // A secret that is nearly right.
        (0..SECRET.len(), "[0-9a-zA-Z%/.-]").prop_filter_map("the secret", |(at, put)| {
            let wrong = format!("{}{put}{}", &SECRET[..at], &SECRET[at + 1..]);
            (wrong != SECRET).then_some(wrong)
        }),
        (0..SECRET.len()).prop_map(|length| SECRET[..length].to_owned()),
        Just(SECRET.to_uppercase()),
        Just(format!("{SECRET}{SECRET}")),
        Just(format!("%30{}", &SECRET[1..])),
        Just(format!("{SECRET}%20")),
        Just(format!("x/{SECRET}")),
        Just(format!("./{SECRET}")),
        Just(format!("/{SECRET}")),
        // Tokens: of other secrets, expired, for other kinds, damaged.
        select(useless.clone()),
        (select(useless), any::<prop::sample::Index>(), "[0-9a-z]").prop_map(|(token, at, put)| {
            let at = at.index(token.len());
            format!("{}{put}{}", &token[..at], &token[at + 1..])
        }),
        "[0-9a-f]{32}",
        "\\PC{0,40}",
    ];
    let anywhere = (
        first,
        select(vec![
            "/stk",
            "/c2b/confirmation",
            "/c2b/validation",
            "/b2c/result",
            "/",
            "",
            "/no",
            "//stk",
            "/x/../stk",
            "/probe",
        ]),
    );
    // A good token, minted for something else.
    let elsewhere =
        (Just(tokens(SECRET, false)[1].clone()), select(vec!["/stk", "/c2b/confirmation", "/no", "", "/probe"]));
    let path = prop_oneof![9 => anywhere, 1 => elsewhere];
    let bodies: Vec<Vec<u8>> = fixtures::all().iter().map(|fixture| fixtures::body(&fixture.file)).collect();
    let body = prop_oneof![select(bodies), Just(paid_push()), vec(any::<u8>(), 0..200)];
    let peer = prop_oneof![Just(None), select(SAFARICOM_ADDRESSES.to_vec()).prop_map(|peer| peer.parse().ok())];
    let method = select(vec!["POST", "GET", "PUT", "DELETE", "BREW"]);
    let forwarded = prop_oneof![select(SAFARICOM_ADDRESSES.to_vec()).prop_map(str::to_owned), "\\PC{0,60}"];
    (method, path, peer, forwarded, body).prop_map(|(method, (first, rest), peer, forwarded, body)| Hostile {
        method,
        path: format!("/{first}{rest}"),
        peer,
        forwarded,
        body,
    })
}

/// A clock that stands.
#[derive(Debug)]
struct Long(Duration);

impl Clock for Long {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + self.0
    }
}

/// Tokens that were minted under this secret, for a push and for a payout's result.
fn tokens(secret: &str, long_ago: bool) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut builder = Inbox::builder(Shop::new(0)).store(MemoryStore::new()).secret(secret);
        if long_ago {
            builder = builder.clock(Arc::new(Long(Duration::from_hours(1000))));
        }
        let urls = builder.start().await.unwrap().urls_at("https://shop.example.com/pay").unwrap();
        let minted = [urls.stk_for("order-1").unwrap(), urls.url_for(&Kind::B2cResult, "order-1").unwrap()];
        minted.iter().map(|url| url.as_str().split('/').nth(4).unwrap().to_owned()).collect()
    })
}

async fn send(inbox: &Inbox, hostile: &Hostile) -> u16 {
    let headers = |name: &str| match name {
        "x-forwarded-for" | "forwarded" => vec![hostile.forwarded.as_bytes()],
        _ => Vec::new(),
    };
    let request = Request::new(hostile.method, &hostile.path, &headers).peer(hostile.peer);
    inbox.receive(request, Chunks::whole(hostile.body.clone())).await.status()
}

/// Every row of every table.
async fn dump(connection: &mut SqliteConnection) -> String {
    let tables: Vec<String> = sqlx::query_scalar("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
        .fetch_all(&mut *connection)
        .await
        .unwrap();
    let mut dump = String::new();
    for table in tables {
        let columns: Vec<String> =
            sqlx::query_scalar(sqlx::AssertSqlSafe(format!("SELECT name FROM pragma_table_info('{table}')")))
                .fetch_all(&mut *connection)
                .await
                .unwrap();
        let quoted: Vec<_> = columns.iter().map(|column| format!("quote({column})")).collect();
        let rows = format!("SELECT {} AS row FROM {table} ORDER BY 1", quoted.join(" || ',' || "));
        for row in sqlx::query(sqlx::AssertSqlSafe(rows)).fetch_all(&mut *connection).await.unwrap() {
            dump += &format!("{table}: {}\n", row.get::<String, _>("row"));
        }
    }
    dump
}

#[test]
fn without_the_secret_nothing_reaches_the_store() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("inbox.db");
    let (inbox, connection, before) = runtime.block_on(async {
        let inbox = Inbox::builder(Shop::new(100))
            .store(SqliteStore::open(&path).unwrap())
            .secret(SECRET)
            .ip_allowlist(IpAllowlist::safaricom().report_only())
            .trusted_proxies(TrustedProxies::hops(1))
            .start()
            .await
            .unwrap();
        let mounted = Mounted::new(inbox.clone());
        for fixture in ["stk/success-prod-2022-a.json", "b2c_result/success-docs3.json"] {
            let path = if fixture.starts_with("stk") { "/stk" } else { "/b2c/result" };
            assert_eq!(mounted.post(path, fixtures::body(fixture)).await.status, 200);
        }
        mounted.settled().await;
        let options = SqliteConnectOptions::new().filename(&path).read_only(true);
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        let before = dump(&mut connection).await;
        (inbox, connection, before)
    });
    assert!(before.contains("callback: 1,'stk'"), "{before}");

    // The number changes with every commit of another connection.
    let connection = std::cell::RefCell::new(connection);
    let version = || -> i64 {
        let mut connection = connection.borrow_mut();
        runtime.block_on(sqlx::query_scalar("PRAGMA data_version").fetch_one(&mut *connection)).unwrap()
    };
    let unchanged = version();
    let config = Config { cases: 10_000, failure_persistence: None, ..Config::default() };
    let verdict = TestRunner::new(config).run(&hostile(), |hostile| {
        prop_assert_eq!(runtime.block_on(send(&inbox, &hostile)), 404);
        prop_assert_eq!(version(), unchanged);
        Ok(())
    });
    verdict.unwrap();
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(version(), unchanged);
    assert_eq!(runtime.block_on(dump(&mut connection.borrow_mut())), before);
}

/// All orders of these letters.
fn orders(letters: &str) -> Vec<String> {
    let mut orders = std::collections::BTreeSet::from([String::new()]);
    for _ in 0..letters.len() {
        orders = orders
            .into_iter()
            .flat_map(|order| {
                let next = |letter: char| {
                    let used = order.matches(letter).count();
                    (used < letters.matches(letter).count()).then(|| format!("{order}{letter}"))
                };
                letters.chars().filter_map(next).collect::<Vec<_>>()
            })
            .collect();
    }
    orders.into_iter().collect()
}

async fn of_state(inbox: &Inbox, state: State) -> Vec<CallbackId> {
    let held = inbox.list(&Filter::default().kind(Kind::Stk).state(state)).await.unwrap();
    held.into_iter().map(|entry| entry.id).collect()
}

/// Forged and genuine, each delivered twice, and a handler that is let go on at some point: in every order.
#[tokio::test]
async fn whichever_comes_first_the_genuine_one_is_kept_shown_and_can_be_applied() {
    for (forged, genuine) in [(its_contradiction(), paid_push()), (paid_push(), its_contradiction())] {
        for order in orders("FFGGH") {
            let shop = Shop::new(0);
            let inbox = Inbox::builder(shop.clone())
                .store(MemoryStore::new())
                .secret(SECRET)
                .counterpart_timeout(Duration::ZERO)
                .start()
                .await
                .unwrap();
            let mounted = Mounted::new(inbox);
            for step in order.chars() {
                match step {
                    'F' => assert_eq!(mounted.post("/stk", forged.clone()).await.status, 200),
                    'G' => assert_eq!(mounted.post("/stk", genuine.clone()).await.status, 200),
                    _ => shop.gate.add_permits(100),
                }
            }
            mounted.settled().await;

            let first = if order.trim_matches('H').starts_with('F') { &forged } else { &genuine };
            let is_paid = first == &paid_push();
            let entries: Vec<_> = mounted.entries().await.into_iter().filter(|entry| entry.kind == Kind::Stk).collect();
            let verdicts: Vec<_> = entries.iter().map(|entry| (entry.verdict, entry.state, entry.seen)).collect();
            assert_eq!(verdicts, [(Verdict::First, State::Done, 2), (Verdict::Conflict, State::Held, 2)], "{order}");
            let body = mounted.inbox.get(entries[0].id).await.unwrap().unwrap().body.unwrap();
            assert_eq!(body.as_bytes(), first, "{order}");
            assert_eq!(
                (shop.handled("success"), shop.handled("failure")),
                (usize::from(is_paid), usize::from(!is_paid))
            );
            assert_eq!(
                shop.handled("payment"),
                usize::from(is_paid),
                "{order}: nothing contradictory is applied quietly"
            );
            shop.told("conflict", 1).await;
            assert_eq!(shop.handled("conflict"), 1, "{order}: and it is told, once");

            // A person looks at it and releases it.
            let held = of_state(&mounted.inbox, State::Held).await;
            assert!(mounted.inbox.release(held[0]).await.unwrap().is_some());
            mounted.settled().await;
            assert_eq!(
                (shop.handled("success"), shop.handled("failure"), shop.handled("payment")),
                (1, 1, 1),
                "{order}"
            );
        }
    }
}

/// An attacker who knows a genuine receipt sends it under another id.
#[tokio::test]
async fn a_receipt_that_was_told_of_under_another_key_is_held_whichever_comes_first() {
    let forged = String::from_utf8(paid_push()).unwrap().replace("ws_CO_191220191020363925", "ws_CO_invented");
    for forged_first in [true, false] {
        let shop = Shop::new(100);
        let inbox = Inbox::builder(shop.clone())
            .store(MemoryStore::new())
            .secret(SECRET)
            .counterpart_timeout(Duration::ZERO)
            .start()
            .await
            .unwrap();
        let mounted = Mounted::new(inbox);
        let genuine = String::from_utf8(paid_push()).unwrap();
        let both = if forged_first { [&forged, &genuine] } else { [&genuine, &forged] };
        for body in both {
            assert_eq!(mounted.post("/stk", body.clone()).await.status, 200);
        }
        mounted.settled().await;
        shop.told("conflict", 1).await;
        assert_eq!((shop.handled("success"), shop.handled("payment"), shop.handled("conflict")), (1, 1, 1));
        let held = of_state(&mounted.inbox, State::Held).await;
        let body = mounted.inbox.get(held[0]).await.unwrap().unwrap().body.unwrap();
        assert_eq!(body.as_bytes(), both[1].as_bytes());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_forged_and_a_genuine_one_at_the_same_moment_one_is_first_and_the_other_is_shown() {
    let directory = tempfile::tempdir().unwrap();
    let shop = Shop::new(10_000);
    let store = SqliteStore::open(directory.path().join("inbox.db")).unwrap();
    let inbox = Inbox::builder(shop.clone()).store(store).secret(SECRET).start().await.unwrap();
    let mounted = Mounted::new(inbox);
    let rounds = 200;
    for round in 0..rounds {
        let body = |fixture: &[u8]| {
            let text = String::from_utf8(fixture.to_vec()).unwrap();
            text.replace("ws_CO_191220191020363925", &format!("ws_CO_{round:018}"))
                .replace("NLJ7RT61SV", &format!("R{round:09}"))
        };
        let (forged, genuine) = (body(&its_contradiction()), body(&paid_push()));
        let [one, other] = [forged, genuine].map(|body| {
            let mounted = mounted.clone();
            tokio::spawn(async move { mounted.post("/stk", body).await.status })
        });
        assert_eq!((one.await.unwrap(), other.await.unwrap()), (200, 200));
    }
    mounted.settled().await;
    let all = mounted.inbox.list(&Filter::default().kind(Kind::Stk).limit(1000)).await.unwrap();
    let count = |verdict| all.iter().filter(|entry| entry.verdict == verdict).count();
    assert_eq!((count(Verdict::First), count(Verdict::Conflict), all.len()), (rounds, rounds, 2 * rounds));
    assert_eq!(shop.handled("success") + shop.handled("failure"), rounds);
    assert_eq!(shop.handled("payment"), shop.handled("success"));
    shop.told("conflict", rounds).await;
    assert_eq!(shop.handled("conflict"), rounds);
}
