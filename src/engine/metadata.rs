// SPDX-License-Identifier: GPL-2.0

//! The lower disk and its metadata: attach, what is written when, errors, detach (metadata, sections 2.5, 4.4 and 5).
//!
//! Metadata that a later step depends on are durable before that step: writes of the application wait, and so does what the peer is
//! told (see [`Resource::announce`]). Bits are on stable storage before the activity log, or the flag that says that it counts, lets
//! go of their extents.

use crate::activity_log::ActivityLog;
use crate::admin::Refusal;
use crate::bitmap::{Bitmap, BitmapPages};
use crate::bits::bits_of;
use crate::effects::{Act, Effects, Millis, VolumeIndex};
use crate::fencing::Fencing;
use crate::generation::Generation;
use crate::io_error::Trouble;
use crate::memory::Memory;
use crate::meta::{MetaFlags, Superblock};
use crate::resource::Resource;
use crate::volume::{AttachedDisk, Disk, WriteBack};
use crate::wire::{ConnState, DiskState, State};

impl<M: Memory> Resource<M> {
    /// Takes a lower disk (metadata, section 5.2, from step 10 on). The device gets its size by `Act::SetCapacity`.
    ///
    /// # Errors
    ///
    /// The volume has a disk, the disk is too small for the data that it holds, or for the device as it is.
    pub fn attach(
        &mut self,
        now: Millis,
        v: VolumeIndex,
        attached: AttachedDisk<M>,
        fx: &mut dyn Effects,
    ) -> Result<(), Refusal> {
        self.now = now;
        let link_busy = self.link.is_closing();
        let Some(volume) = self.vol_mut(v) else {
            return Err(Refusal::new(127, "no such volume"));
        };
        if volume.disk.is_some() || volume.state.disk != DiskState::Diskless {
            return Err(Refusal::new(124, "the volume has a disk already"));
        }
        if link_busy || volume.state.conn == ConnState::WFReportParams {
            return Err(crate::wire::ReturnCode::IN_TRANSIENT_STATE.into());
        }
        let superblock = attached.superblock;
        if volume.state.conn < ConnState::Connected
            && !volume.may_fall_back_to(superblock.current_uuid)
        {
            return Err(Refusal::new(
                150,
                "this Primary has used newer data than those on the disk: connect first",
            ));
        }
        let wanted = attached.options.size;
        if wanted > attached.usable_sectors {
            return Err(Refusal::new(
                111,
                "the lower disk is smaller than the configured size",
            ));
        }
        let limit = if wanted == 0 {
            attached.usable_sectors
        } else {
            wanted
        };
        if limit < volume.capacity {
            return Err(Refusal::new(
                111,
                "the lower disk is smaller than the device",
            ));
        }
        if superblock.flags.contains(MetaFlags::CONSISTENT)
            && limit < superblock.la_size
            && wanted == 0
        {
            return Err(Refusal::new(
                170,
                "the lower disk would cut off data: it is smaller than the device that it held",
            ));
        }
        if (attached.bitmap.len() as u64).saturating_mul(64) < bits_of(limit) {
            return Err(Refusal::new(
                119,
                "the bitmap area is too small for the disk",
            ));
        }
        let capacity = match (volume.capacity, superblock.la_size) {
            (0, 0) => limit,
            (0, last) => last.min(limit),
            (current, _) => current,
        };
        // An unconnected node may offer all that the disk has, once it is larger than what was agreed.
        let capacity = if volume.state.conn < ConnState::Connected {
            limit.max(capacity)
        } else {
            capacity
        };
        self.install(v, attached, capacity, fx);
        Ok(())
    }

    fn install(
        &mut self,
        v: VolumeIndex,
        attached: AttachedDisk<M>,
        capacity: u64,
        fx: &mut dyn Effects,
    ) {
        let now = self.now;
        let Some(volume) = self.vol_mut(v) else {
            return;
        };
        let superblock = attached.superblock;
        let flags = superblock.flags;
        let fencing = attached.options.fencing > Fencing::DontCare;
        let (after_attach, peer_disk) = flags.initial_disk_states(fencing);
        // A Primary that was frozen when it lost this disk has not crashed.
        let crashed = (flags.contains(MetaFlags::CRASHED_PRIMARY)
            || (flags.contains(MetaFlags::PRIMARY_IND) && !volume.state.susp_nod))
            && !crate::mutants::is_active(15);
        // The bitmap covers what was agreed; blocks beyond are new and get set.
        let known = if superblock.la_size == 0 {
            capacity
        } else {
            superblock.la_size.min(capacity)
        };
        let mut bitmap = Bitmap::new(attached.bitmap, attached.pages, known);
        if crate::mutants::is_active(22) {
            bitmap.clear_all();
        }
        bitmap.resize(capacity);
        volume.attachment = volume.attachment.wrapping_add(1);
        let attachment = volume.attachment;
        let log = attached
            .log
            .map(|slots| ActivityLog::new(slots, attachment));
        let disabled = log.is_none();
        let everything = flags.contains(MetaFlags::FULL_SYNC)
            || superblock.la_size == 0
            || (crashed && flags.contains(MetaFlags::AL_DISABLED));
        volume.crashed_primary = crashed;
        volume.after_attach = after_attach;
        // What the peer has said of its data so far was not meant for this disk.
        volume.is_answered = false;
        volume.user_size = attached.options.size;
        volume.generation = Generation {
            current: superblock.current_uuid,
            bitmap: superblock.bitmap_uuid,
            history: superblock.history_uuids,
        };
        let primary = volume.primary();
        volume
            .generation
            .set_current(superblock.current_uuid, primary);
        volume.disk = Some(Disk {
            superblock: Superblock {
                al_nr_extents: log
                    .as_ref()
                    .map_or(superblock.al_nr_extents, |log| u32::from(log.slots())),
                ..superblock
            },
            usable: attached.usable_sectors,
            bitmap,
            log,
            options: attached.options,
            limits: attached.limits,
            flags: flags.without(MetaFlags::AL_CLEAN).with(
                MetaFlags::AL_DISABLED,
                disabled && !crate::mutants::is_active(7),
            ),
            full_sync: false,
            write: WriteBack::default(),
            bitmap_writing: false,
            bitmap_again: false,
            superblock_after_bitmap: false,
            hold_primary_ind: false,
        });
        volume.closing_disk = false;
        volume.trouble = Trouble {
            attached: now,
            abandoned: false,
            helper: false,
            passed_on: false,
            ..core::mem::take(&mut volume.trouble)
        };
        let state = volume.state;
        let grown = capacity != volume.capacity;
        volume.capacity = capacity;
        if grown {
            fx.act(Act::SetCapacity {
                volume: v,
                sectors: capacity,
            });
        }
        if everything {
            self.set_all_bits(v, fx);
        }
        self.change(
            v,
            State {
                disk: DiskState::Attaching,
                ..state
            },
            "attach",
            fx,
        );
        let connected = state.conn >= ConnState::Connected;
        let (disk, pdsk) = match connected {
            true => (DiskState::Negotiating, state.pdsk),
            false => (after_attach, peer_disk),
        };
        self.change(
            v,
            State {
                disk,
                pdsk,
                ..state
            },
            "attach",
            fx,
        );
        self.superblock_changed(v, fx);
        self.choose_write_order();
    }

    /// Something in the superblock changed: have it written.
    pub(crate) fn superblock_changed(&mut self, v: VolumeIndex, fx: &mut dyn Effects) {
        let Some(disk) = self.vol_mut(v).and_then(|volume| volume.disk.as_mut()) else {
            return;
        };
        disk.write.wanted += 1;
        if !disk.write.running {
            disk.write.running = true;
            fx.act(Act::WriteSuperblock { volume: v });
        }
    }

    /// Has the superblock written when the bitmap is, so that its flush makes the bits durable.
    pub(crate) fn superblock_follows_bitmap(&mut self, v: VolumeIndex, fx: &mut dyn Effects) {
        if let Some(disk) = self.vol_mut(v).and_then(|volume| volume.disk.as_mut()) {
            disk.superblock_after_bitmap = disk.bitmap_again;
        }
        self.superblock_changed(v, fx);
    }

    /// The superblock as it should be on the disk, and its number for [`Resource::superblock_done`].
    pub fn superblock(&mut self, v: VolumeIndex) -> Option<(u64, Superblock)> {
        let volume = self.vol_mut(v)?;
        let (generation, capacity, max_bio) =
            (volume.generation, volume.capacity, volume.peer_max_bio);
        let disk = volume.disk.as_mut()?;
        disk.superblock = Superblock {
            la_size: capacity,
            current_uuid: generation.current,
            bitmap_uuid: generation.bitmap,
            history_uuids: generation.history,
            flags: match disk.hold_primary_ind {
                true => disk.flags.with(MetaFlags::PRIMARY_IND, true),
                false => disk.flags,
            },
            clean: false,
            la_peer_max_bio_size: max_bio,
            ..disk.superblock
        };
        Some((disk.write.wanted, disk.superblock))
    }

    /// The superblock with this number is on stable storage, or could not be written.
    pub fn superblock_done(
        &mut self,
        now: Millis,
        v: VolumeIndex,
        number: u64,
        ok: bool,
        fx: &mut dyn Effects,
    ) {
        self.now = now;
        let Some(disk) = self.vol_mut(v).and_then(|volume| volume.disk.as_mut()) else {
            return;
        };
        disk.write.running = false;
        disk.write.done = number;
        if !ok {
            // Nothing more will be written: what waits must not wait for ever.
            disk.write.done = disk.write.wanted;
            self.give_up_disk(v, "the metadata cannot be written", fx);
        } else if disk.write.pending() {
            disk.write.running = true;
            fx.act(Act::WriteSuperblock { volume: v });
        }
        if self
            .vol(v)
            .is_some_and(|volume| !volume.waits_for_metadata())
        {
            self.tell_waiting(v, fx);
            self.settle_all(fx);
            self.resume_held(v, fx);
            self.resync_fill(v, fx);
            self.resume_parked(fx);
        }
        self.admin_metadata_written(fx);
        self.disk_operation_ended(v, fx);
        fx.act(Act::Wake);
    }

    /// Marks every block, and keeps the intention on the disk until the bitmap is there (metadata, section 4.4).
    pub(crate) fn set_all_bits(&mut self, v: VolumeIndex, fx: &mut dyn Effects) {
        let Some(disk) = self.vol_mut(v).and_then(|volume| volume.disk.as_mut()) else {
            return;
        };
        disk.bitmap.set_all();
        disk.full_sync = true;
        disk.flags = disk.flags.with(MetaFlags::FULL_SYNC, true);
        self.superblock_changed(v, fx);
        self.force_write_bitmap(v, fx);
    }

    /// Has the bitmap written if it changed since the last time.
    pub(crate) fn write_bitmap(&mut self, v: VolumeIndex, fx: &mut dyn Effects) {
        if self
            .vol(v)
            .and_then(|volume| volume.disk.as_ref())
            .is_some_and(|disk| disk.bitmap.is_changed())
        {
            self.force_write_bitmap(v, fx);
        }
    }

    /// Has the bitmap written.
    pub(crate) fn force_write_bitmap(&mut self, v: VolumeIndex, fx: &mut dyn Effects) {
        let Some(disk) = self.vol_mut(v).and_then(|volume| volume.disk.as_mut()) else {
            return;
        };
        if disk.bitmap_writing {
            disk.bitmap_again = true;
            return;
        }
        disk.bitmap_writing = true;
        fx.act(Act::WriteBitmap { volume: v });
    }

    /// The next changed pages of the bitmap from page `from` on, at most `max` in a row; they count as written from now on.
    pub fn next_bitmap_pages(
        &mut self,
        v: VolumeIndex,
        from: u32,
        max: u32,
    ) -> Option<BitmapPages> {
        let volume = self.vol_mut(v)?;
        volume.trouble.metadata_steps = volume.trouble.metadata_steps.wrapping_add(1);
        volume.disk.as_mut()?.bitmap.take_pages(from, max)
    }

    /// Words of the bitmap, to be written to the disk.
    pub fn bitmap_words(&self, v: VolumeIndex) -> Option<&[u64]> {
        Some(self.vol(v)?.disk.as_ref()?.bitmap.words())
    }

    /// The bitmap is written, or could not be.
    pub fn bitmap_written(&mut self, now: Millis, v: VolumeIndex, ok: bool, fx: &mut dyn Effects) {
        self.now = now;
        let Some(volume) = self.vol_mut(v) else {
            return;
        };
        volume.counters.bitmap += 1;
        let Some(disk) = &mut volume.disk else { return };
        disk.bitmap_writing = false;
        let again = core::mem::take(&mut disk.bitmap_again);
        let finished_full = ok && disk.full_sync && !again;
        let superblock_follows = !again
            && (core::mem::take(&mut disk.superblock_after_bitmap)
                | core::mem::take(&mut disk.hold_primary_ind));
        if !ok {
            // Nobody knows what is there now.
            disk.bitmap.touch_all();
        }
        if finished_full {
            disk.full_sync = false;
            disk.flags = disk.flags.with(MetaFlags::FULL_SYNC, false);
        }
        if !ok {
            self.give_up_disk(v, "the bitmap cannot be written", fx);
        } else if finished_full || superblock_follows {
            // The write of the superblock flushes the cache of the disk before, so the bits are durable when the flag goes.
            self.superblock_changed(v, fx);
        } else if again {
            self.force_write_bitmap(v, fx);
        }
        self.resync_fill(v, fx);
        self.disk_operation_ended(v, fx);
    }

    /// The disk is Failed: when nothing is in flight on it, it goes.
    pub(crate) fn drain_disk(&mut self, v: VolumeIndex, fx: &mut dyn Effects) {
        if let Some(volume) = self.vol_mut(v).filter(|volume| volume.primary()) {
            // A Primary goes on with the peer's data. The peer may have given them a new identifier, and told so, before this node
            // learned that it may give its disk up; what it tells from now on comes on top.
            let usable = volume.state.conn >= ConnState::Connected
                && volume.state.pdsk == DiskState::UpToDate;
            let theirs = volume.peer_generation.filter(|_| usable);
            volume.exposed = theirs.map_or(volume.generation.current, |peer| peer.uuids.current);
            // If the connection ends before it tells, nobody knows here which data it calls the newest.
            volume.remote_only |= theirs.is_some();
        }
        self.force_write_bitmap(v, fx);
        self.disk_operation_ended(v, fx);
    }

    /// An operation on the lower disk ended; perhaps it was the last one that a detach waited for.
    pub(crate) fn disk_operation_ended(&mut self, v: VolumeIndex, fx: &mut dyn Effects) {
        if self
            .vol(v)
            .is_some_and(|volume| volume.state.disk == DiskState::Failed)
        {
            // What waits for the log of this disk need not wait any more.
            self.resume_parked(fx);
        }
        let Some(volume) = self.vol_mut(v) else {
            return;
        };
        let Some(disk) = &volume.disk else { return };
        let logging = disk.log.as_ref().is_some_and(ActivityLog::is_writing);
        let busy = volume.local_io > 0
            || disk.bitmap_writing
            || disk.write.running
            || logging
            || volume.trouble.helper;
        if volume.state.disk == DiskState::Failed && !busy && !volume.closing_disk {
            volume.closing_disk = true;
            fx.act(Act::CloseDisk { volume: v });
        }
    }

    /// The lower disk is closed.
    pub fn disk_closed(&mut self, now: Millis, v: VolumeIndex, fx: &mut dyn Effects) {
        self.now = now;
        let Some(volume) = self.vol_mut(v) else {
            return;
        };
        volume.disk = None;
        volume.early_sync_uuid = None;
        volume.closing_disk = false;
        let state = volume.state;
        self.change(
            v,
            State {
                disk: DiskState::Diskless,
                ..state
            },
            "detached",
            fx,
        );
        self.admin_disk_closed(v, fx);
        self.resume_parked(fx);
        fx.act(Act::Wake);
    }
}
