//! That the measurements run, and measure something.

use std::process::Command;

use serde_json::Value;

/// Runs a measurement, and reads its lines.
fn measured(arguments: &[&str]) -> Vec<Value> {
    let output = Command::new(env!("CARGO_BIN_EXE_bench")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told = String::from_utf8(output.stdout).unwrap();
    told.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[test]
fn a_load_is_acknowledged_and_settled() {
    let sides = "empty,parse,by-hand-sqlite,axum-memory-acknowledge,axum-sqlite-handle,actix-sqlite-handle,rocket-memory-handle";
    let short = ["load", "--rounds", "1", "--seconds", "0.3", "--connections", "8", "--rate", "100", "--only", sides];
    let lines = measured(&short);
    assert_eq!(lines.len(), 7, "{lines:?}");
    for line in lines {
        let side = line["side"].as_str().unwrap();
        assert!(line["acknowledged/s"].as_f64().unwrap() > 10.0, "{line}");
        assert!(line["steady p99 ms"].as_f64().unwrap() > 0.0, "{line}");
        assert_eq!(
            line["settled/s"].as_f64().is_some_and(|settled| settled > 10.0),
            side.ends_with("handle"),
            "{line}"
        );
    }
}

#[test]
fn a_callback_costs_something_beside_others_and_beside_a_backlog_and_beside_a_purge() {
    let short =
        ["scale", "--rounds", "1", "--stored", "100,500", "--backlog", "300", "--seconds", "0.3", "--connections", "8"];
    let lines = measured(&[&short[..], &["--only", "sqlite"]].concat());
    let besides: Vec<_> = lines.iter().map(|line| line["beside"].as_str().unwrap()).collect();
    let load = "that many, done";
    let acknowledging = "a backlog, acknowledging";
    let [alone, purge] = ["no purge, at a steady rate", "a purge, at a steady rate"];
    assert_eq!(besides, [load, load, acknowledging, acknowledging, "handling the backlog", alone, purge]);
    assert!(lines[6]["rows"].as_u64().unwrap() >= 300, "{}", lines[6]);
    let costs = |line: &&Value| line["beside"] != alone;
    assert!(lines.iter().filter(costs).all(|line| line["µs a callback"].as_f64().unwrap() > 0.0), "{lines:?}");
    assert!(lines[5..].iter().all(|line| line["worst ms"].as_f64().unwrap() > 0.0), "{lines:?}");
}
