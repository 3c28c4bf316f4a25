// SPDX-License-Identifier: GPL-2.0

//! The exchange of bitmaps, and the sync UUID that ends it (wire protocol, sections 4.12, 5.1 and 5.2).

use crate::bits::{bits_of, Words, WordsMut};
use crate::effects::{Act, Effects, Notice, VolumeIndex};
use crate::link::LinkFailure;
use crate::memory::Memory;
use crate::resource::Resource;
use crate::state::is_target;
use crate::volume::Announcement;
use crate::wire::{
    BitmapReceiver, BitmapSender, CompressedBitmap, ConnState as C, DiskState as D, Range, State,
};

/// A bitmap of this many bits, none of them set.
struct NoBits(u64);

impl WordsMut for NoBits {
    fn set_word(&mut self, _: u64, _: u64) {}
}

/// A bitmap that is being received.
pub(crate) struct Series {
    receiver: BitmapReceiver,
    /// The attachment of the disk for which it began; 0 = there was none.
    attachment: u32,
}

impl Words for NoBits {
    fn bits(&self) -> u64 {
        self.0
    }

    fn word(&self, _: u64) -> u64 {
        0
    }
}

impl<M: Memory> Resource<M> {
    /// Prepares the series of bitmap packets. False if there is nothing to send.
    pub(crate) fn start_sending_bitmap(&mut self, v: VolumeIndex) -> bool {
        let use_rle = self.net.is_none_or(|net| net.use_rle);
        let Some(volume) = self.vol_mut(v) else {
            return false;
        };
        let Some(disk) = &volume.disk else {
            return false;
        };
        // A series that was begun has to come to its end: the peer counts the bits.
        match volume.bitmap_out {
            Some(_) => volume.bitmaps_waiting = volume.bitmaps_waiting.saturating_add(1),
            None => volume.bitmap_out = Some(BitmapSender::new(disk.bitmap.bits(), use_rle)),
        }
        true
    }

    /// A series is complete; another one may have been asked for meanwhile.
    fn end_bitmap_series(&mut self, v: VolumeIndex) {
        let use_rle = self.net.is_none_or(|net| net.use_rle);
        let Some(volume) = self.vol_mut(v) else {
            return;
        };
        volume.bitmap_out = None;
        if let Some(left) = volume.bitmaps_waiting.checked_sub(1) {
            volume.bitmaps_waiting = left;
            let bits = bits_of(volume.capacity);
            volume.bitmap_out = Some(BitmapSender::new(bits, use_rle));
        }
    }

    /// Writes the next packet of the bitmap series into `out` (4096 bytes); `None` if the series is complete. Called by the sender
    /// of the data stream for `Payload::Bitmap`, with no other packet in between.
    pub fn bitmap_packet(&mut self, v: VolumeIndex, out: &mut [u8]) -> Option<usize> {
        let volume = self.vol_mut(v)?;
        let number = volume.number;
        let sender = volume.bitmap_out.as_mut()?;
        let packet = match &volume.disk {
            Some(disk) => sender.next_packet(&disk.bitmap, number, out),
            // The disk went away in the middle: a series that breaks off would be a protocol error. Without the disk there is no
            // resync, and before the next one the bitmaps are exchanged again.
            None => sender.next_packet(&NoBits(sender.bits()), number, out),
        };
        match packet {
            Ok(Some(len)) => Some(len),
            _ => {
                self.end_bitmap_series(v);
                None
            }
        }
    }

    /// `P_BITMAP` or `P_COMPRESSED_BITMAP` (section 5.2).
    pub(crate) fn bitmap_received(
        &mut self,
        v: VolumeIndex,
        chunk: Result<&[u8], &CompressedBitmap<'_>>,
        fx: &mut dyn Effects,
    ) {
        let Some(volume) = self.vol_mut(v) else {
            return;
        };
        let attachment = volume.disk.as_ref().map_or(0, |_| volume.attachment);
        let bits = bits_of(volume.capacity);
        let series = volume.bitmap_in.get_or_insert(Series {
            receiver: BitmapReceiver::new(bits),
            attachment,
        });
        // What is sent for a disk that was given up meanwhile means nothing to another one; it has to be taken all the same.
        let stale = attachment == 0 || series.attachment != attachment;
        let receiver = &mut series.receiver;
        let merged = match (&mut volume.disk, chunk) {
            (Some(disk), Ok(words)) if !stale => receiver.plain(words, &mut disk.bitmap),
            (Some(disk), Err(runs)) if !stale => receiver.compressed(runs, &mut disk.bitmap),
            (_, Ok(words)) => receiver.plain(words, &mut NoBits(bits)),
            (_, Err(runs)) => receiver.compressed(runs, &mut NoBits(bits)),
        };
        if merged.is_err() {
            fx.act(Act::Notice(Notice::Peer(
                "a bitmap packet does not fit the volume",
            )));
            return self.fail_link(LinkFailure::ProtocolError, fx);
        }
        if !receiver.is_complete() {
            return;
        }
        volume.bitmap_in = None;
        if stale {
            return;
        }
        let state = volume.state;
        match state.conn {
            C::WFBitMapT => {
                self.announce(v, Announcement::Bitmap, fx);
                let conn = C::WFSyncUUID;
                self.change(v, State { conn, ..state }, "bitmap received", fx);
            }
            C::WFBitMapS => {
                let (conn, pdsk) = (C::SyncSource, D::Inconsistent);
                self.change(
                    v,
                    State {
                        conn,
                        pdsk,
                        ..state
                    },
                    "bitmap received",
                    fx,
                );
            }
            _ => (),
        }
        self.force_write_bitmap(v, fx);
    }

    /// `P_SYNC_UUID`: the resync begins, with this node as target (section 5.1).
    pub(crate) fn sync_uuid_received(&mut self, v: VolumeIndex, uuid: u64, fx: &mut dyn Effects) {
        let Some(volume) = self.vol_mut(v) else {
            return;
        };
        let state = volume.state;
        if !volume.has_disk() || state.disk == D::Negotiating {
            // It is for a disk that was given up meanwhile, and must not be taken for that of the next resync.
            return;
        }
        if matches!(state.conn, C::Connected | C::StartingSyncT | C::WFBitMapT) {
            // It overtook the answer on the other stream that takes this node to WFSyncUUID.
            volume.early_sync_uuid = Some(uuid);
            return;
        }
        if !matches!(state.conn, C::WFSyncUUID | C::Behind) || volume.disk.is_none() {
            fx.act(Act::Notice(Notice::Peer(
                "P_SYNC_UUID in a state that does not wait for it",
            )));
            return self.fail_link(LinkFailure::ProtocolError, fx);
        }
        let primary = volume.primary();
        volume.generation.set_current(uuid, primary);
        volume.generation.bitmap = 0;
        let (conn, disk) = (C::SyncTarget, D::Inconsistent);
        // The source forgets a block when it is written here. Until that is on stable storage, the bit must be: also those that
        // P_OUT_OF_SYNC has set since the bitmaps were exchanged. The superblock goes after the bitmap, with a flush.
        self.force_write_bitmap(v, fx);
        self.superblock_follows_bitmap(v, fx);
        self.change(
            v,
            State {
                conn,
                disk,
                ..state
            },
            "the source's sync UUID",
            fx,
        );
    }

    /// This node becomes source: makes and announces the sync UUID.
    pub(crate) fn announce_sync_uuid(&mut self, v: VolumeIndex, fx: &mut dyn Effects) {
        let random = fx.random();
        let Some(volume) = self.vol_mut(v) else {
            return;
        };
        if core::mem::take(&mut volume.missed_end) {
            volume.generation.clear_bitmap();
        }
        let uuid = volume.generation.make_sync_uuid(random);
        self.superblock_changed(v, fx);
        self.announce(v, Announcement::SyncUuid(uuid), fx);
    }

    /// `P_OUT_OF_SYNC` (section 4.12).
    pub(crate) fn out_of_sync_received(&mut self, v: VolumeIndex, range: &Range) {
        if let Some(volume) = self.vol_mut(v) {
            volume.mark(range);
            if is_target(volume.state.conn) {
                volume.resync.total += 1;
            }
        }
    }
}
