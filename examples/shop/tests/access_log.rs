//! The log of the shop contains no personal data and no secret, at any level.

use std::process::Command;

#[test]
fn the_access_log_and_all_others_have_nothing_private() {
    let directory = tempfile::tempdir().unwrap();
    let mut shop = Command::new(env!("CARGO_BIN_EXE_shop"));
    mpesa_callbacks_conformance::program::logs_nothing_private(
        shop.env("DATA_DIR", directory.path()).env("DARAJA_PORT", "0"),
    );
}
