//! The tables of the README are those of the code. `UPDATE_DOCS=1 cargo test` writes them.

use std::fmt::Write;
use std::fs;

use mpesa_callbacks_daraja::{FIDELITY, Fault};

const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");

fn faults() -> String {
    let mut table = "| name | timeline | products | seen |\n|---|---|---|---|\n".to_owned();
    for fault in Fault::ALL {
        let products: Vec<&str> = fault.products().collect();
        let products = if products.len() == 6 { "all".to_owned() } else { products.join(", ") };
        let _ = writeln!(table, "| `{fault}` | {} | {products} | {} |", fault.timeline(), fault.evidence());
    }
    table
}

fn fidelity() -> String {
    let mut table = "| product | behaviour | evidence |\n|---|---|---|\n".to_owned();
    for row in FIDELITY {
        let _ = writeln!(table, "| {} | {} | {} |", row.product, row.behaviour, row.evidence);
    }
    table
}

fn with_table(text: &str, name: &str, table: &str) -> String {
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    let (before, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("no {begin}"));
    let (_, after) = rest.split_once(&end).unwrap_or_else(|| panic!("no {end}"));
    format!("{before}{begin}{table}{end}{after}")
}

#[test]
fn the_readme_has_the_tables_of_the_code() {
    let found = fs::read_to_string(README).unwrap();
    let wanted = with_table(&with_table(&found, "faults", &faults()), "fidelity", &fidelity());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(README, &wanted).unwrap();
        return;
    }
    assert!(found == wanted, "run `UPDATE_DOCS=1 cargo test -p mpesa-callbacks-daraja`");
}
