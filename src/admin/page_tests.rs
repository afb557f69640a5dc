//! Paging.

use super::*;

#[test]
fn sizes_have_a_default_and_a_bound_and_are_never_negative() {
    assert_eq!(size(0).unwrap(), 50);
    assert_eq!(size(7).unwrap(), 7);
    assert_eq!(size(5000).unwrap(), 1000);
    assert_eq!(size(-1).unwrap_err().code(), tonic::Code::InvalidArgument);
}

#[test]
fn a_token_is_good_for_its_own_request_only() {
    let token = token("rules\0a", "key ü");
    assert_eq!(key("rules\0a", &token).unwrap().as_deref(), Some("key ü"));
    assert_eq!(key("rules\0a", "").unwrap(), None);
    let long = "00".repeat(600);
    for (scope, token) in
        [("rules\0b", token.as_str()), ("rules\0a", "zz"), ("rules\0a", "0"), ("x", &long), ("x", "é")]
    {
        assert_eq!(key(scope, token).unwrap_err().code(), tonic::Code::InvalidArgument, "{token}");
    }
}

#[test]
fn a_page_has_a_next_one_only_when_more_follow() {
    let token_of = |n: &u32| n.to_string();
    assert_eq!(take([1, 2, 3].into_iter(), 2, token_of), (vec![1, 2], "2".to_owned()));
    assert_eq!(take([1, 2].into_iter(), 2, token_of), (vec![1, 2], String::new()));
    assert_eq!(take([].into_iter(), 2, token_of), (vec![], String::new()));
}
