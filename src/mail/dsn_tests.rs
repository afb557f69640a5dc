use super::*;

const fn on(success: bool, failure: bool, delay: bool) -> Notify {
    Notify::On { success, failure, delay }
}

#[test]
fn rfc3461_5_2_7_3_success_is_never_asked_of_the_next_hop() {
    for (asked, passed_on) in [
        (Notify::Unsaid, Notify::Unsaid),
        (Notify::Never, Notify::Never),
        (on(true, false, false), Notify::Never),
        (on(true, true, false), on(false, true, false)),
        (on(true, false, true), on(false, false, true)),
        (on(false, true, true), on(false, true, true)),
    ] {
        assert_eq!(asked.without_success(), passed_on, "{asked:?}");
    }
}

#[test]
fn rfc3461_5_2_1_orcpt_is_what_the_sender_said_or_wrote() {
    let alias = Address::parse("info+tag@ours.example").unwrap();
    let request = |notify, original: Option<&str>| {
        let original_recipient = original.map(str::to_owned);
        RecipientRequest { notify, original_recipient }.forwarded(&alias).original_recipient
    };
    assert_eq!(request(Notify::Never, Some("rfc822;x@y.example")).unwrap(), "rfc822;x@y.example");
    assert_eq!(request(Notify::Never, None).unwrap(), "rfc822;info+2Btag@ours.example");
    assert_eq!(request(Notify::Unsaid, None).unwrap(), "rfc822;info+2Btag@ours.example");
    assert_eq!(request(Notify::Unsaid, Some("rfc822;x@y.example")).unwrap(), "rfc822;x@y.example");
}

#[test]
fn rfc6533_3_orcpt_of_an_alias_outside_ascii_is_of_the_type_utf_8() {
    let alias = Address::parse("jürgen@ours.example").unwrap();
    let request = RecipientRequest::default().forwarded(&alias);
    assert_eq!(request.original_recipient.unwrap(), "utf-8;j\\x{FC}rgen@ours.example");
    assert_eq!(request.notify, Notify::Unsaid);
}
