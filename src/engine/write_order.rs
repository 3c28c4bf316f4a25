// SPDX-License-Identifier: GPL-2.0

//! How the order of the peer's write epochs is kept on the lower disks (metadata, section 5.7), and the end of an epoch.

use crate::effects::{Act, Effects, Millis, Notice, Payload, VolumeIndex};
use crate::link::LinkFailure;
use crate::memory::Memory;
use crate::resource::Resource;
use crate::volume::{DiskOptions, Volume};
use crate::wire::{BarrierAck, Packet, Socket};

/// The ways, the weakest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum WriteOrder {
    /// An epoch is acknowledged as soon as its barrier is there.
    None,
    /// When its writes are complete.
    Drain,
    /// When they are on stable storage.
    #[default]
    Flush,
}

impl WriteOrder {
    fn of(options: &DiskOptions) -> Self {
        match (options.disk_flushes, options.disk_drain) {
            (true, _) => Self::Flush,
            (false, true) => Self::Drain,
            (false, false) => Self::None,
        }
    }
}

impl<M: Memory> Resource<M> {
    /// How write order is kept now.
    pub fn write_order(&self) -> WriteOrder {
        self.receiving.order
    }

    /// A disk was attached, or its options changed: the weakest way that any disk permits.
    pub(crate) fn choose_write_order(&mut self) {
        self.receiving.order = self
            .volumes
            .iter()
            .flatten()
            .filter_map(|volume| volume.disk.as_ref())
            .map(|disk| WriteOrder::of(&disk.options))
            .min()
            .unwrap_or_default();
    }

    /// Acknowledges the peer's epoch once all its writes are where the way of write ordering wants them.
    pub(crate) fn finish_epoch(&mut self, fx: &mut dyn Effects) {
        let Some(barrier) = self.receiving.barrier else {
            return;
        };
        if self.receiving.active > 0
            && !crate::mutants::is_active(20)
            && self.receiving.order > WriteOrder::None
        {
            return;
        }
        if !self.receiving.flushed {
            self.receiving.flushed = true;
            if self.receiving.order == WriteOrder::Flush {
                self.for_each_volume(|this, v| this.flush_for_peer(v, fx));
            }
        }
        if self.receiving.flushing > 0 {
            return;
        }
        let ack = BarrierAck {
            barrier,
            set_size: self.receiving.writes,
        };
        self.receiving.writes = 0;
        self.receiving.barrier = None;
        self.receiving.flushed = false;
        self.send(
            None,
            Socket::Meta,
            &Packet::BarrierAck(ack),
            Payload::None,
            fx,
        );
        fx.act(Act::Wake);
    }

    fn flush_for_peer(&mut self, v: VolumeIndex, fx: &mut dyn Effects) {
        let now = self.now;
        if let Some(volume) = self.vol_mut(v).filter(|volume| volume.has_disk()) {
            volume.trouble.flushing = Some(now);
            volume.local_io += 1;
            self.receiving.flushing += 1;
            fx.act(Act::FlushDisk { volume: v });
        }
    }

    /// The cache of a lower disk is flushed.
    pub fn flush_done(&mut self, now: Millis, v: VolumeIndex, ok: bool, fx: &mut dyn Effects) {
        self.now = now;
        if !ok {
            self.disk_failed(v, "the lower disk failed to flush its cache", true, fx);
        }
        if self.flush_ended(v) {
            self.flush_counted(ok, fx);
        }
        self.disk_operation_ended(v, fx);
    }

    /// The lower disk cannot flush: writes are drained from now on.
    pub fn flush_unsupported(&mut self, now: Millis, v: VolumeIndex, fx: &mut dyn Effects) {
        self.now = now;
        self.receiving.order = self.receiving.order.min(WriteOrder::Drain);
        if self.flush_ended(v) {
            self.flush_counted(true, fx);
        }
        self.disk_operation_ended(v, fx);
    }

    /// A flush of an abandoned disk is not waited for.
    pub(crate) fn abandon_flush(&mut self, v: VolumeIndex, fx: &mut dyn Effects) {
        if self.forget_flush(v) {
            self.flush_counted(false, fx);
        }
    }

    /// The connection is gone: what its epochs wait for does not matter any more.
    pub(crate) fn forget_epochs(&mut self) {
        self.for_each_volume(|this, v| {
            this.forget_flush(v);
        });
        let receiving = &mut self.receiving;
        receiving.flushing = 0;
        receiving.flushed = false;
        receiving.writes = 0;
        receiving.active = 0;
        receiving.barrier = None;
    }

    fn forget_flush(&mut self, v: VolumeIndex) -> bool {
        let Some(volume) = self.vol_mut(v) else {
            return false;
        };
        let current = volume.trouble.flushing.take().is_some();
        volume.trouble.stale_flushes += u32::from(current);
        current
    }

    /// Whether somebody waited for the flush that has ended. A disk's flushes end in their order.
    fn flush_ended(&mut self, v: VolumeIndex) -> bool {
        let Some(Volume {
            local_io, trouble, ..
        }) = self.vol_mut(v)
        else {
            return false;
        };
        *local_io = local_io.saturating_sub(1);
        if trouble.stale_flushes > 0 {
            trouble.stale_flushes -= 1;
            return false;
        }
        trouble.flushing.take().is_some()
    }

    fn flush_counted(&mut self, ok: bool, fx: &mut dyn Effects) {
        self.receiving.flushing = self.receiving.flushing.saturating_sub(1);
        if ok {
            return self.finish_epoch(fx);
        }
        // Writes that were acknowledged one by one may be lost. Only the peer knows which: it marks them when the
        // connection ends before it got the acknowledgement of their epoch.
        fx.act(Act::Notice(Notice::Peer(
            "a flush failed: the connection ends, so that the peer remembers what was written last",
        )));
        self.fail_link(LinkFailure::NetworkFailure, fx);
    }
}
