//! The matrix: *works*, or *fails there too*, with the reason and its source.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, ensure};

use crate::exceptions::{EXCEPTIONS, Exception};
use crate::programs::{Language, PROGRAMS};
use crate::run::Tried;

fn exception(tried: &Tried) -> Option<&'static Exception> {
    EXCEPTIONS.iter().find(|exception| exception.client == tried.client && exception.call == tried.call)
}

/// Prints every call. Returns whether each ended as it must.
pub(crate) fn judge(tried: &[Tried]) -> bool {
    let mut as_expected = true;
    for one in tried {
        let Tried { client, call, path, callbacks, error } = one;
        let judgement = match (error, exception(one)) {
            (None, None) => format!("works, {callbacks} callbacks"),
            (Some(error), Some(exception)) if error.contains(exception.error) => {
                format!("fails there too: {}", exception.reason)
            }
            (Some(error), _) => {
                as_expected = false;
                format!("FAILS: {error}")
            }
            (None, Some(_)) => {
                as_expected = false;
                "WORKS, and is listed among the exceptions".to_owned()
            }
        };
        println!("{client:14} {call:17} {path:46} {judgement}");
    }
    let working = tried.iter().filter(|one| one.error.is_none()).count();
    println!("{working} of {} calls work", tried.len());
    as_expected
}

const BEGIN: &str = "<!-- matrix -->\n";
const END: &str = "<!-- end of matrix -->\n";

/// Compares the matrix in `README.md`, or writes it with `UPDATE_DOCS`.
pub(crate) fn document(tried: &[Tried]) -> anyhow::Result<()> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let text = std::fs::read_to_string(&file)?;
    let (before, rest) = text.split_once(BEGIN).context("no matrix in README.md")?;
    let (_, after) = rest.split_once(END).context("no end of the matrix in README.md")?;
    let wanted = format!("{before}{BEGIN}{}{END}{after}", table(tried));
    if std::env::var_os("UPDATE_DOCS").is_some() {
        return Ok(std::fs::write(&file, wanted)?);
    }
    ensure!(wanted == text, "the matrix in README.md is not what was measured: run it again with UPDATE_DOCS=1");
    Ok(())
}

fn table(tried: &[Tried]) -> String {
    let working = tried.iter().filter(|one| one.error.is_none()).count();
    let failing = tried.len() - working;
    let mut text = format!("{working} calls work, and {failing} fail there too.\n\n");
    text += "| client | from | pointed at the simulator by | works |\n|---|---|---|---|\n";
    for program in &PROGRAMS {
        let from = match program.language {
            Language::Python => "PyPI",
            Language::Node => "npm",
            Language::Rust => "crates.io",
        };
        let works = tried.iter().filter(|one| one.client == program.name && one.error.is_none());
        let calls: Vec<&str> = works.map(|one| one.call.as_str()).collect();
        let _ = writeln!(
            text,
            "| `{}` {} | {from} | {} | {} |",
            program.name,
            program.version,
            program.base_url,
            calls.join(", ")
        );
    }
    text += "\n| client | fails there too | because | source |\n|---|---|---|---|\n";
    for Exception { client, call, reason, source, .. } in EXCEPTIONS {
        let _ = writeln!(text, "| `{client}` | {call} | {reason} | {source} |");
    }
    let paths: BTreeSet<&str> = tried.iter().filter(|one| one.error.is_none()).map(|one| one.path.as_str()).collect();
    let _ = writeln!(text, "\nPaths: {}.", paths.iter().map(|path| format!("`{path}`")).collect::<Vec<_>>().join(", "));
    text
}
