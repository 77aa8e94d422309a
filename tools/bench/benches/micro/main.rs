//! The cost of a callback, step by step: time, and instructions, which are stable on noisy machines.
//!
//! ```sh
//! cargo bench -p bench                 # instructions too, where valgrind is installed
//! cargo bench -p bench -- parse        # what has this in its name
//! ```

mod cases;

mod count;

mod time;

use std::env;
use std::hint::black_box;

use serde_json::{Value, json};

/// One step, done by several sides. The first is the baseline.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) sides: Vec<Side>,
}

/// How one of them does it.
pub(crate) struct Side {
    pub(crate) name: &'static str,
    pub(crate) run: Box<dyn FnMut()>,
}

impl Case {
    pub(crate) fn new(name: impl Into<String>) -> Case {
        Case { name: name.into(), sides: Vec::new() }
    }

    /// One more that does it.
    pub(crate) fn side<T>(mut self, name: &'static str, mut run: impl FnMut() -> T + 'static) -> Case {
        let run = Box::new(move || drop(black_box(run())));
        self.sides.push(Side { name, run });
        self
    }
}

fn main() {
    // `cargo bench` passes `--bench`; `cargo test --benches` does not, and has nothing to test here.
    let arguments: Vec<String> = env::args().skip(1).collect();
    if !arguments.iter().any(|argument| argument == "--bench") {
        return;
    }
    let wanted = arguments.iter().find(|argument| !argument.starts_with('-'));
    let mut cases = cases::all();
    cases.retain(|case| wanted.is_none_or(|wanted| case.name.contains(wanted.as_str())));
    if let Ok(number) = env::var(count::COUNTED) {
        return count::run(&mut cases, &number);
    }
    let counts = count::under_callgrind(&arguments, &cases);
    let times = time::measure(&mut cases);
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::UTF8_FULL_CONDENSED);
    table.set_header(["what", "by", "ns", "times", "instructions", "times"]);
    let mut counts = counts.map(Vec::into_iter);
    for (case, times) in cases.iter().zip(times) {
        let mut first = None;
        for (side, nanos) in case.sides.iter().zip(times) {
            let count = counts.as_mut().and_then(Iterator::next);
            let (first_nanos, first_count) = *first.get_or_insert((nanos, count));
            let times = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.2}"));
            let (slower, longer) = (nanos / first_nanos, count.zip(first_count).map(|(count, first)| count / first));
            println!(
                "{}",
                json!({
                    "measurement": "micro", "what": case.name, "by": side.name, "ns": nanos, "times_ns": slower,
                    "instructions": count.map_or(Value::Null, Value::from), "times_instructions": longer,
                })
            );
            table.add_row([
                case.name.clone(),
                side.name.to_owned(),
                format!("{nanos:.0}"),
                times(Some(slower)),
                count.map_or("–".to_owned(), |count| format!("{count:.0}")),
                times(longer),
            ]);
        }
    }
    println!("{table}");
}
