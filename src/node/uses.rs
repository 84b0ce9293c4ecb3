//! A file that says that all uses of sessions are recorded: written at the end of an orderly stop, taken away at the
//! next start. Where it is missing the last process did not end in order.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

use crate::domain::{Position, Timestamp};

const NAME: &str = "uses.recorded";

/// Takes the file away. Before which moment sessions may have been used without that being recorded; none when all
/// uses are.
///
/// # Errors
/// The file is there and cannot be taken away: it must not outlive this start, for it would hide a later crash.
pub(super) fn forgotten_before(
    data: &Path,
    head: Position,
    now: Timestamp,
) -> Result<Option<Timestamp>, io::Error> {
    let path = data.join(NAME);
    let said = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Some(now)),
        Err(error) => return Err(error),
    };
    fs::remove_file(&path)?;
    File::open(data)?.sync_all()?;
    Ok(read(&said, head).unwrap_or(Some(now)))
}

/// Of another history, or damaged, it says nothing.
#[expect(clippy::option_option, reason = "that no moment is told is another thing than that nothing is told")]
fn read(text: &str, head: Position) -> Option<Option<Timestamp>> {
    let (position, before) = text.trim_end().split_once(' ')?;
    if position.parse() != Ok(head.0) {
        return None;
    }
    match before {
        "none" => Some(None),
        millis => millis.parse().ok().map(Timestamp::from_millis).map(Some),
    }
}

/// Says that all uses are recorded up to this position, but for those that were forgotten before a moment.
pub(super) fn write(data: &Path, head: Position, before: Option<Timestamp>) -> io::Result<()> {
    let before = before.map_or_else(|| "none".to_owned(), |before| before.as_millis().to_string());
    let mut file = File::create(data.join(NAME))?;
    writeln!(file, "{} {before}", head.0)?;
    file.sync_all()?;
    File::open(data)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(5_000);

    #[test]
    fn what_a_stop_said_is_believed_once() {
        let data = tempfile::tempdir().unwrap();
        for said in [None, Some(Timestamp::from_millis(17))] {
            write(data.path(), Position(7), said).unwrap();
            assert_eq!(forgotten_before(data.path(), Position(7), NOW).unwrap(), said);
            assert_eq!(forgotten_before(data.path(), Position(7), NOW).unwrap(), Some(NOW));
        }
    }

    #[test]
    fn what_was_said_of_another_position_or_is_damaged_says_nothing() {
        let data = tempfile::tempdir().unwrap();
        write(data.path(), Position(7), None).unwrap();
        assert_eq!(forgotten_before(data.path(), Position(8), NOW).unwrap(), Some(NOW));
        for damaged in ["", "7", "7 ", "7 soon", "x none"] {
            fs::write(data.path().join(NAME), damaged).unwrap();
            assert_eq!(forgotten_before(data.path(), Position(7), NOW).unwrap(), Some(NOW), "{damaged}");
        }
    }
}
