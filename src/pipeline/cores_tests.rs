use std::sync::mpsc;

use futures_util::future::join_all;
use parking_lot::Mutex;

use super::*;

#[tokio::test]
async fn no_more_work_is_done_at_a_time_than_there_are_places() {
    let cores = Cores::new(2);
    let (now, most) = (Arc::new(Mutex::new(0)), Arc::new(Mutex::new(0)));
    let work = |_| {
        let (now, most) = (now.clone(), most.clone());
        cores.run(move || {
            let at_work = {
                let mut now = now.lock();
                *now += 1;
                *now
            };
            let mut most = most.lock();
            *most = at_work.max(*most);
            *now.lock() -= 1;
        })
    };
    join_all((0..100).map(work)).await.into_iter().for_each(Result::unwrap);
    assert!((1..=2).contains(&*most.lock()));
}

#[tokio::test]
async fn a_place_is_free_again_when_its_work_panics_or_nobody_waits_for_it() {
    let cores = Cores::new(1);
    assert!(cores.run(|| panic!("on purpose")).await.is_err());
    let (go, wait) = mpsc::channel::<()>();
    let begun = tokio::spawn({
        let cores = cores.clone();
        async move { cores.run(move || wait.recv()).await }
    });
    while cores.0.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    begun.abort();
    assert!(begun.await.is_err());
    drop(go);
    assert_eq!(cores.run(|| 7).await.unwrap(), 7);
}
