// SPDX-License-Identifier: GPL-2.0

//! A volume: one replicated device of a resource.

use crate::activity_log::{ActivityLog, LogSlot};
use crate::bitmap::{Bitmap, PageNote};
use crate::bitmap_exchange::Series;
use crate::effects::Millis;
use crate::fencing::Fencing;
use crate::generation::{Generation, PeerGeneration};
use crate::introduction::Side;
use crate::io_error::Trouble;
use crate::memory::Memory;
use crate::meta::{MetaFlags, Superblock};
use crate::resync_rate::{Limit, Pace, RateOptions};
use crate::state::{is_source, is_syncing};
use crate::wire::{
    BitmapSender, DiskState, QueueLimits, Range, ReturnCode, Role, State, StateChange,
};

/// What the configuration says of a lower disk, as far as the engine cares (metadata, section 5.7).
#[derive(Clone, Copy, Debug)]
pub struct DiskOptions {
    /// Upper bound of the exported size in sectors; 0 = none.
    pub size: u64,
    /// Flush the disk when the peer closes a write epoch.
    pub disk_flushes: bool,
    /// Without flushes: wait for the writes of the epoch, at least.
    pub disk_drain: bool,
    /// Give the disk up when a request takes longer than this, in milliseconds; 0 = never.
    pub disk_timeout_ms: u32,
    /// What to do when the peer is lost.
    pub fencing: Fencing,
    /// How fast to catch up.
    pub rate: RateOptions,
    /// What to do when the lower disk reports an error.
    pub on_io_error: OnIoError,
}

impl Default for DiskOptions {
    fn default() -> Self {
        Self {
            size: 0,
            disk_flushes: true,
            disk_drain: true,
            disk_timeout_ms: 0,
            fencing: Fencing::DontCare,
            rate: RateOptions::default(),
            on_io_error: OnIoError::Detach,
        }
    }
}

/// Policy for errors of the lower disk (metadata, section 5.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnIoError {
    /// Keep the disk and pass the error on where the peer cannot help.
    PassOn,
    /// Run the helper `local-io-error`, then give the disk up.
    CallLocalIoError,
    /// Give the disk up and go on with the peer's.
    Detach,
}

/// A lower disk that the shell has opened and read the metadata of.
pub struct AttachedDisk<M: Memory> {
    /// The superblock as found.
    pub superblock: Superblock,
    /// Sectors that data may use.
    pub usable_sectors: u64,
    /// The bitmap as found, with the activity log applied, both on the disk: the ring is as new. Room for `usable_sectors`.
    pub bitmap: M::Words,
    /// An entry for every page of the bitmap.
    pub pages: M::Table<PageNote>,
    /// A slot for every extent that may be active at a time; `None` = no activity log is kept (`al-updates no`).
    pub log: Option<M::Table<LogSlot>>,
    /// Options of the disk.
    pub options: DiskOptions,
    /// Limits that the peer is told of.
    pub limits: QueueLimits,
}

/// An attached lower disk.
pub(crate) struct Disk<M: Memory> {
    pub(crate) superblock: Superblock,
    pub(crate) usable: u64,
    pub(crate) bitmap: Bitmap<M>,
    pub(crate) log: Option<ActivityLog<M>>,
    pub(crate) options: DiskOptions,
    pub(crate) limits: QueueLimits,
    pub(crate) flags: MetaFlags,
    /// Setting all bits has begun and is not on the disk yet.
    pub(crate) full_sync: bool,
    pub(crate) write: WriteBack,
    /// The bitmap is being written.
    pub(crate) bitmap_writing: bool,
    /// It has to be written once more: bits were set after parts of it had been copied.
    pub(crate) bitmap_again: bool,
    /// The superblock, with its flush, is to be written after that.
    pub(crate) superblock_after_bitmap: bool,
    /// `PRIMARY_IND` stays on the disk until the bitmap is there: after a crash nothing else says that the log counts.
    pub(crate) hold_primary_ind: bool,
}

/// Which superblock is on the disk.
#[derive(Default)]
pub(crate) struct WriteBack {
    pub(crate) wanted: u64,
    pub(crate) done: u64,
    pub(crate) running: bool,
}

impl WriteBack {
    pub(crate) fn pending(&self) -> bool {
        self.done < self.wanted
    }
}

/// Something to be told to the peer once the metadata behind it are durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Announcement {
    Sizes,
    Uuids,
    State(State),
    /// The state with which the handshake begins.
    Introduction,
    SyncUuid(u64),
    Bitmap,
    Request(StateChange),
    Reply(ReturnCode),
}

impl Announcement {
    /// Whether it can be told when the disk is given up. The introduction speaks of no disk then.
    fn needs_no_disk(&self) -> bool {
        match self {
            Self::Sizes | Self::Introduction | Self::Request(_) | Self::Reply(_) => true,
            Self::Uuids | Self::State(_) | Self::SyncUuid(_) | Self::Bitmap => false,
        }
    }
}

/// Announcements that wait, oldest first.
#[derive(Default)]
pub(crate) struct Announcements {
    items: [Option<Announcement>; 24],
    used: usize,
}

impl Announcements {
    pub(crate) fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// False if there is no room left.
    pub(crate) fn push(&mut self, item: Announcement) -> bool {
        match self.items.get_mut(self.used) {
            Some(place) => {
                *place = Some(item);
                self.used += 1;
                true
            }
            None => false,
        }
    }

    pub(crate) fn pop(&mut self) -> Option<Announcement> {
        let first = self.items.first_mut()?.take()?;
        self.items.rotate_left(1);
        self.used = self.used.saturating_sub(1);
        Some(first)
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The disk is given up: drops what can be told of it alone, and states that are no more. The peer is told what is left.
    pub(crate) fn drop_unfounded(&mut self) {
        let used = core::mem::take(&mut self.used);
        for at in 0..used {
            let item = self.items.get_mut(at).and_then(Option::take);
            if let Some(item) = item.filter(Announcement::needs_no_disk) {
                self.push(item);
            }
        }
    }
}

/// Progress of a resync (wire protocol, section 5).
#[derive(Clone, Copy, Debug, Default)]
pub struct Resync {
    /// Blocks to copy when it began.
    pub total: u64,
    /// Blocks that could not be copied.
    pub failed: u64,
    /// When it began; `None` = not running.
    pub started: Option<Millis>,
    /// Bytes asked for and not yet written (target only).
    pub in_flight: u64,
    /// Blocks left at `mark_time`, for the current speed.
    pub mark_left: u64,
    /// See `mark_left`.
    pub mark_time: Millis,
    /// The previous mark.
    pub last_mark_left: u64,
    /// See `last_mark_left`.
    pub last_mark_time: Millis,
    /// Next block to look at (target only).
    pub(crate) cursor: u64,
    /// Bytes that may still be asked for in this step; negative if more was (target only).
    pub(crate) budget: i64,
    /// How fast it goes (target only).
    pub(crate) pace: Pace,
    /// Bytes that came since the last step (target only).
    pub(crate) arrived: u64,
    /// Sectors that it read and wrote on the own disk.
    pub(crate) own_io: u64,
    /// Sectors of everybody else at the last step.
    pub(crate) others_io: u64,
    /// Time of the last refill of `budget`.
    pub(crate) refilled: Millis,
    /// When the progress was last noted on the disk.
    pub(crate) noted: Millis,
    /// Sequence number of the ping whose answer ends the resync.
    pub(crate) finishing: Option<u32>,
}

/// Totals since the last attach or connect (administration, section 8).
#[derive(Clone, Copy, Debug, Default)]
pub struct Counters {
    /// Sectors sent over the network.
    pub sent: u64,
    /// Sectors received.
    pub received: u64,
    /// Sectors written to the lower disk.
    pub written: u64,
    /// Sectors read from the lower disk.
    pub read: u64,
    /// Writes of activity-log transactions.
    pub activity_log: u64,
    /// Writes of the bitmap.
    pub bitmap: u64,
    /// Requests open on the lower disk now.
    pub local_pending: u32,
    /// Requests sent to the peer whose answer is pending now.
    pub peer_pending: u32,
    /// Requests of the peer whose answer is pending now.
    pub unacked: u32,
    /// Requests accepted from above and not completed now.
    pub app_pending: u32,
}

/// One volume.
pub struct Volume<M: Memory> {
    /// Volume number, equal on both nodes.
    pub number: u16,
    /// Minor number of the device.
    pub minor: u32,
    /// Roles, connection and disk states.
    pub state: State,
    /// Data generation identifiers of the own disk.
    pub generation: Generation,
    /// What the peer said of its own.
    pub peer_generation: Option<PeerGeneration>,
    /// Exported size in sectors.
    pub capacity: u64,
    /// Progress of a resync.
    pub resync: Resync,
    /// Statistics.
    pub counters: Counters,
    /// The disk's metadata said that this node was Primary when it went down, and the peer has not caught up since.
    pub crashed_primary: bool,
    pub(crate) disk: Option<Disk<M>>,
    pub(crate) user_size: u64,
    pub(crate) after_attach: DiskState,
    pub(crate) consider_resync: bool,
    /// A resync that begins now is news to the peer.
    pub(crate) tell_of_resync: bool,
    pub(crate) announcements: Announcements,
    pub(crate) sent_seq: u32,
    pub(crate) peer_max_bio: u32,
    pub(crate) bitmap_in: Option<Series>,
    pub(crate) bitmap_out: Option<BitmapSender>,
    /// Series that were asked for before the one that is being sent was complete.
    pub(crate) bitmaps_waiting: u8,
    /// This node has missed the end of the last resync to the peer; when the next one begins, its bitmap UUID is history.
    pub(crate) missed_end: bool,
    /// A sync UUID that came before this node was ready for it.
    pub(crate) early_sync_uuid: Option<u64>,
    pub(crate) discard_my_data: bool,
    /// What the peer was told of this node's side.
    pub(crate) told: Side,
    /// The peer was told the state with which the handshake begins.
    pub(crate) introduced: bool,
    /// The peer's, which came before.
    pub(crate) early_state: Option<State>,
    /// The peer's identifiers came after the present disk was attached.
    pub(crate) is_answered: bool,
    pub(crate) readers: u32,
    pub(crate) writers: u32,
    /// Lower-disk operations in flight, metadata excluded.
    pub(crate) local_io: u32,
    pub(crate) closing_disk: bool,
    /// Writes of the application that were accepted and wait for the activity log.
    pub(crate) parked: u32,
    /// How many resyncs began.
    pub(crate) resync_round: u32,
    /// How many disks were attached.
    pub(crate) attachment: u32,
    /// The peer asked this node to be Outdated when the connection is gone.
    pub(crate) outdate_when_lost: bool,
    /// Whether the last write of the application was sent to the peer.
    pub(crate) replicating: bool,
    pub(crate) exposed: u64,
    /// A write that completed is on the peer's disk alone, or may be: this Primary has given its disk up beside the peer's.
    pub(crate) remote_only: bool,
    pub(crate) trouble: Trouble,
}

impl<M: Memory> Volume<M> {
    pub(crate) fn new(number: u16, minor: u32) -> Self {
        Self {
            number,
            minor,
            state: State::INITIAL,
            generation: Generation::default(),
            peer_generation: None,
            capacity: 0,
            resync: Resync::default(),
            counters: Counters::default(),
            crashed_primary: false,
            disk: None,
            user_size: 0,
            after_attach: DiskState::Diskless,
            consider_resync: false,
            tell_of_resync: false,
            announcements: Announcements::default(),
            sent_seq: 0,
            peer_max_bio: 4096,
            bitmap_in: None,
            bitmap_out: None,
            bitmaps_waiting: 0,
            missed_end: false,
            early_sync_uuid: None,
            discard_my_data: false,
            told: Side::NOTHING,
            introduced: false,
            early_state: None,
            is_answered: false,
            readers: 0,
            writers: 0,
            local_io: 0,
            closing_disk: false,
            parked: 0,
            resync_round: 0,
            attachment: 0,
            outdate_when_lost: false,
            replicating: false,
            exposed: 0,
            remote_only: false,
            trouble: Trouble::default(),
        }
    }

    /// Blocks that differ, or may differ, from the peer's; 0 without a disk.
    pub fn out_of_sync(&self) -> u64 {
        self.disk.as_ref().map_or(0, |disk| disk.bitmap.set_bits())
    }

    /// Metadata flags as they are or are about to be on the disk.
    pub fn flags(&self) -> MetaFlags {
        self.disk
            .as_ref()
            .map_or(MetaFlags::NONE, |disk| disk.flags)
    }

    /// Device open counts: readers, writers.
    pub fn open_count(&self) -> (u32, u32) {
        (self.readers, self.writers)
    }

    /// What the resync is limited by; `None` if there is none.
    pub fn resync_limit(&self) -> Option<Limit> {
        let state = &self.state;
        is_syncing(state.conn).then(|| match () {
            () if state.user_isp => Limit::PausedHere,
            () if state.aftr_isp => Limit::PausedForOther,
            () if state.peer_isp => Limit::PausedByPeer,
            () if is_source(state.conn) => Limit::Target,
            () => self.resync.pace.limit(),
        })
    }

    /// Pace of the resync in KiB/s; `None` if it is not this node that decides, or it is paused.
    pub fn resync_wanted(&self) -> Option<u64> {
        let decides = self.state.conn == crate::wire::ConnState::SyncTarget;
        decides.then(|| self.resync.pace.kib_per_second())
    }

    /// Sectors that the application has read and written on the own disk.
    pub(crate) fn others_io(&self) -> u64 {
        let all = self.counters.read.saturating_add(self.counters.written);
        all.saturating_sub(self.resync.own_io)
    }

    /// Sectors that the lower disk offers for data; 0 without one.
    pub fn disk_size(&self) -> u64 {
        self.disk.as_ref().map_or(0, |disk| disk.usable)
    }

    pub(crate) fn primary(&self) -> bool {
        self.state.role == Role::Primary
    }

    /// Whether the own disk, whose generation is `current`, may be used without asking the peer: a Primary that went on without it
    /// must not fall back to what it held before.
    pub(crate) fn may_fall_back_to(&self, current: u64) -> bool {
        let seen = self.exposed == 0 || self.exposed & !1 == current & !1;
        !self.primary() || (seen && !self.remote_only)
    }

    /// Whether a write that the own disk has is safe. Not on one that is given up: the peer's data may take its place, or the superblock
    /// that tells of the write is not there. And not on one that is brought up to date: the block may be copied once more.
    pub(crate) fn counts_own_writes(&self) -> bool {
        self.state.disk > DiskState::Inconsistent
    }

    /// What becomes of a disk that is being attached if the peer cannot be asked.
    pub(crate) fn state_without_peer(&self) -> DiskState {
        match self.may_fall_back_to(self.generation.current) {
            true => self.after_attach,
            false => DiskState::Failed,
        }
    }

    pub(crate) fn has_disk(&self) -> bool {
        self.disk.is_some() && self.state.disk >= DiskState::Inconsistent
    }

    /// Metadata that the next steps depend on are not on the disk yet.
    pub(crate) fn waits_for_metadata(&self) -> bool {
        !crate::mutants::is_active(14)
            && !self.trouble.abandoned
            && self.disk.as_ref().is_some_and(|disk| disk.write.pending())
    }

    /// Nothing may be told to the peer now.
    pub(crate) fn must_not_tell(&self) -> bool {
        self.waits_for_metadata() || self.trouble.helper
    }

    /// Marks a range out of sync; returns how many blocks changed.
    pub(crate) fn mark(&mut self, range: &Range) -> u64 {
        match &mut self.disk {
            Some(disk) => disk.bitmap.mark(range),
            None => 0,
        }
    }

    /// Clears the blocks of a range that lie wholly inside; returns how many changed.
    pub(crate) fn unmark(&mut self, range: &Range) -> u64 {
        match &mut self.disk {
            Some(disk) => disk.bitmap.unmark(range),
            None => 0,
        }
    }

    /// Whether the own disk has the data of a range (metadata, section 5.5).
    pub(crate) fn can_read(&self, range: &Range) -> bool {
        let whole = self.state.disk == DiskState::UpToDate;
        let part = self.has_disk() && self.state.disk == DiskState::Inconsistent;
        whole || (part && !self.is_marked(range))
    }

    pub(crate) fn is_marked(&self, range: &Range) -> bool {
        self.disk
            .as_ref()
            .is_some_and(|disk| disk.bitmap.is_marked(range))
    }

    pub(crate) fn next_seq(&mut self) -> u32 {
        self.sent_seq = self.sent_seq.wrapping_add(1);
        self.sent_seq
    }
}
