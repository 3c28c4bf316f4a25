// SPDX-License-Identifier: GPL-2.0

//! A resource group on this node: its phase, and the scripts that carry it from one to the next
//! (specification, sections 5 and 10).

use super::types::{Action, GroupSettings, Mirror, Outcome};
use crate::wire::{GroupFlags, GroupState};
use std::time::Duration;

/// How often a failed stop is repeated.
pub const STOP_TRIES: u32 = 10;
/// Pause between two tries.
pub const STOP_PAUSE: Duration = Duration::from_secs(1);
/// Pause before a start that was blocked is tried again.
pub const BLOCKED_PAUSE: Duration = Duration::from_secs(5);

/// Where a group stands on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Its scripts are asked whether something of it runs.
    Probing,
    /// Nothing of it runs.
    Stopped,
    /// Wanted; waits for the consent of the other node.
    Claiming {
        /// Sequence number of the first packet that said so, once sent.
        sequence: Option<u64>,
    },
    /// Ran when the daemon started.
    Leftover,
    /// Being started.
    Starting {
        /// Index of the resource that is next, or at work.
        next: usize,
        /// A script is at work.
        busy: bool,
    },
    /// All of it runs.
    Running,
    /// Being stopped.
    Stopping {
        /// Number of resources that are still to be stopped; the last of them is next.
        left: usize,
        /// A script is at work.
        busy: bool,
        /// Failed tries for this resource.
        tries: u32,
        /// Not before this time.
        not_before: Duration,
    },
    /// A resource cannot be stopped and still runs.
    Stuck {
        /// Number of resources that are still to be stopped.
        left: usize,
    },
}

/// A request that waits for the other node until the given time.
pub type Pending = Option<Duration>;

/// A group on this node.
#[derive(Clone, Debug)]
pub struct Group {
    /// Name, preferred node, resources.
    pub settings: GroupSettings,
    /// Where it stands.
    pub phase: Phase,
    /// Why a start failed here; it is not tried again by itself.
    pub failed: Option<String>,
    /// Not to be started before this time, because the other node's data were in use.
    pub blocked: Option<(Duration, String)>,
    /// Given away on request.
    pub yielded: bool,
    /// Offered to the other node.
    pub offered: Pending,
    /// Wanted by an operator.
    pub demanded: Pending,
    /// Some of it ran before it was started: to stop it means to stop all of it.
    pub adopted: bool,
    /// Runs on both nodes; to be stopped here.
    pub conflict: bool,
    /// What the mirror said, and when.
    pub readiness: Option<(Duration, Mirror)>,
    /// Since when it waits for the mirror to connect, although nobody holds it.
    pub waits_since: Option<Duration>,
    /// The mirror is being asked.
    pub asking: bool,
}

/// What a finished script means, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing to tell.
    Quiet,
    /// All resources run.
    Started,
    /// All resources are stopped.
    Stopped,
    /// The start of a resource failed: the group is being stopped again.
    StartFailed(usize, String),
    /// The start of a resource must wait: the group is being stopped again.
    StartBlocked(usize, String),
    /// A stop failed and is tried again.
    StopRetried(usize, String),
    /// A stop kept failing, but the script says that it is stopped.
    StopDoubtful(usize),
    /// A stop kept failing and the resource still runs.
    Stuck(usize),
}

impl Group {
    /// A group whose scripts are being asked.
    pub fn new(settings: GroupSettings) -> Self {
        Self {
            settings,
            phase: Phase::Probing,
            failed: None,
            blocked: None,
            yielded: false,
            offered: None,
            demanded: None,
            adopted: false,
            conflict: false,
            readiness: None,
            waits_since: None,
            asking: false,
        }
    }

    /// The key.
    pub fn key(&self) -> &str {
        &self.settings.key
    }

    /// The phase as other nodes see it.
    pub fn state(&self) -> GroupState {
        match self.phase {
            Phase::Probing => GroupState::Unknown,
            Phase::Stopped => GroupState::Stopped,
            Phase::Claiming { .. } => GroupState::Claiming,
            Phase::Leftover => GroupState::Leftover,
            Phase::Starting { .. } => GroupState::Starting,
            Phase::Running => GroupState::Running,
            Phase::Stopping { .. } => GroupState::Stopping,
            Phase::Stuck { .. } => GroupState::Stuck,
        }
    }

    /// The flags as other nodes see them.
    pub fn flags(&self) -> GroupFlags {
        GroupFlags {
            failed: self.failed.is_some(),
            yielded: self.yielded,
            offered: self.offered.is_some(),
            demanded: self.demanded.is_some(),
        }
    }

    /// True if its phase will change by itself.
    pub fn in_flux(&self) -> bool {
        !matches!(
            self.phase,
            Phase::Stopped | Phase::Running | Phase::Stuck { .. }
        ) || self.offered.is_some()
            || self.demanded.is_some()
    }

    /// All resources in one line, for the log.
    pub fn describe(&self) -> String {
        format!(
            "{} {}",
            self.settings.preferred,
            self.settings.resources.join(" ")
        )
    }

    /// Begins to start.
    pub fn start(&mut self) {
        self.adopted = self.phase == Phase::Leftover;
        self.phase = Phase::Starting {
            next: 0,
            busy: false,
        };
        self.demanded = None;
        self.yielded = false;
        self.blocked = None;
        self.waits_since = None;
    }

    /// Begins to stop all that may run. While a script is at work nothing happens: the caller asks
    /// again when it has ended.
    pub fn stop(&mut self) -> bool {
        let left = match self.phase {
            Phase::Starting { next, busy: false } => self.begun(next),
            Phase::Running | Phase::Leftover => self.settings.resources.len(),
            Phase::Stuck { left } => left,
            _ => return false,
        };
        self.offered = None;
        if left == 0 {
            self.phase = Phase::Stopped;
            self.conflict = false;
        } else {
            self.stop_last(left);
        }
        true
    }

    /// How many resources may be active when the start came as far as `started`.
    fn begun(&self, started: usize) -> usize {
        if self.adopted {
            self.settings.resources.len()
        } else {
            started
        }
    }

    fn stop_last(&mut self, left: usize) {
        let not_before = Duration::ZERO;
        self.phase = Phase::Stopping {
            left,
            busy: false,
            tries: 0,
            not_before,
        };
    }

    /// The script to run now, if one is due. A group with nothing left to do has ended its phase
    /// in [`Group::finished`].
    pub fn next_script(&mut self, now: Duration) -> Option<(usize, Action)> {
        match &mut self.phase {
            Phase::Starting { next, busy } if !*busy => {
                *busy = true;
                Some((*next, Action::Start))
            }
            Phase::Stopping {
                left,
                busy,
                tries,
                not_before,
            } if !*busy && now >= *not_before => {
                *busy = true;
                let action = if *tries > STOP_TRIES {
                    Action::Status
                } else {
                    Action::Stop
                };
                Some((left.saturating_sub(1), action))
            }
            _ => None,
        }
    }

    /// A script has ended.
    pub fn finished(&mut self, outcome: Outcome, now: Duration) -> Progress {
        match self.phase {
            Phase::Starting { next, busy: true } => self.start_finished(next, outcome, now),
            Phase::Stopping {
                left,
                busy: true,
                tries,
                ..
            } => self.stop_finished(left, tries, outcome, now),
            _ => Progress::Quiet,
        }
    }

    fn start_finished(&mut self, at: usize, outcome: Outcome, now: Duration) -> Progress {
        match outcome {
            Outcome::Done | Outcome::Running if at + 1 >= self.settings.resources.len() => {
                self.phase = Phase::Running;
                Progress::Started
            }
            Outcome::Done | Outcome::Running => {
                self.phase = Phase::Starting {
                    next: at + 1,
                    busy: false,
                };
                Progress::Quiet
            }
            // The resource that failed may have done half of its work: it is stopped as well.
            Outcome::Failed(text) => {
                self.failed = Some(format!("{} start: {text}", self.resource(at)));
                self.stop_last(self.begun(at + 1));
                Progress::StartFailed(at, text)
            }
            Outcome::Blocked(text) => {
                self.blocked = Some((now + BLOCKED_PAUSE, text.clone()));
                self.stop_last(self.begun(at + 1));
                Progress::StartBlocked(at, text)
            }
        }
    }

    fn stop_finished(&mut self, left: usize, tries: u32, out: Outcome, now: Duration) -> Progress {
        let at = left.saturating_sub(1);
        let asked = tries > STOP_TRIES;
        match out {
            Outcome::Done | Outcome::Running if !asked => self.stopped_one(at, Progress::Quiet),
            Outcome::Done => self.stopped_one(at, Progress::StopDoubtful(at)),
            Outcome::Running | Outcome::Failed(_) | Outcome::Blocked(_) if asked => {
                self.phase = Phase::Stuck { left };
                Progress::Stuck(at)
            }
            Outcome::Failed(text) | Outcome::Blocked(text) => {
                let not_before = now + STOP_PAUSE;
                self.phase = Phase::Stopping {
                    left,
                    busy: false,
                    tries: tries + 1,
                    not_before,
                };
                Progress::StopRetried(at, text)
            }
            Outcome::Running => Progress::Quiet,
        }
    }

    fn stopped_one(&mut self, at: usize, progress: Progress) -> Progress {
        if at > 0 {
            self.stop_last(at);
            return progress;
        }
        self.phase = Phase::Stopped;
        self.conflict = false;
        if progress == Progress::Quiet {
            Progress::Stopped
        } else {
            progress
        }
    }

    /// The text of a resource.
    pub fn resource(&self, at: usize) -> &str {
        self.settings.resources.get(at).map_or("", String::as_str)
    }

    /// When something is due without an event.
    pub fn wakeup(&self) -> Option<Duration> {
        let phase = match self.phase {
            Phase::Stopping {
                busy: false,
                not_before,
                ..
            } => Some(not_before),
            _ => None,
        };
        let blocked = match self.phase {
            Phase::Stopped => self.blocked.as_ref().map(|(until, _)| *until),
            _ => None,
        };
        [phase, blocked, self.offered, self.demanded]
            .into_iter()
            .flatten()
            .min()
    }
}
