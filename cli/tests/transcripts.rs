//! The transcripts of `README.md` are what the command prints. `UPDATE_DOCS=1` writes them anew.

mod common;

use std::path::Path;
use std::process::{Command, Stdio};

use self::common::application;

/// Returns the block behind this line.
fn block<'r>(readme: &'r str, command: &str) -> &'r str {
    let from = readme.find(&format!("$ {command}\n")).unwrap_or_else(|| panic!("README.md does not show `{command}`"));
    let rest = &readme[from..];
    &rest[..rest.find("```").expect("the end of the block")]
}

fn printed(arguments: &[&str]) -> String {
    let mut daraja = Command::new(env!("CARGO_BIN_EXE_daraja"));
    let output = daraja.args(arguments).stdin(Stdio::null()).output().expect("it runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Times differ from run to run: `4 ms` becomes `N ms`.
fn without_times(text: &str) -> String {
    let words = text.split(' ').collect::<Vec<_>>();
    let is_time = |at: usize| words.get(at + 1).is_some_and(|next| next.starts_with("ms"));
    let words = words.iter().enumerate().map(|(at, word)| if is_time(at) { "N" } else { word });
    words.collect::<Vec<_>>().join(" ")
}

fn check(command: &str, shown: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(&path).expect("README.md");
    let before = block(&readme, command);
    let now = format!("$ {command}\n{shown}");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, readme.replace(before, &now)).expect("README.md");
        return;
    }
    assert_eq!(without_times(before), without_times(&now), "run it with UPDATE_DOCS=1");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_readme_shows_what_the_command_prints() {
    check("daraja explain 1037", &printed(&["explain", "1037"]));

    let (_inbox, address, base) = application().await;
    let options = "--amount 1500 --account order-1 --receipt TK1H2J3K4L --times 2";
    let arguments: Vec<&str> =
        ["send", "c2b_confirmation", "--to", &base].into_iter().chain(options.split(' ')).collect();
    let shown = printed(&arguments).replace(&address.to_string(), "127.0.0.1:3000");
    check(&format!("daraja send c2b_confirmation --to http://127.0.0.1:3000/pay/$SECRET {options}"), &shown);
}
