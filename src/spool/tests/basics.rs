use tokio::task::JoinSet;

use super::*;

/// A message that uses every field.
pub(super) fn rich() -> Queued {
    let mut queued = message(1);
    queued.reverse_path = ReversePath::Null;
    queued.bounces = Bounces::Forbidden;
    queued.smtp_utf8 = SmtpUtf8::Requested;
    queued.client = Some("2001:db8::25".parse().unwrap());
    queued.request = MessageRequest {
        ret: Some(Return::Headers),
        envelope_id: Some("QQ+2B314159".to_owned()),
        require_tls: RequireTls::Yes,
    };
    let mut second = copy("\"a b\"@[IPv6:2001:db8::1]", 9);
    second.state = CopyState::Unknown;
    second.direction = Direction::Return;
    second.reverse_path = ReversePath::Null;
    second.delay_told = true;
    second.request = RecipientRequest {
        notify: Notify::On { success: true, failure: false, delay: true },
        original_recipient: Some("rfc822;a@b.example".to_owned()),
    };
    second.last = Some(LastAttempt {
        at: at(7),
        host: "mx.b.example".to_owned(),
        code: 451,
        enhanced: Some(Enhanced(4, 7, 650)),
        lines: vec!["later".to_owned(), "please".to_owned()],
        dialogue: vec!["> MAIL FROM:<>".to_owned()],
    });
    let mut third = copy("x@b.example", 3);
    third.request.notify = Notify::Never;
    third.state = CopyState::AwaitingReply;
    queued.copies.extend([second, third]);
    queued
}

#[tokio::test]
async fn what_was_put_is_loaded_as_it_was() {
    let place = Place::new();
    let (spool, recovered) = place.open();
    assert_eq!(recovered, Recovered::default());
    let mut message = octets(1, 1000);
    message.prepend(b"Received: here\r\n");
    spool.put(rich(), &message).await.unwrap();
    assert_eq!(spool.get(id(1)).await.unwrap(), Some(rich()));
    let (queued, loaded) = spool.load(id(1)).await.unwrap().unwrap();
    assert_eq!(queued, rich());
    assert_eq!(emitted(&loaded), emitted(&message));
    assert_eq!(loaded.head().as_ref(), b"Received: here\r\nSubject: 1\r\n\r\n");
    assert_eq!(spool.load(id(2)).await.unwrap().map(|(queued, _)| queued), None);
}

#[tokio::test]
async fn what_was_put_updated_and_removed_is_so_after_reopening() {
    let place = Place::new();
    let (spool, _) = place.open();
    for number in 1..=3 {
        spool.put(message(number), &octets(number, 3000)).await.unwrap();
    }
    let mut changed = message(2);
    changed.copies[0].attempts = 5;
    spool.update(changed.clone()).await.unwrap();
    spool.remove(id(1)).await.unwrap();
    let before = content(&spool).await;
    assert_eq!(before.keys().copied().collect::<Vec<_>>(), [id(2), id(3)]);
    assert_eq!(before[&id(2)].0, changed);
    let counts = spool.counts();
    drop(spool);
    let (spool, recovered) = place.open();
    assert_eq!((recovered.messages, recovered.replayed, recovered.rebuilt), (2, 0, None));
    assert_eq!(content(&spool).await, before);
    assert_eq!(spool.counts(), counts);
}

#[tokio::test]
async fn what_is_due_is_found_by_domain_and_time() {
    let place = Place::new();
    let (spool, _) = place.open();
    for (number, destination, due) in
        [(1, "x@b.example", 30), (2, "x@b.example", 10), (3, "x@bb.example", 5), (4, "x@b.example", 20)]
    {
        spool.put(message_to(number, destination, due), &octets(number, 10)).await.unwrap();
    }
    let mut two = message_to(5, "x@b.example", 40);
    two.copies.push(copy("y@a.example", 1));
    spool.put(two, &octets(5, 10)).await.unwrap();
    let domain_b = domain("b.example");
    let due = |until| spool.due(&domain_b, at(until), 2);
    assert_eq!(due(9).await.unwrap(), []);
    assert_eq!(due(20).await.unwrap(), [(at(10), id(2)), (at(20), id(4))]);
    assert_eq!(due(100).await.unwrap(), [(at(10), id(2)), (at(20), id(4))]);
    let domains = [("a.example", 1), ("b.example", 10), ("bb.example", 5)];
    assert_eq!(spool.domains().await.unwrap(), domains.map(|(name, due)| (domain(name), at(due))));
    let mut awaiting = message_to(2, "x@b.example", 10);
    awaiting.copies[0].state = CopyState::AwaitingReply;
    spool.update(awaiting.clone()).await.unwrap();
    assert_eq!(due(30).await.unwrap(), [(at(20), id(4)), (at(30), id(1))]);
    spool.remove(id(3)).await.unwrap();
    assert_eq!(spool.domains().await.unwrap().len(), 2);
    let counts = spool.counts();
    assert_eq!((counts.waiting, counts.awaiting_reply, counts.unknown), (3, 1, 0));
    let described = spool.describe_all(Some(id(1)), 1).await.unwrap();
    let octets = spool.load(id(2)).await.unwrap().unwrap().1.emitted_octets();
    assert_eq!(described, [Described { queued: awaiting, octets }]);
    assert_eq!(spool.describe(id(2)).await.unwrap(), described.first().cloned());
}

/// Due times that fill many pages of the index, of domains whose names begin alike.
#[tokio::test]
async fn what_is_due_is_found_among_many() {
    const DOMAINS: [&str; 3] = ["b.example", "b.example.org", "bb.example"];
    let place = Place::new();
    let (spool, _) = place.open();
    let mut known = BTreeMap::new();
    let mut puts = JoinSet::new();
    for number in 0..600 {
        let name = DOMAINS[usize::try_from(number % 3).unwrap()];
        // In no order.
        let due = number * 7919 % 600;
        let (spool, queued) = (spool.clone(), message_to(number, &format!("x@{name}"), due));
        puts.spawn(async move { spool.put(queued, &octets(number, 10)).await });
        known.insert(number, (name, due));
    }
    puts.join_all().await.into_iter().for_each(|put| put.unwrap());
    assert_due(&spool, &known).await;
    for number in (0..600).step_by(4) {
        spool.remove(id(number)).await.unwrap();
        known.remove(&number);
    }
    for (number, (name, due)) in known.iter_mut().filter(|(number, _)| **number % 5 == 0) {
        *due += 1000;
        spool.update(message_to(*number, &format!("x@{name}"), *due)).await.unwrap();
    }
    assert_due(&spool, &known).await;
    drop(spool);
    let (spool, recovered) = place.open();
    assert_eq!((recovered.messages, recovered.rebuilt), (450, None));
    assert_due(&spool, &known).await;
    for number in known.keys().filter(|number| **number % 3 == 1) {
        spool.remove(id(*number)).await.unwrap();
    }
    known.retain(|_, (name, _)| *name != DOMAINS[1]);
    assert_due(&spool, &known).await;
    drop(spool);
    std::fs::remove_dir_all(place.path("index")).unwrap();
    assert_due(&place.open().0, &known).await;
}

/// Whether each domain's messages are due when they are known to be.
async fn assert_due(spool: &Spool, known: &BTreeMap<u64, (&str, u64)>) {
    let mut expected: BTreeMap<&str, Vec<(SystemTime, TraceId)>> = BTreeMap::new();
    for (number, (name, due)) in known {
        expected.entry(name).or_default().push((at(*due), id(*number)));
    }
    for (name, due) in &mut expected {
        due.sort();
        assert_eq!(spool.due(&domain(name), at(2000), 1000).await.unwrap(), *due, "{name}");
        let half = due.len() / 2;
        assert_eq!(spool.due(&domain(name), due[half].0, 1000).await.unwrap(), due[..=half], "{name}");
        assert_eq!(spool.due(&domain(name), at(2000), 10).await.unwrap(), due[..10], "{name}");
    }
    let firsts: Vec<_> = expected.iter().map(|(name, due)| (domain(name), due[0].0)).collect();
    assert_eq!(spool.domains().await.unwrap(), firsts);
}

#[tokio::test]
async fn a_reply_that_was_awaited_is_unknown_and_due_after_reopening() {
    let place = Place::new();
    let (spool, _) = place.open();
    let mut queued = message_to(1, "x@b.example", 4_000_000_000);
    queued.copies[0].state = CopyState::AwaitingReply;
    queued.copies.push(copy("y@c.example", 4_000_000_000));
    spool.put(queued.clone(), &octets(1, 10)).await.unwrap();
    drop(spool);
    let (spool, recovered) = place.open();
    assert_eq!(recovered.made_unknown, 1);
    let now = spool.get(id(1)).await.unwrap().unwrap();
    assert_eq!(now.copies[0].state, CopyState::Unknown);
    assert!(now.copies[0].due <= crate::clock::now());
    assert_eq!(now.copies[1], queued.copies[1]);
    assert_eq!(spool.counts().unknown, 1);
    assert_eq!(spool.due(&domain("b.example"), crate::clock::now(), 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_message_is_listed_after_the_one_before_it() {
    let place = Place::new();
    let (spool, _) = place.open();
    for number in [3, 1, 2, 5, 4] {
        spool.put(message(number), &octets(number, 10)).await.unwrap();
    }
    let list = async |after, limit| {
        let listed = spool.list(after, limit).await.unwrap();
        listed.iter().map(|queued| queued.id).collect::<Vec<_>>()
    };
    assert_eq!(list(None, 2).await, [id(1), id(2)]);
    assert_eq!(list(Some(id(2)), 10).await, [id(3), id(4), id(5)]);
    assert_eq!(list(Some(id(5)), 10).await, []);
    assert_eq!(spool.oldest().await.unwrap(), Some(at(1)));
}

#[tokio::test]
async fn a_list_ends_early_where_states_are_long_and_goes_on() {
    let place = Place::new();
    let (spool, _) = place.open();
    for number in 1..=20 {
        let mut queued = message(number);
        queued.copies[0].last = Some(LastAttempt {
            at: at(7),
            host: "mx.b.example".to_owned(),
            code: 451,
            enhanced: None,
            lines: Vec::new(),
            dialogue: vec!["x".repeat(1000); 900],
        });
        spool.put(queued, &octets(number, 10)).await.unwrap();
    }
    let (mut after, mut found, mut longest) = (None, Vec::new(), 0);
    loop {
        let listed = spool.list(after, 100).await.unwrap();
        let Some(last) = listed.last() else { break };
        after = Some(last.id);
        longest = longest.max(listed.len());
        found.extend(listed.iter().map(|queued| queued.id));
    }
    assert_eq!(found, (1..=20).map(id).collect::<Vec<_>>());
    assert!(longest <= 5, "{longest} states of 900,000 octets in one list");
}

#[tokio::test]
async fn a_message_with_a_thousand_copies_and_dialogues_fits_in_the_index() {
    let place = Place::new();
    let (spool, _) = place.open();
    let mut queued = message(1);
    let last = LastAttempt {
        at: at(7),
        host: "mx.b.example".to_owned(),
        code: 451,
        enhanced: None,
        lines: vec!["later".to_owned()],
        dialogue: vec!["< 250 ok, and much more to read than that".to_owned(); 10],
    };
    queued.copies = (0..1000)
        .map(|number| QueuedCopy {
            last: Some(last.clone()),
            ..copy(&format!("u{number}@b.example"), number)
        })
        .collect();
    spool.put(queued.clone(), &octets(1, 10)).await.unwrap();
    assert_eq!(spool.get(id(1)).await.unwrap(), Some(queued.clone()));
    assert_eq!(spool.list(None, 1).await.unwrap(), [queued]);
    spool.update(message(1)).await.unwrap();
    assert_eq!(spool.list(None, 9).await.unwrap(), [message(1)]);
}

/// As many copies as `limits.recipients` and the rules allow at most by default, each with the longest of all.
fn longest() -> Queued {
    let host = format!("{}.{}.{}.example", "h".repeat(63), "o".repeat(63), "s".repeat(63));
    let long = |name: &str| address(&format!("\"{name}{}\"@{host}", "\\\\".repeat(60)));
    let last = LastAttempt {
        at: at(7),
        host: host.clone(),
        code: 451,
        enhanced: Some(Enhanced(4, 999, 999)),
        lines: vec!["l".repeat(512); 20],
        dialogue: vec!["d".repeat(512); 200],
    };
    let one = |number: u64| QueuedCopy {
        alias: long("a"),
        destination: long(&format!("{number:04}")),
        reverse_path: ReversePath::Mailbox(long("r")),
        attempts: u32::MAX,
        request: RecipientRequest {
            notify: Notify::Never,
            original_recipient: Some(format!("rfc822;{}", "o".repeat(493))),
        },
        last: Some(last.clone()),
        ..copy("real@b.example", number)
    };
    Queued { copies: (0..2000).map(one).collect(), ..message(1) }
}

#[tokio::test]
async fn the_longest_state_is_written_with_the_first_words_of_each_reply() {
    let place = Place::new();
    let (spool, _) = place.open();
    spool.put(longest(), &octets(1, 10)).await.unwrap();
    let mut changed = longest();
    changed.copies[0].state = CopyState::Unknown;
    spool.update(changed.clone()).await.unwrap();
    for last in changed.copies.iter_mut().filter_map(|copy| copy.last.as_mut()) {
        last.lines = vec!["l".repeat(100)];
        last.dialogue = Vec::new();
    }
    assert_eq!(spool.get(id(1)).await.unwrap(), Some(changed.clone()));
    drop(spool);
    let (spool, _) = place.open();
    assert_eq!(spool.get(id(1)).await.unwrap(), Some(changed));
}

#[tokio::test]
async fn below_the_floor_nothing_new_is_taken_and_all_else_goes_on() {
    let mut place = Place::new();
    let (spool, _) = place.open();
    spool.put(message(1), &octets(1, 10)).await.unwrap();
    drop(spool);
    place.options.min_free_octets = u64::MAX;
    let (spool, _) = place.open();
    assert!(matches!(spool.admit(), Err(SpoolError::NoRoom)));
    assert!(matches!(spool.put(message(2), &octets(2, 10)).await, Err(SpoolError::NoRoom)));
    spool.update(message_to(1, "x@c.example", 5)).await.unwrap();
    assert_eq!(spool.domains().await.unwrap(), [(domain("c.example"), at(5))]);
    spool.remove(id(1)).await.unwrap();
    assert_eq!(spool.get(id(1)).await.unwrap(), None);
    assert_eq!(spool.counts(), Counts::default());
}

#[tokio::test]
async fn the_floor_moves_while_the_spool_is_open() {
    let place = Place::new();
    let (spool, _) = place.open();
    spool.set_floor(u64::MAX);
    assert!(matches!(spool.put(message(1), &octets(1, 10)).await, Err(SpoolError::NoRoom)));
    spool.set_floor(0);
    spool.put(message(1), &octets(1, 10)).await.unwrap();
}

#[tokio::test]
async fn a_second_opening_is_told_that_the_spool_is_locked() {
    let place = Place::new();
    let (_spool, _) = place.open();
    let again = Spool::open(place.dir.path(), place.options, place.metrics.clone());
    assert!(matches!(again, Err(SpoolError::Locked { .. })));
}
