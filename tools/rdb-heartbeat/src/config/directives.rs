// SPDX-License-Identifier: GPL-2.0

//! Every directive of `ha.cf`, one a line, in the order of the specification (section 2.2).

use Class::{Ignored, Later, Refused, Used};

/// What rdb-heartbeat does with a directive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// It has its effect.
    Used,
    /// Accepted without effect; the text says why none is needed.
    Ignored(&'static str),
    /// Accepted with a warning: this version does not have it yet.
    Later(&'static str),
    /// An error; the text says why.
    Refused(&'static str),
}

const PACEMAKER: &str = "it belongs to Pacemaker";

/// Name and class of every directive of heartbeat 3.0.6, and of those that rdb adds.
pub const DIRECTIVES: &[(&str, Class)] = &[
    ("node", Used),
    ("keepalive", Used),
    ("deadtime", Used),
    ("warntime", Used),
    ("initdead", Used),
    ("deadping", Later("ping nodes are not watched")),
    ("udpport", Used),
    ("ucast", Used),
    ("ucast6", Later("IPv6 media are not used")),
    ("bcast", Used),
    ("udp", Used),
    ("mcast", Used),
    ("mcast6", Later("IPv6 media are not used")),
    ("serial", Later("serial lines are not used")),
    ("baud", Used),
    ("auto_failback", Used),
    ("nice_failback", Used),
    ("logfacility", Used),
    ("logfile", Used),
    ("debugfile", Used),
    ("use_logd", Ignored("messages go to syslog directly")),
    ("conn_logd_time", Ignored("messages go to syslog directly")),
    ("syslogmsgfmt", Ignored("log files have one form")),
    ("debug", Used),
    ("ping", Later("ping nodes are not watched")),
    ("ping6", Later("ping nodes are not watched")),
    ("ping_group", Later("ping nodes are not watched")),
    (
        "hbaping",
        Refused("fibre channel ping nodes are not supported"),
    ),
    ("respawn", Later("no client programs are started")),
    ("failfast", Later("no client programs are started")),
    (
        "apiauth",
        Ignored("the permissions of the control socket decide"),
    ),
    ("stonith", Used),
    ("stonith_host", Used),
    ("watchdog", Later("the watchdog device is not opened")),
    ("hopfudge", Ignored("there are no rings of serial lines")),
    (
        "hbgenmethod",
        Ignored("the generation comes from the clock and a file"),
    ),
    ("realtime", Used),
    ("rtprio", Ignored("the lowest real-time priority is used")),
    ("coredumps", Ignored("the limits of the system decide")),
    ("coreroot", Ignored("the limits of the system decide")),
    ("memreserve", Ignored("memory is locked, not reserved")),
    ("compression", Ignored("packets are small")),
    ("compression_threshold", Ignored("packets are small")),
    ("traditional_compression", Ignored("packets are small")),
    ("msgfmt", Ignored("packets have one form")),
    (
        "max_rexmit_delay",
        Ignored("every packet carries the whole state"),
    ),
    ("log_badpack", Used),
    ("autojoin", Used),
    ("uuidfrom", Ignored("nodes are known by name")),
    ("cluster", Ignored("it is only shown")),
    ("env", Later("no variables are passed on")),
    ("crm", Used),
    ("pacemaker", Used),
    ("crm_daemon_dir", Ignored(PACEMAKER)),
    ("crmd_spawns_pengine", Ignored(PACEMAKER)),
    ("record_config_changes", Ignored(PACEMAKER)),
    ("record_pengine_inputs", Ignored(PACEMAKER)),
    ("enable_config_writes", Ignored(PACEMAKER)),
    ("quorum_server", Ignored(PACEMAKER)),
    ("use_apphbd", Ignored(PACEMAKER)),
    ("normalpoll", Ignored(PACEMAKER)),
    // rdb's own.
    ("resource_timeout", Used),
];

/// The class of a directive; `None` if there is no such directive.
pub fn class(name: &str) -> Option<Class> {
    DIRECTIVES
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, class)| *class)
}

/// The facilities of `logfacility`; `none` is accepted besides.
pub const FACILITIES: &[&str] = &[
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv",
    "ftp", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];
