use super::*;
use crate::cluster::founding::Unaccepted;

#[test]
fn a_refusal_is_told_once_until_there_is_another_or_an_answer() {
    let admission = Admission::new();
    let (linda, amir) = ("linda".into(), "amir".into());
    let outdated = Refusal::from(Unaccepted::Outdated(NodeId(1)));
    assert!(admission.is_news(&linda, &outdated));
    assert!(!admission.is_news(&linda, &outdated));
    assert!(admission.is_news(&amir, &outdated));
    assert!(admission.is_news(&linda, &Refusal::Stopped));
    assert!(!admission.is_news(&linda, &Refusal::Stopped));
    admission.answered(&linda);
    assert!(admission.is_news(&linda, &Refusal::Stopped));
    assert!(!admission.is_news(&amir, &outdated));
}
