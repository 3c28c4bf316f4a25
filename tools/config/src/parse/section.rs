// SPDX-License-Identifier: GPL-2.0

//! Sections with options, handlers, startup (configuration.md, sections 3 and 6).

use rdb_engine::options::{HANDLERS, OPTIONS, Section, by_name};

use super::{NINE, Parser, Step};
use crate::lex::Kind;
use crate::model::{Handler, Promote, Sections, Setting, Startup, Value};
use crate::source::{Diagnostic, Span};

/// Options that have a negated form of version 8.3.
const NEGATED: &[&str] = &[
    "disk-barrier",
    "disk-flushes",
    "disk-drain",
    "md-flushes",
    "tcp-cork",
];

/// Options of `syncer` by the section in which they land.
const SYNCER: &[(Section, &[&str])] = &[
    (
        Section::Disk,
        &[
            "rate",
            "after",
            "al-extents",
            "c-plan-ahead",
            "c-delay-target",
            "c-fill-target",
            "c-max-rate",
            "c-min-rate",
        ],
    ),
    (Section::Net, &["verify-alg", "csums-alg", "use-rle"]),
    (Section::Options, &["cpu-mask", "on-no-data-accessible"]),
];

/// Options of version 8.3 that mean nothing any more.
const DROPPED: &[&str] = &[
    "delay-probe-volume",
    "delay-probe-interval",
    "throttle-threshold",
    "hold-off-threshold",
];

/// Section `common` while it is read.
pub(super) struct Common<'a> {
    pub(super) sections: &'a mut Sections,
    pub(super) seen: Vec<(String, Span)>,
}

/// Settings of one section while they are read.
struct Settings<'a> {
    section: Section,
    list: &'a mut Vec<Setting>,
    /// `fencing` in `net` lands here.
    disk: Option<&'a mut Vec<Setting>>,
}

impl Parser {
    pub(super) fn global_statement(&mut self, settings: &mut Vec<Setting>) -> Step<()> {
        let mut context = Settings {
            section: Section::Global,
            list: settings,
            disk: None,
        };
        self.option_statement(&mut context)
    }

    pub(super) fn common_statement(&mut self, common: &mut Common<'_>) -> Step<()> {
        let token = self.peek().clone();
        if let Some(word @ ("on" | "floating" | "stacked-on-top-of" | "volume")) = self.bare() {
            let text =
                format!("section common must not contain '{word}': it describes one resource");
            return Err(self.fail(Diagnostic::error(token.span, text)));
        }
        if self.shared_statement(common.sections, &mut common.seen)? {
            return Ok(());
        }
        let problem = self.unexpected(&[
            "net", "disk", "startup", "handlers", "options", "syncer", "protocol",
        ]);
        Err(self.fail(problem))
    }

    /// A statement that resources and `common` have alike; false if it is none.
    pub(super) fn shared_statement(
        &mut self,
        sections: &mut Sections,
        seen: &mut Vec<(String, Span)>,
    ) -> Step<bool> {
        let token = self.peek().clone();
        let Some(word) = self.bare().map(str::to_owned) else {
            return Ok(false);
        };
        if word == "disk" && !self.block_follows() {
            return Ok(false);
        }
        if matches!(
            word.as_str(),
            "net" | "disk" | "syncer" | "startup" | "handlers" | "options" | "proxy" | "protocol"
        ) {
            if let Some((_, first)) = seen.iter().find(|(known, _)| *known == word) {
                let first = *first;
                let what = if word == "protocol" {
                    "protocol"
                } else {
                    "section"
                };
                self.conflict(
                    token.span,
                    &format!("a second {what} {word}").replace("protocol protocol", "protocol"),
                    first,
                );
            }
            seen.push((word.clone(), token.span));
        }
        match word.as_str() {
            "protocol" => {
                let mut context = Settings {
                    section: Section::Net,
                    list: &mut sections.net,
                    disk: None,
                };
                self.option_statement(&mut context)?;
            }
            "net" => {
                self.advance();
                let mut context = Settings {
                    section: Section::Net,
                    list: &mut sections.net,
                    disk: Some(&mut sections.disk),
                };
                self.body(&mut context, Self::option_statement)?;
            }
            "disk" => {
                self.advance();
                self.settings_body(Section::Disk, &mut sections.disk)?;
            }
            "options" => {
                self.advance();
                self.settings_body(Section::Options, &mut sections.options)?;
            }
            "syncer" => {
                self.advance();
                self.body(sections, Self::syncer_statement)?;
            }
            "startup" => {
                self.advance();
                self.body(&mut sections.startup, Self::startup_statement)?;
            }
            "handlers" => {
                self.advance();
                self.body(&mut sections.handlers, Self::handler_statement)?;
            }
            "proxy" => self.proxy()?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Section of options of one kind.
    pub(super) fn settings_body(&mut self, section: Section, list: &mut Vec<Setting>) -> Step<()> {
        self.body(
            &mut Settings {
                section,
                list,
                disk: None,
            },
            Self::option_statement,
        )
    }

    /// Whether the token behind the next one opens a block.
    pub(super) fn block_follows(&self) -> bool {
        self.tokens
            .get(self.next + 1)
            .is_some_and(|token| token.kind == Kind::Punct('{'))
    }

    fn proxy(&mut self) -> Step<()> {
        let span = self.advance().span;
        while !matches!(self.peek().kind, Kind::Punct('{') | Kind::End) {
            self.advance();
        }
        let open = self.peek().span;
        self.block(open)?;
        self.warn(
            span,
            "section proxy belongs to another product and is ignored",
        );
        Ok(())
    }

    fn option_statement(&mut self, context: &mut Settings<'_>) -> Step<()> {
        let token = self.peek().clone();
        let Some(word) = self.bare().map(str::to_owned) else {
            let text = format!("an option of section {}", context.section.name());
            let problem = self.unexpected(&[&text]);
            return Err(self.fail(problem));
        };
        if let Some(option) = by_name(context.section, &word) {
            self.advance();
            return self.setting(option, context.list, token.span);
        }
        if let (Some(disk), Some(option)) = (context.disk.as_mut(), by_name(Section::Disk, &word)) {
            if option.name == "fencing" {
                self.advance();
                return self.setting(option, disk, token.span);
            }
        }
        let negated = word
            .strip_prefix("no-")
            .filter(|name| NEGATED.contains(name));
        if let Some(option) = negated.and_then(|name| by_name(context.section, name)) {
            self.advance();
            self.expect(';')?;
            self.store(
                context.list,
                option,
                Value::Switch(false),
                "no".into(),
                token.span,
            );
            return Ok(());
        }
        if DROPPED.contains(&word.as_str()) {
            return self.dropped(&word);
        }
        Err(self.unknown_option(&word, token.span, context.section))
    }

    fn dropped(&mut self, word: &str) -> Step<()> {
        let span = self.advance().span;
        self.text("a value")?;
        self.expect(';')?;
        self.warn(
            span,
            format!("{word} has no effect any more and is ignored"),
        );
        Ok(())
    }

    fn unknown_option(&mut self, word: &str, span: Span, section: Section) -> super::Failed {
        let text = format!(
            "expected an option of section {}, found '{word}'",
            section.name()
        );
        let mut problem = Diagnostic::error(span, text);
        if NINE.contains(&word) {
            problem = problem.note(format!(
                "'{word}' needs the 9.x grammar; rdb reads that of 8.4"
            ));
        } else if let Some(other) = OPTIONS.iter().find(|option| option.name == word) {
            problem = problem.note(format!(
                "'{word}' belongs into section {}",
                other.section.name()
            ));
        } else if let Some(near) = nearest(word, section) {
            problem = problem.note(format!("did you mean '{near}'?"));
        }
        self.fail(problem)
    }

    fn syncer_statement(&mut self, sections: &mut Sections) -> Step<()> {
        let token = self.peek().clone();
        let word = self.bare().unwrap_or_default().to_owned();
        if DROPPED.contains(&word.as_str()) {
            return self.dropped(&word);
        }
        let home = SYNCER
            .iter()
            .find(|(_, names)| names.contains(&word.as_str()));
        let option = home.and_then(|(section, _)| by_name(*section, &word));
        let Some(option) = option else {
            let problem = self.unexpected(&["an option of section syncer"]);
            let names: Vec<&str> = SYNCER
                .iter()
                .flat_map(|(_, names)| names.iter().copied())
                .collect();
            return Err(self.fail(problem.note(format!("syncer knows: {}", names.join(", ")))));
        };
        self.advance();
        let list = match option.section {
            Section::Net => &mut sections.net,
            Section::Options => &mut sections.options,
            _ => &mut sections.disk,
        };
        self.setting(option, list, token.span)
    }

    fn startup_statement(&mut self, startup: &mut Startup) -> Step<()> {
        let span = self.peek().span;
        if self.eat_word("stacked-timeouts") {
            self.expect(';')?;
            self.warn(
                span,
                "stacked-timeouts has no effect: rdb has no stacked resources",
            );
            return Ok(());
        }
        if !self.eat_word("become-primary-on") {
            let mut context = Settings {
                section: Section::Startup,
                list: &mut startup.settings,
                disk: None,
            };
            return self.option_statement(&mut context);
        }
        let mut hosts = vec![self.name("a host name")?.0];
        while self.peek().kind != Kind::Punct(';') {
            hosts.push(self.name("a host name")?.0);
        }
        self.expect(';')?;
        if startup.become_primary_on.is_some() {
            self.warn(
                span,
                "become-primary-on is given twice; the last one counts",
            );
        }
        let promote = match hosts.as_slice() {
            [both] if both == "both" => Promote::Both,
            _ => Promote::Hosts(hosts),
        };
        startup.become_primary_on = Some((promote, span));
        Ok(())
    }

    fn handler_statement(&mut self, handlers: &mut Vec<Handler>) -> Step<()> {
        let token = self.peek().clone();
        let Some(word) = self.bare().map(str::to_owned) else {
            let problem = self.unexpected(&["the name of a handler"]);
            return Err(self.fail(problem));
        };
        self.advance();
        let (command, _) = self.text("a command line")?;
        self.expect(';')?;
        let known = HANDLERS
            .iter()
            .find(|(name, old)| *name == word || *old == Some(word.as_str()));
        let Some((name, _)) = known else {
            let near = closest(&word, HANDLERS.iter().map(|(name, _)| *name));
            let mut problem =
                Diagnostic::warning(token.span, format!("handler '{word}' is never called"));
            if let Some(near) = near {
                problem = problem.note(format!("did you mean '{near}'?"));
            }
            self.errors.push(problem);
            return Ok(());
        };
        let handler = Handler {
            name: (*name).to_owned(),
            command,
            span: token.span,
        };
        match handlers.iter_mut().find(|known| known.name == *name) {
            Some(known) => {
                *known = handler;
                self.warn(
                    token.span,
                    format!("handler {name} is given twice; the last one counts"),
                );
            }
            None => handlers.push(handler),
        }
        Ok(())
    }
}

/// The known name that is most like a misspelt one, if any is near.
fn closest<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let (distance, name) = names
        .map(|name| (strsim::damerau_levenshtein(word, name), name))
        .min()?;
    (distance <= 1 + word.len() / 4).then_some(name)
}

fn nearest(word: &str, section: Section) -> Option<&'static str> {
    closest(
        word,
        OPTIONS
            .iter()
            .filter(|option| option.section == section)
            .map(|option| option.name),
    )
}
