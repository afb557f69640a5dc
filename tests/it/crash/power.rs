//! A loss of power: what the process did not make durable is gone. `shim.c` keeps count of that in a shadow of
//! the data folder; this file puts the shadow in its place, with any part of what was not durable yet.

use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use rand::Rng as _;
use tempfile::TempDir;

use super::Disaster;
use super::verdict::Disk;

/// What a disk writes at once, in octets.
const PAGE: usize = 4096;

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

    /// Makes a folder as the shadow knows it; one whose names were never durable is empty. Of what was written to
    /// its files since their last sync, `lost` has all, and any part may have come to the disk.
    fn restore(&self, key: &str, path: &Path, lost: &Path) {
        fs::create_dir(path).unwrap();
        let listing = match fs::read_to_string(self.shadow.join("dirs").join(key)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return,
            listing => listing.unwrap(),
        };
        for line in listing.lines() {
            let mut words = line.splitn(3, ' ');
            let (kind, key, name) = (words.next(), words.next().unwrap(), words.next().unwrap());
            let (to, lost) = (path.join(name), lost.join(name));
            if kind == Some("d") {
                self.restore(key, &to, &lost);
                continue;
            }
            let durable = octets(&self.shadow.join("files").join(key)).unwrap_or_default();
            let written = octets(&lost);
            fs::write(&to, written.map_or_else(|| durable.clone(), |written| partly(&durable, &written)))
                .unwrap();
        }
    }
}

/// A file's octets, if it is there.
fn octets(path: &Path) -> Option<Vec<u8>> {
    match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        octets => Some(octets.unwrap()),
    }
}

/// What is durable of a file, with some pages of what was written; a page that is in neither is zero.
fn partly(durable: &[u8], written: &[u8]) -> Vec<u8> {
    let (least, most) = (durable.len().min(written.len()), durable.len().max(written.len()));
    let octets = rand::rng().random_range(least..=most);
    let mut file = durable.to_vec();
    file.resize(octets, 0);
    for (page, new) in file.chunks_mut(PAGE).zip(written.chunks(PAGE)) {
        if rand::random() {
            let common = page.len().min(new.len());
            page[..common].copy_from_slice(&new[..common]);
        }
    }
    file
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
        let lost = self.shadow.with_extension("lost");
        fs::rename(&self.data, &lost).unwrap();
        self.restore("root", &self.data, &lost);
        fs::remove_dir_all(&lost).unwrap();
        fs::remove_dir_all(&self.shadow).unwrap();
        fs::create_dir(&self.shadow).unwrap();
    }
}
