//! A MariaDB server of the test's own.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use crate::owned::{Owned, command, place, run, within_reach};

/// A MariaDB server of the test's own, as durable as it is by default. It is stopped and deleted when this is dropped, or when
/// the process that has it ends.
#[derive(Debug)]
pub struct MariaDb(Owned);

impl MariaDb {
    /// The one that the tests of a process share; `None`, with a word on why, where there is no MariaDB.
    pub fn shared() -> Option<&'static MariaDb> {
        static SHARED: LazyLock<Option<MariaDb>> = LazyLock::new(|| MariaDb::start(&[]));
        SHARED.as_ref()
    }

    /// Makes a server and starts it, with these options beside the usual ones; `None`, with a word on why, where there is none.
    ///
    /// # Panics
    /// When there is one, and it does not start.
    pub fn start(options: &[&str]) -> Option<MariaDb> {
        let Some(program) = program() else {
            crate::skip("there is no MariaDB (mariadbd) in PATH or under the usual directories");
            return None;
        };
        let (directory, port) = place("mariadb");
        let program = within_reach(&program, &directory);
        let base = program.parent().and_then(Path::parent).expect("a program is in a directory of another");
        let data = directory.join("data");
        // First of all, so that the machine's own configuration is not read.
        let mut usual = vec!["--no-defaults".to_owned(), format!("--basedir={}", base.display())];
        usual.push(format!("--datadir={}", data.display()));
        usual.push(format!("--tmpdir={}", directory.display()));
        usual.extend(
            ["--innodb-use-native-aio=0", "--innodb-buffer-pool-size=32M", "--innodb-log-file-size=8M"]
                .map(str::to_owned),
        );

        let mut make = command(Path::new("mkdir"));
        run(make.arg(&data), b"");
        let mut bootstrap = command(&program);
        bootstrap.args(&usual).args([
            "--bootstrap",
            "--log-warnings=0",
            "--enforce-storage-engine=",
            "--max-allowed-packet=8M",
        ]);
        run(&mut bootstrap, system_tables(base).as_bytes());

        usual.push(format!("--socket={}", directory.join("s").display()));
        usual.push(format!("--pid-file={}", directory.join("pid").display()));
        usual.push(format!("--port={port}"));
        usual.extend(
            ["--bind-address=127.0.0.1", "--skip-name-resolve", "--character-set-server=utf8mb4"].map(str::to_owned),
        );
        usual.extend(options.iter().map(|option| format!("--{option}")));
        Some(MariaDb(Owned::start(directory, port, &program, &usual, "ready for connections")))
    }

    /// The URL of the shared database.
    pub fn url(&self) -> String {
        format!("mysql://test@127.0.0.1:{}/test", self.0.port)
    }

    /// A unique name for a database, and its URL once it is created.
    pub fn next_database(&self) -> (String, String) {
        let name = self.0.next_database();
        let url = format!("mysql://test@127.0.0.1:{}/{name}", self.0.port);
        (name, url)
    }
}

/// The bootstrap statements: system tables, and a user for tests. One statement per line.
fn system_tables(base: &Path) -> String {
    let mut sql = String::from("create database mysql;\nuse mysql;\nset @auth_root_socket = null;\n");
    for name in ["system_tables", "performance_tables", "system_tables_data"] {
        // `mysql/mysql_system_tables.sql` in older versions, `mariadb/mariadb_system_tables.sql` in newer ones.
        let files = ["mysql", "mariadb"].map(|family| base.join(format!("share/{family}/{family}_{name}.sql")));
        let file = files
            .iter()
            .find(|file| file.is_file())
            .unwrap_or_else(|| panic!("{name}.sql is below {}", base.display()));
        let text = std::fs::read_to_string(file).expect("its tables");
        sql.extend(text.lines().filter(|line| !line.contains("@current_hostname")).flat_map(|line| [line, "\n"]));
    }
    sql + "flush privileges;\ncreate user test@'%' identified by '';\ngrant all on *.* to test@'%' with grant option;\ncreate database test;\n"
}

/// The program of `MARIADB`, in `PATH`, or where packages install it.
fn program() -> Option<PathBuf> {
    let told = env::var_os("MARIADB").map(PathBuf::from);
    let directories = env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/usr/libexec", "/opt/homebrew/bin", "/usr/local/bin"].map(PathBuf::from);
    let candidates =
        env::split_paths(OsStr::new(&directories)).chain(usual).map(|directory| directory.join("mariadbd"));
    told.into_iter().chain(candidates).find(|program| program.is_file())
}
