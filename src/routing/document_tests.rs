use super::*;

fn refused(text: &str) -> String {
    Document::parse(text).unwrap_err().to_string()
}

#[test]
fn an_unknown_key_is_named_with_its_place() {
    let text = "domains:\n- name: one.example\n  rules:\n  - to: a\n    forwards: [b@c.example]\n";
    let error = refused(text);
    assert!(error.starts_with("domains[0].rules[0]: unknown field `forwards`"), "{error}");
    assert!(error.ends_with("at line 5 column 5"), "{error}");
    assert!(refused("domian: []").starts_with("unknown field `domian`"));
    let error = refused("destinations:\n- address: nonsense\n");
    assert!(error.starts_with("destinations[0]: address \"nonsense\" is not of the form"), "{error}");
    let error = refused("domains:\n- name: one.example\n  onTempfail: perhaps\n");
    assert!(error.contains("unknown variant `perhaps`"), "{error}");
}

#[test]
fn aliases_in_yaml_cannot_grow_without_bound() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let last = format!("*a{}", level - 1);
        text.push_str(&format!("a{level}: &a{level} [{}]\n", [last.as_str(); 10].join(", ")));
    }
    assert!(Document::parse(&format!("{text}domains: *a11\n")).is_err());
}

#[test]
fn defaults_are_left_out_and_read_again() {
    let text = "\
domains:
- name: one.example
  onTempfail: queue
  rules:
  - to: info
    forward:
    - a@dest.example
    priority: 5
    name: front desk
  - catchAll: true
    drop: true
    enabled: false
- name: two.example
  subaddressing: false
  rules:
  - to: x
    reject: Gone away
destinations:
- address: a@dest.example
  verified: true
";
    let document = Document::parse(text).unwrap();
    assert_eq!(document.to_yaml().unwrap(), text);
    assert!(document.domains[0].subaddressing && document.domains[0].enabled);
    assert!(!document.domains[1].subaddressing);
}

#[test]
fn an_empty_file_is_not_taken_for_an_empty_table() {
    for text in ["", "# nothing\n", "{}"] {
        assert!(refused(text).starts_with("the document is empty"), "{text}");
    }
    assert_eq!(Document::parse("domains: []").unwrap(), Document::default());
}
