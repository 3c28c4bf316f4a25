// SPDX-License-Identifier: GPL-2.0

//! Replicated writes as they arrive, and the epochs that they belong to (wire protocol, sections 4.2, 4.4, 4.5 and 4.7).

use crate::effects::{DiskOp, Effects, PeerSlot, VolumeIndex};
use crate::link::LinkFailure;
use crate::memory::Memory;
use crate::peer_request::{Kind, PeerRequest};
use crate::resource::Resource;
use crate::state::is_syncing;
use crate::wire::{
    BarrierNumber, BlockData, BlockId, DataFlags, DiskState, Features, Packet, Range, RangeWrite,
};

impl<M: Memory> Resource<M> {
    /// `P_DATA` with its payload in `slot`.
    pub(crate) fn data_received(
        &mut self,
        v: VolumeIndex,
        data: &BlockData<'_>,
        slot: PeerSlot,
        fx: &mut dyn Effects,
    ) {
        self.write_received(
            v,
            data.range,
            data.block_id,
            data.flags,
            DiskOp::Write,
            slot,
            fx,
        );
    }

    /// `P_TRIM` or `P_ZEROES`.
    pub(crate) fn range_write_received(
        &mut self,
        v: VolumeIndex,
        write: &RangeWrite,
        zeroes: bool,
        fx: &mut dyn Effects,
    ) {
        let Some(slot) = self.reserve_peer(0) else {
            return self.fail_link(LinkFailure::ProtocolError, fx);
        };
        // A sender without the feature uses discards for "must read as zero" too (section 3.3).
        let must_be_zero = zeroes || !self.link.agreed.features.contains(Features::WZEROES);
        let op = match must_be_zero {
            true => DiskOp::Zeroes {
                unmap: !zeroes || write.flags.contains(DataFlags::DISCARD),
            },
            false => DiskOp::Discard,
        };
        self.write_received(v, write.range, write.block_id, write.flags, op, slot, fx);
    }

    #[allow(clippy::too_many_arguments)] // The fields of two packets that are one thing.
    fn write_received(
        &mut self,
        v: VolumeIndex,
        range: Range,
        block_id: BlockId,
        mut flags: DataFlags,
        op: DiskOp,
        slot: PeerSlot,
        fx: &mut dyn Effects,
    ) {
        let generation = self.link.generation;
        self.receiving.writes = self.receiving.writes.saturating_add(1);
        let Some(volume) = self.vol_mut(v) else {
            return;
        };
        volume.counters.received += range.sectors();
        if !volume.has_disk() {
            self.release(slot, fx);
            return self.acknowledge(v, Packet::NegAck, range, block_id, fx);
        }
        if volume.state.pdsk < DiskState::Inconsistent && !crate::mutants::is_active(4) {
            volume.mark(&range);
            flags = flags.without(DataFlags::MAY_SET_IN_SYNC);
        }
        let logged = self.peer_write_is_logged(v);
        let Some(volume) = self.vol_mut(v) else {
            return;
        };
        volume.counters.unacked += 1;
        self.receiving.active += 1;
        if let Some(request) = self.peer.get_mut(slot) {
            *request = PeerRequest {
                block_id,
                flags,
                op,
                logged,
                ..PeerRequest::new(Kind::Write, v, range, generation)
            };
        }
        self.run_or_hold(slot, fx);
    }

    /// `P_BARRIER`: the peer's open epoch is complete.
    pub(crate) fn barrier_received(&mut self, barrier: BarrierNumber, fx: &mut dyn Effects) {
        if self.receiving.writes > 0 {
            self.receiving.barrier = Some(barrier);
            self.finish_epoch(fx);
        }
    }

    pub(crate) fn acknowledge_write(
        &mut self,
        v: VolumeIndex,
        range: Range,
        block_id: BlockId,
        flags: DataFlags,
        ok: bool,
        fx: &mut dyn Effects,
    ) {
        let syncing = self
            .vol(v)
            .is_some_and(|volume| is_syncing(volume.state.conn));
        let in_sync = syncing && flags.contains(DataFlags::MAY_SET_IN_SYNC);
        if ok && in_sync {
            self.vol_mut(v).map(|volume| volume.unmark(&range));
        }
        match (ok, flags.contains(DataFlags::SEND_WRITE_ACK)) {
            (false, _) => self.acknowledge(v, Packet::NegAck, range, block_id, fx),
            (true, true) if in_sync => self.acknowledge(v, Packet::RsWriteAck, range, block_id, fx),
            (true, true) => self.acknowledge(v, Packet::WriteAck, range, block_id, fx),
            (true, false) => (),
        }
    }
}
