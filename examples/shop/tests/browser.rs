//! A person with a browser: buys on one page, pays on the other. JavaScript is off.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fantoccini::wd::Capabilities;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use mpesa_callbacks_test_servers::{Running, free_port};
use serde_json::{Value, json};
use tokio::time::sleep;

/// Longer than anything here takes, also on a machine that has much else to do.
const LONG: Duration = Duration::from_mins(2);

/// From the click to the paid order, on a machine that has time for it.
const SOON: Duration = Duration::from_secs(1);

/// Something slow on the machine may spoil an attempt.
const ATTEMPTS: usize = 5;

fn chromedriver() -> Option<PathBuf> {
    let told = env::var_os("CHROMEDRIVER").map(PathBuf::from);
    let path = env::var_os("PATH").unwrap_or_default();
    let usual = env::split_paths(&path).map(|directory| directory.join("chromedriver"));
    told.into_iter().chain(usual.collect::<Vec<_>>()).find(|program| program.is_file())
}

/// Starts a browser, with JavaScript or without; it ends with the driver.
async fn browse(driver: &Path, with_javascript: bool) -> (Running, Client) {
    let port = free_port();
    let mut command = Command::new(driver);
    command.arg(format!("--port={port}")).stdout(Stdio::null()).stderr(Stdio::null());
    let mut options = json!({
        "prefs": { "profile.managed_default_content_settings.javascript": if with_javascript { 1 } else { 2 } },
        // Without its sandbox, because tests run in containers, where there is none to be had.
        "args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1400,900"],
    });
    // Unpacked beside its driver, and not installed.
    if let Some(libraries) = mpesa_callbacks_test_servers::libraries(driver) {
        let sound = env::split_paths(&libraries).map(|directory| directory.join("pulseaudio"));
        let all = env::split_paths(&libraries).chain(sound);
        command.env("LD_LIBRARY_PATH", env::join_paths(all).expect("paths"));
        let root = driver.ancestors().nth(2).expect("usr");
        options["binary"] = json!(root.join("lib/chromium/chromium"));
    }
    let running = Running::start(&mut command);
    let mut capabilities = Capabilities::new();
    capabilities.insert("goog:chromeOptions".to_owned(), options);
    let began = Instant::now();
    loop {
        let mut builder = ClientBuilder::new(HttpConnector::new());
        match builder.capabilities(capabilities.clone()).connect(&format!("http://127.0.0.1:{port}")).await {
            Ok(client) => return (running, client),
            Err(error) => assert!(began.elapsed() < LONG, "no browser: {error}"),
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// Starts the shop on ports of its own, unless one runs at `SHOP_URL`; returns where shop and simulator listen.
fn shop(directory: &Path) -> (Option<Running>, String, String) {
    if let (Ok(shop), Ok(daraja)) = (env::var("SHOP_URL"), env::var("DARAJA_URL")) {
        return (None, shop, daraja);
    }
    let (port, daraja_port) = (free_port(), free_port());
    let mut command = Command::new(env!("CARGO_BIN_EXE_shop"));
    command.env("PORT", port.to_string()).env("DARAJA_PORT", daraja_port.to_string()).env("DATA_DIR", directory);
    command.env_remove("CONSUMER_KEY").stdout(Stdio::null()).stderr(Stdio::null());
    let running = Running::start(&mut command);
    (Some(running), format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{daraja_port}"))
}

fn get(url: &str) -> Option<Value> {
    let body = ureq::get(url).call().ok()?.body_mut().read_to_string().ok()?;
    serde_json::from_str(&body).ok()
}

/// The newest order, once this is true of it.
async fn order(shop: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let began = Instant::now();
    loop {
        let orders = get(&format!("{shop}/orders")).unwrap_or_default();
        if let Some(order) = orders.as_array().and_then(|orders| orders.last()).filter(|order| is_so(order)) {
            return order.clone();
        }
        assert!(began.elapsed() < LONG, "the orders are {orders}");
        sleep(Duration::from_millis(10)).await;
    }
}

async fn until_it_sells(shop: &str) {
    let began = Instant::now();
    while get(&format!("{shop}/orders")).is_none() {
        assert!(began.elapsed() < LONG, "the shop does not start");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Clicks on a part of the page that may be renewed at this moment.
async fn press(browser: &Client, path: &str) {
    let began = Instant::now();
    loop {
        let pressed = match browser.find(Locator::XPath(path)).await {
            Ok(found) => found.click().await,
            Err(error) => Err(error),
        };
        match pressed {
            Ok(()) => return,
            Err(error) => assert!(began.elapsed() < LONG, "{path}: {error}"),
        }
        sleep(Duration::from_millis(10)).await;
    }
}

/// Saves what the browser shows as a picture of the documentation, with `UPDATE_DOCS`.
async fn show(browser: &Client, name: &str) {
    if env::var_os("UPDATE_DOCS").is_some() {
        let picture = browser.screenshot().await.unwrap();
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/pictures");
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join(name), picture).unwrap();
    }
}

/// With JavaScript, the page of the simulator shows what happens while somebody looks at it.
#[tokio::test(flavor = "multi_thread")]
async fn what_happens_appears_on_a_page_that_is_open() {
    let Some(driver) = chromedriver() else { return mpesa_callbacks_test_servers::skip("there is no chromedriver") };
    let directory = tempfile::tempdir().unwrap();
    let (_shop, shop, daraja) = shop(directory.path());
    let (_driver, browser) = browse(&driver, true).await;
    until_it_sells(&shop).await;
    browser.goto(&format!("{daraja}/_/")).await.unwrap();

    let mut fastest = LONG;
    for _ in 0..ATTEMPTS {
        let before = browser.find_all(Locator::Css("#happened details")).await.unwrap().len();
        let bought = Instant::now();
        let basket = format!("{shop}/buy");
        tokio::task::spawn_blocking(move || ureq::post(&basket).send_form([("item", "2"), ("phone", "254708374149")]))
            .await
            .unwrap()
            .unwrap();
        browser.wait().at_most(LONG).for_element(Locator::Css(".phone")).await.unwrap();
        assert!(browser.find_all(Locator::Css("#happened details")).await.unwrap().len() > before);
        fastest = fastest.min(bought.elapsed());

        press(&browser, "//button[text()='Pay']").await;
        order(&shop, |order| order["status"] == "paid").await;
        browser.wait().at_most(LONG).for_element(Locator::XPath("//summary[contains(., 'stk: 200')]")).await.unwrap();
        if fastest <= SOON {
            break;
        }
    }
    // One entry is open, and stays so when the next one comes.
    press(&browser, "//summary[contains(., 'stkpush')]").await;
    show(&browser, "simulator.png").await;
    let pay = format!("{daraja}/_/pay");
    let paid = r#"{"phone":"254708374149","short_code":"174379","amount":5,"account":"live"}"#;
    let paying = move || ureq::post(&pay).content_type("application/json").send(paid);
    tokio::task::spawn_blocking(paying).await.unwrap().unwrap();
    browser.wait().at_most(LONG).for_element(Locator::XPath("//summary[contains(., 'customer pays')]")).await.unwrap();
    assert!(!browser.find_all(Locator::Css("#happened details[open]")).await.unwrap().is_empty());
    browser.goto(&format!("{shop}/")).await.unwrap();
    show(&browser, "shop.png").await;
    browser.close().await.unwrap();
    println!("seen {} ms after the purchase", fastest.as_millis());
    assert!(fastest <= SOON, "seen {fastest:?} after the purchase at best");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_buys_on_one_page_and_pays_on_the_other() {
    let Some(driver) = chromedriver() else { return mpesa_callbacks_test_servers::skip("there is no chromedriver") };
    let directory = tempfile::tempdir().unwrap();
    let (_shop, shop, daraja) = shop(directory.path());
    let (_driver, browser) = browse(&driver, false).await;
    until_it_sells(&shop).await;

    let mut fastest = LONG;
    for attempt in 1..=ATTEMPTS {
        browser.goto(&format!("{shop}/")).await.unwrap();
        browser.find(Locator::XPath("//button[text()='Buy']")).await.unwrap().click().await.unwrap();
        let page = browser.find(Locator::Css("#status")).await.unwrap();
        assert_eq!(page.text().await.unwrap(), "open");
        let bought = browser.current_url().await.unwrap();

        browser.goto(&format!("{daraja}/_/")).await.unwrap();
        let pay = browser.find(Locator::XPath("//button[text()='Pay']")).await.unwrap();
        let clicked = Instant::now();
        pay.click().await.unwrap();
        let paid = order(&shop, |order| order["status"] == "paid").await;
        fastest = fastest.min(clicked.elapsed());

        // The button leads back to the page, on which no phone rings any more, and to the order, which is paid.
        assert_eq!(browser.current_url().await.unwrap().path(), "/_/");
        assert!(browser.find_all(Locator::Css(".phone")).await.unwrap().is_empty());
        browser.goto(bought.as_str()).await.unwrap();
        assert_eq!(browser.find(Locator::Css("#status")).await.unwrap().text().await.unwrap(), "paid");

        // Two callbacks, one payment.
        let journal = get(&format!("{daraja}/_/journal")).expect("the journal");
        let push = journal.as_array().unwrap().iter().rfind(|one| one["path"] == "/mpesa/stkpush/v1/processrequest");
        let callbacks = push.expect("the push")["callbacks"].as_array().unwrap().clone();
        assert_eq!(callbacks.len(), 2, "{callbacks:?}");
        assert!(callbacks.iter().all(|callback| callback["status"] == 200), "{callbacks:?}");
        assert_eq!(paid["paid_cents"], paid["due_cents"]);
        if attempt > 1 && fastest <= SOON {
            break;
        }
    }
    browser.close().await.unwrap();
    println!("paid {} ms after the click", fastest.as_millis());
    assert!(fastest <= SOON, "paid {fastest:?} after the click at best");
}
