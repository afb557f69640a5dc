use std::fs;
use std::io::Write as _;

use super::*;

fn small_segments() -> Place {
    let mut place = Place::new();
    place.options.segment_octets = 20_000;
    place
}

#[tokio::test]
async fn a_segment_with_nothing_live_goes_and_nothing_comes_back() {
    let place = small_segments();
    let (spool, _) = place.open();
    for number in 1..=40 {
        spool.put(message(number), &octets(number, 5000)).await.unwrap();
        if number != 30 {
            spool.remove(id(number)).await.unwrap();
        }
    }
    until(async || !place.segment(1).exists() && !place.segment(3).exists()).await;
    drop(spool);
    fs::remove_dir_all(place.path("index")).unwrap();
    let (spool, recovered) = place.open();
    assert!(recovered.rebuilt.is_some());
    assert_eq!(numbers(&spool).await, [30]);
}

#[tokio::test]
async fn what_is_live_in_a_sparse_segment_is_moved_with_its_newest_state() {
    let place = small_segments();
    let (spool, _) = place.open();
    for number in 1..=12 {
        spool.put(message(number), &octets(number, 5000)).await.unwrap();
    }
    let mut changed = message(2);
    changed.copies[0].attempts = 9;
    spool.update(changed.clone()).await.unwrap();
    for number in [1, 3, 4, 5] {
        spool.remove(id(number)).await.unwrap();
    }
    let before = content(&spool).await;
    until(async || !place.segment(1).exists()).await;
    assert_eq!(content(&spool).await, before);
    drop(spool);
    fs::remove_dir_all(place.path("index")).unwrap();
    let (spool, _) = place.open();
    assert_eq!(content(&spool).await, before);
    assert_eq!(spool.get(id(2)).await.unwrap(), Some(changed));
}

#[tokio::test]
async fn a_record_that_cannot_be_read_does_not_hold_its_segment_back() {
    let place = small_segments();
    let (spool, _) = place.open();
    for number in 1..=8 {
        spool.put(message(number), &octets(number, 5000)).await.unwrap();
    }
    spool.get(id(1)).await.unwrap();
    let mut segment = fs::read(place.segment(1)).unwrap();
    segment[3000] ^= 1;
    fs::File::options().write(true).open(place.segment(1)).unwrap().write_all(&segment).unwrap();
    for number in 2..=7 {
        spool.remove(id(number)).await.unwrap();
    }
    until(async || !place.segment(1).exists()).await;
    assert_eq!(numbers(&spool).await, [1, 8]);
    drop(spool);
    for rebuilt in [false, true] {
        if rebuilt {
            fs::remove_dir_all(place.path("index")).unwrap();
        }
        let (spool, recovered) = place.open();
        assert_eq!(recovered.quarantined, []);
        let error = spool.load(id(1)).await.unwrap_err();
        let SpoolError::Damaged { queued, head, kept, .. } = error else { panic!("{error}") };
        assert_eq!((*queued, head.as_ref()), (message(1), &octets(1, 5000).emitted_head().concat()[..]));
        assert!(fs::read(kept).unwrap().len() > 5000);
        assert_eq!((numbers(&spool).await, spool.quarantined().await.unwrap()), (vec![1, 8], 1));
    }
}

#[tokio::test]
async fn a_large_body_has_a_file_until_its_message_leaves() {
    let place = Place::new();
    let (spool, _) = place.open();
    let large = octets(1, MAX_BODY_OCTETS + 1);
    spool.put(message(1), &large).await.unwrap();
    spool.put(message(2), &octets(2, MAX_BODY_OCTETS)).await.unwrap();
    let files = || fs::read_dir(place.path("bodies")).unwrap().count();
    assert_eq!(files(), 1);
    assert_eq!(emitted(&spool.load(id(1)).await.unwrap().unwrap().1), emitted(&large));
    drop(spool);
    let (spool, recovered) = place.open();
    assert_eq!(recovered.files_removed, 0);
    assert_eq!(emitted(&spool.load(id(1)).await.unwrap().unwrap().1), emitted(&large));
    spool.remove(id(1)).await.unwrap();
    until(async || files() == 0).await;
}

#[tokio::test]
async fn a_body_that_came_in_a_file_is_not_copied() {
    use std::os::unix::fs::MetadataExt;
    let place = Place::new();
    let (spool, _) = place.open();
    let mut file = tempfile::tempfile_in(place.dir.path()).unwrap();
    file.write_all(&[b'h'; 10]).unwrap();
    file.write_all(&[b'b'; 300_000]).unwrap();
    let inode = file.metadata().unwrap().ino();
    let body = Body::File { file: Arc::new(file.into()), offset: 10, octets: 300_000 };
    let message_in_file = Message::new("A: b\r\n\r\n".into(), body);
    spool.put(message(1), &message_in_file).await.unwrap();
    assert_eq!(fs::metadata(place.path("bodies").join(id(1).to_string())).unwrap().ino(), inode);
    drop(spool);
    let (spool, _) = place.open();
    let (_, loaded) = spool.load(id(1)).await.unwrap().unwrap();
    assert_eq!(emitted(&loaded), emitted(&message_in_file));
}

#[tokio::test]
async fn a_body_whose_name_was_taken_away_is_copied() {
    let place = Place::new();
    let (spool, _) = place.open();
    let named = tempfile::NamedTempFile::new_in(place.dir.path()).unwrap();
    named.as_file().write_all(&[b'b'; 300_000]).unwrap();
    let file = named.reopen().unwrap();
    drop(named);
    let body = Body::File { file: Arc::new(file.into()), offset: 5, octets: 299_995 };
    let message_in_file = Message::new("A: b\r\n\r\n".into(), body);
    spool.put(message(1), &message_in_file).await.unwrap();
    assert_eq!(emitted(&spool.load(id(1)).await.unwrap().unwrap().1), emitted(&message_in_file));
}

#[tokio::test]
async fn files_and_records_that_do_not_match_are_told() {
    let place = Place::new();
    let (spool, _) = place.open();
    for number in 1..=3 {
        spool.put(message(number), &octets(number, 300_000)).await.unwrap();
    }
    drop(spool);
    let file = |number| place.path("bodies").join(id(number).to_string());
    fs::remove_file(file(1)).unwrap();
    fs::write(file(9), "of nobody").unwrap();
    fs::write(file(8).with_extension("partial"), "half").unwrap();
    fs::write(file(3), vec![0; 300_000]).unwrap();
    let (spool, recovered) = place.open();
    assert_eq!(recovered.without_body, [id(1)]);
    assert_eq!((recovered.quarantined.len(), recovered.files_removed), (0, 1));
    assert_eq!(fs::read_dir(place.path("bodies")).unwrap().count(), 2);
    for (number, wrong) in [(1, "No such file"), (3, "another checksum")] {
        let error = spool.load(id(number)).await.unwrap_err();
        assert!(error.to_string().contains(wrong), "{error}");
    }
    assert_eq!(numbers(&spool).await, [1, 2, 3]);
}
