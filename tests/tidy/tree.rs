//! The files of the repository.

use std::{
    fs,
    path::{Path, PathBuf},
};

use parking_lot::RwLock;

/// Held to write while a document is written: other tests read it at the same time.
pub(crate) static WRITING: RwLock<()> = RwLock::new(());

/// What is built, kept at run time or installed, and what git keeps.
const OTHERS: [&str; 6] = [
    "target",
    "tenure-data",
    ".git",
    "clients/typescript/node_modules",
    "clients/typescript/dist",
    "clients/typescript/build",
];

/// Every file below `dir`, in order of path; what is built, what is kept at run time and what git keeps is not
/// part of it.
pub(crate) fn files(dir: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    gather(Path::new(dir), &mut found);
    found.sort();
    found
}

/// Those of a folder whose names end like this; `None` where there is no such folder.
pub(crate) fn files_below(dir: &Path, extension: &str) -> Vec<PathBuf> {
    if dir.is_dir() { files_with(&dir.to_string_lossy(), extension) } else { Vec::new() }
}

/// Those of them whose names end like this.
pub(crate) fn files_with(dir: &str, extension: &str) -> Vec<PathBuf> {
    let mut found = files(dir);
    found.retain(|path| path.extension().is_some_and(|its| its == extension));
    found
}

fn gather(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let path = path.strip_prefix("./").map(Path::to_owned).unwrap_or(path);
        let is_ours = !OTHERS.iter().any(|other| path.as_os_str() == *other);
        if is_ours && path.is_dir() {
            gather(&path, found);
        } else if is_ours {
            found.push(path);
        }
    }
}

/// The file's text; `None` when it is no text.
pub(crate) fn text(path: &Path) -> Option<String> {
    let _guard = WRITING.read();
    String::from_utf8(fs::read(path).unwrap()).ok()
}
