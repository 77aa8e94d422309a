//! Applications in other languages, whose own tests control the simulator over HTTP.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, ensure};
use mpesa_callbacks_daraja::Daraja;

use crate::install;

/// Runs the tests of both applications.
pub(crate) async fn run() -> anyhow::Result<()> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("control");
    let mut pytest = install::pytest()?;
    pytest.args(["-m", "pytest", "--quiet", "-p", "no:cacheprovider", "test_application.py"]);
    let mut node = Command::new("node");
    node.args(["--test", "application.test.mjs"]);
    for (name, mut command) in [("pytest", pytest), ("node --test", node)] {
        let daraja = Daraja::start().await?;
        command.env("DARAJA_URL", daraja.base_url()).current_dir(&directory);
        let began = Instant::now();
        let status = tokio::process::Command::from(command).status().await;
        ensure!(status.with_context(|| format!("cannot run {name}"))?.success(), "{name} fails");
        println!("── {name}: passed in {} ms", began.elapsed().as_millis());
    }
    Ok(())
}
