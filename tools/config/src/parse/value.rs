// SPDX-License-Identifier: GPL-2.0

//! Values of options (configuration.md, sections 2 and 6).

use rdb_engine::options::{Class, Form, Opt, Unit};

use super::{Parser, Step};
use crate::lex::Kind;
use crate::model::{Setting, Value};
use crate::number;
use crate::source::{Diagnostic, Span};

impl Parser {
    /// The value of an option, up to the semicolon.
    pub(super) fn setting(
        &mut self,
        option: &'static Opt,
        list: &mut Vec<Setting>,
        span: Span,
    ) -> Step<()> {
        let (value, text) = match option.form {
            Form::Switch { .. } => self.switch()?,
            Form::Choice { names, .. } => self.choice(option, names)?,
            Form::Number { .. } => self.number(option)?,
            Form::Text { max } => {
                let (text, place) = self.text("a value")?;
                if text.len() > usize::from(max) {
                    let length = text.len();
                    self.error(
                        place,
                        format!(
                            "{} has {length} bytes, at most {max} are allowed",
                            option.name
                        ),
                    );
                }
                (Some(Value::Text(text.clone())), text)
            }
            Form::Volume => {
                let (text, place) = self.text("a resource, or resource/volume")?;
                (self.volume_name(&text, place), text)
            }
        };
        self.expect(';')?;
        match option.class {
            Class::Refused => {
                let advice = format!(
                    "give it on the command line: rdbadm connect --{}",
                    option.name
                );
                let problem =
                    Diagnostic::error(span, format!("{} is not allowed in the file", option.name));
                self.errors.push(problem.note(advice));
            }
            // Everybody's file says so, and it is what rdb does anyway.
            Class::Ignored if option.name == "usage-count" && text == "no" => {}
            Class::Ignored if option.name == "minor-count" => {}
            Class::Ignored => self.warn(
                span,
                format!("{} is accepted, but has no effect", option.name),
            ),
            _ => {}
        }
        if let Some(value) = value {
            self.store(list, option, value, text, span);
        }
        Ok(())
    }

    fn switch(&mut self) -> Step<(Option<Value>, String)> {
        let on = match self.bare() {
            Some("no") => false,
            Some("yes") => true,
            _ if self.peek().kind == Kind::Punct(';') => {
                return Ok((Some(Value::Switch(true)), "yes".into()));
            }
            _ => {
                let problem = self.unexpected(&["yes", "no", ";"]);
                return Err(self.fail(problem));
            }
        };
        self.advance();
        Ok((
            Some(Value::Switch(on)),
            if on { "yes" } else { "no" }.into(),
        ))
    }

    fn choice(
        &mut self,
        option: &'static Opt,
        names: &[(&str, u32)],
    ) -> Step<(Option<Value>, String)> {
        let token = self.peek().clone();
        let (Kind::Word(text) | Kind::Quoted(text)) = token.kind else {
            let problem = self.unexpected(&["a value"]);
            return Err(self.fail(problem));
        };
        self.advance();
        let any_case = option.name == "protocol";
        let same = |name: &str| name == text || any_case && name.eq_ignore_ascii_case(&text);
        if let Some((name, number)) = names.iter().find(|(name, _)| same(name)) {
            return Ok((Some(Value::Choice(*number)), (*name).to_owned()));
        }
        let node = text
            .strip_prefix("discard-node-")
            .filter(|host| !host.is_empty());
        if let (Some(host), "after-sb-0pri") = (node, option.name) {
            return Ok((Some(Value::DiscardNode(host.to_owned())), text.clone()));
        }
        let list: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
        let text = format!("unknown {} '{text}'", option.name);
        let problem = Diagnostic::error(token.span, text);
        self.errors
            .push(problem.note(format!("allowed are: {}", list.join(", "))));
        Ok((None, String::new()))
    }

    fn number(&mut self, option: &'static Opt) -> Step<(Option<Value>, String)> {
        let Form::Number { min, max, unit, .. } = option.form else {
            unreachable!("only called for numbers")
        };
        let (text, span) = self.text("a number")?;
        let name = option.name;
        let number = match number::parse(&text, unit) {
            Ok(number) => number,
            Err(error) => {
                let mut problem = Diagnostic::error(span, format!("{name} {text}: {error}"));
                problem.bad_number = true;
                self.errors.push(problem);
                return Ok((None, text));
            }
        };
        if (min..=max).contains(&number) {
            return Ok((Some(Value::Number(number)), text));
        }
        let limits = format!(
            "{name} {text} => {number}{} is out of range [{min}..{max}]",
            unit_name(unit)
        );
        if name == "al-extents" {
            let clamped = number.clamp(min, max);
            self.warn(span, format!("{limits}; {clamped} is used"));
            return Ok((Some(Value::Number(clamped)), clamped.to_string()));
        }
        self.error(span, limits);
        Ok((None, text))
    }

    fn volume_name(&mut self, text: &str, span: Span) -> Option<Value> {
        let (resource, volume) = text.split_once('/').unwrap_or((text, "0"));
        match volume.parse() {
            Ok(number) => Some(Value::Volume(resource.to_owned(), number)),
            Err(_) => {
                self.error(
                    span,
                    format!("'{text}' is no volume: resource or resource/number is expected"),
                );
                None
            }
        }
    }

    pub(super) fn store(
        &mut self,
        list: &mut Vec<Setting>,
        option: &'static Opt,
        value: Value,
        text: String,
        span: Span,
    ) {
        let setting = Setting {
            option,
            value,
            text,
            span,
        };
        match list
            .iter_mut()
            .find(|known| known.option.name == option.name)
        {
            Some(known) => {
                let first = known.span;
                *known = setting;
                let text = format!("{} is given twice; the last one counts", option.name);
                self.errors
                    .push(Diagnostic::warning(span, text).see(first, "the first one is here"));
            }
            None => list.push(setting),
        }
    }
}

fn unit_name(unit: Unit) -> String {
    match unit.name() {
        "" => String::new(),
        name => format!(" {name}"),
    }
}
