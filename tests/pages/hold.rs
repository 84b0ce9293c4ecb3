//! `docs/hold-a-session.md`: its seven requests, by the curl and the jq of this machine.

use crate::page::{Part, Reader, expect_shown, parts};

#[test]
fn the_seven_requests_do_what_the_page_says() {
    let reader = Reader::new(&[], "URL=\"$TENURE_URL\" KEY=\"$TENURE_KEY\"".into());
    let (mut said, mut run, mut shown) = (String::new(), 0, 0);
    for part in parts("hold-a-session.md") {
        match part {
            Part::Commands(commands) => {
                said = reader.run(&commands);
                run += 1;
            }
            Part::Shown(words) => {
                expect_shown(&words, &said);
                shown += 1;
            }
            Part::Pass(seconds) => reader.pass(seconds),
        }
    }
    assert_eq!((run, shown), (7, 6));
}
