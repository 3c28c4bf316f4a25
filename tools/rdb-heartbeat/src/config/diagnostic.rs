// SPDX-License-Identifier: GPL-2.0

//! What is wrong in a file, and where.

use std::fmt;
use std::path::{Path, PathBuf};

/// How much a [`Diagnostic`] matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Accepted as it is; worth knowing.
    Note,
    /// Accepted, but probably not what was meant.
    Warning,
    /// The daemon does not start with it.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// A place in a file: line and column count from 1 (characters); line 0 means the whole file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Place {
    /// Line, from 1; 0 for the file as a whole.
    pub line: usize,
    /// Column in characters, from 1; 0 if the line as a whole is meant.
    pub column: usize,
}

/// One problem in one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file.
    pub file: PathBuf,
    /// Where in it.
    pub place: Place,
    /// How bad it is.
    pub severity: Severity,
    /// What was found and what was expected.
    pub text: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.place.line > 0 {
            write!(f, ":{}", self.place.line)?;
            if self.place.column > 0 {
                write!(f, ":{}", self.place.column)?;
            }
        }
        write!(f, ": {}: {}", self.severity, self.text)
    }
}

/// The problems of one file, in the order found.
#[derive(Clone, Debug)]
pub struct Diagnostics {
    file: PathBuf,
    list: Vec<Diagnostic>,
}

impl Diagnostics {
    /// No problem yet in `file`.
    pub fn new(file: &Path) -> Self {
        Self {
            file: file.to_owned(),
            list: Vec::new(),
        }
    }

    /// Adds a problem.
    pub fn add(&mut self, severity: Severity, place: Place, text: impl Into<String>) {
        let (file, text) = (self.file.clone(), text.into());
        self.list.push(Diagnostic {
            file,
            place,
            severity,
            text,
        });
    }

    /// Adds an error.
    pub fn error(&mut self, place: Place, text: impl Into<String>) {
        self.add(Severity::Error, place, text);
    }

    /// Adds a warning.
    pub fn warning(&mut self, place: Place, text: impl Into<String>) {
        self.add(Severity::Warning, place, text);
    }

    /// Adds a note.
    pub fn note(&mut self, place: Place, text: impl Into<String>) {
        self.add(Severity::Note, place, text);
    }

    /// True if one of the problems keeps the daemon from starting.
    pub fn has_errors(&self) -> bool {
        self.list.iter().any(|d| d.severity == Severity::Error)
    }

    /// The problems in the order found.
    pub fn list(&self) -> &[Diagnostic] {
        &self.list
    }

    /// The problems, given away.
    pub fn into_list(self) -> Vec<Diagnostic> {
        self.list
    }
}

/// A word of a line with its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word<'a> {
    /// The text, without white space.
    pub text: &'a str,
    /// Where it starts.
    pub place: Place,
}

/// The words of `line` (number `number`, from 1) up to a `#`, which starts a comment anywhere.
pub fn words(line: &str, number: usize) -> Vec<Word<'_>> {
    let line = line.split('#').next().unwrap_or_default();
    line.split_whitespace()
        .map(|text| {
            let offset = text.as_ptr() as usize - line.as_ptr() as usize;
            let column = line[..offset].chars().count() + 1;
            Word {
                text,
                place: Place {
                    line: number,
                    column,
                },
            }
        })
        .collect()
}

/// The word of `known` that is most like `found`, as ` (did you mean X?)`; empty if none is near.
pub fn nearest<'a>(found: &str, known: impl Iterator<Item = &'a str>) -> String {
    known
        .map(|name| (strsim::damerau_levenshtein(found, name), name))
        .min()
        .filter(|(distance, name)| *distance <= 1 + name.len() / 4)
        .map(|(_, name)| format!(" (did you mean `{name}`?)"))
        .unwrap_or_default()
}
