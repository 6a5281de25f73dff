//! Finds the folder of real data that tests read when it is there. It is never part of the repository.

use std::path::{Path, PathBuf};

/// The file `name` under `shared/data` beside the repository, or `None` with a line that says what is skipped.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let found = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .map(|folder| folder.join("shared/data").join(name))
        .find(|path| path.exists());
    if found.is_none() {
        eprintln!("skipped: shared/data/{name} is not here");
    }
    found
}

/// The text of a file, unpacked if it ends in `.gz`.
pub(crate) fn read(path: &Path) -> String {
    let file = std::fs::File::open(path).expect("an existing file opens");
    let mut text = String::new();
    let result = if path.extension().is_some_and(|extension| extension == "gz") {
        std::io::Read::read_to_string(&mut flate2::read::MultiGzDecoder::new(file), &mut text)
    } else {
        std::io::Read::read_to_string(&mut &file, &mut text)
    };
    result.expect("test data is UTF-8");
    text
}
