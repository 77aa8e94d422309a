//! SQLite, as the store and as the spool, on a drive with power cuts. `CUTS` and `SEED` set their number and the seed.
#![cfg(target_os = "linux")]

use std::env;
use std::fs::File;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use mpesa_callbacks_power_cut::journal::{Owed, Said};
use mpesa_callbacks_power_cut::{Drive, Losses, Machine};

fn number(name: &str, usual: u64) -> u64 {
    env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

#[derive(Default)]
struct Findings {
    acknowledged: usize,
    lost: usize,
    troubles: Vec<String>,
}

/// Lets a writer write, and cuts its power; so many times. `None`, with a word on why, where no drive can be mounted.
fn cut(what: &str, cuts: u64) -> Option<Findings> {
    let seed = number("SEED", fastrand::u64(..));
    println!("{what}: SEED={seed} CUTS={cuts}");
    let mut random = fastrand::Rng::with_seed(seed);
    let directory = tempfile::tempdir().unwrap();
    let mount = directory.path().join("drive");
    std::fs::create_dir(&mount).unwrap();
    let machine = Machine::new(Drive::new(random.u64(..)));
    let (mut owed, mut findings, mut losses) = (Owed::default(), Findings::default(), Losses::default());
    for _ in 0..cuts {
        let is_new = random.u8(0..4) == 0;
        if is_new {
            machine.replace(Drive::new(random.u64(..)));
            owed = Owed::default();
        }
        let mounted = match machine.mount(&mount) {
            Ok(mounted) => mounted,
            Err(error) => {
                println!("SKIPPED: cannot mount a drive with FUSE here (Linux, as root): {error}");
                return None;
            }
        };
        if is_new || random.bool() {
            // At some request, rather than at some time; a new file is made with the first sixty or so.
            machine.cut_after(random.u64(1..if is_new { 200 } else { 6000 }));
        }
        let words = File::create(directory.path().join("stderr")).unwrap();
        let mut writer = Command::new(env!("CARGO_BIN_EXE_writer"));
        writer.arg(what).arg(&mount).arg(random.u64(..).to_string()).stdin(Stdio::null());
        let mut writer = writer.stdout(Stdio::piped()).stderr(words).spawn().unwrap();
        let lines = writer.stdout.take().unwrap();
        // Its lines are more than a pipe holds.
        let reading = std::thread::spawn(move || Said::read(lines));
        let until = Instant::now() + Duration::from_micros(random.u64(5_000..250_000));
        while Instant::now() < until && machine.has_power() {
            sleep(Duration::from_millis(1));
        }
        let ended_by_itself = machine.has_power() && writer.try_wait().unwrap().is_some();
        machine.cut_after(0);
        writer.kill().unwrap();
        writer.wait().unwrap();
        let said = reading.join().unwrap();
        mounted.unmount();
        losses += machine.restore(random.u64(..));
        if ended_by_itself {
            let words = std::fs::read_to_string(directory.path().join("stderr")).unwrap();
            findings.troubles.push(format!("{:?} {words}", said.trouble));
            machine.replace(Drive::new(random.u64(..)));
            owed = Owed::default();
            continue;
        }
        findings.acknowledged += said.acknowledged.len();
        findings.lost += owed.settle(said);
    }
    println!(
        "{what}: {cuts} cuts, {} acknowledged, {} lost, {} times damaged; {losses:?}",
        findings.acknowledged,
        findings.lost,
        findings.troubles.len()
    );
    assert!(losses.lost > 0, "nothing was ever lost, so nothing is shown");
    Some(findings)
}

fn keeps_its_word(what: &str) {
    let Some(findings) = cut(what, number("CUTS", 40)) else { return };
    assert!(findings.troubles.is_empty(), "{:#?}", findings.troubles);
    assert_eq!(findings.lost, 0, "of {}", findings.acknowledged);
    assert!(findings.acknowledged > 500, "{} are too few to show anything", findings.acknowledged);
}

#[test]
fn what_the_store_acknowledged_survives_power_cuts() {
    keeps_its_word("store");
}

#[test]
fn what_the_spool_acknowledged_survives_power_cuts() {
    keeps_its_word("spool");
}

/// The control: settings that are known to lose do lose here.
#[test]
fn with_synchronous_normal_what_was_committed_is_lost() {
    let Some(findings) = cut("normal", number("CUTS", 40)) else { return };
    assert!(findings.lost > 0, "of {}", findings.acknowledged);
}
