// SPDX-License-Identifier: GPL-2.0

//! Which states are allowed, and what a state implies (wire protocol, sections 7.5 and 7.7).

use crate::wire::{ConnState as C, DiskState as D, ReturnCode, Role, State};

/// Whether a resync or verify is under way, or being prepared.
pub(crate) fn is_syncing(conn: C) -> bool {
    matches!(
        conn,
        C::SyncSource | C::SyncTarget | C::PausedSyncS | C::PausedSyncT
    )
}

/// This node is (or is about to be) the target of a resync.
pub(crate) fn is_target(conn: C) -> bool {
    matches!(conn, C::SyncTarget | C::PausedSyncT)
}

/// This node is the source of a running resync.
pub(crate) fn is_source(conn: C) -> bool {
    matches!(conn, C::SyncSource | C::PausedSyncS)
}

/// The same, or a resync with this node as source is being prepared.
pub(crate) fn is_or_becomes_source(conn: C) -> bool {
    is_source(conn) || matches!(conn, C::StartingSyncS | C::WFBitMapS)
}

/// This node waits for a resync in which it is the target.
fn is_behind(conn: C) -> bool {
    matches!(conn, C::WFBitMapT | C::WFSyncUUID)
}

/// Bounds of the disk states by connection state (section 7.7, rule 5): own from, to, peer's from, to.
#[rustfmt::skip]
fn bounds(conn: C) -> [D; 4] {
    match conn {
        C::WFBitMapT | C::PausedSyncT | C::StartingSyncT | C::WFSyncUUID | C::Behind =>
            [D::Inconsistent, D::Outdated, D::UpToDate, D::UpToDate],
        C::SyncTarget => [D::Inconsistent, D::Inconsistent, D::UpToDate, D::UpToDate],
        C::WFBitMapS | C::PausedSyncS | C::StartingSyncS | C::Ahead =>
            [D::UpToDate, D::UpToDate, D::Inconsistent, D::Consistent],
        C::SyncSource => [D::UpToDate, D::UpToDate, D::Inconsistent, D::Inconsistent],
        C::VerifyS | C::VerifyT => [D::UpToDate; 4],
        C::Connected => [D::Diskless, D::UpToDate, D::Diskless, D::UpToDate],
        _ if conn < C::Connected && conn != C::WFReportParams =>
            [D::Diskless, D::UpToDate, D::Inconsistent, D::DUnknown],
        _ => [D::Diskless, D::UpToDate, D::Diskless, D::UpToDate],
    }
}

/// Adjusts a wanted state to what it implies (section 7.7). `after_attach` is the state that a Negotiating disk takes when
/// there is nobody to negotiate with.
pub(crate) fn implied(mut s: State, after_attach: D) -> State {
    if s.conn < C::Connected {
        s.peer = Role::Unknown;
        s.peer_isp = false;
        if s.conn != C::WFReportParams
            && !matches!(s.pdsk, D::Inconsistent | D::Outdated | D::DUnknown)
        {
            s.pdsk = D::DUnknown;
        }
    }
    if s.conn > C::Connected && (s.disk <= D::Failed || s.pdsk <= D::Failed) {
        // The source of a resync that was about to begin has lost its disk. What the target has is older than what was lost, and must
        // not pass for up to date.
        let (own_is_old, peers_is_old) = (is_behind(s.conn), s.conn == C::WFBitMapS);
        if own_is_old && s.disk > D::Inconsistent {
            s.disk = D::Inconsistent;
        }
        if peers_is_old && s.pdsk > D::Inconsistent {
            s.pdsk = D::Inconsistent;
        }
        s.conn = C::Connected;
    }
    if s.conn < C::Connected && s.conn != C::WFReportParams && s.disk == D::Negotiating {
        s.disk = after_attach;
    }
    if (C::Connected..=C::PausedSyncT).contains(&s.conn) {
        for disk in [&mut s.disk, &mut s.pdsk] {
            if matches!(disk, D::Consistent | D::Outdated) {
                *disk = D::UpToDate;
            }
        }
    }
    if s.disk != D::Negotiating && s.disk != D::Attaching {
        let [low, high, peer_low, peer_high] = bounds(s.conn);
        s.disk = s.disk.clamp(low, high);
        s.pdsk = s.pdsk.clamp(peer_low, peer_high);
    }
    s.conn = match (s.conn, s.is_sync_paused()) {
        (C::SyncSource, true) => C::PausedSyncS,
        (C::SyncTarget, true) => C::PausedSyncT,
        (C::PausedSyncS, false) => C::SyncSource,
        (C::PausedSyncT, false) => C::SyncTarget,
        (conn, _) => conn,
    };
    if s.conn == C::SyncTarget {
        s.disk = D::Inconsistent;
    }
    if s.conn == C::SyncSource {
        s.pdsk = D::Inconsistent;
    }
    s
}

/// What the rules look at beside the state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context {
    /// Two Primaries are allowed.
    pub(crate) two_primaries: bool,
    /// The peer is Primary on another volume of the resource.
    pub(crate) peer_primary_elsewhere: bool,
    /// The device is held open.
    pub(crate) open: bool,
}

type Rule = (fn(&State, &Context) -> bool, ReturnCode);

/// The rules of section 7.5 that a state must meet, in their order. Without fencing (rule 5, see `fencing`) and verify (11, 12), which
/// this version does not have.
#[rustfmt::skip]
const RULES: &[Rule] = &[
    (|s, c| !c.two_primaries && s.role == Role::Primary && s.peer == Role::Primary, ReturnCode::TWO_PRIMARIES),
    (|s, c| !c.two_primaries && s.role == Role::Primary && c.peer_primary_elsewhere, ReturnCode::OTHER_VOLUME_PEER_PRIMARY),
    (|s, c| s.role == Role::Secondary && c.open, ReturnCode::DEVICE_IN_USE),
    (|s, _| s.role == Role::Primary && s.conn < C::Connected && s.disk < D::UpToDate, ReturnCode::NO_UP_TO_DATE_DISK),
    (|s, _| s.role == Role::Primary && s.disk <= D::Inconsistent && s.pdsk <= D::Inconsistent, ReturnCode::NO_UP_TO_DATE_DISK),
    (|s, _| s.conn > C::Connected && s.disk < D::Inconsistent, ReturnCode::NO_LOCAL_DISK),
    (|s, _| s.conn > C::Connected && s.pdsk < D::Inconsistent, ReturnCode::NO_REMOTE_DISK),
    (|s, _| s.conn > C::Connected && s.disk < D::UpToDate && s.pdsk < D::UpToDate, ReturnCode::NO_UP_TO_DATE_DISK),
    (|s, _| matches!(s.conn, C::Connected | C::WFBitMapS | C::SyncSource | C::PausedSyncS) && s.disk == D::Outdated,
        ReturnCode::CONNECTED_OUTDATES),
    (|s, _| matches!(s.conn, C::VerifyS | C::VerifyT), ReturnCode::NO_VERIFY_ALGORITHM),
    (|s, _| s.role == Role::Primary && s.disk < D::UpToDate && s.pdsk < D::UpToDate, ReturnCode::NO_UP_TO_DATE_DISK),
    (|s, _| matches!(s.conn, C::StartingSyncS | C::StartingSyncT) && s.pdsk == D::DUnknown, ReturnCode::NEED_CONNECTION),
    (|s, _| s.conn >= C::Connected && s.pdsk == D::DUnknown, ReturnCode::CONNECTED_OUTDATES),
];

type Step = (fn(&State, &State) -> bool, ReturnCode);

/// The transitions of section 7.5 that are refused (old, new); the last one that matches counts.
#[rustfmt::skip]
const STEPS: &[Step] = &[
    // What the new state implies would declare the source's data to be good. That is for a promotion by force.
    (|o, n| (n.conn == C::StartingSyncS && o.disk == D::Inconsistent) || (n.conn == C::StartingSyncT && o.pdsk == D::Inconsistent),
        ReturnCode::NO_UP_TO_DATE_DISK),
    (|o, n| matches!(n.conn, C::StartingSyncS | C::StartingSyncT) && n.conn != o.conn && o.conn > C::Connected,
        ReturnCode::RESYNC_RUNNING),
    (|o, n| n.conn == C::Disconnecting && o.conn == C::StandAlone, ReturnCode::ALREADY_STANDALONE),
    (|o, n| n.disk > D::Attaching && o.disk == D::Diskless, ReturnCode::IS_DISKLESS),
    (|o, n| n.conn == C::WFConnection && o.conn < C::Unconnected, ReturnCode::NO_NET_CONFIG),
    (|o, n| n.disk == D::Outdated && o.disk < D::Outdated && o.disk != D::Attaching, ReturnCode::LOWER_THAN_OUTDATED),
    (|o, n| n.conn == C::Disconnecting && o.conn == C::Unconnected, ReturnCode::IN_TRANSIENT_STATE),
    (|o, n| o.role != Role::Primary && n.role == Role::Primary && n.pdsk == D::UpToDate
            && n.disk != D::UpToDate && n.disk != D::Diskless && (n.conn <= C::WFSyncUUID || n.conn != o.conn),
        ReturnCode::IN_TRANSIENT_STATE),
    (|o, n| matches!(n.conn, C::StartingSyncS | C::StartingSyncT) && o.conn < C::Connected, ReturnCode::NEED_CONNECTION),
    (|o, n| matches!(n.conn, C::StartingSyncS | C::StartingSyncT) && n.conn != o.conn && o.disk == D::Negotiating,
        ReturnCode::IN_TRANSIENT_STATE),
];

/// Checks a change that may be refused: the first rule that the new state breaks and the old one did not, then the
/// transition.
pub(crate) fn check(old: &State, new: &State, context: &Context) -> Result<(), ReturnCode> {
    // An open device is no reason to refuse a node what it is already.
    let was = Context {
        open: false,
        ..*context
    };
    let broken = |s: &State, c: &Context| {
        RULES
            .iter()
            .find(|(breaks, _)| breaks(s, c))
            .map(|(_, code)| *code)
    };
    if let Some(code) = broken(new, context) {
        if broken(old, if old.role == new.role { context } else { &was }) != Some(code) {
            return Err(code);
        }
    }
    match STEPS.iter().rev().find(|(refused, _)| refused(old, new)) {
        Some((_, code)) => Err(*code),
        None => Ok(()),
    }
}
