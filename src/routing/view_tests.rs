use super::*;
use crate::mail::Address;
use crate::routing::test_table::{domain, options};

fn at(revision: u64) -> Table {
    let mut table = Table::new(options());
    table.set_revision(revision);
    table
}

fn shown(view: &View) -> u64 {
    view.snapshot().revision()
}

#[test]
fn what_is_held_back_is_shown_when_it_is_released_and_only_the_last_of_it() {
    let view = View::new(at(5));
    view.hold();
    view.show(at(1));
    view.show(at(6));
    // A second hold drops nothing.
    view.hold();
    assert_eq!(shown(&view), 5);
    view.release();
    assert_eq!(shown(&view), 6);
    view.show(at(7));
    view.release();
    assert_eq!(shown(&view), 7);
    view.hold();
    view.release();
    assert_eq!(shown(&view), 7);
}

#[test]
fn a_configuration_counts_at_once_and_for_what_is_held_back() {
    let view = View::new(at(1));
    view.hold();
    view.show(at(2));
    let postmaster = Address::parse("new@ops.example").unwrap();
    view.configure(RoutingOptions {
        postmaster: postmaster.clone(),
        mx_hosts: vec![domain("a.example")],
        ..options()
    });
    assert_eq!((shown(&view), &view.snapshot().options().postmaster), (1, &postmaster));
    view.release();
    assert_eq!((shown(&view), &view.snapshot().options().postmaster), (2, &postmaster));
}
