//! A loss of power: what the process did not make durable is gone. `shim.c` keeps count of that in a shadow of
//! the data folder; this file puts the shadow in its place.

use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::Disaster;
use super::verdict::Disk;

/// The power fails at each kill.
pub(super) struct PowerCut {
    data: PathBuf,
    shadow: PathBuf,
    shim: PathBuf,
    faults: PathBuf,
    /// How the disk fails in each round, once the node is ready.
    pub(super) rules: String,
    _directory: TempDir,
}

impl PowerCut {
    /// Compiles the shim; `None`: there is no C compiler.
    pub(super) fn of(data: PathBuf) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let path = |name| directory.path().join(name);
        let (shim, shadow, faults) = (path("shim.so"), path("shadow"), path("faults"));
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/crash/shim.c");
        let compiled = Command::new("cc")
            .args(["-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC", "-pthread", "-o"])
            .arg(&shim)
            .arg(source)
            .output();
        let output = match compiled {
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            output => output.unwrap(),
        };
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        fs::create_dir_all(&data).unwrap();
        fs::create_dir(&shadow).unwrap();
        Some(Self { data, shadow, shim, faults, rules: String::new(), _directory: directory })
    }

    /// Has the disk fail by these rules of `shim.c` from now on; none: it is well.
    pub(super) fn fail(&self, rules: &str) {
        fs::write(self.faults.with_extension("new"), rules).unwrap();
        fs::rename(self.faults.with_extension("new"), &self.faults).unwrap();
    }

    /// Makes a folder as the shadow knows it; one whose names were never durable is empty.
    fn restore(&self, key: &str, path: &Path) {
        fs::create_dir(path).unwrap();
        let listing = match fs::read_to_string(self.shadow.join("dirs").join(key)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return,
            listing => listing.unwrap(),
        };
        for line in listing.lines() {
            let mut words = line.splitn(3, ' ');
            let (kind, key, name) = (words.next(), words.next().unwrap(), words.next().unwrap());
            let to = path.join(name);
            if kind == Some("d") {
                self.restore(key, &to);
                continue;
            }
            match fs::copy(self.shadow.join("files").join(key), &to) {
                Err(error) if error.kind() == ErrorKind::NotFound => fs::write(&to, "").unwrap(),
                copied => drop(copied.unwrap()),
            }
        }
    }
}

impl Disaster for PowerCut {
    fn environment(&self) -> Vec<(&'static str, OsString)> {
        vec![
            ("LD_PRELOAD", self.shim.clone().into()),
            ("POWER_DATA", self.data.clone().into()),
            ("POWER_SHADOW", self.shadow.clone().into()),
            ("POWER_FAULTS", self.faults.clone().into()),
        ]
    }

    fn disk(&self) -> Disk {
        if self.rules.is_empty() { Disk::Well } else { Disk::Failing }
    }

    fn begin(&mut self) {
        self.fail(&self.rules);
    }

    fn strike(&mut self) {
        self.fail("");
        fs::remove_dir_all(&self.data).unwrap();
        self.restore("root", &self.data);
        fs::remove_dir_all(&self.shadow).unwrap();
        fs::create_dir(&self.shadow).unwrap();
    }
}
