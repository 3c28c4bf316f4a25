// SPDX-License-Identifier: GPL-2.0

//! Generations of all nodes, kept over restarts: the protection against replayed packets needs them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

const FILE: &str = "generations";

/// Reads the generations kept in `directory`, by node. A line that cannot be read is skipped.
///
/// # Errors
///
/// The file is there but cannot be read.
pub fn load(directory: &Path) -> std::io::Result<BTreeMap<String, u64>> {
    let text = match std::fs::read_to_string(directory.join(FILE)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
        other => other?,
    };
    let entry = |line: &str| {
        let (node, generation) = line.split_once(' ')?;
        Some((node.to_owned(), generation.parse().ok()?))
    };
    Ok(text.lines().filter_map(entry).collect())
}

/// Writes the generations; after a crash the file is the old or the new one.
///
/// # Errors
///
/// The directory cannot be written to.
pub fn store(directory: &Path, generations: &BTreeMap<String, u64>) -> std::io::Result<()> {
    let temporary = directory.join(format!("{FILE}.new"));
    let mut file = File::create(&temporary)?;
    for (node, generation) in generations {
        writeln!(file, "{node} {generation}")?;
    }
    file.sync_all()?;
    std::fs::rename(&temporary, directory.join(FILE))
}

/// The generation of a new start: the clock in seconds, but always above the last one.
pub fn next(last: Option<u64>) -> u64 {
    let clock = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_secs());
    clock.max(last.unwrap_or(0).saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generations_are_kept_and_grow() {
        let directory = tempfile::tempdir().unwrap();
        assert!(load(directory.path()).unwrap().is_empty());
        let known = BTreeMap::from([("a".to_owned(), 7), ("b".to_owned(), u64::MAX)]);
        store(directory.path(), &known).unwrap();
        assert_eq!(load(directory.path()).unwrap(), known);
        assert!(next(None) > 1_700_000_000);
        // A clock that went back does not matter.
        assert_eq!(next(Some(u64::MAX - 5)), u64::MAX - 4);
    }
}
