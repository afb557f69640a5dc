//! Holds the modules of `src` to the floors drawn in `src/lib.rs`, and the libraries to their owners. Test
//! files are free.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What every stage of the pipeline may use of it; the other folders there are stages.
const SHARED_IN_PIPELINE: &[&str] = &[
    "parcel",
    "cut_through",
    "refusal",
    "joint",
    "chronicle",
    "cores",
    "fingerprint",
    "receiver",
    "relay",
    "mask",
    "deferred",
    "deadline",
    "silence",
    "account",
];

/// Libraries that one place hides from all others, by the start of their crates' names.
const OWNERS: &[(&str, &[&str])] = &[
    ("sled", &["store"]),
    ("hickory_", &["dns", "dev"]),
    ("prometheus", &["telemetry"]),
    ("rustls", &["tls", "dev"]),
    ("mail_auth", &["pipeline::authenticate", "pipeline::rewrite", "dns", "dev"]),
    ("openraft", &["cluster"]),
    ("toml", &["config"]),
    ("axum", &["http"]),
    ("crc32fast", &["wal", "spool"]),
];

#[test]
fn a_module_imports_only_what_stands_below_or_before_it() {
    let floors = floors();
    let mut wrong = Vec::new();
    for file in source_files() {
        let Some(own) = file.module.first() else { continue };
        let Some(floor) = floors.get(own) else {
            wrong.push(format!("{}: module {own} has no floor in src/lib.rs", file.name));
            continue;
        };
        for path in file.paths() {
            let Some(other) = path.first().filter(|other| *other != own) else { continue };
            if floors.get(other).is_some_and(|other_floor| other_floor >= floor) {
                wrong.push(format!("{}: floor {} imports crate::{}", file.name, floor.0, path.join("::")));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn stages_never_import_each_other() {
    let mut wrong = Vec::new();
    for file in source_files() {
        let [pipeline, stage, ..] = file.module.as_slice() else { continue };
        if pipeline != "pipeline" || SHARED_IN_PIPELINE.contains(&stage.as_str()) {
            continue;
        }
        let stages = stages();
        for path in file.paths() {
            let Some(other) = path.get(1).filter(|other| path[0] == "pipeline" && *other != stage) else {
                continue;
            };
            if stages.contains(other) {
                wrong.push(format!("{}: imports {}", file.name, path.join("::")));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Folders whose files import each other in one direction only.
const WITHOUT_CIRCLES: &[&str] = &["node", "pipeline::deliver", "pipeline::inbound"];

#[test]
fn files_of_a_folder_do_not_import_each_other_in_circles() {
    for folder in WITHOUT_CIRCLES {
        let mut imports = imports_within(folder);
        assert!(imports.len() > 1, "{folder} has no files");
        // Files that import nothing that is left are in no circle.
        while let Some(free) =
            imports.iter().find(|(_, others)| others.is_empty()).map(|(own, _)| own.clone())
        {
            imports.remove(&free);
            imports.values_mut().for_each(|others| others.retain(|other| *other != free));
        }
        assert!(imports.is_empty(), "{folder}: in or above a circle: {imports:#?}");
    }
}

/// The modules of a folder, each with those of the folder that it names. A module names those that it declares.
fn imports_within(folder: &str) -> BTreeMap<String, Vec<String>> {
    let is_within = |module: &str| module == folder || module.starts_with(&format!("{folder}::"));
    let files: BTreeMap<String, Source> = source_files()
        .into_iter()
        .map(|file| (file.module.join("::"), file))
        .filter(|(module, _)| is_within(module))
        .collect();
    let owner = |path: &[String]| {
        (1..=path.len()).rev().map(|end| path[..end].join("::")).find(|module| files.contains_key(module))
    };
    let imports = |module: &String, file: &Source| {
        let declared =
            files.keys().filter(|other| other.rsplit_once("::").is_some_and(|(parent, _)| parent == module));
        let paths = file.paths();
        let named = paths.iter().filter_map(|path| owner(path)).chain(declared.cloned());
        named.filter(|other| other != module).collect()
    };
    files.iter().map(|(module, file)| (module.clone(), imports(module, file))).collect()
}

#[test]
fn a_library_is_named_only_by_its_owner() {
    let mut wrong = Vec::new();
    for file in source_files() {
        let module = file.module.join("::");
        for (library, owners) in OWNERS {
            let owned = owners.iter().any(|o| module == *o || module.starts_with(&format!("{o}::")));
            if !owned && file.names_library(library) {
                wrong.push(format!("{}: {library} belongs to {}", file.name, owners.join(", ")));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn use_trees_are_read_to_the_leaves() {
    let file = Source {
        name: String::new(),
        module: vec!["pipeline".into(), "route".into(), "table".into()],
        text: "use crate::{mail::{self, Address}, dns}; // crate::no\n use super::super::deliver::X as Y;\n\
               fn f() { let s = \"crate::string\"; crate::clock::now() } pub(crate) fn g() {}"
            .into(),
    };
    let paths: Vec<String> = file.paths().iter().map(|path| path.join("::")).collect();
    let expected =
        ["mail::self", "mail::Address", "dns", "pipeline::deliver::X", "clock::now"].map(String::from);
    assert_eq!(paths, expected);
}

/// A source file that is not a test.
struct Source {
    name: String,
    module: Vec<String>,
    text: String,
}

impl Source {
    /// Every path in the file that begins at the crate's root or climbs to a parent, in full.
    fn paths(&self) -> Vec<Vec<String>> {
        let tokens = tokens(&self.text);
        let mut paths = Vec::new();
        let mut at = 0;
        while at < tokens.len() {
            let word = tokens[at].as_str();
            let starts = matches!(word, "crate" | "super") && tokens.get(at + 1).is_some_and(|t| t == "::");
            let continues = at > 0 && tokens[at - 1] == "::";
            if !starts || continues {
                at += 1;
                continue;
            }
            let mut prefix = if word == "crate" { Vec::new() } else { self.module.clone() };
            while tokens.get(at).is_some_and(|t| t == "super") {
                prefix.pop();
                at += 2;
            }
            if word == "crate" {
                at += 2;
            }
            at = read_tree(&tokens, at, &prefix, &mut paths);
        }
        paths
    }

    fn names_library(&self, library: &str) -> bool {
        let tokens = tokens(&self.text);
        tokens.windows(2).enumerate().any(|(at, pair)| {
            let continues = at > 0 && tokens[at - 1] == "::";
            let name = if library.ends_with('_') {
                pair[0].starts_with(library)
            } else {
                pair[0] == library || pair[0] == format!("tokio_{library}")
            };
            !continues && name && pair[1] == "::"
        })
    }
}

/// Reads one use tree, or a plain path, from `at`; answers where it ended.
fn read_tree(tokens: &[String], mut at: usize, prefix: &[String], paths: &mut Vec<Vec<String>>) -> usize {
    let mut path = prefix.to_vec();
    loop {
        match tokens.get(at).map(String::as_str) {
            Some("{") => {
                at += 1;
                while tokens.get(at).is_some_and(|t| t != "}") {
                    at = read_tree(tokens, at, &path, paths);
                    if tokens.get(at).is_some_and(|t| t == "as") {
                        at += 2;
                    }
                    if tokens.get(at).is_some_and(|t| t == ",") {
                        at += 1;
                    }
                }
                return at + 1;
            }
            Some(word) if word == "*" || word.starts_with(|c: char| c.is_alphanumeric() || c == '_') => {
                path.push(word.to_owned());
                at += 1;
            }
            _ => return at + 1,
        }
        if tokens.get(at).is_none_or(|t| t != "::") {
            paths.push(path);
            return at;
        }
        at += 1;
    }
}

/// Words, `::` and single signs, without comments and string literals.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if rest.starts_with("//") {
            rest = rest.split_once('\n').map_or("", |(_, tail)| tail);
        } else if rest.starts_with("::") {
            tokens.push("::".to_owned());
            rest = &rest[2..];
        } else if first == '"' {
            rest = behind_string(&rest[1..]);
        } else if first.is_alphanumeric() || first == '_' {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            tokens.push(rest[..end].to_owned());
            rest = &rest[end..];
        } else if rest.starts_with("'\"'") || rest.starts_with("b'\"'") {
            rest = &rest[3..];
        } else {
            if !first.is_whitespace() {
                tokens.push(first.to_string());
            }
            rest = &rest[first.len_utf8()..];
        }
    }
    tokens
}

fn behind_string(mut rest: &str) -> &str {
    while let Some(at) = rest.find(['"', '\\']) {
        let escaped = rest[at..].starts_with('\\');
        let skip = if escaped { rest[at + 1..].chars().next().map_or(1, |c| 1 + c.len_utf8()) } else { 1 };
        rest = &rest[at + skip..];
        if !escaped {
            return rest;
        }
    }
    ""
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The floors of `src/lib.rs`'s doc, and places on them: a number, the names of modules, then words that are none.
fn floors() -> BTreeMap<String, (u8, usize)> {
    let text = fs::read_to_string(src().join("lib.rs")).unwrap();
    let mut floors = BTreeMap::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("//! ")) {
        let mut words = line.split_whitespace();
        let Some(Ok(floor)) = words.next().map(str::parse::<u8>) else { continue };
        let is_module = |name: &&str| src().join(name).is_dir() || src().join(format!("{name}.rs")).is_file();
        for (place, name) in words.take_while(is_module).enumerate() {
            let before = floors.insert(name.to_owned(), (floor, place));
            assert!(before.is_none(), "src/lib.rs puts {name} on two floors");
        }
    }
    floors
}

/// The folders and files of the pipeline that are stages.
fn stages() -> Vec<String> {
    fs::read_dir(src().join("pipeline"))
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .filter(|name| !SHARED_IN_PIPELINE.contains(&name.as_str()) && name != "mod")
        .collect()
}

fn source_files() -> Vec<Source> {
    let mut folders = vec![src()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") && !is_test(&path) {
                files.push(read(&path));
            }
        }
    }
    // The binaries and the crate's root stand above all floors.
    files.retain(|file| !file.module.is_empty() && file.module[0] != "bin");
    files
}

fn is_test(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "tests")
        || path.file_stem().is_some_and(|stem| stem == "tests" || stem.to_string_lossy().ends_with("_tests"))
}

fn read(path: &Path) -> Source {
    let relative = path.strip_prefix(src()).unwrap();
    let mut module: Vec<String> =
        relative.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if matches!(module.last().map(String::as_str), Some("mod" | "lib" | "main")) {
        module.pop();
    }
    let text = fs::read_to_string(path).unwrap();
    // A test module within a file runs to its end.
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned();
    Source { name: format!("src/{}", relative.display()), module, text }
}
