use tonic::Status;
use tonic_types::{ErrorDetails, StatusExt as _};

use super::*;

fn refused(code: Code, text: &str, reason: &str) -> Failure {
    let details = ErrorDetails::with_error_info(reason, "postroad", []);
    Status::with_error_details(code, text, details).into()
}

fn none(failures: &[(&str, (Code, &str, &str))]) -> String {
    let failures = failures.iter();
    let failures =
        failures.map(|(name, (code, text, reason))| ((*name).to_owned(), refused(*code, text, reason)));
    nothing(failures.collect()).to_string()
}

#[test]
fn what_no_node_has_is_not_found_unless_one_of_them_says_nothing() {
    let not_found = (Code::NotFound, "it does not exist", "MESSAGE_NOT_FOUND");
    let silent = (Code::Unavailable, "linda cannot be reached", "NODE_UNREACHABLE");
    let unknown = (Code::NotFound, "there is no node \"isaac\"", "NODE_NOT_FOUND");
    let wrong = (Code::InvalidArgument, "no such form", "INVALID_FIELD");
    assert_eq!(none(&[("amir", not_found), ("linda", not_found)]), "it does not exist (MESSAGE_NOT_FOUND)");
    assert_eq!(
        none(&[("isaac", unknown), ("amir", not_found), ("linda", silent)]),
        "it does not exist (MESSAGE_NOT_FOUND); isaac: there is no node \"isaac\" (NODE_NOT_FOUND); linda cannot be reached \
         (NODE_UNREACHABLE)"
    );
    assert_eq!(none(&[("linda", silent), ("amir", wrong)]), "no such form (INVALID_FIELD)");
    assert_eq!(none(&[("isaac", unknown)]), "there is no node \"isaac\" (NODE_NOT_FOUND)");
}
