// SPDX-License-Identifier: GPL-2.0

//! What happened in a run, for people. Nothing is formatted unless somebody wants to read it.

use std::cell::{Cell, RefCell};
use std::fmt::Arguments;
use std::rc::Rc;

/// A log that both nodes and the world write to.
#[derive(Clone, Default)]
pub struct Trace(Rc<Inner>);

#[derive(Default)]
struct Inner {
    on: bool,
    now: Cell<u64>,
    step: Cell<u64>,
    lines: RefCell<Vec<String>>,
}

impl Trace {
    /// A log; `on` = it keeps what it is told.
    pub fn new(on: bool) -> Self {
        Self(Rc::new(Inner {
            on,
            ..Inner::default()
        }))
    }

    /// Whether anybody listens.
    pub fn is_on(&self) -> bool {
        self.0.on
    }

    /// The time of what is said from now on.
    pub fn set_time(&self, now: u64, step: u64) {
        self.0.now.set(now);
        self.0.step.set(step);
    }

    /// Says something. Use [`say!`], which formats nothing in vain.
    pub fn say(&self, who: &str, what: Arguments<'_>) {
        let (now, step) = (self.0.now.get(), self.0.step.get());
        self.0
            .lines
            .borrow_mut()
            .push(format!("{step:>7} {now:>8} ms  {who:<5} {what}"));
    }

    /// The first `count` lines behind the last line that contains `text`.
    pub fn after(&self, text: &str, count: usize) -> String {
        let lines = self.0.lines.borrow();
        let from = lines
            .iter()
            .rposition(|line| line.contains(text))
            .unwrap_or(0);
        let end = lines.len().min(from.saturating_add(count));
        lines[from..end].join("\n")
    }

    /// The last `count` lines.
    pub fn tail(&self, count: usize) -> String {
        let lines = self.0.lines.borrow();
        lines[lines.len().saturating_sub(count)..].join("\n")
    }
}

/// Adds a line to a [`Trace`]: `say!(trace, who, "format", …)`.
macro_rules! say {
    ($trace:expr, $who:expr, $($what:tt)+) => {
        if $trace.is_on() {
            $trace.say($who, format_args!($($what)+));
        }
    };
}

pub(crate) use say;

/// Ends a run: an invariant is broken.
macro_rules! violation {
    ($($what:tt)+) => {
        panic!("{}", format_args!($($what)+))
    };
}

pub(crate) use violation;
