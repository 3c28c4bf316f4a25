// SPDX-License-Identifier: GPL-2.0

//! From tokens to the model (configuration.md, section 3). Errors do not stop the parser: it goes on behind the statement.

mod cursor;
mod host;
mod section;
mod value;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use rdb_engine::options::OPTIONS;

use crate::lex::{self, Kind, Token};
use crate::model::Config;
use crate::source::{Diagnostic, Severity, Span};

/// Deepest nesting of includes.
const MAX_DEPTH: usize = 10;

/// Words that are keywords besides the names of options.
const KEYWORDS: &[&str] = &[
    "global",
    "common",
    "resource",
    "skip",
    "include",
    "on",
    "floating",
    "stacked-on-top-of",
    "ignore-on",
    "volume",
    "device",
    "minor",
    "disk",
    "meta-disk",
    "flexible-meta-disk",
    "address",
    "alternate-link-address",
    "net",
    "syncer",
    "startup",
    "handlers",
    "options",
    "proxy",
    "inside",
    "outside",
    "yes",
    "no",
    "ask",
    "_this_host",
    "_remote_host",
    "ipv4",
    "ipv6",
    "sdp",
    "ssocks",
    "sci",
    "become-primary-on",
    "stacked-timeouts",
    "rate",
    "after",
];

/// Words that only the grammar of version 9 has.
const NINE: &[&str] = &[
    "connection",
    "connection-mesh",
    "peer-device-options",
    "template-file",
    "path",
    "transport",
    "allow-remote-read",
    "auto-promote",
    "auto-promote-timeout",
    "quorum",
    "on-no-quorum",
    "quorum-minimum-redundancy",
    "on-suspended-primary-outdated",
    "peer-ack-window",
    "peer-ack-delay",
    "twopc-timeout",
    "twopc-retry-timeout",
    "max-io-depth",
];

pub(crate) fn is_keyword(word: &str) -> bool {
    KEYWORDS.contains(&word) || OPTIONS.iter().any(|option| option.name == word)
}

/// A problem was reported; the rest of the statement is to be skipped.
struct Failed;

type Step<T> = Result<T, Failed>;

/// What a read gave.
pub struct Outcome {
    /// The configuration, usable only if there are no errors.
    pub config: Config,
    /// Errors, in the order in which they were found.
    pub errors: Vec<Diagnostic>,
    /// Some statement could not be read, so that what follows from its absence must not be reported.
    pub incomplete: bool,
}

/// Reads a file that is already in memory, and what it includes.
pub fn parse(name: &str, folder: &Path, path: Option<&Path>, text: String) -> Outcome {
    let mut parser = Parser::default();
    parser
        .seen
        .extend(path.and_then(|path| path.canonicalize().ok()));
    parser.file(name.to_owned(), folder, text);
    parser.finish()
}

#[derive(Default)]
struct Parser {
    config: Config,
    tokens: Vec<Token>,
    next: usize,
    seen: HashSet<PathBuf>,
    depth: usize,
    errors: Vec<Diagnostic>,
    incomplete: bool,
    /// The end of the file was reported as an error already.
    ended: bool,
    global: Option<Span>,
    common: Option<Span>,
}

impl Parser {
    fn finish(mut self) -> Outcome {
        let (warnings, errors) = std::mem::take(&mut self.errors)
            .into_iter()
            .partition(|problem| problem.severity == Severity::Warning);
        self.config.warnings = warnings;
        Outcome {
            config: self.config,
            errors,
            incomplete: self.incomplete,
        }
    }

    /// Reads one file; the tokens of the file that includes it are put aside meanwhile.
    fn file(&mut self, name: String, folder: &Path, text: String) {
        let file = self.config.sources.add(name, folder, text.clone());
        let before = self.errors.len();
        let tokens = lex::tokens(file, &text, &mut self.errors);
        self.incomplete |= self.errors.len() > before;
        let outer = (
            std::mem::replace(&mut self.tokens, tokens),
            self.next,
            self.ended,
        );
        (self.next, self.ended) = (0, false);
        while self.peek().kind != Kind::End {
            if self.top_statement().is_err() {
                self.recover();
                if self.eat('}') {
                    continue;
                }
            }
        }
        (self.tokens, self.next, self.ended) = outer;
    }

    fn top_statement(&mut self) -> Step<()> {
        let token = self.peek().clone();
        match self.bare() {
            Some("global") => self.global_section(),
            Some("common") => self.common_section(),
            Some("resource") => self.resource(),
            Some("skip") => self.skip(),
            Some("include") => self.include(),
            _ => {
                let mut problem =
                    self.unexpected(&["global", "common", "resource", "include", "skip"]);
                if token.kind == Kind::Punct('}') {
                    problem = problem.note("this '}' closes nothing: there is one too many");
                    self.advance();
                }
                Err(self.fail(problem))
            }
        }
    }

    fn global_section(&mut self) -> Step<()> {
        let span = self.advance().span;
        if let Some(first) = self.global {
            self.conflict(span, "a second section global", first);
        }
        self.global = Some(span);
        let mut settings = std::mem::take(&mut self.config.global);
        let result = self.body(&mut settings, Self::global_statement);
        self.config.global = settings;
        result
    }

    fn common_section(&mut self) -> Step<()> {
        let span = self.advance().span;
        if let Some(first) = self.common {
            self.conflict(span, "a second section common", first);
        }
        self.common = Some(span);
        let mut common = self.config.common.take().unwrap_or_default();
        let mut context = section::Common {
            sections: &mut common,
            seen: Vec::new(),
        };
        let result = self.body(&mut context, Self::common_statement);
        self.config.common = Some(common);
        result
    }

    /// `skip` with any text up to the brace on the same line, then a balanced block.
    fn skip(&mut self) -> Step<()> {
        let start = self.advance().span;
        let line = self.config.sources.place(start).line;
        while self.peek().kind != Kind::Punct('{') {
            let token = self.peek().clone();
            if token.kind == Kind::End || self.config.sources.place(token.span).line != line {
                let problem = self
                    .unexpected(&["{"])
                    .note("skip wants its '{' on the same line");
                return Err(self.fail(problem));
            }
            self.advance();
        }
        let open = self.peek().span;
        self.block(open)
    }

    /// Passes over a balanced block.
    fn block(&mut self, open: Span) -> Step<()> {
        let mut depth = 0_usize;
        loop {
            match self.peek().kind {
                Kind::Punct('{') => depth += 1,
                Kind::Punct('}') => depth -= 1,
                Kind::End => return Err(self.missing_brace(open)),
                _ => {}
            }
            self.advance();
            if depth == 0 {
                return Ok(());
            }
        }
    }

    fn include(&mut self) -> Step<()> {
        self.advance();
        let token = self.peek().clone();
        let (Kind::Word(pattern) | Kind::Quoted(pattern)) = token.kind else {
            let problem = self.unexpected(&["a file name"]);
            return Err(self.fail(problem));
        };
        self.advance();
        self.expect(';')?;
        if self.depth >= MAX_DEPTH {
            self.error(
                token.span,
                format!("includes are nested deeper than {MAX_DEPTH}"),
            );
            return Ok(());
        }
        let folder = self
            .config
            .sources
            .get(token.span.file)
            .map(|source| source.folder.clone());
        let folder = folder.unwrap_or_default();
        let full = folder.join(&pattern);
        let mut paths: Vec<PathBuf> = match glob::glob(&full.to_string_lossy()) {
            Ok(found) => found.filter_map(Result::ok).collect(),
            Err(error) => {
                self.error(
                    token.span,
                    format!("'{pattern}' is not a valid pattern: {}", error.msg),
                );
                return Ok(());
            }
        };
        paths.sort();
        if paths.is_empty() && !pattern.contains(['*', '?', '[']) {
            self.error(
                token.span,
                format!("include file '{pattern}' does not exist"),
            );
        }
        for path in paths {
            self.include_file(&path, token.span);
        }
        Ok(())
    }

    fn include_file(&mut self, path: &Path, span: Span) {
        if let Ok(real) = path.canonicalize() {
            if !self.seen.insert(real) {
                return;
            }
        }
        let name = path.to_string_lossy().into_owned();
        match std::fs::read(path).map(String::from_utf8) {
            Ok(Ok(text)) => {
                self.depth += 1;
                let folder = path.parent().unwrap_or(Path::new("")).to_owned();
                self.file(name, &folder, text);
                self.depth -= 1;
            }
            Ok(Err(_)) => self.error(span, format!("{name} is not valid UTF-8")),
            Err(error) => self.error(span, format!("cannot open include file {name}: {error}")),
        }
    }

    /// "expected …, found …" at the next token.
    fn unexpected(&self, expected: &[&str]) -> Diagnostic {
        let token = self.peek();
        let list: Vec<String> = expected
            .iter()
            .map(|what| {
                if what.contains(' ') {
                    (*what).to_owned()
                } else {
                    format!("'{what}'")
                }
            })
            .collect();
        let problem = Diagnostic::error(
            token.span,
            format!("expected {}, found {}", list.join(" or "), token.show()),
        );
        match self.bare() {
            Some(word) if NINE.contains(&word) => problem.note(format!(
                "'{word}' needs the 9.x grammar; rdb reads that of 8.4"
            )),
            _ => problem,
        }
    }

    fn fail(&mut self, problem: Diagnostic) -> Failed {
        self.incomplete = true;
        self.errors.push(problem);
        Failed
    }

    fn error(&mut self, span: Span, text: impl Into<String>) {
        self.errors.push(Diagnostic::error(span, text));
    }

    fn warn(&mut self, span: Span, text: impl Into<String>) {
        self.errors.push(Diagnostic::warning(span, text));
    }

    fn conflict(&mut self, span: Span, text: &str, first: Span) {
        self.errors
            .push(Diagnostic::error(span, text).see(first, "the first one is here"));
    }
}
