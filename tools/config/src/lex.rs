// SPDX-License-Identifier: GPL-2.0

//! From text to tokens (configuration.md, section 2).

use winnow::Parser;
use winnow::combinator::{alt, delimited, preceded, repeat};
use winnow::error::{ContextError, ErrMode};
use winnow::stream::{LocatingSlice, Location};
use winnow::token::{any, none_of, take_till, take_while};

use crate::source::{Diagnostic, Span};

/// Longest bare word.
const MAX_WORD: usize = 128;
/// Longest quoted string, in bytes.
const MAX_STRING: usize = 255;

/// What a token is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One of `{ } ; [ ] :`.
    Punct(char),
    /// A bare word.
    Word(String),
    /// A quoted string, without quotes and escapes.
    Quoted(String),
    /// What stands between `[` and `]` after `ipv6`.
    Ipv6(String),
    /// End of the file.
    End,
}

/// A token and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: Kind,
    /// Where it stands.
    pub span: Span,
}

impl Token {
    /// The token as a message shows it.
    pub fn show(&self) -> String {
        match &self.kind {
            Kind::Punct(sign) => format!("'{sign}'"),
            Kind::Word(word) => format!("'{word}'"),
            Kind::Quoted(text) => format!("\"{text}\""),
            Kind::Ipv6(text) => format!("'{text}'"),
            Kind::End => "end of file".into(),
        }
    }
}

type Input<'a> = LocatingSlice<&'a str>;
type Fails = ErrMode<ContextError>;

fn is_word(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '/' | '.' | '_' | '-')
}

/// White space and comments.
fn blank(input: &mut Input<'_>) -> Result<(), Fails> {
    let space = take_while(1.., [' ', '\t', '\r', '\n']).void();
    let comment = preceded('#', take_till(0.., '\n')).void();
    repeat(0.., alt((space, comment))).parse_next(input)
}

fn quoted_body(input: &mut Input<'_>) -> Result<String, Fails> {
    let escaped = preceded('\\', none_of('\n'));
    let plain = none_of(['"', '\\', '\n']);
    repeat(0.., alt((escaped, plain))).parse_next(input)
}

fn quoted(input: &mut Input<'_>) -> Result<Kind, Fails> {
    delimited('"', quoted_body, '"')
        .map(Kind::Quoted)
        .parse_next(input)
}

fn token(input: &mut Input<'_>) -> Result<Kind, Fails> {
    let punct = winnow::token::one_of(['{', '}', ';', '[', ']', ':']).map(Kind::Punct);
    let word = take_while(1.., is_word).map(|word: &str| Kind::Word(word.to_owned()));
    alt((punct, word, quoted)).parse_next(input)
}

/// The text between `[` and `]`, the second of which is left.
fn bracketed(input: &mut Input<'_>) -> Result<Kind, Fails> {
    take_till(1.., |letter: char| {
        matches!(letter, ']' | '\n' | ';' | '{' | '}' | '"' | '#')
    })
    .map(|text: &str| Kind::Ipv6(text.trim().to_owned()))
    .parse_next(input)
}

/// Splits a file into tokens; the last one is [`Kind::End`]. What cannot be a token is reported and skipped.
pub fn tokens(file: usize, text: &str, problems: &mut Vec<Diagnostic>) -> Vec<Token> {
    let mut input = LocatingSlice::new(text);
    let mut found: Vec<Token> = Vec::new();
    loop {
        // It matches anything, also nothing.
        let _ = blank(&mut input);
        let start = input.current_token_start();
        let span = |end: usize| Span { file, start, end };
        if input.is_empty() {
            found.push(Token {
                kind: Kind::End,
                span: span(start),
            });
            return found;
        }
        let address = match found.as_slice() {
            [.., word, bracket] => {
                word.kind == Kind::Word("ipv6".into()) && bracket.kind == Kind::Punct('[')
            }
            _ => false,
        };
        let parsed = if address {
            alt((bracketed, token)).parse_next(&mut input)
        } else {
            token(&mut input)
        };
        let end = input.current_token_start();
        match parsed {
            Ok(kind) => {
                check_length(&kind, span(end), problems);
                found.push(Token {
                    kind,
                    span: span(end),
                });
            }
            Err(_) => found.extend(bad_token(&mut input, file, text, start, problems)),
        }
    }
}

fn check_length(kind: &Kind, span: Span, problems: &mut Vec<Diagnostic>) {
    match kind {
        Kind::Word(word) if word.len() > MAX_WORD => problems.push(Diagnostic::error(
            span,
            format!(
                "word is too long: {} characters, at most {MAX_WORD}",
                word.len()
            ),
        )),
        Kind::Quoted(text) if text.len() > MAX_STRING => problems.push(Diagnostic::error(
            span,
            format!(
                "quoted string is too long: {} bytes, at most {MAX_STRING}",
                text.len()
            ),
        )),
        _ => {}
    }
}

/// Reports what no rule fits and goes past it. An unterminated string stands as a string up to the end of its line, so that the
/// parser has something to go on with.
fn bad_token(
    input: &mut Input<'_>,
    file: usize,
    text: &str,
    start: usize,
    problems: &mut Vec<Diagnostic>,
) -> Option<Token> {
    let rest = &text[start..];
    if let Some(body) = rest.strip_prefix('"') {
        let line = body.split('\n').next().unwrap_or_default();
        let end = start + 1 + line.len();
        let begin: String = line.chars().take(20).collect();
        problems.push(
            Diagnostic::error(
                Span { file, start, end },
                format!("unterminated quoted string: \"{begin}"),
            )
            .note("a closing '\"' is expected on the same line; strings do not span lines"),
        );
        let _: Result<&str, Fails> = take_till(0.., '\n').parse_next(input);
        let kind = Kind::Quoted(line.to_owned());
        return Some(Token {
            kind,
            span: Span { file, start, end },
        });
    }
    let letter: Result<char, Fails> = any(input);
    let letter = letter.unwrap_or(' ');
    let end = start + letter.len_utf8();
    problems.push(
        Diagnostic::error(
            Span { file, start, end },
            format!("unexpected character '{}'", letter.escape_default()),
        )
        .note(
            "outside of quotes only letters, digits and / . _ - { } ; [ ] : are allowed; quote the value",
        ),
    );
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<Kind> {
        let mut problems = Vec::new();
        let found = tokens(0, text, &mut problems);
        assert_eq!(problems, []);
        found.into_iter().map(|token| token.kind).collect()
    }

    #[test]
    fn glued_tokens() {
        let word = |text: &str| Kind::Word(text.into());
        assert_eq!(
            kinds("on north{device /dev/drbd3;disk\"/dev/a b\\\"\";}#x"),
            [
                word("on"),
                word("north"),
                Kind::Punct('{'),
                word("device"),
                word("/dev/drbd3"),
                Kind::Punct(';'),
                word("disk"),
                Kind::Quoted("/dev/a b\"".into()),
                Kind::Punct(';'),
                Kind::Punct('}'),
                Kind::End
            ]
        );
    }

    #[test]
    fn ipv6_only_between_brackets_after_its_keyword() {
        let found = kinds("ipv6 [fd20:1::1%eth0]:7806");
        assert_eq!(found[2], Kind::Ipv6("fd20:1::1%eth0".into()));
        assert_eq!(found[3], Kind::Punct(']'));
    }

    #[test]
    fn problems_are_reported_with_their_place() {
        let mut problems = Vec::new();
        let found = tokens(0, "a \"open\nb ü c", &mut problems);
        assert_eq!(problems.len(), 2);
        assert_eq!(problems[0].span.map(|span| span.start), Some(2));
        assert_eq!(problems[1].span.map(|span| span.start), Some(10));
        assert_eq!(found.len(), 5);
    }

    #[test]
    fn too_long() {
        let mut problems = Vec::new();
        tokens(0, &"a".repeat(128), &mut problems);
        tokens(0, &format!("\"{}\"", "a".repeat(255)), &mut problems);
        assert_eq!(problems, []);
        tokens(0, &"a".repeat(129), &mut problems);
        tokens(0, &format!("\"{}\"", "a".repeat(256)), &mut problems);
        assert_eq!(problems.len(), 2);
    }
}
