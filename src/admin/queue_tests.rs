//! The queue through the client's own code, over a spool that nobody delivers from.

use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::{StreamExt, stream};

use super::*;
use crate::mail::{
    Address, Enhanced, Message as Octets, MessageRequest, RecipientRequest, ReversePath, SmtpUtf8,
};
use crate::proto::admin::v1::message_selection::{Names, Which};
use crate::proto::admin::v1::queue_service_client::QueueServiceClient;
use crate::proto::admin::v1::{CancelMessagesRequest, ListMessagesRequest, MessageFilter, MessageSelection};
use crate::spool::{Bounces, CopyState, Direction, LastAttempt, Queued, QueuedCopy};

fn time(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_795_456_800 + seconds)
}

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

/// A message to one destination whose upstream has said 451 a minute ago; due in the year 2126.
fn queued(number: u64, destination: &str) -> Queued {
    let last = LastAttempt {
        at: time(number),
        host: "mx.dest.example".to_owned(),
        code: 451,
        enhanced: Some(Enhanced(4, 7, 1)),
        lines: vec!["greylisted".to_owned(), "come back".to_owned()],
        dialogue: vec!["> MAIL FROM:<…>".to_owned(), "< 451 4.7.1 greylisted".to_owned()],
    };
    let copy = QueuedCopy {
        alias: address("info@ours.example"),
        destination: address(destination),
        reverse_path: ReversePath::Mailbox(address("srs@ours.example")),
        direction: Direction::Forward,
        state: CopyState::Waiting,
        attempts: 3,
        due: time(100 * 365 * 86_400),
        request: RecipientRequest::default(),
        delay_told: false,
        last: Some(last),
    };
    Queued {
        id: TraceId::new(time(number), 7),
        received_at: time(number),
        reverse_path: ReversePath::Mailbox(address("alice@sender.example")),
        bounces: Bounces::Permitted,
        request: MessageRequest::default(),
        smtp_utf8: SmtpUtf8::NotRequested,
        client: None,
        copies: vec![copy],
    }
}

/// A world with these messages in the queue.
async fn holding(messages: &[Queued]) -> World {
    let world = World::start().await;
    let octets = Octets::from_octets(b"Subject: hi\r\n\r\nhello\r\n".as_slice().into());
    let puts = messages.iter().map(|queued| world.spool.put(queued.clone(), &octets));
    stream::iter(puts).buffer_unordered(256).for_each(async |put| put.unwrap()).await;
    world
}

fn ids(list: &Value) -> Vec<String> {
    list["messages"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_message_is_shown_with_every_field_and_the_dialogue_only_alone() {
    let one = queued(1, "ana@dest.example");
    let world = holding(std::slice::from_ref(&one)).await;
    let attempt = json!({
        "time": "2026-11-23T18:00:01Z", "host": "mx.dest.example", "code": 451, "enhancedCode": "4.7.1",
        "text": "greylisted\ncome back", "dialogue": ["> MAIL FROM:<…>", "< 451 4.7.1 greylisted"],
    });
    let mut message = json!({
        "name": format!("queue/messages/{}", one.id), "id": one.id.to_string(),
        "receiveTime": "2026-11-23T18:00:01Z", "reversePath": "alice@sender.example",
        "copies": [{
            "alias": "info@ours.example", "destination": "ana@dest.example", "state": "WAITING",
            "attempts": 3, "nextAttemptTime": "2126-10-30T18:00:00Z", "lastAttempt": attempt,
        }],
        "octets": "22", "node": "solo",
    });
    assert_eq!(world.json(&format!("queue show {}", one.id)).await, message);
    assert_eq!(world.json(&format!("queue show queue/messages/{}", one.id)).await, message);
    message["copies"][0]["lastAttempt"]["dialogue"] = json!([]);
    assert_eq!(world.json("queue list").await, json!({"messages": [message]}));
    let (_, out, _) = world.ctl(&format!("queue show {}", one.id)).await;
    assert!(out.contains("mx.dest.example: 451 4.7.1 greylisted / come back\n"), "{out}");
    assert!(out.contains("    < 451 4.7.1 greylisted\n"), "{out}");
    assert!(out.contains("size       22 octets\n"), "{out}");
    let (_, out, _) = world.ctl("queue list").await;
    assert!(out.trim_start().starts_with("ID ") && out.contains("ana@dest.example"), "{out}");
}

#[tokio::test]
async fn lists_follow_the_pages_and_the_filter() {
    let mut messages: Vec<Queued> = (0..1003).map(|number| queued(number, "ana@dest.example")).collect();
    messages[5].copies[0].destination = address("bob@other.example");
    messages[6].copies[0].state = CopyState::Unknown;
    messages[7].reverse_path = ReversePath::Mailbox(address("Carol@sender.example"));
    let world = holding(&messages).await;
    let all: Vec<String> = messages.iter().map(|queued| queued.id.to_string()).collect();
    assert_eq!(ids(&world.json("queue list").await), all);
    for (filter, index) in
        [("--domain other.example", 5), ("--state unknown", 6), ("--sender carol@sender.example", 7)]
    {
        assert_eq!(ids(&world.json(&format!("queue list {filter}")).await), [all[index].clone()], "{filter}");
    }
    assert_eq!(ids(&world.json("queue list --domain ours.example").await).len(), 1003);
    let none = world.json("queue list --domain other.example --state unknown").await;
    assert_eq!(none, json!({"messages": []}));

    let mut client = QueueServiceClient::new(world.channel().await);
    let filter = |domain: &str| Some(MessageFilter { domain: domain.to_owned(), ..MessageFilter::default() });
    let request = |domain, page_token: &str| ListMessagesRequest {
        filter: filter(domain),
        page_size: 2,
        page_token: page_token.to_owned(),
    };
    let page = client.list_messages(request("dest.example", "")).await.unwrap().into_inner();
    let status = client.list_messages(request("other.example", &page.next_page_token)).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_retry_is_due_at_once_and_a_cancelled_message_is_gone() {
    let messages: Vec<Queued> = (0..3).map(|number| queued(number, "ana@dest.example")).collect();
    let [first, second, third] = [0, 1, 2].map(|index: usize| messages[index].id);
    let world = holding(&messages).await;
    let answer = json!({"count": "1", "busy": []});
    assert_eq!(world.json(&format!("queue retry {first}")).await, answer);
    let due = world.spool.get(first).await.unwrap().unwrap().copies[0].due;
    assert!(due <= crate::clock::now(), "{due:?}");
    assert_eq!(world.spool.get(second).await.unwrap().unwrap(), messages[1]);

    let (status, out, err) = world.ctl(&format!("queue cancel {first} queue/messages/{third}")).await;
    assert_eq!((status, out.as_str(), err.as_str()), (0, "", "2 messages cancelled\n"));
    assert_eq!(ids(&world.json("queue list").await), [second.to_string()]);
}

#[tokio::test]
async fn a_batch_by_filter_goes_over_all_pages_and_a_dry_run_only_counts() {
    let mut messages: Vec<Queued> = (0..2100).map(|number| queued(number, "ana@dest.example")).collect();
    messages[9].copies[0].destination = address("bob@other.example");
    let world = holding(&messages).await;
    let (_, _, err) = world.ctl("queue cancel --domain dest.example --dry-run").await;
    assert_eq!(err, "2099 messages would be cancelled\n");
    assert_eq!(ids(&world.json("queue list").await).len(), 2100);
    assert_eq!(world.json("queue retry --domain dest.example").await["count"], "2099");
    assert_eq!(world.json("queue cancel --domain dest.example").await["count"], "2099");
    assert_eq!(ids(&world.json("queue list").await), [messages[9].id.to_string()]);
    assert_eq!(world.json("queue cancel --all").await["count"], "1");
}

#[tokio::test]
async fn nothing_is_cancelled_without_a_selection_or_when_a_name_is_unknown() {
    let one = queued(1, "ana@dest.example");
    let world = holding(std::slice::from_ref(&one)).await;
    for arguments in ["queue cancel", "queue retry", "queue cancel --dry-run", "queue cancel --all x"] {
        assert_eq!(world.ctl(arguments).await.0, 2, "{arguments}");
    }
    assert_eq!(world.ctl(&format!("queue cancel {} --domain dest.example", one.id)).await.0, 2);
    let mut client = QueueServiceClient::new(world.channel().await);
    let which = [
        None,
        Some(Which::Filter(MessageFilter::default())),
        Some(Which::Names(Names { names: Vec::new() })),
    ];
    for which in which {
        let selection = Some(MessageSelection { which });
        let request = CancelMessagesRequest { selection, ..CancelMessagesRequest::default() };
        let status = client.cancel_messages(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
    }
    let (status, _, err) = world.ctl(&format!("queue cancel {} 01ARZ3NDEKTSV4RRFFQ69G5FAV", one.id)).await;
    let line = "message queue/messages/01ARZ3NDEKTSV4RRFFQ69G5FAV does not exist (MESSAGE_NOT_FOUND)";
    assert_eq!((status, err), (1, format!("postroadctl: {line}\n")));
    assert_eq!(ids(&world.json("queue list").await).len(), 1);
}

#[tokio::test]
async fn a_destination_is_suspended_listed_and_resumed() {
    let world = World::start().await;
    let server = format!("http://{}", world.address);
    let words =
        ["--output", "json", "queue", "suspend", "Dest.example", "--for", "1h", "--reason", "it is down"];
    let (status, out, _) = world.ctl_at(&server, words).await;
    let suspended: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((status, &suspended["name"]), (0, &json!("queue/suspensions/dest.example")));
    assert_eq!((&suspended["domain"], &suspended["reason"]), (&json!("dest.example"), &json!("it is down")));
    assert!(suspended["expireTime"].is_string());
    let ever = world.json("queue suspend a.example").await;
    assert_eq!(ever["expireTime"], Value::Null);
    let listed = world.json("queue suspensions").await;
    let names: Vec<&Value> =
        listed["suspensions"].as_array().unwrap().iter().map(|one| &one["domain"]).collect();
    assert_eq!(names, ["a.example", "dest.example"]);
    assert_eq!(world.json("queue resume dest.example").await, json!({}));
    let (status, _, err) = world.ctl("queue resume dest.example").await;
    let line = "suspension queue/suspensions/dest.example does not exist (SUSPENSION_NOT_FOUND)";
    assert_eq!((status, err), (1, format!("postroadctl: {line}\n")));
    for arguments in ["queue suspend a.example --for 366days", "queue suspend a..b"] {
        assert_eq!(world.ctl(arguments).await.0, 1, "{arguments}");
    }
    assert_eq!(world.ctl("queue suspend a.example --for ever").await.0, 2);
}

#[tokio::test]
async fn what_is_rare_is_found_over_pages_of_which_none_looks_at_everything() {
    const RARE: usize = 25_004;
    let mut messages: Vec<Queued> =
        (0..).map(|number| queued(number, "ana@dest.example")).take(RARE + 2).collect();
    messages[RARE].copies[0].destination = address("bob@other.example");
    let world = holding(&messages).await;
    let mut client = QueueServiceClient::new(world.channel().await);
    let filter = Some(MessageFilter { domain: "other.example".to_owned(), ..MessageFilter::default() });
    let mut request = ListMessagesRequest { filter, page_size: 10, page_token: String::new() };
    let mut found = Vec::new();
    loop {
        let page = client.list_messages(request.clone()).await.unwrap().into_inner();
        found.push(page.messages.len());
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(found, [0, 0, 1]);
    let rare = messages[RARE].id.to_string();
    assert_eq!(ids(&world.json("queue list --domain other.example").await), [rare]);
    assert_eq!(world.json("queue cancel --domain other.example").await["count"], "1");
}

#[tokio::test]
async fn the_queue_as_a_whole_is_told() {
    let mut messages: Vec<Queued> = (1..4).map(|number| queued(number, "ana@dest.example")).collect();
    messages[1].copies[0].state = CopyState::Unknown;
    let world = holding(&messages).await;
    std::fs::create_dir(world.dir.path().join("spool/quarantine")).unwrap();
    for name in ["0000000000000001-40", "0000000000000001-40.body"] {
        std::fs::write(world.dir.path().join("spool/quarantine").join(name), "?").unwrap();
    }
    let told = json!({
        "name": "queue", "waiting": "2", "awaitingReply": "0", "unknown": "1", "octets": "66",
        "oldestReceiveTime": "2026-11-23T18:00:01Z", "quarantined": "1", "node": "solo",
    });
    assert_eq!(world.json("queue status").await, told);
    let (_, out, _) = world.ctl("queue status").await;
    assert!(out.contains("QUARANTINED"), "{out}");
}
