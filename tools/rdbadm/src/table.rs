// SPDX-License-Identifier: GPL-2.0

//! Options of the option tables as options of commands: `--resync-rate=10M`.

use clap::{Arg, ArgMatches};
use rdb_config::model::Setting;
use rdb_engine::options::{Class, Form, OPTIONS, Opt, Section};

use crate::failure::{Failure, Outcome};

fn options(section: Section) -> impl Iterator<Item = &'static Opt> {
    OPTIONS.iter().filter(move |option| {
        option.section == section && option.attr != 0 && option.class != Class::Refused
    })
}

fn augment(command: clap::Command, section: Section) -> clap::Command {
    options(section).fold(command, |command, option| {
        let arg = Arg::new(option.name)
            .long(option.name)
            .help_heading(heading(section))
            .help(help(option))
            .hide_short_help(true);
        let arg = match option.old_name {
            Some(old) => arg.alias(old),
            None => arg,
        };
        command.arg(match option.form {
            Form::Switch { .. } => arg
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("yes")
                .value_name("yes|no"),
            Form::Choice { .. } => arg.value_name("CHOICE"),
            Form::Number { .. } => arg.value_name("NUMBER"),
            Form::Text { .. } => arg.value_name("TEXT"),
            Form::Volume => arg.value_name("RESOURCE[/N]"),
        })
    })
}

const fn heading(section: Section) -> &'static str {
    match section {
        Section::Net => "Options of section net",
        Section::Disk => "Options of section disk",
        _ => "Options of section options",
    }
}

fn help(option: &Opt) -> String {
    match option.form {
        Form::Number {
            default,
            min,
            max,
            unit,
        } => {
            let unit = match unit.name() {
                "" => String::new(),
                name => format!(" {name}"),
            };
            format!("{min} to {max}{unit}, default {default}")
        }
        Form::Switch { default } => format!("default {}", if default { "yes" } else { "no" }),
        Form::Choice { names, default } => {
            let all: Vec<&str> = names.iter().map(|name| name.0).collect();
            let standard = names
                .iter()
                .find(|name| name.1 == default)
                .map_or("", |name| name.0);
            format!("{}; default {standard}", all.join(", "))
        }
        Form::Text { max } => format!("at most {max} bytes"),
        Form::Volume => "volume to wait for".into(),
    }
}

fn given(matches: &ArgMatches, section: Section) -> Vec<(&'static str, String)> {
    let found = options(section)
        .filter_map(|option| Some((option.name, matches.get_one::<String>(option.name)?.clone())));
    found.collect()
}

fn settings(section: Section, given: &[(&str, String)]) -> Outcome<Vec<Setting>> {
    let parsed = given.iter().map(|(name, value)| {
        rdb_config::parse_option(section, name, value)
            .map_err(|(code, text)| Failure::new(code, text))
    });
    parsed.collect()
}

macro_rules! section_args {
    ($(#[$meta:meta])* $name:ident, $section:expr) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default)]
        pub struct $name {
            given: Vec<(&'static str, String)>,
        }

        impl $name {
            /// The options with their values, checked.
            pub fn settings(&self) -> Outcome<Vec<Setting>> {
                settings($section, &self.given)
            }
        }

        impl clap::FromArgMatches for $name {
            fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
                Ok(Self { given: given(matches, $section) })
            }

            fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
                self.given = given(matches, $section);
                Ok(())
            }
        }

        impl clap::Args for $name {
            fn augment_args(command: clap::Command) -> clap::Command {
                augment(command, $section)
            }

            fn augment_args_for_update(command: clap::Command) -> clap::Command {
                augment(command, $section)
            }
        }
    };
}

section_args!(
    /// Options of section disk.
    DiskArgs,
    Section::Disk
);
section_args!(
    /// Options of section net.
    NetArgs,
    Section::Net
);
section_args!(
    /// Options of section options.
    ResourceArgs,
    Section::Options
);
