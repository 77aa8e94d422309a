//! The servers that tests need beside ours: found on the machine, or fetched into `target/servers`.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// nginx: the machine's own program, or Debian's package, unpacked and not installed. Nothing that runs is touched.
pub(crate) fn nginx(target: &Path) -> Option<PathBuf> {
    let found = in_path("nginx").or_else(|| Some(PathBuf::from("/usr/sbin/nginx"))).filter(|program| program.is_file());
    found.or_else(|| {
        let directory = target.join("servers").join("nginx");
        let program = directory.join("usr/sbin/nginx");
        if !program.is_file() {
            println!("fetching nginx into {}", directory.display());
            unpack("nginx", &directory)?;
        }
        program.is_file().then_some(program)
    })
}

/// Whether tests will find PostgreSQL's programs, of which they make clusters of their own.
pub(crate) fn has_postgres() -> bool {
    let packaged = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let told = env::var_os("POSTGRES_BIN").map(PathBuf::from);
    in_path("initdb").is_some()
        || told.into_iter().chain(packaged.map(|it| it.path().join("bin"))).any(|it| it.join("initdb").exists())
}

fn in_path(program: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|directory| directory.join(program)).find(|program| program.is_file())
}

/// Fetches a Debian package and unpacks it; `None` where there are no Debian packages to be had.
fn unpack(package: &str, directory: &Path) -> Option<()> {
    std::fs::create_dir_all(directory).ok()?;
    let quiet = |command: &mut Command| {
        command.current_dir(directory).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|it| it.success())
    };
    if !quiet(Command::new("apt-get").args(["download", package])) {
        // The lists of packages may be missing, as in fresh containers.
        let _ = quiet(Command::new("apt-get").arg("update"));
        quiet(Command::new("apt-get").args(["download", package])).then_some(())?;
    }
    let downloaded = std::fs::read_dir(directory).ok()?.flatten().map(|entry| entry.path());
    let archive = downloaded.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "deb"))?;
    quiet(Command::new("dpkg-deb").arg("-x").arg(archive).arg(".")).then_some(())
}
