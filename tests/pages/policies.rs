//! `docs/policies.md`: every policy that it tells of, kept.

use crate::page::{Part, Reader, expect_shown, parts};

#[test]
fn every_policy_does_what_its_story_says() {
    let reader = Reader::new(&[], "true".into());
    let (mut said, mut shown) = (String::new(), 0);
    for part in parts("policies.md") {
        match part {
            Part::Commands(commands) => said = reader.run(&commands),
            Part::Shown(words) => {
                expect_shown(&words, &said);
                shown += 1;
            }
            Part::Pass(seconds) => reader.pass(seconds),
        }
    }
    assert!(shown >= 8, "{shown} blocks were compared");
}
