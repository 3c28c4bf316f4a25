// SPDX-License-Identifier: GPL-2.0

//! What readers want to know of a volume, taken out of the engine at one instant.

use rdb_engine::effects::{Millis, VolumeIndex};
use rdb_engine::generation::Generation;
use rdb_engine::netlink::{pause_flags, suspend_flags, SyncLimit};
use rdb_engine::resync_rate::Limit;
use rdb_engine::volume::Counters;
use rdb_engine::wire::{ConnState, Role, State};

use super::resource::Engine;

/// KiB in a block of the bitmap.
const BLOCK_KIB: u64 = 4;

/// Without progress for this long a resync counts as stalled, in milliseconds.
const STALLED_MS: u64 = 180_000;

/// A volume at one instant.
#[derive(Clone, Copy)]
pub(crate) struct VolumeStatus {
    /// Volume number.
    pub(crate) number: u16,
    /// Minor number.
    pub(crate) minor: u32,
    /// Roles and states.
    pub(crate) state: State,
    /// Data generations of the own disk.
    pub(crate) generation: Generation,
    /// Generation flags as on disk.
    pub(crate) flags: u32,
    /// Exported size in sectors.
    pub(crate) capacity: u64,
    /// Totals and what is pending.
    pub(crate) counters: Counters,
    /// Blocks of 4 KiB out of sync.
    pub(crate) out_of_sync: u64,
    /// How often the device is open.
    pub(crate) opens: u32,
    /// The disk said that this node was Primary and alone when it went down.
    pub(crate) degraded: bool,
    /// A resync that is active or paused.
    pub(crate) progress: Option<Progress>,
}

impl VolumeStatus {
    /// Takes it; `None` if there is no such volume.
    pub(crate) fn take(engine: &Engine, index: VolumeIndex, now: Millis) -> Option<Self> {
        let volume = engine.volume(index)?;
        let (readers, writers) = volume.open_count();
        let out_of_sync = volume.out_of_sync();
        let progress = is_syncing(volume.state.conn).then(|| {
            let resync = &volume.resync;
            Progress::new(
                out_of_sync,
                now,
                resync.started,
                Marks {
                    total: resync.total,
                    failed: resync.failed,
                    left: resync.last_mark_left,
                    at: resync.last_mark_time,
                    latest: resync.mark_time,
                },
            )
        });
        let progress = progress.map(|progress| Progress {
            want: volume.resync_wanted(),
            limit: volume.resync_limit(),
            ..progress
        });
        Some(Self {
            number: volume.number,
            minor: volume.minor,
            state: volume.state,
            generation: volume.generation,
            flags: volume.flags().bits(),
            capacity: volume.capacity,
            counters: volume.counters,
            out_of_sync,
            opens: readers.saturating_add(writers),
            degraded: volume.crashed_primary,
            progress,
        })
    }

    /// Whether a lower disk is attached.
    pub(crate) fn has_disk(&self) -> bool {
        self.state.disk > rdb_engine::wire::DiskState::Attaching
    }

    /// Out of sync, in KiB.
    pub(crate) fn out_of_sync_kib(&self) -> u64 {
        self.out_of_sync.saturating_mul(BLOCK_KIB)
    }
}

/// Whether a resync runs, or is paused.
pub(crate) fn is_syncing(conn: ConnState) -> bool {
    matches!(
        conn,
        ConnState::SyncSource
            | ConnState::SyncTarget
            | ConnState::PausedSyncS
            | ConnState::PausedSyncT
    )
}

/// Connection state of the resource, given that of a volume.
pub(crate) fn connection(conn: ConnState) -> ConnState {
    conn.min(ConnState::WFReportParams)
}

/// Why I/O is frozen, as in the attribute `suspended`.
pub(crate) fn suspended(state: &State) -> u32 {
    let mut flags = 0;
    if state.susp {
        flags |= suspend_flags::USER;
    }
    if state.susp_nod {
        flags |= suspend_flags::NO_DATA;
    }
    if state.susp_fen {
        flags |= suspend_flags::FENCING;
    }
    flags
}

/// Why a resync is paused, as in the attribute `sync-paused`.
pub(crate) fn paused(state: &State) -> u32 {
    let mut flags = 0;
    if state.user_isp {
        flags |= pause_flags::USER;
    }
    if state.peer_isp {
        flags |= pause_flags::PEER;
    }
    if state.aftr_isp {
        flags |= pause_flags::DEPENDENCY;
    }
    flags
}

/// The resource as a whole: Primary if any volume is; connection of its volumes; why any I/O is frozen.
pub(crate) fn summary(engine: &Engine) -> super::settings::Announced {
    let mut whole = super::settings::Announced {
        role: Role::Secondary,
        peer: Role::Unknown,
        connection: connection(engine.connection()),
        suspended: 0,
    };
    for index in engine.volumes() {
        let Some(volume) = engine.volume(index) else {
            continue;
        };
        let state = &volume.state;
        if state.role == Role::Primary {
            whole.role = Role::Primary;
        }
        // Primary wins over Secondary, Secondary over Unknown.
        if state.peer == Role::Primary || whole.peer == Role::Unknown {
            whole.peer = state.peer;
        }
        whole.suspended |= suspended(state);
    }
    whole
}

/// Where a resync was at some instants; blocks of 4 KiB, milliseconds.
#[derive(Clone, Copy)]
struct Marks {
    total: u64,
    failed: u64,
    left: u64,
    at: Millis,
    latest: Millis,
}

/// How far a resync is.
#[derive(Clone, Copy)]
pub(crate) struct Progress {
    /// Blocks of 4 KiB that it began with.
    pub(crate) total: u64,
    /// Blocks of 4 KiB still to do.
    pub(crate) left: u64,
    /// Blocks of 4 KiB that failed.
    pub(crate) failed: u64,
    /// Speed of late, KiB/s.
    pub(crate) rate: u64,
    /// Speed since the start, KiB/s.
    pub(crate) average: u64,
    /// Seconds to the end at the present speed; `None` when it cannot be told.
    pub(crate) eta: Option<u64>,
    /// No progress for minutes.
    pub(crate) stalled: bool,
    /// Speed that is aimed at, KiB/s; `None` if it is not decided here.
    pub(crate) want: Option<u64>,
    /// What the speed is given by.
    pub(crate) limit: Option<Limit>,
}

impl Progress {
    fn new(left: u64, now: Millis, started: Option<Millis>, marks: Marks) -> Self {
        let total = marks.total.max(left);
        let since = now.saturating_sub(started.unwrap_or(now));
        let rate = speed(
            marks.left.saturating_sub(left),
            now.saturating_sub(marks.at),
        );
        let stalled = now.saturating_sub(marks.latest) > STALLED_MS;
        let eta = left
            .saturating_mul(BLOCK_KIB)
            .checked_div(rate)
            .filter(|_| !stalled);
        Self {
            total,
            left,
            failed: marks.failed,
            rate,
            average: speed(total.saturating_sub(left), since),
            eta,
            stalled,
            want: None,
            limit: None,
        }
    }

    /// What is done, per mille.
    pub(crate) fn done(&self) -> u64 {
        let done = self.total.saturating_sub(self.left).saturating_mul(1000);
        done.checked_div(self.total).unwrap_or(1000)
    }
}

/// KiB/s for so many blocks in so many milliseconds.
fn speed(blocks: u64, ms: u64) -> u64 {
    blocks
        .saturating_mul(BLOCK_KIB)
        .saturating_mul(1000)
        .checked_div(ms)
        .unwrap_or(0)
}

/// Number of a limit in messages.
pub(crate) fn sync_limit(limit: Limit) -> SyncLimit {
    match limit {
        Limit::Starting => SyncLimit::Starting,
        Limit::MaxRate => SyncLimit::CMaxRate,
        Limit::ResyncRate => SyncLimit::ResyncRate,
        Limit::Application => SyncLimit::Application,
        Limit::Peer => SyncLimit::Peer,
        Limit::Disk => SyncLimit::Disk,
        Limit::Target => SyncLimit::SyncTarget,
        Limit::PausedHere => SyncLimit::PausedHere,
        Limit::PausedByPeer => SyncLimit::PausedByPeer,
        Limit::PausedForOther => SyncLimit::ResyncAfter,
    }
}
