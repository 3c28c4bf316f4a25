// SPDX-License-Identifier: GPL-2.0

//! The table at the end: what was done, and what was hit how often.

use std::fmt::Write;

use rdb_engine::decision::TABLE;
use rdb_engine::meeting::Step;

use crate::chaos::{Fault, command_names};
use crate::tally::Tally;

/// Rows of the decision table that two engines cannot get to by themselves, and why.
const UNREACHABLE: &[(&str, &str)] = &[
    ("41.1", "both engines know the feature WSAME"),
    (
        "41.2",
        "who is promoted without the peer, or loses it as Primary, has a current UUID of his own",
    ),
];

/// The summary of these counters.
pub fn print(tally: &Tally) -> String {
    let mut text = format!(
        "{} runs, {} steps\n{} application writes, {} acknowledged\n{} crashes, {} cuts of a connection\n",
        tally.runs, tally.steps, tally.submitted, tally.acknowledged, tally.crashes, tally.cuts
    );
    text += "\nfaults, and what they met\n";
    for name in Fault::names() {
        line(&mut text, name, tally.faults.get(name).copied(), "");
    }
    text += "\ncommands of administrators: taken, refused at once\n";
    for name in command_names() {
        let (taken, refused) = tally.commands.get(name).copied().unwrap_or_default();
        let _ = writeln!(
            text,
            "{name:<44} {taken:>12} {refused:>12}{}",
            zero(taken, "")
        );
    }
    text += "\nhandshakes by row of the decision table\n";
    for row in TABLE {
        let why = UNREACHABLE
            .iter()
            .find(|(name, _)| *name == row.name)
            .map_or("", |(_, why)| why);
        let name = format!("{:<6} {}", row.name, row.meaning);
        line(&mut text, &name, tally.rules.get(row.name).copied(), why);
    }
    text += "\nhandshakes by the step that had the last word\n";
    for (step, count) in Step::ALL.iter().zip(tally.settled) {
        line(&mut text, &format!("{step:?}"), Some(count), "");
    }
    text
}

fn line(text: &mut String, name: &str, count: Option<u64>, why: &str) {
    let count = count.unwrap_or(0);
    let _ = writeln!(text, "{name:<70} {count:>12}{}", zero(count, why));
}

/// What is said of something that never happened.
fn zero(count: u64, why: &str) -> String {
    match (count, why) {
        (0, "") => "   NEVER".to_owned(),
        (0, why) => format!("   never: {why}"),
        _ => String::new(),
    }
}
