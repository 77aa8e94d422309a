//! The servers that tests need beside ours: found on the machine, or fetched into `target/servers` as the packages of Debian and its
//! kin, unpacked and not installed. Nothing that runs is touched.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A server, and the variable with which tests find it.
struct Server {
    name: &'static str,
    /// The variable that the tests read, and the program that they look for.
    variable: &'static str,
    program: &'static str,
    /// Where it is when it is not in `PATH`.
    usual: &'static [&'static str],
    package: &'static str,
    /// Prefixes of the dependencies of the package that are needed, too.
    with: &'static [&'static str],
}

/// Libraries that are large, and needed for nothing that tests do: LLVM is PostgreSQL's compiler of long queries.
const WITHOUT: [&str; 8] = ["libllvm", "libz3", "libperl", "libgdbm", "libc-l10n", "libedit", "libbsd", "libxslt"];

const SERVERS: [Server; 5] = [
    Server {
        name: "nginx",
        variable: "NGINX",
        program: "nginx",
        usual: &["/usr/sbin"],
        package: "nginx",
        with: &["nginx"],
    },
    Server {
        name: "PostgreSQL",
        variable: "POSTGRES_BIN",
        program: "initdb",
        usual: &["/usr/lib/postgresql/*/bin", "/opt/homebrew/opt/*/bin", "/usr/local/opt/*/bin"],
        package: "postgresql",
        with: &["postgresql-1", "postgresql-2", "postgresql-client-1", "postgresql-client-2", "lib"],
    },
    Server {
        name: "MariaDB",
        variable: "MARIADB",
        program: "mariadbd",
        usual: &["/usr/sbin", "/usr/libexec", "/opt/homebrew/bin", "/usr/local/bin"],
        package: "mariadb-server-core",
        with: &["mariadb-server-core", "lib"],
    },
    Server {
        name: "Chromium",
        variable: "CHROMEDRIVER",
        program: "chromedriver",
        usual: &["/usr/lib/chromium-browser", "/opt/homebrew/bin", "/usr/local/bin"],
        package: "chromium-driver",
        with: &["chromium", "lib"],
    },
    Server {
        name: "PgBouncer",
        variable: "PGBOUNCER",
        program: "pgbouncer",
        usual: &["/usr/sbin"],
        package: "pgbouncer",
        with: &["pgbouncer", "lib"],
    },
];

/// The variables for the tests. Without a server, its tests print so and pass.
pub(crate) fn places(target: &Path) -> Vec<(&'static str, PathBuf)> {
    let mut places = Vec::new();
    for server in &SERVERS {
        if env::var_os(server.variable).is_some() {
            continue;
        }
        let directory = target.join("servers").join(server.package);
        let program = server.here().or_else(|| found(&directory, server.program)).or_else(|| {
            println!("fetching {} into {}", server.name, directory.display());
            unpack(server, &directory)?;
            found(&directory, server.program)
        });
        match program {
            // PostgreSQL's tests need several programs, so their variable is the directory.
            Some(program) if server.variable.ends_with("_BIN") => {
                places.extend(program.parent().map(|directory| (server.variable, directory.to_owned())));
            }
            Some(program) => places.push((server.variable, program)),
            None => println!(
                "there is no {}, and no package of it to be had: its tests are skipped, or fail with REQUIRE_SERVERS",
                server.name
            ),
        }
    }
    places
}

impl Server {
    /// The machine's own.
    fn here(&self) -> Option<PathBuf> {
        let in_path = env::var_os("PATH").map(|path| env::split_paths(&path).collect::<Vec<_>>()).unwrap_or_default();
        let usual = self.usual.iter().flat_map(|place| match place.split_once("/*/") {
            None => vec![PathBuf::from(place)],
            Some((root, rest)) => below(Path::new(root)).into_iter().map(|version| version.join(rest)).collect(),
        });
        in_path.into_iter().chain(usual).map(|directory| directory.join(self.program)).find(|program| program.is_file())
    }
}

fn below(directory: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// The program, wherever below the directory its package puts programs.
fn found(directory: &Path, program: &str) -> Option<PathBuf> {
    let versions = below(&directory.join("usr/lib/postgresql")).into_iter().map(|version| version.join("bin"));
    let usual = ["usr/sbin", "usr/bin"].map(|place| directory.join(place));
    usual.into_iter().chain(versions).map(|place| place.join(program)).find(|program| program.is_file())
}

/// Fetches the packages of a server and their missing dependencies, and unpacks them; `None` if there are none.
fn unpack(server: &Server, directory: &Path) -> Option<()> {
    std::fs::create_dir_all(directory).ok()?;
    let packages = needed(server).or_else(|| {
        // The lists of packages may be missing, as in fresh containers.
        let _ = quiet(Command::new("apt-get").arg("update"));
        needed(server)
    })?;
    quiet(Command::new("apt-get").arg("download").args(packages).current_dir(directory)).then_some(())?;
    for archive in below(directory).iter().filter(|path| path.extension() == Some(OsStr::new("deb"))) {
        quiet(Command::new("dpkg-deb").arg("-x").arg(archive).arg(".").current_dir(directory)).then_some(())?;
    }
    // It would be loaded for a long query, and its own libraries are not there.
    for version in below(&directory.join("usr/lib/postgresql")) {
        let _ = std::fs::remove_file(version.join("lib/llvmjit.so"));
    }
    Some(())
}

/// The packages that would be installed for it; none if it is unknown.
fn needed(server: &Server) -> Option<BTreeSet<String>> {
    let mut asking = Command::new("apt-get");
    asking.args(["install", "-y", "-qq", "--print-uris", "--no-install-recommends", server.package]);
    let answer = asking.stderr(Stdio::null()).output().ok().filter(|output| output.status.success())?;
    // 'address' package_version_architecture.deb size sum
    let text = String::from_utf8_lossy(&answer.stdout).into_owned();
    let names = text.lines().filter_map(|line| line.split_whitespace().nth(1)?.split('_').next());
    let begins = |name: &str, beginnings: &[&str]| beginnings.iter().any(|beginning| name.starts_with(beginning));
    let mut names: BTreeSet<String> =
        names.filter(|name| begins(name, server.with) && !begins(name, &WITHOUT)).map(str::to_owned).collect();
    // Already installed, though not in `PATH`.
    if names.is_empty() {
        names.insert(server.package.to_owned());
    }
    Some(names)
}

fn quiet(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}
