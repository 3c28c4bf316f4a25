// SPDX-License-Identifier: GPL-2.0

//! What goes into the state machine and what comes out of it.

use crate::wire::Packet;
use std::time::Duration;

/// A resource group as the state machine needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSettings {
    /// Name of the group on all nodes.
    pub key: String,
    /// The node that runs it if both can.
    pub preferred: String,
    /// Its resources as the file writes them, in start order.
    pub resources: Vec<String>,
}

/// What the state machine is told at its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Name of this node.
    pub own: String,
    /// All members, this node too.
    pub nodes: Vec<String>,
    /// Interval of heartbeats.
    pub keepalive: Duration,
    /// Silence after which this node wants to count as dead, and a peer that was never heard does.
    pub deadtime: Duration,
    /// Silence that is logged.
    pub warntime: Duration,
    /// Silence after which a peer is dead while this node starts.
    pub initdead: Duration,
    /// Groups return to their preferred node.
    pub auto_failback: bool,
    /// A fencing device is configured: a silent node's resources are taken only after it worked.
    pub fencing: bool,
    /// Packets that fail a check are logged.
    pub log_badpack: bool,
    /// The groups, in file order.
    pub groups: Vec<GroupSettings>,
}

/// What a script is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start, unless the status says that it runs.
    Start,
    /// Stop; also succeeds if it is stopped.
    Stop,
    /// Tell whether it runs.
    Status,
}

impl Action {
    /// The last argument of the script.
    pub fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Status => "status",
        }
    }
}

/// How a script ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Start or stop: done. Status: it is stopped.
    Done,
    /// Status: it runs.
    Running,
    /// It failed; the text says how.
    Failed(String),
    /// A start that is not possible now, because the other node's data are in use; to be tried again.
    Blocked(String),
}

/// What the mirror below a group says of the data here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mirror {
    /// Connected and up to date, or there is no mirror.
    Ready,
    /// Connected, but the other node's data are newer; the text says how.
    Old(String),
    /// Not connected: nobody can say whose data are newer; the text says how.
    Apart(String),
}

impl Mirror {
    /// Why it is not ready.
    pub fn trouble(&self) -> Option<&str> {
        match self {
            Self::Ready => None,
            Self::Old(why) | Self::Apart(why) => Some(why),
        }
    }
}

/// Which groups a request is about, seen from the node that is asked (specification, section 9).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupSet {
    /// Every group.
    All,
    /// Those that prefer this node.
    Local,
    /// Those that prefer the other node.
    Foreign,
    /// One, by its key.
    One(String),
}

/// What an operator may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Give groups to the peer.
    Standby(GroupSet),
    /// Take groups from the peer.
    Takeover(GroupSet),
    /// Forget that a group failed here.
    Cleanup(GroupSet),
    /// The operator has made sure that a dead node is off.
    ConfirmFenced(String),
}

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Nothing but time has passed.
    Timer,
    /// A packet with a good signature.
    Packet {
        /// Name of the link it came on.
        link: String,
        /// Address of the sender, for messages.
        from: String,
        /// What it says.
        packet: Packet,
    },
    /// Bytes that are no good packet.
    BadPacket {
        /// Name of the link they came on.
        link: String,
        /// Address of the sender.
        from: String,
        /// What is wrong with them.
        reason: String,
    },
    /// The scripts of a group were asked at the start: these resources run.
    Probed {
        /// Index of the group.
        group: usize,
        /// Resources that run.
        running: Vec<String>,
    },
    /// A script has ended.
    ResourceDone {
        /// Index of the group.
        group: usize,
        /// How it ended.
        outcome: Outcome,
    },
    /// Answer to [`Effect::CheckReady`].
    Readiness {
        /// Index of the group.
        group: usize,
        /// What the mirror says.
        mirror: Mirror,
    },
    /// The fencing device has answered.
    Fenced {
        /// The node that was to be fenced.
        node: String,
        /// From [`Effect::Fence`].
        attempt: u64,
        /// The text says why it failed.
        result: Result<(), String>,
    },
    /// An operator asks.
    Request {
        /// Returned in [`Effect::Reply`].
        id: u64,
        /// What is asked.
        request: Request,
    },
    /// Give everything up and end; a second time: end at once.
    Terminate,
    /// New times and switches. Nodes and groups must be the same as before.
    Reconfigure(Settings),
}

/// How much a message matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For debugging.
    Debug,
    /// Normal events.
    Info,
    /// Unusual, dealt with.
    Warn,
    /// Something did not work.
    Error,
    /// An operator is needed.
    Critical,
}

/// What the shell has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send on all links.
    Send(Packet),
    /// Ask the status of all resources of a group, answer [`Input::Probed`].
    Probe {
        /// Index of the group.
        group: usize,
    },
    /// Run a script, answer [`Input::ResourceDone`].
    Run {
        /// Index of the group.
        group: usize,
        /// Index of the resource in the group.
        resource: usize,
        /// What it is asked to do.
        action: Action,
    },
    /// Ask the mirror below a group whether its data here are current, answer [`Input::Readiness`].
    CheckReady {
        /// Index of the group.
        group: usize,
    },
    /// Fence a node, answer [`Input::Fenced`].
    Fence {
        /// The node.
        node: String,
        /// Number of this attempt.
        attempt: u64,
    },
    /// Answer an operator.
    Reply {
        /// From [`Input::Request`].
        id: u64,
        /// What was begun, or why it was refused.
        result: Result<String, String>,
    },
    /// Keep the generation of a node over a restart.
    RememberGeneration {
        /// The node.
        node: String,
        /// Its generation.
        generation: u64,
    },
    /// Tell people.
    Log {
        /// How much it matters.
        level: Level,
        /// One line.
        text: String,
    },
    /// End the daemon.
    Exit {
        /// True if everything was given up.
        clean: bool,
    },
}
