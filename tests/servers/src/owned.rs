//! The common parts of all servers: a directory, a free port, a user that is not root, and an end.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use super::running::free_port;

/// The user of the servers if the tests run as root: most servers refuse root.
const NOBODY: u32 = 65_534;

/// Starts the server, a command line, in the directory `$1`, until its log says `$2`, and says `ready`; `gone` if that takes
/// more than a minute. PostgreSQL refuses to start while processes of one that was killed have not noticed its end, which takes
/// them longer on a busy machine. For each line that comes, kills it as `kill -9` does and starts it again. Ends it when
/// standard input does: when whoever started this is gone.
const KEEPER: &str = r#"
directory=$1
ready=$2
shift 2
start() {
    # At once, and not when the new process gets to it: the old log says that it is ready, too.
    rm -f "$directory/log"
    "$@" >"$directory/log" 2>&1 &
    server=$!
}
start_until_ready() {
    start "$@"
    tries=0
    while ! grep -qF "$ready" "$directory/log"; do
        [ $tries -lt 1200 ] || { echo gone; return; }
        tries=$((tries + 1))
        sleep 0.05
        kill -0 $server 2>/dev/null || start "$@"
    done
    echo ready
}
start_until_ready "$@"
while read -r line; do
    kill -KILL $server
    wait $server
    start_until_ready "$@"
done
kill -QUIT $server
sleep 0.05
kill -KILL $server 2>/dev/null
wait $server
rm -rf "$directory"
"#;

/// A server that a test owns.
#[derive(Debug)]
pub(crate) struct Owned {
    keeper: Child,
    answers: BufReader<ChildStdout>,
    pub(crate) directory: PathBuf,
    pub(crate) port: u16,
    next: AtomicU32,
}

/// A private directory and a free port.
pub(crate) fn place(name: &str) -> (PathBuf, u16) {
    let directory = tempfile::Builder::new().prefix(name).tempdir().expect("a directory").keep();
    if is_root() {
        std::os::unix::fs::chown(&directory, Some(NOBODY), Some(NOBODY)).expect("to give it away");
    }
    (directory, free_port())
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// Not as root, and with the libraries that were unpacked beside the program.
pub(crate) fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    if let Some(libraries) = libraries(program) {
        command.env("LD_LIBRARY_PATH", libraries);
    }
    as_nobody(&mut command);
    command
}

fn as_nobody(command: &mut Command) {
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command.current_dir("/");
}

/// A program below a directory that only root can read is copied with its packages into the directory of the server.
pub fn within_reach(program: &Path, directory: &Path) -> PathBuf {
    let is_closed = |place: &Path| std::fs::metadata(place).is_ok_and(|place| place.mode() & 0o001 == 0);
    let root = unpacked(program).filter(|_| is_root() && program.ancestors().skip(1).any(is_closed));
    let Some((root, within)) = root.and_then(|root| Some((root, program.strip_prefix(root).ok()?))) else {
        return program.to_owned();
    };
    let copy = directory.join("programs");
    let copied = Command::new("cp").arg("-a").arg(root).arg(&copy).status();
    assert!(copied.is_ok_and(|status| status.success()), "cannot copy {}", root.display());
    copy.join(within)
}

/// The directory into which its packages were unpacked; none of the system's own programs has one.
fn unpacked(program: &Path) -> Option<&Path> {
    let root = program.ancestors().find(|directory| directory.ends_with("usr"))?.parent()?;
    (root != Path::new("/")).then_some(root)
}

/// Where packages that were unpacked into some directory have their libraries; none of the system's own programs.
pub fn libraries(program: &Path) -> Option<std::ffi::OsString> {
    let root = unpacked(program)?;
    let below = |directory: &str| std::fs::read_dir(root.join(directory)).into_iter().flatten().flatten();
    let found = below("lib").chain(below("usr/lib")).map(|entry| entry.path());
    let found: Vec<PathBuf> = found
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().ends_with("-linux-gnu")))
        .collect();
    (!found.is_empty()).then(|| std::env::join_paths(found).ok()).flatten()
}

/// Runs a program to its end, with this as its input.
pub(crate) fn run(command: &mut Command, input: &[u8]) -> Output {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    child.stdin.take().expect("its input").write_all(input).expect("to tell it");
    let output = child.wait_with_output().expect("its output");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

impl Owned {
    /// Starts the server and waits until its log reports that it is ready.
    pub(crate) fn start(directory: PathBuf, port: u16, program: &Path, arguments: &[String], ready: &str) -> Owned {
        let mut keeper = Command::new("sh");
        keeper.args(["-c", KEEPER, "keeper"]).arg(&directory).arg(ready).arg(program).args(arguments);
        keeper.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        if let Some(libraries) = libraries(program) {
            keeper.env("LD_LIBRARY_PATH", libraries);
        }
        as_nobody(&mut keeper);
        let mut keeper = keeper.spawn().expect("a shell");
        let answers = BufReader::new(keeper.stdout.take().expect("its output"));
        let mut server = Owned { keeper, answers, directory, port, next: AtomicU32::new(0) };
        server.wait();
        server
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }

    fn wait(&mut self) {
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("to hear from its shell");
        assert!(answer.trim() == "ready", "the server does not start: {}", self.log());
    }

    /// `kill -9`, and a new one in its place.
    pub(crate) fn kill_and_restart(&mut self) {
        let keeper = self.keeper.stdin.as_mut().expect("its standard input");
        keeper.write_all(b"kill\n").expect("to tell it");
        self.wait();
    }

    /// A unique name for a database.
    pub(crate) fn next_database(&self) -> String {
        format!("test_{}", self.next.fetch_add(1, Ordering::Relaxed))
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}
