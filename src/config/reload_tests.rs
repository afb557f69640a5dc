use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::config::test_files::Files;

struct Case {
    files: Files,
    reloader: Reloader,
    receiver: watch::Receiver<Arc<Config>>,
    refused: Arc<AtomicUsize>,
}

fn case() -> Case {
    let files = Files::new();
    files.write("postroad.toml", &files.minimal());
    let path = files.path("postroad.toml");
    let first = Config::load(&path, &[]).unwrap();
    let refused = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&refused);
    let (reloader, receiver) = Reloader::new(path, Vec::new(), first, move |reading| {
        if reading == Reading::Refused {
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    Case { files, reloader, receiver, refused }
}

impl Case {
    fn append(&self, line: &str) {
        self.files.write("postroad.toml", &self.files.with(line));
    }
}

#[test]
fn a_changed_file_is_taken_once_it_has_come_to_rest() {
    let mut case = case();
    case.append("authentication = { dmarc = 'monitor' }");
    case.reloader.look();
    assert!(!case.receiver.has_changed().unwrap());
    case.reloader.look();
    assert_eq!(case.receiver.borrow_and_update().authentication.dmarc, crate::config::DmarcMode::Monitor);
    case.reloader.look();
    case.reloader.look();
    assert!(!case.receiver.has_changed().unwrap());
}

#[test]
fn a_change_of_a_named_file_alone_is_published() {
    let mut case = case();
    case.files.write("secrets", "another secret, as long\n");
    case.reloader.look();
    case.reloader.look();
    assert!(case.receiver.has_changed().unwrap());
}

#[test]
fn a_bad_file_changes_nothing_and_is_reported_once() {
    let mut case = case();
    case.append("limits = { sessions = 0 }");
    for _ in 0..4 {
        case.reloader.look();
    }
    assert!(!case.receiver.has_changed().unwrap());
    assert_eq!(case.refused.load(Ordering::Relaxed), 1);
    case.append("limits = { sessions = 5 }");
    case.reloader.look();
    case.reloader.look();
    assert_eq!(case.receiver.borrow().limits.sessions, 5);
}

#[test]
fn listeners_and_data_dir_keep_their_running_values() {
    let mut case = case();
    case.append(
        "smtp = { listen = ['127.0.0.1:2525'] }\nhttp = { listen = '127.0.0.1:1' }\nadmin = { listen = '127.0.0.1:2' }\n\
         public = {}\nlimits = { sessions = 5 }\nnode = { data_dir = '@elsewhere' }",
    );
    let old = case.receiver.borrow_and_update().clone();
    let mut new = Config::load(&case.files.path("postroad.toml"), &[]).unwrap();
    assert_eq!(keep_running(&mut new, &old), RESTART_KEYS);

    case.reloader.reload();
    let new = case.receiver.borrow_and_update().clone();
    assert_eq!(new.limits.sessions, 5);
    assert_eq!(new.smtp.listen, old.smtp.listen);
    assert_eq!(new.http.listen, old.http.listen);
    assert_eq!(new.admin.listen, old.admin.listen);
    assert_eq!(new.node.data_dir, old.node.data_dir);
    assert!(new.public.is_none());
}
