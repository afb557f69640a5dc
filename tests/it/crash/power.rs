//! A loss of power: what the process did not make durable is gone. `shim.c` keeps count of that in a shadow of
//! the data folder; this file puts the shadow in its place.

use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::Disaster;

/// The power fails at each kill.
pub(super) struct PowerCut {
    data: PathBuf,
    shadow: PathBuf,
    shim: PathBuf,
    _directory: TempDir,
}

impl PowerCut {
    /// Compiles the shim; `None`: there is no C compiler.
    pub(super) fn of(data: PathBuf) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let (shim, shadow) = (directory.path().join("shim.so"), directory.path().join("shadow"));
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
        Some(Self { data, shadow, shim, _directory: directory })
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
        ]
    }

    fn strike(&mut self) {
        fs::remove_dir_all(&self.data).unwrap();
        self.restore("root", &self.data);
        fs::remove_dir_all(&self.shadow).unwrap();
        fs::create_dir(&self.shadow).unwrap();
    }
}
