use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A small disk, on which there is little room until somebody makes some. It is gone when this is dropped.
#[derive(Debug)]
pub struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    /// A disk of so many bytes, which any user may write to; `None`, with a word on why, where none can be mounted: that takes
    /// Linux, and root.
    ///
    /// # Panics
    /// When there is no room for a directory.
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

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Takes all room but so many bytes.
    ///
    /// # Panics
    /// When that much is not there any more.
    pub fn fill_all_but(&self, bytes: usize) {
        let mut ballast = File::create(self.ballast()).expect("ballast");
        while ballast.write_all(&[0; 4096]).is_ok() {}
        let length = ballast.metadata().expect("its length").len();
        ballast.set_len(length - bytes as u64).expect("as much room as asked for");
    }

    /// Gives the room back.
    ///
    /// # Panics
    /// When it was not taken.
    pub fn make_room(&self) {
        fs::remove_file(self.ballast()).expect("ballast");
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Whoever still has a file open keeps it until then.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}
