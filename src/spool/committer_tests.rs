use std::sync::mpsc;

use super::*;
use crate::spool::log::FORMAT;
use crate::wal::Segments;

#[test]
fn an_index_whose_thread_is_gone_has_failed() {
    let dir = tempfile::tempdir().unwrap();
    let segments = Segments::open(FORMAT, dir.path().join("segments")).unwrap();
    let (notes, channel) = mpsc::sync_channel(1);
    let committer = Committer {
        log: Log::create(segments, 1, 1 << 20).unwrap(),
        bodies: Bodies::open(dir.path().join("bodies")).unwrap(),
        status: Arc::default(),
        metrics: Arc::new(Metrics::new().unwrap()),
        notes,
        watched: HashMap::new(),
        pending: Pending::default(),
    };
    committer.note(Note::Flush(committer.log.end()));
    assert!(committer.status.index_failure.get().is_none());
    drop(channel);
    committer.note(Note::Flush(committer.log.end()));
    assert!(matches!(committer.status.index_failure.get(), Some(SpoolError::Stopped)));
}
