//! `daraja doctor`: why do callbacks not arrive?

mod inside;

mod offline;

mod online;

mod tls;

use std::fmt;
use std::path::PathBuf;

use anyhow::ensure;

/// Callback URLs.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Callback URLs; `-` reads them from standard input, one a line, also as `inbox.urls()` prints them. So the
    /// secret is not in the shell's history.
    #[arg(required = true)]
    urls: Vec<String>,
    /// Looks at the URLs only, and connects to nothing.
    #[arg(long)]
    offline: bool,
    /// Believes the issuers in this PEM file, and not Mozilla's list: for a server inside a company.
    #[arg(long, value_name = "FILE")]
    roots: Option<PathBuf>,
    /// Prints a line of JSON for each finding.
    #[arg(long)]
    json: bool,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Severity {
    /// Nothing is wrong.
    Fine,
    /// Callbacks arrive, and something is odd.
    Warning,
    /// It keeps callbacks out.
    Fault,
}

/// What was looked at, and what was seen.
#[derive(Debug)]
pub(crate) struct Finding {
    /// The same for ever: scripts look for it.
    pub(crate) id: &'static str,
    pub(crate) severity: Severity,
    /// Never with the secret.
    pub(crate) seen: String,
    /// What to do.
    pub(crate) help: &'static str,
}

impl Finding {
    pub(crate) fn fine(id: &'static str, seen: impl Into<String>) -> Finding {
        Finding { id, severity: Severity::Fine, seen: seen.into(), help: "" }
    }

    pub(crate) fn fault(id: &'static str, seen: impl Into<String>, help: &'static str) -> Finding {
        Finding { id, severity: Severity::Fault, seen: seen.into(), help }
    }

    pub(crate) fn warning(id: &'static str, seen: impl Into<String>, help: &'static str) -> Finding {
        Finding { id, severity: Severity::Warning, seen: seen.into(), help }
    }
}

impl Severity {
    fn name(self) -> &'static str {
        match self {
            Severity::Fine => "ok",
            Severity::Warning => "warn",
            Severity::Fault => "FAULT",
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  {:5} {:10} {}", self.severity.name(), self.id, self.seen)?;
        match self.help {
            "" => Ok(()),
            help => write!(f, "\n{:19}→ {help}", ""),
        }
    }
}

/// Looks at everything. Returns whether nothing keeps callbacks out.
pub(crate) fn run(options: &Options) -> anyhow::Result<bool> {
    let urls = urls(options)?;
    let mut findings = offline::look(&urls);
    if !options.offline {
        let roots = options.roots.as_deref().map_or_else(|| Ok(tls::Roots::mozilla()), tls::Roots::of)?;
        for host in online::hosts(&urls) {
            findings.extend(online::look(&host, &roots));
        }
    }
    for finding in &findings {
        match options.json {
            true => println!(
                "{}",
                serde_json::json!({
                    "id": finding.id, "severity": finding.severity.name(), "seen": finding.seen, "help": finding.help,
                })
            ),
            false => println!("{finding}"),
        }
    }
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let (faults, warnings) = (count(Severity::Fault), count(Severity::Warning));
    if !options.json {
        println!(
            "\n{}, {}. What Safaricom's network and portal think cannot be seen from here.",
            counted(faults, "fault"),
            counted(warnings, "warning"),
        );
    }
    Ok(faults == 0)
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn urls(options: &Options) -> anyhow::Result<Vec<String>> {
    let mut urls = Vec::new();
    for given in &options.urls {
        let text = if given == "-" { std::io::read_to_string(std::io::stdin())? } else { given.clone() };
        // `inbox.urls()` prints the kind before each.
        let words = text.split_whitespace().filter(|word| word.contains("://"));
        urls.extend(words.map(str::to_owned));
    }
    ensure!(!urls.is_empty(), "there is no URL: it begins with https://");
    Ok(urls)
}
