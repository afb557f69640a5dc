//! Nobody else on the host reads mail on its way: what a node makes is for its user alone, whatever the umask.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::binary::{Served, ready};
use crate::support::{ALICE, Client, SENDER, Stage, World, letter};

/// What is under a folder, it too.
fn everything(under: &Path) -> Vec<PathBuf> {
    let mut found = vec![under.to_owned()];
    if under.is_dir() {
        found.extend(fs::read_dir(under).unwrap().flat_map(|entry| everything(&entry.unwrap().path())));
    }
    found
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn what_a_node_makes_is_closed_to_others_whatever_the_umask() {
    let world = World::start().await;
    world.mx.say(Stage::Dot, "451 4.3.0 later");
    let file = world.node_file();
    let text = fs::read_to_string(file).unwrap().replace("port = ", "on_tempfail = \"queue\"\nport = ");
    fs::write(file, text).unwrap();
    let data = world.file("data-of-binary");
    // As older versions left it, below a folder of the operator's.
    fs::create_dir_all(data.join("poison")).unwrap();
    for path in [data.clone(), data.join("poison")] {
        fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    }
    let command = "umask 0 && exec \"$0\" serve --config \"$1\"";
    let mut shell = Command::new("sh");
    shell.args(["-c", command, env!("CARGO_BIN_EXE_postroad"), file]).stdout(Stdio::piped());
    let mut served = Served(shell.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
    let ready = ready(&mut served);
    for arguments in [
        &["domain", "add", "ours.example"][..],
        &["destination", "add", "ana@dest.example", "--verified"],
        &["rule", "add", "ours.example", "--to", "info", "--forward", "ana@dest.example"],
    ] {
        crate::binary::ctl(&ready, arguments);
    }
    let smtp = ready["smtp"][0].as_str().unwrap().parse().unwrap();
    let mut client = Client::greeted(SENDER, smtp, "mail.sender.example").await;
    client.submit(ALICE, &["info@ours.example"], &letter("kept")).await.starts("250");

    let open: Vec<String> = everything(&data)
        .into_iter()
        .filter(|path| *path != data && mode(path) & 0o077 != 0)
        .map(|path| format!("{:04o} {}", mode(&path), path.display()))
        .collect();
    assert!(open.is_empty(), "{open:#?}");
    assert_eq!(mode(&data), 0o755, "the operator's folder is the operator's");
    let segment = data.join("spool/segments/0000000000000001.log");
    assert!(fs::metadata(&segment).unwrap().len() > 500, "nothing was queued");
}
