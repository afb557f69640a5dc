use super::*;

#[test]
fn every_row_of_the_catalogue_has_its_commands() {
    for row in reply::CATALOGUE {
        let found = ANSWERS.iter().filter(|(other, _)| std::ptr::eq(*other, *row) || other == row).count();
        assert!(found > 0, "{row:?} is missing in ANSWERS");
    }
    assert_eq!(ANSWERS.len(), reply::CATALOGUE.len());
}

#[test]
fn upstream_codes_are_counted_by_class() {
    let mut reply = reply::INTERNAL.reply();
    assert_eq!(code_label(&reply), "451");
    (reply.code, reply.reason) = (571, UPSTREAM_REASON);
    assert_eq!(code_label(&reply), "5xx");
}
