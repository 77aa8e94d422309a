use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A small disk for tests of full disks: a tmpfs, unmounted on drop.
#[derive(Debug)]
pub struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    /// Mounts a tmpfs of `bytes` bytes that every user may write to. This needs Linux and root;
    /// elsewhere it prints that the test is skipped, and returns `None`.
    ///
    /// # Panics
    /// If it cannot make the directory to mount on.
    pub fn mount(bytes: usize) -> Option<Tmpfs> {
        let directory = tempfile::tempdir().expect("a directory");
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("its owner may");
        let size = format!("size={bytes},mode=777");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(directory.path()).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Tmpfs(directory));
        }
        println!("SKIPPED: cannot mount a tmpfs here (Linux, as root)");
        None
    }

    /// The directory that it is mounted on.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a ballast file that leaves `bytes` bytes free.
    ///
    /// # Panics
    /// If less than that is free already.
    pub fn fill_all_but(&self, bytes: usize) {
        let mut ballast = File::create(self.ballast()).expect("ballast");
        while ballast.write_all(&[0; 4096]).is_ok() {}
        let length = ballast.metadata().expect("its length").len();
        ballast.set_len(length - bytes as u64).expect("as much room as asked for");
    }

    /// Deletes the ballast file.
    ///
    /// # Panics
    /// If there is none.
    pub fn make_room(&self) {
        fs::remove_file(self.ballast()).expect("ballast");
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Lazily: a server may still have files open on it.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}
