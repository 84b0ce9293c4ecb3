//! What is found beside the log at a start: files that crashes left, foreign ones, and one that is gone.

use std::fs;

use tenure_testing::command::CommandOutput;

use crate::server::Serving;

fn restarted(directory: &std::path::Path, arguments: &[&str]) -> Result<Serving, CommandOutput> {
    Serving::try_on(directory.to_owned(), arguments)
}

/// A disk that is not mounted: the start made a new file below the mount point and said nothing.
#[test]
fn a_start_notices_that_the_further_file_of_heads_is_gone() {
    let fixture = tempfile::tempdir().unwrap();
    let (mounted, data) = (fixture.path().join("disk"), fixture.path().join("server"));
    for directory in [&mounted, &data] {
        fs::create_dir(directory).unwrap();
    }
    let heads = mounted.join("heads");
    let setting = format!("audit.head_file={}", heads.display());
    let start = |setting: &str| restarted(&data, &["--set", setting]);
    // A file that is not there yet is made, once.
    drop(start(&setting).unwrap_or_else(|ran| panic!("{}", ran.stderr)).stop());
    assert!(fs::metadata(&heads).unwrap().len() > 100);

    fs::rename(&heads, fixture.path().join("away")).unwrap();
    for gone in ["missing", "empty"] {
        let refused = start(&setting).err().expect("it started without the file");
        assert_eq!(refused.code, 2, "{}", refused.stderr);
        let named = refused.stderr.contains(heads.to_str().unwrap())
            && refused.stderr.contains("is missing or empty");
        assert!(named && refused.stderr.contains("audit.head_file"), "{gone}: {}", refused.stderr);
        fs::write(&heads, "").unwrap();
    }
    fs::remove_file(&heads).unwrap();
    // Another name is another file; and the former one is good again where it is put back.
    let other = format!("audit.head_file={}", mounted.join("other").display());
    drop(start(&other).unwrap_or_else(|ran| panic!("{}", ran.stderr)).stop());
    fs::rename(fixture.path().join("away"), &heads).unwrap();
    let serving = start(&setting).unwrap_or_else(|ran| panic!("{}", ran.stderr));

    // While the server runs, no new file hides that the old one is gone: a head that is not kept is not shown.
    fs::rename(&heads, fixture.path().join("away")).unwrap();
    assert_eq!(serving.run(&["subject", "put", "agent"]).code, 0);
    assert_ne!(serving.run(&["audit", "verify"]).code, 0);
    assert!(!heads.exists());
    fs::rename(fixture.path().join("away"), &heads).unwrap();
    assert_eq!(serving.run(&["audit", "verify"]).code, 0);
}

#[test]
fn what_crashes_and_strangers_leave_is_removed_or_passed_over() {
    let fixture = tempfile::tempdir().unwrap();
    drop(restarted(fixture.path(), &[]).unwrap_or_else(|ran| panic!("{}", ran.stderr)).stop());
    let data = fixture.path().join("data");
    let half_made = ["keys/session/0002.tmp", "keys/access/0007.tmp", "keys/head.tmp", "keys/digests.tmp"];
    for name in half_made {
        fs::write(data.join(name), "half of a key").unwrap();
    }
    // "stream did not contain valid UTF-8", and no file was named.
    fs::write(data.join("uses.recorded"), [0xff; 300]).unwrap();
    let serving = restarted(fixture.path(), &[]).unwrap_or_else(|ran| panic!("{}", ran.stderr));
    for name in half_made {
        assert!(!data.join(name).exists(), "{name} is still there");
    }
    drop(serving.stop());
    // What cannot be taken away is named.
    drop(fs::remove_file(data.join("uses.recorded")));
    fs::create_dir(data.join("uses.recorded")).unwrap();
    let refused = restarted(fixture.path(), &[]).err().expect("it would hide a crash");
    assert!(refused.stderr.contains("uses.recorded"), "{}", refused.stderr);
}
