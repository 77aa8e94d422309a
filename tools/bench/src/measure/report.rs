//! A table for people, and a line of JSON a row for machines.

use std::fmt::Display;

use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Map, Value};

/// A table for people, and a line of JSON a row for machines.
pub(crate) struct Report {
    measurement: &'static str,
    columns: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

/// A value as people read it, and as it is.
pub(crate) fn cell(shown: impl Display, value: impl Into<Value>) -> (String, Value) {
    (shown.to_string(), value.into())
}

impl Report {
    pub(crate) fn new(measurement: &'static str, columns: &[&'static str]) -> Report {
        Report { measurement, columns: columns.to_vec(), rows: Vec::new() }
    }

    /// One cell for each column. The line of JSON is printed at once, the table in the end.
    pub(crate) fn row(&mut self, cells: Vec<(String, Value)>) {
        let named = self.columns.iter().zip(&cells).map(|(name, (_, value))| ((*name).to_owned(), value.clone()));
        let mut line = Map::from_iter([("measurement".to_owned(), self.measurement.into())]);
        line.extend(named);
        println!("{}", Value::Object(line));
        self.rows.push(cells.into_iter().map(|(shown, _)| shown).collect());
    }

    /// Prints the table.
    pub(crate) fn print(self) {
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED).set_header(&self.columns);
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table.add_rows(self.rows);
        println!("{table}");
    }
}
