use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn claim(number: usize) -> String {
    format!("b.example=alice{number}")
}

/// A client that has used up what is free.
fn used_up(guesses: &Guesses, client: &str) {
    for number in 0..FREE {
        assert!(matches!(guesses.count(ip(client), &claim(number)), Answer::AtOnce), "{number}");
    }
}

#[test]
fn past_a_number_one_of_a_network_waits_and_the_others_hear_later() {
    let guesses = Guesses::default();
    used_up(&guesses, "192.0.2.1");
    used_up(&guesses, "192.0.2.2");
    let Answer::AfterPause(pause) = guesses.count(ip("192.0.2.1"), "x") else { panic!("not kept waiting") };
    for other in ["192.0.2.1", "192.0.2.2"] {
        assert!(matches!(guesses.count(ip(other), "x"), Answer::Later), "{other}");
    }
    drop(pause);
    assert!(matches!(guesses.count(ip("192.0.2.2"), "x"), Answer::AfterPause(_)));
}

#[test]
fn another_client_of_the_network_is_answered_at_once() {
    let guesses = Guesses::default();
    used_up(&guesses, "192.0.2.1");
    let _pause = guesses.count(ip("192.0.2.1"), "x");
    assert!(matches!(guesses.count(ip("192.0.2.2"), "x"), Answer::AtOnce));
}

#[test]
fn an_ipv6_client_is_a_64_and_its_network_a_48() {
    let guesses = Guesses::default();
    used_up(&guesses, "2001:db8:0:1::1");
    used_up(&guesses, "2001:db8:0:2::1");
    used_up(&guesses, "2001:db8:1:1::1");
    let _pause = guesses.count(ip("2001:db8:0:1::ffff"), "x");
    assert!(matches!(guesses.count(ip("2001:db8:0:2::1"), "x"), Answer::Later));
    assert!(matches!(guesses.count(ip("2001:db8:1:1::1"), "x"), Answer::AfterPause(_)));
}

#[test]
fn past_a_number_an_original_is_not_guessed_at_by_anybody() {
    let guesses = Guesses::default();
    for client in 0..MOST_AT_ONE {
        let client = IpAddr::from([198, 51, (client / 200) as u8, (client % 200) as u8]);
        assert!(matches!(guesses.count(client, "b.example=alice"), Answer::AtOnce));
    }
    assert!(matches!(guesses.count(ip("203.0.113.1"), "b.example=alice"), Answer::Later));
    assert!(matches!(guesses.count(ip("203.0.113.1"), "b.example=bob"), Answer::AtOnce));
}
