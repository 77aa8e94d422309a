//! Authentication of senders over real sockets: per-payment URLs, allowlist,
//! proxies, limits.

use std::time::Duration;

use mpesa_callbacks_core::payload::Sensitive;
use mpesa_callbacks_core::store::Verdict;
use mpesa_callbacks_core::{ForwardedHeader, IpAllowlist, Kind, SAFARICOM_ADDRESSES, TrustedProxies};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::client::{Answer, exchange, post, request};
use super::{FIRST_BYTES, SECRET, STK, Serve, Served, acknowledged, push, refused};
use crate::fixtures;

/// A body at a per-payment URL is recorded with the reference of that URL. The
/// token is valid for its kind and reference only.
pub async fn a_per_payment_url_speaks_for_its_payment_alone(serve: &Serve) {
    let served = Served::with(serve, |builder| builder.secret("ffeeddccbbaa99887766554433221100")).await;
    let urls = served.inbox.urls_at(&format!("http://{}/pay", served.address)).expect("urls");
    let path = |url: &str| url.split_once("/pay").map(|(_, path)| format!("/pay{path}")).expect("a path");
    let minted = path(urls.stk_for("order-123").expect("a url").as_str());
    let paid = fixtures::body("stk/success-amount-100.00.json");
    assert_eq!(exchange(served.address, &post(&minted, &paid)).await, acknowledged(STK));
    assert_eq!(exchange(served.address, &post(&format!("{minted}/"), &paid)).await, acknowledged(STK));
    let entries = served.entries().await;
    assert_eq!(entries[0].reference.as_ref().map(Sensitive::as_str), Some("order-123"));
    assert_eq!(entries[0].seen, 2);

    let token = minted.split('/').nth(2).expect("a token");
    let expired = urls.clone().expires_in(Duration::ZERO).stk_for("order-123").expect("a url");
    for wrong in [
        path(expired.as_str()),
        format!("/pay/{token}/lipia"),
        format!("/pay/{token}/c2b/confirmation"),
        format!("/pay/{}/stk", token.to_uppercase()),
        format!("/pay/{}/stk", &token[1..]),
        format!("/pay/{token}0/stk"),
    ] {
        assert_eq!(exchange(served.address, &post(&wrong, &push("wrong"))).await, refused(404), "{wrong}");
    }
    // The same bytes at another payment's URL are not the same callback.
    let other = path(urls.url_for(&Kind::Stk, "order-124").expect("a url").as_str());
    assert_eq!(exchange(served.address, &post(&other, &paid)).await, acknowledged(STK));
    assert_eq!(served.post("/stk", &paid).await, acknowledged(STK));
    let verdicts: Vec<_> = served.entries().await.iter().map(|entry| entry.verdict).collect();
    assert_eq!(verdicts, [Verdict::First, Verdict::Conflict, Verdict::Conflict]);
}

/// Behind trusted proxies the client IP is the right-most address that is not a
/// proxy; text that the client wrote into the header is ignored.
pub async fn the_source_is_the_hop_beyond_the_proxies(serve: &Serve) {
    let x_forwarded_for = [
        ("x-forwarded-for", "203.0.113.1"),
        ("forwarded", "for=203.0.113.2"),
        ("x-forwarded-for", "198.51.100.7:4711, 127.0.0.2"),
    ];
    let forwarded = [
        ("forwarded", "for=203.0.113.1, for=\"unclosed"),
        ("x-forwarded-for", "203.0.113.2"),
        ("forwarded", "for=\"[2001:db8::7]:4711\";proto=https, for=127.0.0.2"),
    ];
    for (header, lines, source) in [
        (ForwardedHeader::XForwardedFor, x_forwarded_for, "198.51.100.7"),
        (ForwardedHeader::Forwarded, forwarded, "2001:db8::7"),
    ] {
        for proxies in [TrustedProxies::addresses(["127.0.0.0/8"]), TrustedProxies::hops(2)] {
            let served = Served::with(serve, |builder| builder.trusted_proxies(proxies.header(header))).await;
            let path = format!("/pay/{SECRET}/stk");
            let answer = exchange(served.address, &request("POST", &path, &lines, &push("k"))).await;
            assert_eq!(answer, acknowledged(STK));
            assert_eq!(served.entries().await[0].client_ip, source.parse().ok());
            let answer = exchange(served.address, &request("POST", &path, &[], &push("l"))).await;
            assert_eq!(answer, refused(403), "no proxy said who it was");
            let answer = exchange(served.address, &request("POST", "/pay/wrong/stk", &[], &push("l"))).await;
            assert_eq!(answer, refused(404), "without the secret nobody learns of addresses");
        }
    }
}

/// With an allowlist, a request from another IP gets 403 for any headers. With
/// `report_only` it is accepted.
pub async fn sources_that_are_not_listed_are_refused(serve: &Serve) {
    let forged = [("x-forwarded-for", SAFARICOM_ADDRESSES[0]), ("x-real-ip", SAFARICOM_ADDRESSES[0])];
    let path = format!("/pay/{SECRET}/stk");
    for (allowlist, answer) in [
        (IpAllowlist::safaricom(), refused(403)),
        (IpAllowlist::safaricom().report_only(), acknowledged(STK)),
        (IpAllowlist::safaricom().allow("127.0.0.1"), acknowledged(STK)),
    ] {
        let served = Served::with(serve, |builder| builder.ip_allowlist(allowlist)).await;
        assert_eq!(exchange(served.address, &request("POST", &path, &forged, &push("k"))).await, answer);
        assert_eq!(served.entries().await.len(), usize::from(answer.status == 200));
        let answer = exchange(served.address, &request("POST", "/pay/wrong/stk", &forged, &push("k"))).await;
        assert_eq!(answer, refused(404));
    }
}

/// Requests beyond the limit in flight get 503. When one has ended, the next is
/// accepted.
pub async fn too_many_in_flight_are_refused(serve: &Serve) {
    let served = Served::with(serve, |builder| builder.max_in_flight(2)).await;
    let head = format!("POST /pay/{SECRET}/stk HTTP/1.1\r\nhost: x\r\ncontent-length: 500\r\n\r\n{FIRST_BYTES}");
    let mut slow = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(served.address).await.expect("a connection");
        stream.write_all(head.as_bytes()).await.expect("to send");
        slow.push(stream);
    }
    sleep(Duration::from_millis(100)).await;
    let busy = Answer { retry_after: Some("5".into()), ..refused(503) };
    assert_eq!(served.post("/stk", &push("k")).await, busy);
    drop(slow);
    sleep(Duration::from_millis(100)).await;
    assert_eq!(served.post("/stk", &push("k")).await, acknowledged(STK));
}

/// Bodies that cannot be parsed get 503 beyond their rate limit, and are not
/// stored. Bodies that can be parsed are accepted meanwhile.
pub async fn a_flood_that_cannot_be_read_is_refused(serve: &Serve) {
    let served = Served::with(serve, |builder| builder.max_quarantined_per_second(1)).await;
    let mut refused_some = false;
    for i in 0..30 {
        let answer = served.post("/stk", format!("junk {i}").as_bytes()).await;
        refused_some |= answer.status == 503;
        assert!(matches!(answer.status, 200 | 503));
        assert_eq!(served.post("/stk", &push(&format!("k{i}"))).await, acknowledged(STK));
    }
    assert!(refused_some);
    let depth = served.inbox.counts().await.expect("depth");
    assert!((10..30).contains(&depth.quarantined), "{depth:?}");
}
