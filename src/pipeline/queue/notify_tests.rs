use std::time::SystemTime;

use super::*;

fn last(code: u16, enhanced: Option<Enhanced>) -> LastAttempt {
    let host = if code == 0 { "" } else { "mx.dest.example" };
    LastAttempt {
        at: SystemTime::UNIX_EPOCH,
        host: host.to_owned(),
        code,
        enhanced,
        lines: Vec::new(),
        dialogue: Vec::new(),
    }
}

/// RFC 3464 §2.3.4, RFC 3463 §3: of the class of the action, with what is known.
#[test]
fn a_status_has_the_class_of_what_is_told_and_the_detail_of_what_was_said() {
    let full = last(452, Some(Enhanced(4, 2, 2)));
    let unknown = last(550, Some(Enhanced(5, 1, 1)));
    let look_up = last(0, Some(Silence::LookUp.enhanced()));
    for (action, last, status) in [
        (Action::Failed, Some(&unknown), Enhanced(5, 1, 1)),
        (Action::Failed, Some(&last(550, None)), Enhanced(5, 0, 0)),
        (Action::Failed, Some(&full), EXPIRED),
        (Action::Failed, None, EXPIRED),
        (Action::Delayed, Some(&full), Enhanced(4, 2, 2)),
        (Action::Delayed, Some(&last(450, None)), Enhanced(4, 0, 0)),
        (Action::Delayed, Some(&look_up), Enhanced(4, 4, 3)),
        (Action::Delayed, None, Enhanced(4, 4, 1)),
        (Action::Relayed, Some(&last(250, None)), Enhanced(2, 0, 0)),
    ] {
        assert_eq!(action.status(last), status, "{action:?} {last:?}");
    }
}
