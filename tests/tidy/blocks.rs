//! Blocks of documents that the code writes: between `<!-- generated: NAME -->` and its end.

use std::fs;

use crate::tree;

/// Holds a block to what the code says; with `TENURE_BLESS=1` writes it.
pub(crate) fn check(document: &str, name: &str, generated: &str) {
    let _guard = tree::WRITING.write();
    let text = fs::read_to_string(document).unwrap();
    let (begin, end) = (format!("<!-- generated: {name} -->\n"), format!("<!-- end: {name} -->"));
    let cut = text.split_once(&begin).and_then(|(before, rest)| Some((before, rest.split_once(&end)?)));
    let Some((before, (written, after))) = cut else { panic!("{document} has no block {name}") };
    let wanted = format!("\n{}\n\n", generated.trim());
    if written == wanted {
        return;
    }
    assert!(
        std::env::var_os("TENURE_BLESS").is_some(),
        "{document}: the block {name} is not what the code says; see TENURE_BLESS in CONTRIBUTING.md\n{wanted}"
    );
    fs::write(document, format!("{before}{begin}{wanted}{end}{after}")).unwrap();
}
