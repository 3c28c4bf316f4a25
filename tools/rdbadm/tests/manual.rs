// SPDX-License-Identifier: GPL-2.0

//! The man pages name all commands, options and handlers, with their ranges.

use std::path::Path;

use clap::CommandFactory;
use rdb_engine::options::{Class, Form, HANDLERS, OPTIONS};
use rdbadm::cli::Cli;

fn page(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Documentation/man");
    let text = std::fs::read_to_string(folder.join(name)).expect("the page is part of the tree");
    text.replace("\\-", "-")
}

#[test]
fn commands() {
    let page = page("rdbadm.8");
    for command in Cli::command()
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
    {
        let name = command.get_name();
        // A command stands in front of a paragraph, alone or among others.
        let named = page
            .lines()
            .filter_map(|line| line.strip_prefix(".B "))
            .any(|tag| tag.split([',', ' ']).any(|word| word == name));
        assert!(named || name == "help", "rdbadm.8 lacks the command {name}");
        for argument in command.get_arguments().filter_map(clap::Arg::get_long) {
            let in_table = OPTIONS.iter().any(|option| option.name == argument);
            assert!(
                in_table || page.contains(&format!("--{argument}")),
                "rdbadm.8 lacks {name} --{argument}"
            );
        }
    }
}

#[test]
fn options_with_their_ranges() {
    let page = page("rdb.conf.5");
    for option in OPTIONS
        .iter()
        .filter(|option| option.class != Class::Refused)
    {
        let tag = format!("\n.B {}\n", option.name);
        let entry = page
            .split(&tag)
            .nth(1)
            .unwrap_or_else(|| panic!("rdb.conf.5 lacks {}", option.name));
        let entry = entry.split("\n.TP\n").next().unwrap_or_default();
        match option.form {
            Form::Number {
                default, min, max, ..
            } => {
                assert!(
                    entry.contains(&format!("{min} to {max}")),
                    "{}: {entry}",
                    option.name
                );
                assert!(
                    entry.contains(&format!("default {default}.")),
                    "{}: {entry}",
                    option.name
                );
            }
            Form::Switch { default } => {
                let default = if default { "default yes" } else { "default no" };
                assert!(entry.contains(default), "{}: {entry}", option.name);
            }
            Form::Choice { names, .. } => {
                assert!(
                    names.iter().all(|(name, _)| entry.contains(name)),
                    "{}: {entry}",
                    option.name
                );
            }
            Form::Text { .. } | Form::Volume => {}
        }
    }
    for (handler, _) in HANDLERS {
        assert!(
            page.contains(&format!("\n.B {handler}\n")),
            "rdb.conf.5 lacks handler {handler}"
        );
    }
}
