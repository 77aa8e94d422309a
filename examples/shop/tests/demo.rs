//! `cargo run -p shop -- --demo` keeps its promises, on a machine without a network.

use std::process::{Command, Output};

/// Within a network that is only this machine, where the system lets us make one.
fn demo() -> Output {
    let shop = env!("CARGO_BIN_EXE_shop");
    let mut alone = Command::new("unshare");
    alone.args(["--map-root-user", "--net", "sh", "-c", "ip link set lo up && exec \"$0\" --demo", shop]);
    let output = alone.output().ok().filter(|output| !output.stdout.is_empty());
    output.unwrap_or_else(|| {
        println!("with the network, because a namespace cannot be made here");
        Command::new(shop).arg("--demo").output().expect("the shop starts")
    })
}

#[test]
fn the_story_ends_as_promised() {
    let output = demo();
    let told = String::from_utf8_lossy(&output.stdout);
    println!("{told}{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}", output.status);
    assert!(told.contains("Everything is as promised."));
    // 14 scenes, 11 orders, the wages, and the end.
    assert_eq!(told.matches("as promised").count(), 27);
}
