//! A file that says that all uses of sessions are recorded: written at the end of an orderly stop, taken away at the
//! next start. Where it is missing the last process did not end in order.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use tenure_core::{Position, Timestamp};

const NAME: &str = "uses.recorded";

/// Takes the file away. Before which moment sessions may have been used without that being recorded; `None` when all
/// uses are.
///
/// # Errors
/// The file is there and cannot be taken away: it must not outlive this start, for it would hide a later crash.
pub(super) fn forgotten_before(
    data: &Path,
    head: Position,
    now: Timestamp,
) -> Result<Option<Timestamp>, io::Error> {
    let path = path(data);
    let said = match fs::read(&path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Some(now)),
        Err(error) => return Err(error),
    };
    fs::remove_file(&path)?;
    File::open(data)?.sync_all()?;
    Ok(read(&said, head).unwrap_or_else(|| {
        tracing::warn!(
            "uses.recorded is damaged or of another history; the last stop counts as a crash, and idle sessions may live \
             a little longer"
        );
        Some(now)
    }))
}

/// Where the file is.
pub(super) fn path(data: &Path) -> PathBuf {
    data.join(NAME)
}

/// Of another history, or damaged, it says nothing.
#[expect(clippy::option_option, reason = "a file without a moment is another thing than no file")]
fn read(text: &str, head: Position) -> Option<Option<Timestamp>> {
    let words: Vec<_> = text.trim_end().split(' ').collect();
    // Stops of the time before checks wrote none.
    let (position, before) = match words[..] {
        [position, before] => (position, before),
        [position, before, check] if check == check_of(position, before) => (position, before),
        _ => return None,
    };
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
    let position = head.0.to_string();
    writeln!(file, "{position} {before} {}", check_of(&position, &before))?;
    file.sync_all()?;
    File::open(data)?.sync_all()
}

fn check_of(position: &str, before: &str) -> String {
    blake3::hash(format!("tenure uses {position} {before}").as_bytes()).to_hex().to_string()
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
        write(data.path(), Position(7), Some(Timestamp::from_millis(17))).unwrap();
        let whole = fs::read(data.path().join(NAME)).unwrap();
        for place in 0..whole.len() - 1 {
            let mut changed = whole.clone();
            changed[place] ^= 1;
            fs::write(data.path().join(NAME), changed).unwrap();
            assert_eq!(forgotten_before(data.path(), Position(7), NOW).unwrap(), Some(NOW), "byte {place}");
        }
        // Of an earlier version.
        fs::write(data.path().join(NAME), "7 none\n").unwrap();
        assert_eq!(forgotten_before(data.path(), Position(7), NOW).unwrap(), None);
        fs::write(data.path().join(NAME), [0xff; 9]).unwrap();
        assert_eq!(forgotten_before(data.path(), Position(7), NOW).unwrap(), Some(NOW));
        for damaged in ["", "7", "7 ", "7 soon", "x none"] {
            fs::write(data.path().join(NAME), damaged).unwrap();
            assert_eq!(forgotten_before(data.path(), Position(7), NOW).unwrap(), Some(NOW), "{damaged}");
        }
    }
}
