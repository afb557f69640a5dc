//! Dialogue scripts: `NN-name.txt` files of what a client says and what it must hear.
//!
//! * `C: text` sends a line; `\r`, `\n`, `\0` and `\\` stand for octets, `\c` at the end leaves out its CRLF.
//! * `S: text` expects one line; `*` stands for anything, also nothing.
//! * `S...` passes over the further lines of a multi-line reply, up to and with its last.
//! * `X` expects the end of the connection.
//! * `# text` is for the reader.
//!
//! A script begins behind the TCP handshake, from an address that SPF vouches for.

use std::fs;
use std::path::Path;

use tokio::time::timeout;

use crate::support::{Client, LIMIT, World};

#[tokio::test]
async fn every_script_is_held_to_the_letter() {
    let world = World::start().await;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/dialogue");
    let mut scripts: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    scripts.sort();
    assert!(scripts.len() >= 10, "scripts are missing");
    for script in scripts {
        run(&world, &script).await;
    }
}

async fn run(world: &World, script: &Path) {
    let name = script.file_name().unwrap().to_string_lossy().into_owned();
    let mut client = world.raw().await;
    for (number, step) in fs::read_to_string(script).unwrap().lines().enumerate() {
        let place = format!("{name}:{}: {step}", number + 1);
        match step.split_once(": ") {
            _ if step.is_empty() || step.starts_with('#') => {}
            Some(("C", text)) => client.send_octets(&octets(text)).await,
            Some(("S", pattern)) => {
                let line = heard(&mut client, &place).await;
                assert!(matches(pattern, &line), "{place}: heard {line}");
            }
            _ if step == "S..." => loop {
                let line = heard(&mut client, &place).await;
                if line.as_bytes().get(3) != Some(&b'-') {
                    break;
                }
            },
            _ if step == "X" => assert_eq!(client.line().await, None, "{place}: the connection goes on"),
            _ => panic!("{place}: no step"),
        }
    }
}

async fn heard(client: &mut Client, place: &str) -> String {
    let line = timeout(LIMIT, client.line()).await.unwrap_or_else(|_| panic!("{place}: nothing is heard"));
    line.unwrap_or_else(|| panic!("{place}: the connection ended"))
}

fn octets(text: &str) -> Vec<u8> {
    let (text, end) = text.strip_suffix("\\c").map_or((text, "\r\n"), |text| (text, ""));
    let text = text.replace("\\\\", "\u{1}").replace("\\r", "\r").replace("\\n", "\n").replace("\\0", "\0");
    (text.replace('\u{1}', "\\") + end).into_bytes()
}

/// Whether the line fits the pattern, each `*` standing for any characters.
fn matches(pattern: &str, line: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == line,
        Some((start, rest)) => line.strip_prefix(start).is_some_and(|tail| {
            (0..=tail.len()).filter(|at| tail.is_char_boundary(*at)).any(|at| matches(rest, &tail[at..]))
        }),
    }
}
