use super::*;

/// What a session sees, by the letter.
fn seen(session: &mut RepliesOwed, events: &str) -> Vec<oneshot::Receiver<Acknowledgement>> {
    let mut replies = Vec::new();
    for event in events.chars() {
        match event {
            'o' => session.octet_came(),
            'e' => session.stream_ended(),
            'w' => {
                let (acknowledged, heard) = oneshot::channel();
                session.was_written(ReplyOwed { acknowledged });
                replies.push(heard);
            }
            _ => panic!("no such event"),
        }
    }
    replies
}

/// By what is seen, octets, the end and written replies in their order: what settling learns of each reply.
const TABLE: &[(&str, &[Acknowledgement])] = &[
    ("wo", &[Acknowledgement::Heard]),
    ("we", &[Acknowledgement::Heard]),
    ("w", &[Acknowledgement::Silent]),
    ("ow", &[Acknowledgement::Silent]),
    ("ew", &[Acknowledgement::Vanished]),
    ("oew", &[Acknowledgement::Vanished]),
    ("owe", &[Acknowledgement::Heard]),
    ("wwo", &[Acknowledgement::Heard, Acknowledgement::Heard]),
    ("wow", &[Acknowledgement::Heard, Acknowledgement::Silent]),
    ("wew", &[Acknowledgement::Heard, Acknowledgement::Vanished]),
    ("eww", &[Acknowledgement::Vanished, Acknowledgement::Vanished]),
];

#[test]
fn only_what_comes_behind_a_reply_says_that_it_was_heard() {
    for (events, expected) in TABLE {
        let mut session = RepliesOwed::default();
        let mut replies = seen(&mut session, events);
        drop(session);
        let learnt: Vec<_> = replies.iter_mut().map(|heard| heard.try_recv().unwrap()).collect();
        assert_eq!(learnt, *expected, "{events}");
    }
}

#[test]
fn a_reply_that_is_never_written_is_not_heard() {
    let (acknowledged, mut heard) = oneshot::channel();
    drop(ReplyOwed { acknowledged });
    assert!(heard.try_recv().is_err());
}
