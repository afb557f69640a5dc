use super::*;
use crate::connections::Places;

fn trust(text: &str) -> Trust {
    Trust::of(text.as_bytes())
}

#[test]
fn a_connection_that_was_made_on_lesser_terms_does_not_meet_greater_ones() {
    let ours = Handshake::Certified(trust("ours"));
    let theirs = Handshake::Certified(trust("theirs"));
    for (asked, made, met) in [
        (Handshake::None, Handshake::None, true),
        (Handshake::None, Handshake::Tls, true),
        (Handshake::None, ours, true),
        (Handshake::Tls, Handshake::None, false),
        (Handshake::Tls, Handshake::Tls, true),
        (Handshake::Tls, ours, true),
        (ours, Handshake::None, false),
        (ours, Handshake::Tls, false),
        (ours, theirs, false),
        (ours, ours, true),
    ] {
        assert_eq!(asked.is_met_by(made), met, "{asked:?} {made:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_ends_behind_its_third_failure() {
    let ip = IpAddr::from([192, 0, 2, 1]);
    let place = Places::new(CONNECTIONS).admit(ip).unwrap();
    let standing = place.standing();
    let caller = Caller { ip, handshake: Handshake::None, subject: None, standing, failed: Arc::default() };
    let failures = Failures::new();
    // It is known, and yet ends.
    caller.prove();
    let over = tokio::spawn(place.standing().over(PROOF_TIME));
    caller.fail(&failures, "x");
    caller.fail(&failures, "x");
    tokio::time::sleep(10 * PROOF_TIME).await;
    assert!(!over.is_finished());
    caller.fail(&failures, "x");
    over.await.unwrap();
}
