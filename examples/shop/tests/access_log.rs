//! What the shop logs, at any level, names nobody and gives no secret away.

use std::process::Command;

#[test]
fn the_access_log_and_all_others_have_nothing_private() {
    let directory = tempfile::tempdir().unwrap();
    let mut shop = Command::new(env!("CARGO_BIN_EXE_shop"));
    mpesa_callbacks_conformance::program::logs_nothing_private(shop.env("DATA_DIR", directory.path()));
}
