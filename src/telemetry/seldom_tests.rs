use super::*;

#[tokio::test(start_paused = true)]
async fn so_many_lines_a_minute_and_the_next_says_how_many_were_left_out() {
    let seldom = Seldom::new(2);
    assert_eq!([seldom.due(), seldom.due(), seldom.due(), seldom.due()], [Some(0), Some(0), None, None]);
    tokio::time::advance(WINDOW).await;
    assert_eq!([seldom.due(), seldom.due(), seldom.due()], [Some(2), Some(0), None]);
}
