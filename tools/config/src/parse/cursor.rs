// SPDX-License-Identifier: GPL-2.0

//! Walking over the tokens: words, names, numbers, sections, and going on behind an error.

use super::{Failed, Parser, Step, is_keyword};
use crate::lex::{Kind, Token};
use crate::source::{Diagnostic, Span};

impl Parser {
    pub(super) fn peek(&self) -> &Token {
        // The last token is End and is never passed.
        &self.tokens[self.next.min(self.tokens.len() - 1)]
    }

    pub(super) fn advance(&mut self) -> Token {
        let token = self.peek().clone();
        if token.kind != Kind::End {
            self.next += 1;
        }
        token
    }

    /// The next token, if it is a bare word.
    pub(super) fn bare(&self) -> Option<&str> {
        match &self.peek().kind {
            Kind::Word(word) => Some(word),
            _ => None,
        }
    }

    pub(super) fn eat(&mut self, sign: char) -> bool {
        let found = self.peek().kind == Kind::Punct(sign);
        if found {
            self.advance();
        }
        found
    }

    pub(super) fn eat_word(&mut self, word: &str) -> bool {
        let found = self.bare() == Some(word);
        if found {
            self.advance();
        }
        found
    }

    pub(super) fn expect(&mut self, sign: char) -> Step<()> {
        if self.eat(sign) {
            return Ok(());
        }
        let problem = self.unexpected(&[&sign.to_string()]);
        Err(self.fail(problem))
    }

    /// A bare word that is no keyword, or a quoted string.
    pub(super) fn text(&mut self, what: &str) -> Step<(String, Span)> {
        let token = self.peek().clone();
        match token.kind {
            Kind::Word(word) if is_keyword(&word) => {
                let problem = self.unexpected(&[what]);
                let problem = problem.note(format!(
                    "'{word}' is a keyword; write \"{word}\" if it is meant as {what}"
                ));
                Err(self.fail(problem))
            }
            Kind::Word(text) | Kind::Quoted(text) => {
                self.advance();
                Ok((text, token.span))
            }
            _ => {
                let problem = self.unexpected(&[what]);
                Err(self.fail(problem))
            }
        }
    }

    /// A name: like [`Parser::text`], but no bare integer.
    pub(super) fn name(&mut self, what: &str) -> Step<(String, Span)> {
        let bare = self.bare().map(str::to_owned);
        if bare.is_some_and(|word| word.bytes().all(|byte| byte.is_ascii_digit())) {
            let problem = self
                .unexpected(&[what])
                .note("a name of digits must be quoted");
            return Err(self.fail(problem));
        }
        let (name, span) = self.text(what)?;
        if name.is_empty() || name.chars().any(char::is_control) {
            self.error(
                span,
                format!("{what} must not be empty or contain control characters"),
            );
        }
        Ok((name, span))
    }

    /// A whole number without unit, from `min` to `max`.
    pub(super) fn integer(&mut self, what: &str, min: u64, max: u64) -> Step<u64> {
        let (text, span) = self.text(what)?;
        match text.parse::<u64>() {
            Ok(number) if (min..=max).contains(&number) => Ok(number),
            Ok(_) => {
                self.error(
                    span,
                    format!("{what} {text} is out of range [{min}..{max}]"),
                );
                Ok(min)
            }
            Err(_) => Err(self.fail(Diagnostic::error(
                span,
                format!("expected {what} (a whole number from {min} to {max}), found '{text}'"),
            ))),
        }
    }

    /// `{`, statements, `}`.
    pub(super) fn body<C>(
        &mut self,
        context: &mut C,
        statement: fn(&mut Self, &mut C) -> Step<()>,
    ) -> Step<()> {
        let open = self.peek().span;
        self.expect('{')?;
        loop {
            if self.eat('}') {
                return Ok(());
            }
            if self.peek().kind == Kind::End {
                return Err(self.missing_brace(open));
            }
            if statement(self, context).is_err() {
                self.recover();
            }
        }
    }

    pub(super) fn missing_brace(&mut self, open: Span) -> Failed {
        self.incomplete = true;
        if !std::mem::replace(&mut self.ended, true) {
            let line = self.config.sources.place(open).line;
            let span = self.peek().span;
            let problem = Diagnostic::error(
                span,
                format!("missing '}}' (section opened at line {line})"),
            );
            self.errors.push(problem.see(open, "it was opened here"));
        }
        Failed
    }

    /// Goes on behind the present statement: behind its ';' or block, or in front of the '}' that closes the section.
    pub(super) fn recover(&mut self) {
        loop {
            match self.peek().kind {
                Kind::End | Kind::Punct('}') => return,
                Kind::Punct(';') => {
                    self.advance();
                    return;
                }
                Kind::Punct('{') => {
                    let open = self.peek().span;
                    let _ = self.block(open);
                    return;
                }
                _ => {
                    self.advance();
                }
            }
        }
    }
}
