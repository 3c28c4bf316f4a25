// SPDX-License-Identifier: GPL-2.0

//! Source files, places in them, and messages that point at a place.

use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};

/// A stretch of a source file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Which file, an index into [`Sources`].
    pub file: usize,
    /// First byte.
    pub start: usize,
    /// Byte behind the last.
    pub end: usize,
}

/// A file as it was read.
#[derive(Clone, Debug)]
pub struct Source {
    /// Name as messages show it.
    pub name: String,
    /// Folder that relative includes refer to.
    pub folder: PathBuf,
    /// Content.
    pub text: String,
}

/// All files that belong to one configuration, in the order in which they were read.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    files: Vec<Source>,
}

/// Line and column of a place, both counted from 1; columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

impl Sources {
    /// Adds a file and gives its index.
    pub fn add(&mut self, name: String, folder: &Path, text: String) -> usize {
        self.files.push(Source {
            name,
            folder: folder.to_owned(),
            text,
        });
        self.files.len() - 1
    }

    /// The file with this index.
    pub fn get(&self, file: usize) -> Option<&Source> {
        self.files.get(file)
    }

    /// Name of the file with this index, as messages show it.
    pub fn name(&self, file: usize) -> &str {
        self.files.get(file).map_or("?", |source| &source.name)
    }

    /// Line and column of the begin of a stretch.
    pub fn place(&self, span: Span) -> Place {
        let text = self
            .files
            .get(span.file)
            .map_or("", |source| source.text.as_str());
        let before = text.get(..span.start).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Place {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }

    /// `FILE:LINE` of a stretch.
    pub fn file_line(&self, span: Span) -> String {
        format!("{}:{}", self.name(span.file), self.place(span).line)
    }

    /// The line in which a stretch begins, and the rest of the stretch in it: blanks in front, width.
    fn excerpt(&self, span: Span) -> Option<(&str, usize, usize)> {
        let text = &self.files.get(span.file)?.text;
        let start = text
            .get(..span.start)?
            .rfind('\n')
            .map_or(0, |newline| newline + 1);
        let end = text[span.start..]
            .find('\n')
            .map_or(text.len(), |length| span.start + length);
        let marked = text.get(span.start..span.end.clamp(span.start, end))?;
        let column = text[start..span.start].chars().count();
        Some((&text[start..end], column, marked.chars().count().max(1)))
    }
}

/// How much a message matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// The configuration can be used, but probably says something else than was meant.
    Warning,
}

/// A message about a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How much it matters.
    pub severity: Severity,
    /// Where, if there is a place.
    pub span: Option<Span>,
    /// What, one or more lines.
    pub text: String,
    /// Advice, or the other place that takes part, with its own place.
    pub notes: Vec<(Option<Span>, String)>,
    /// A number could not be understood: exit code 20 instead of 10.
    pub bad_number: bool,
}

impl Diagnostic {
    /// An error at a place.
    pub fn error(span: Span, text: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            span: Some(span),
            text: text.into(),
            notes: Vec::new(),
            bad_number: false,
        }
    }

    /// A warning at a place.
    pub fn warning(span: Span, text: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(span, text)
        }
    }

    /// An error without a place.
    pub fn bare(text: impl Into<String>) -> Self {
        Self {
            span: None,
            ..Self::error(Span::default(), text)
        }
    }

    /// The same with a line of advice.
    #[must_use]
    pub fn note(mut self, text: impl Into<String>) -> Self {
        self.notes.push((None, text.into()));
        self
    }

    /// The same with another place that takes part.
    #[must_use]
    pub fn see(mut self, span: Span, text: impl Into<String>) -> Self {
        self.notes.push((Some(span), text.into()));
        self
    }

    /// The message with places and source lines, ready to be printed; ends with a newline.
    pub fn render(&self, sources: &Sources) -> String {
        let mut out = String::new();
        let kind = match self.severity {
            Severity::Error => "",
            Severity::Warning => "warning: ",
        };
        // Writing into a string cannot fail.
        let _ = write_message(
            &mut out,
            sources,
            self.span,
            &format!("{kind}{}", self.text),
        );
        for (span, text) in &self.notes {
            let _ = match span {
                Some(_) => write_message(&mut out, sources, *span, text),
                None => writeln!(out, "    {text}"),
            };
        }
        out
    }
}

fn write_message(
    out: &mut String,
    sources: &Sources,
    span: Option<Span>,
    text: &str,
) -> fmt::Result {
    let Some(span) = span else {
        return writeln!(out, "{text}");
    };
    let place = sources.place(span);
    writeln!(
        out,
        "{}:{}:{}: {text}",
        sources.name(span.file),
        place.line,
        place.column
    )?;
    if let Some((line, column, width)) = sources.excerpt(span) {
        let number = place.line.to_string();
        let shown: String = line
            .chars()
            .map(|c| if c == '\t' { ' ' } else { c })
            .collect();
        writeln!(out, " {number} | {}", shown.trim_end())?;
        let margin = " ".repeat(number.len());
        writeln!(
            out,
            " {margin} | {}{}",
            " ".repeat(column),
            "^".repeat(width)
        )?;
    }
    Ok(())
}
