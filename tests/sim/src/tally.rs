// SPDX-License-Identifier: GPL-2.0

//! How often everything happened.

use std::collections::BTreeMap;

use rdb_engine::meeting::Step;

/// Counters of one run, or of many.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Runs.
    pub runs: u64,
    /// Steps.
    pub steps: u64,
    /// Writes of the application that were accepted.
    pub submitted: u64,
    /// Writes that were acknowledged.
    pub acknowledged: u64,
    /// Nodes that died.
    pub crashes: u64,
    /// Connections that were cut.
    pub cuts: u64,
    /// By name: faults, and the states in which they met the nodes.
    pub faults: BTreeMap<&'static str, u64>,
    /// By name: commands of the administrator that were accepted, and those that were refused.
    pub commands: BTreeMap<&'static str, (u64, u64)>,
    /// By name: rows of the handshake decision table.
    pub rules: BTreeMap<&'static str, u64>,
    /// By [`Step`]: which step of the handshake had the last word.
    pub settled: [u64; Step::ALL.len()],
}

impl Tally {
    /// Counts a fault.
    pub fn fault(&mut self, name: &'static str) {
        *self.faults.entry(name).or_default() += 1;
    }

    /// Counts a command of the administrator.
    pub fn command(&mut self, name: &'static str, taken: bool) {
        let (accepted, refused) = self.commands.entry(name).or_default();
        *if taken { accepted } else { refused } += 1;
    }

    /// Counts a handshake.
    pub fn rule(&mut self, row: &'static str, step: Step) {
        *self.rules.entry(row).or_default() += 1;
        if let Some(at) = Step::ALL.iter().position(|other| *other == step) {
            self.settled[at] += 1;
        }
    }

    /// Adds the counters of another run.
    pub fn add(&mut self, other: &Self) {
        self.runs += other.runs;
        self.steps += other.steps;
        self.submitted += other.submitted;
        self.acknowledged += other.acknowledged;
        self.crashes += other.crashes;
        self.cuts += other.cuts;
        for (name, count) in &other.faults {
            *self.faults.entry(name).or_default() += count;
        }
        for (name, (taken, refused)) in &other.commands {
            let sum = self.commands.entry(name).or_default();
            sum.0 += taken;
            sum.1 += refused;
        }
        for (rule, count) in &other.rules {
            *self.rules.entry(rule).or_default() += count;
        }
        for (sum, count) in self.settled.iter_mut().zip(other.settled) {
            *sum += count;
        }
    }
}
