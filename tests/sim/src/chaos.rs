// SPDX-License-Identifier: GPL-2.0

//! Everything that goes wrong, and administrators who give legal commands at the worst moment.
//!
//! Each fault and each command has a number. A failing run is shrunk by leaving some of them out: they are drawn all the same, so that
//! the others stay what they are.

use std::collections::BTreeSet;

use rdb_engine::admin::Request;
use rdb_engine::volume::OnIoError;
use rdb_engine::wire::{ConnState, DiskState, Role, State};

use crate::disk::Class;
use crate::metadata::Interrupted;
use crate::node::Link;
use crate::rng::Rng;
use crate::tally::Tally;
use crate::trace::say;
use crate::world::{A, B, World, is_target};

/// What may go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A node loses its power, and its disk its cache.
    PowerLoss,
    /// A node dies; its disk's cache lives on.
    Crash,
    /// Both nodes lose their power.
    BothLosePower,
    /// Both nodes die.
    BothCrash,
    /// The connection breaks, all streams at once.
    Reset,
    /// The data stream breaks first.
    ResetData,
    /// The meta stream breaks first.
    ResetMeta,
    /// The network is gone for a while.
    Cut,
    /// A stream is late by a little.
    Delay,
    /// A stream is late by more than any timeout.
    Stall,
    /// A node stands still.
    Freeze,
    /// A disk does not answer for a while.
    SlowDisk,
    /// The n-th operation of a kind fails.
    Fail(Class),
    /// The n-th operation of a kind fails, and everything after it.
    DeadDisk(Class),
}

/// All classes of disk operations.
const CLASSES: [Class; 6] = [
    Class::Read,
    Class::Write,
    Class::Flush,
    Class::Log,
    Class::Bitmap,
    Class::Superblock,
];

const FAULTS: &[(u32, Fault)] = &[
    (24, Fault::PowerLoss),
    (12, Fault::Crash),
    (5, Fault::BothLosePower),
    (2, Fault::BothCrash),
    (14, Fault::Reset),
    (4, Fault::ResetData),
    (4, Fault::ResetMeta),
    (4, Fault::Cut),
    (8, Fault::Delay),
    (2, Fault::Stall),
    (4, Fault::Freeze),
    (6, Fault::SlowDisk),
    (5, Fault::Fail(Class::Write)),
    (2, Fault::DeadDisk(Class::Write)),
];

impl Fault {
    /// Name in the summary.
    pub fn name(self) -> &'static str {
        match self {
            Self::PowerLoss => "power loss of one node",
            Self::Crash => "crash of one node, disk cache kept",
            Self::BothLosePower => "power loss of both nodes",
            Self::BothCrash => "crash of both nodes, disk caches kept",
            Self::Reset => "connection reset",
            Self::ResetData => "data stream ends first",
            Self::ResetMeta => "meta stream ends first",
            Self::Cut => "network gone for a while",
            Self::Delay => "stream delayed",
            Self::Stall => "stream delayed beyond the timeouts",
            Self::Freeze => "node frozen",
            Self::SlowDisk => "disk slow",
            Self::Fail(Class::Read) => "n-th data read fails",
            Self::Fail(Class::Write) => "n-th data write fails",
            Self::Fail(Class::Flush) => "n-th flush fails",
            Self::Fail(Class::Log) => "n-th log write fails",
            Self::Fail(Class::Bitmap) => "n-th bitmap write fails",
            Self::Fail(Class::Superblock) => "n-th superblock write fails",
            Self::DeadDisk(_) => "disk dies for good",
        }
    }

    /// Names of all faults, and of the circumstances that are counted.
    pub fn names() -> Vec<&'static str> {
        let mut names: Vec<_> = FAULTS.iter().map(|(_, fault)| fault.name()).collect();
        names.extend(CLASSES.map(|class| Self::Fail(class).name()));
        names.extend(CIRCUMSTANCES);
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// What a fault may meet, beside its name.
const CIRCUMSTANCES: [&str; 14] = [
    "  crash lost cached writes",
    "  crash during a data write",
    "  crash tore a data write",
    "  crash during a flush",
    "  crash during a log write",
    "  crash during a bitmap write",
    "  crash during a superblock write",
    "  crash tore a metadata block",
    "  link lost during the handshake",
    "  link lost during the bitmap exchange",
    "  link lost during a resync",
    "  disk given up while Primary",
    "  disk given up during a resync",
    "  disk given up while Secondary",
];

/// Commands with their weights and names.
const COMMANDS: &[(u32, Command)] = &[
    (12, Command::Promote),
    (1, Command::PromoteForced),
    (8, Command::Demote),
    (5, Command::Detach),
    (2, Command::DetachForced),
    (6, Command::Attach),
    (6, Command::Connect),
    (6, Command::Disconnect),
    (3, Command::DisconnectForced),
    (1, Command::Invalidate),
    (1, Command::InvalidateRemote),
    (2, Command::Outdate),
    (4, Command::PauseSync),
    (4, Command::ResumeSync),
    (3, Command::SuspendIo),
    (3, Command::ResumeIo),
    (1, Command::NewCurrentUuid),
    (2, Command::PassOn),
];

/// What an administrator may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Command {
    Promote,
    PromoteForced,
    Demote,
    Detach,
    DetachForced,
    Attach,
    Connect,
    Disconnect,
    DisconnectForced,
    Invalidate,
    InvalidateRemote,
    Outdate,
    PauseSync,
    ResumeSync,
    SuspendIo,
    ResumeIo,
    NewCurrentUuid,
    PassOn,
}

impl Command {
    fn name(self) -> &'static str {
        match self {
            Self::Promote => "primary",
            Self::PromoteForced => "primary --force",
            Self::Demote => "secondary",
            Self::Detach => "detach",
            Self::DetachForced => "detach --force",
            Self::Attach => "attach",
            Self::Connect => "connect",
            Self::Disconnect => "disconnect",
            Self::DisconnectForced => "disconnect --force",
            Self::Invalidate => "invalidate",
            Self::InvalidateRemote => "invalidate-remote",
            Self::Outdate => "outdate",
            Self::PauseSync => "pause-sync",
            Self::ResumeSync => "resume-sync",
            Self::SuspendIo => "suspend-io",
            Self::ResumeIo => "resume-io",
            Self::NewCurrentUuid => "new-current-uuid",
            Self::PassOn => "disk-options --on-io-error",
        }
    }
}

/// Names of all commands.
pub fn command_names() -> Vec<&'static str> {
    COMMANDS.iter().map(|(_, command)| command.name()).collect()
}

/// Faults and commands of a run.
pub struct Chaos {
    rng: Rng,
    number: u64,
    /// Only these are carried out; `None` = all.
    pub keep: Option<BTreeSet<u64>>,
    /// Those that were carried out.
    pub done: Vec<u64>,
    mend_at: u64,
    /// The node that is to give up its data.
    pub(crate) victim: Option<usize>,
    /// A Primary that stands in the way of a resync.
    pub(crate) in_the_way: Option<usize>,
    /// Two Primaries have met.
    pub(crate) two_primaries: bool,
    /// The better one of two nodes that both have no good data.
    pub(crate) best_of_bad: Option<usize>,
    /// How often the operator has looked at nodes that are connected and do not get anywhere.
    pub(crate) stuck: u32,
}

impl Chaos {
    /// The chaos of this seed.
    pub fn new(seed: u64) -> Self {
        Self {
            rng: Rng::fork(seed, 7),
            number: 0,
            keep: None,
            done: Vec::new(),
            mend_at: 0,
            victim: None,
            in_the_way: None,
            two_primaries: false,
            best_of_bad: None,
            stuck: 0,
        }
    }

    /// The nodes have met, and one of them did not like what it saw.
    pub(crate) fn is_unwilling(&self) -> bool {
        self.in_the_way.is_some() || self.best_of_bad.is_some() || self.victim.is_some()
    }

    /// Counts what a crash has met.
    pub(crate) fn count_crash(&self, tally: &mut Tally, met: &[Interrupted], lost: bool) {
        if lost {
            tally.fault(CIRCUMSTANCES[0]);
        }
        for interrupted in met {
            let name = match interrupted.class {
                Class::Read => continue,
                Class::Write => CIRCUMSTANCES[1],
                Class::Flush => CIRCUMSTANCES[3],
                Class::Log => CIRCUMSTANCES[4],
                Class::Bitmap => CIRCUMSTANCES[5],
                Class::Superblock => CIRCUMSTANCES[6],
            };
            tally.fault(name);
            if interrupted.torn {
                tally.fault(match interrupted.class {
                    Class::Write => CIRCUMSTANCES[2],
                    _ => CIRCUMSTANCES[7],
                });
            }
        }
    }

    /// Counts what a fault has met, as a state change tells.
    pub(crate) fn meet_state(&self, tally: &mut Tally, old: &State, new: &State) {
        use ConnState as C;
        let lost = (C::Timeout..=C::ProtocolError).contains(&new.conn);
        if lost && new.conn != old.conn {
            match old.conn {
                C::WFReportParams => tally.fault(CIRCUMSTANCES[8]),
                C::WFBitMapS | C::WFBitMapT | C::WFSyncUUID => tally.fault(CIRCUMSTANCES[9]),
                C::SyncSource | C::SyncTarget | C::PausedSyncS | C::PausedSyncT => {
                    tally.fault(CIRCUMSTANCES[10]);
                }
                _ => (),
            }
        }
        if new.disk == DiskState::Failed && old.disk != new.disk {
            tally.fault(match old.role {
                _ if is_target(old.conn) => CIRCUMSTANCES[12],
                Role::Primary => CIRCUMSTANCES[11],
                _ => CIRCUMSTANCES[13],
            });
        }
    }

    /// Whether the fault or command that was drawn just now is carried out.
    fn is_kept(&mut self) -> bool {
        self.number += 1;
        let kept = match &self.keep {
            Some(keep) => keep.contains(&self.number),
            None => true,
        };
        if kept {
            self.done.push(self.number);
        }
        kept
    }
}

impl World {
    /// A step of a random run: a fault, a command, or the operator's hand, as the plan says; then what happens anyway.
    pub fn chaos_step(&mut self) {
        let mut rng = self.chaos.rng.clone();
        if rng.one_in(self.plan.faults) {
            self.draw_fault(&mut rng);
        }
        if rng.one_in(self.plan.write_errors) {
            self.draw_write_error(&mut rng);
        }
        if rng.one_in(self.plan.commands) {
            self.draw_command(&mut rng);
        }
        if rng.one_in(self.plan.repairs) {
            self.repair();
        }
        self.chaos.rng = rng;
        if self.net.cut && self.steps >= self.chaos.mend_at {
            self.net.cut = false;
        }
        self.step();
    }

    fn draw_fault(&mut self, rng: &mut Rng) {
        let mut fault = rng.weighted(FAULTS);
        let class = rng.pick(&CLASSES);
        fault = match fault {
            Fault::Fail(_) => Fault::Fail(class),
            Fault::DeadDisk(_) => Fault::DeadDisk(class),
            other => other,
        };
        let (n, stream) = (rng.below(2) as usize, rng.below(2) as usize);
        let (amount, mut own) = (rng.below(400), Rng::new(rng.bits()));
        let skipped = match fault {
            Fault::PowerLoss | Fault::Crash => !self.nodes[n].alive,
            Fault::BothLosePower | Fault::BothCrash => !self.nodes.iter().all(|node| node.alive),
            Fault::Reset | Fault::ResetData | Fault::ResetMeta | Fault::Delay | Fault::Stall => {
                self.nodes.iter().all(|node| node.link != Link::Up)
            }
            Fault::Cut => self.net.cut,
            _ => !self.nodes[n].alive,
        };
        if skipped || !self.chaos.is_kept() {
            return;
        }
        let number = self.chaos.number;
        say!(
            self.trace,
            self.nodes[n].name,
            "*** {number}: {}",
            fault.name()
        );
        self.tally.fault(fault.name());
        let late = self.now + amount;
        match fault {
            Fault::PowerLoss | Fault::Crash => self.kill(n, fault == Fault::PowerLoss),
            Fault::BothLosePower | Fault::BothCrash => {
                self.kill(A, fault == Fault::BothLosePower);
                self.kill(B, fault == Fault::BothLosePower);
            }
            Fault::Reset => self.cut_streams(&[0, 1], &mut own),
            Fault::ResetData => self.cut_streams(&[0], &mut own),
            Fault::ResetMeta => self.cut_streams(&[1], &mut own),
            Fault::Cut => {
                self.cut_streams(&[0, 1], &mut own);
                self.net.cut = true;
                self.chaos.mend_at = self.steps + 4 * amount;
            }
            Fault::Delay => self.nodes[n].stalled_until[stream] = late,
            Fault::Stall => self.nodes[n].stalled_until[stream] = late + 4_000,
            Fault::Freeze => self.nodes[n].frozen_until = late * 2 - self.now,
            Fault::SlowDisk => self.nodes[n].slow_until = late,
            Fault::Fail(class) => self.nodes[n].disk.light_fuse(class, amount % 12, false),
            Fault::DeadDisk(class) => self.nodes[n].disk.light_fuse(class, amount % 12, true),
        }
    }

    fn draw_write_error(&mut self, rng: &mut Rng) {
        let (n, left) = (rng.below(2) as usize, rng.below(4));
        let fault = Fault::Fail(Class::Write);
        if self.nodes[n].alive && self.chaos.is_kept() {
            let (number, name) = (self.chaos.number, fault.name());
            say!(self.trace, self.nodes[n].name, "*** {number}: {name}");
            self.tally.fault(name);
            self.nodes[n].disk.light_fuse(Class::Write, left, false);
        }
    }

    fn cut_streams(&mut self, streams: &[usize], rng: &mut Rng) {
        self.tally.cuts += 1;
        self.break_link(streams, rng);
    }

    fn draw_command(&mut self, rng: &mut Rng) {
        let command = rng.weighted(COMMANDS);
        let n = rng.below(2) as usize;
        let node = &self.nodes[n];
        if !node.alive || node.admin_busy() || !self.chaos.is_kept() {
            return;
        }
        let number = self.chaos.number;
        say!(self.trace, node.name, "*** {number}: {}", command.name());
        let request = self.request_of(command, n);
        let taken = match request {
            Some(request) => self.command(n, request),
            None => node_can_attach(self, n) && self.nodes[n].begin_attach(),
        };
        self.tally.command(command.name(), taken);
    }

    /// Begins a request of the administrator; false if it was refused at once.
    pub(crate) fn command(&mut self, n: usize, request: Request) -> bool {
        self.request(n, request);
        let refused = matches!(self.nodes[n].admin, Some(Some(Err(_))));
        let may_cost_writes = matches!(
            request,
            Request::Invalidate { .. }
                | Request::InvalidateRemote { .. }
                | Request::NewCurrentUuid { .. }
                | Request::Primary { force: true, .. }
        ) || matches!(request, Request::Connect(net) if net.discard_my_data);
        self.oracle.forked |= may_cost_writes && !refused;
        !refused
    }

    fn request_of(&self, command: Command, n: usize) -> Option<Request> {
        let volume = 0;
        Some(match command {
            Command::Promote => Request::Primary {
                volume,
                force: false,
            },
            Command::PromoteForced => Request::Primary {
                volume,
                force: true,
            },
            Command::Demote => Request::Secondary { volume },
            Command::Detach => Request::Detach {
                volume,
                force: false,
            },
            Command::DetachForced => Request::Detach {
                volume,
                force: true,
            },
            Command::Attach => return None,
            Command::Connect => Request::Connect(self.plan.net_of(n)),
            Command::Disconnect => Request::Disconnect { force: false },
            Command::DisconnectForced => Request::Disconnect { force: true },
            Command::Invalidate => Request::Invalidate { volume },
            Command::InvalidateRemote => Request::InvalidateRemote { volume },
            Command::Outdate => Request::Outdate { volume },
            Command::PauseSync => Request::PauseSync { volume },
            Command::ResumeSync => Request::ResumeSync { volume },
            Command::SuspendIo => Request::SuspendIo { volume },
            Command::ResumeIo => Request::ResumeIo { volume },
            Command::NewCurrentUuid => Request::NewCurrentUuid {
                volume,
                clear_bitmap: false,
            },
            Command::PassOn => {
                let mut options = self.plan.disk;
                options.on_io_error = OnIoError::PassOn;
                Request::SetDisk { volume, options }
            }
        })
    }
}

/// Whether the node has room for a disk.
fn node_can_attach(world: &World, n: usize) -> bool {
    world.nodes[n].state().disk == DiskState::Diskless
}
