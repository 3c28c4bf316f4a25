// SPDX-License-Identifier: GPL-2.0

//! Names of states as users read them (admin-tool.md, section 6).

use rdb_engine::netlink::{ConnState, DiskState, Role, SyncLimit, WriteOrdering};

/// Name of a role.
pub const fn role(role: Role) -> &'static str {
    match role {
        Role::Unknown => "Unknown",
        Role::Primary => "Primary",
        Role::Secondary => "Secondary",
    }
}

/// Name of a state of a disk.
pub const fn disk(state: DiskState) -> &'static str {
    match state {
        DiskState::Diskless => "Diskless",
        DiskState::Attaching => "Attaching",
        DiskState::Failed => "Failed",
        DiskState::Negotiating => "Negotiating",
        DiskState::Inconsistent => "Inconsistent",
        DiskState::Outdated => "Outdated",
        DiskState::DUnknown => "DUnknown",
        DiskState::Consistent => "Consistent",
        DiskState::UpToDate => "UpToDate",
    }
}

/// Classic name of a state of the connection or replication.
pub const fn conn(state: ConnState) -> &'static str {
    match state {
        ConnState::StandAlone => "StandAlone",
        ConnState::Disconnecting => "Disconnecting",
        ConnState::Unconnected => "Unconnected",
        ConnState::Timeout => "Timeout",
        ConnState::BrokenPipe => "BrokenPipe",
        ConnState::NetworkFailure => "NetworkFailure",
        ConnState::ProtocolError => "ProtocolError",
        ConnState::TearDown => "TearDown",
        ConnState::WfConnection => "WFConnection",
        ConnState::WfReportParams => "WFReportParams",
        ConnState::Connected => "Connected",
        ConnState::StartingSyncS => "StartingSyncS",
        ConnState::StartingSyncT => "StartingSyncT",
        ConnState::WfBitmapS => "WFBitMapS",
        ConnState::WfBitmapT => "WFBitMapT",
        ConnState::WfSyncUuid => "WFSyncUUID",
        ConnState::SyncSource => "SyncSource",
        ConnState::SyncTarget => "SyncTarget",
        ConnState::VerifyS => "VerifyS",
        ConnState::VerifyT => "VerifyT",
        ConnState::PausedSyncS => "PausedSyncS",
        ConnState::PausedSyncT => "PausedSyncT",
        ConnState::Ahead => "Ahead",
        ConnState::Behind => "Behind",
    }
}

/// Name of a state of the connection in `status` and in events.
pub fn connection(state: ConnState) -> &'static str {
    match state {
        ConnState::WfConnection => "Connecting",
        up if up >= ConnState::WfReportParams => "Connected",
        other => conn(other),
    }
}

/// Name of a state of the replication in `status` and in events.
pub fn replication(state: ConnState) -> &'static str {
    match state {
        ConnState::Connected => "Established",
        below if below < ConnState::Connected => "Off",
        other => conn(other),
    }
}

/// Name of a way to keep write order.
pub const fn write_ordering(ordering: WriteOrdering) -> &'static str {
    ordering.name()
}

/// What the speed of a resync is given by, as one word.
pub const fn sync_limit(limit: SyncLimit) -> &'static str {
    limit.name()
}
