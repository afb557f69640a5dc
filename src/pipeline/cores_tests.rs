use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use futures_util::future::{join_all, poll_immediate};

use super::*;

#[tokio::test]
async fn no_more_work_is_done_at_a_time_than_there_are_places() {
    let cores = Cores::new(2).unwrap();
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let work = |_| {
        let (now, most) = (now.clone(), most.clone());
        cores.run(move || {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::yield_now();
            now.fetch_sub(1, Ordering::SeqCst);
        })
    };
    join_all((0..100).map(work)).await.into_iter().for_each(Result::unwrap);
    assert!((1..=2).contains(&most.load(Ordering::SeqCst)));
}

#[tokio::test]
async fn a_place_is_free_again_when_its_work_panics_or_nobody_waits_for_it() {
    let cores = Cores::new(1).unwrap();
    assert!(cores.run(|| panic!("on purpose")).await.is_err());
    let (go, wait) = mpsc::channel::<()>();
    let (begins, begun) = mpsc::channel();
    let mut first = Box::pin(cores.run(move || {
        begins.send(()).unwrap();
        wait.recv()
    }));
    assert!(poll_immediate(&mut first).await.is_none());
    begun.recv().unwrap();
    let unwanted = Arc::new(AtomicUsize::new(0));
    let count = unwanted.clone();
    let mut second = Box::pin(cores.run(move || count.fetch_add(1, Ordering::SeqCst)));
    assert!(poll_immediate(&mut second).await.is_none());
    drop((first, second));
    drop(go);
    assert_eq!(cores.run(|| 7).await.unwrap(), 7);
    assert_eq!(unwanted.load(Ordering::SeqCst), 0, "nobody waited for it");
}
