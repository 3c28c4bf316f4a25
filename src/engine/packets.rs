// SPDX-License-Identifier: GPL-2.0

//! Which packet means what, and what may not come now (wire protocol, sections 2.5, 3.11 and 10.2).

use crate::effects::{Act, Effects, Millis, Notice, Payload, PeerSlot, VolumeIndex};
use crate::link::LinkFailure;
use crate::memory::Memory;
use crate::request::Part;
use crate::resource::Resource;
use crate::state::is_syncing;
use crate::wire::{Ack, BlockData, BlockId, Command, Header, Packet, Range, Scope, Socket};

impl<M: Memory> Resource<M> {
    /// A packet arrived. Its payload, if it has one, is in the buffer of `slot`, which [`Resource::reserve_peer`] gave.
    ///
    /// What the peer must not send ends the connection: `Act::CloseLink` follows.
    pub fn packet(
        &mut self,
        now: Millis,
        socket: Socket,
        header: &Header,
        packet: &Packet<'_>,
        slot: Option<PeerSlot>,
        fx: &mut dyn Effects,
    ) {
        self.heard(now);
        if !self.link.can_send() || self.link.parting.is_some() {
            if let Some(slot) = slot {
                self.release(slot, fx);
            }
            return;
        }
        let taken = match header.command.scope() {
            Scope::Connection => self.connection_packet(packet, fx),
            Scope::Volume => self.volume_packet(header, packet, slot, fx),
        };
        if let Err(what) = taken {
            let packet = header.command.name();
            fx.act(Act::Notice(Notice::BadPacket { packet, what }));
            let failure = match socket {
                Socket::Data => LinkFailure::ProtocolError,
                Socket::Meta => LinkFailure::NetworkFailure,
            };
            self.fail_link(failure, fx);
            if let Some(slot) = slot {
                self.release(slot, fx);
            }
        }
        self.resume_parked(fx);
    }

    fn connection_packet(
        &mut self,
        packet: &Packet<'_>,
        fx: &mut dyn Effects,
    ) -> Result<(), &'static str> {
        match packet {
            Packet::Protocol(_) if self.is_introduced() => return Err("a second one"),
            Packet::Protocol(protocol) => self.protocol_received(protocol, fx),
            Packet::Ping => self.send(None, Socket::Meta, &Packet::PingAck, Payload::None, fx),
            Packet::PingAck => self.ping_ack_received(fx),
            _ if !self.is_introduced() => return Err("a packet before P_PROTOCOL"),
            Packet::Barrier(barrier) => self.barrier_received(*barrier, fx),
            Packet::BarrierAck(ack) => match self.sending.acknowledge(ack.barrier, ack.set_size) {
                Some(epoch) => self.epoch_done(epoch, fx),
                None => return Err("it does not fit the oldest open epoch"),
            },
            Packet::ConnStateChangeRequest(change) => self.disconnect_received(change, fx),
            Packet::ConnStateChangeReply(code) => self.admin_reply(None, *code, fx),
            Packet::ProtocolUpdate(protocol) => {
                if let Some(net) = &mut self.net {
                    net.protocol = protocol.protocol;
                }
            }
            _ => return Err("a packet that does not belong here"),
        }
        Ok(())
    }

    fn volume_packet(
        &mut self,
        header: &Header,
        packet: &Packet<'_>,
        slot: Option<PeerSlot>,
        fx: &mut dyn Effects,
    ) -> Result<(), &'static str> {
        if !self.is_introduced() {
            return Err("a packet of a volume before P_PROTOCOL");
        }
        let Some(v) = self.volume_by_number(header.volume) else {
            return match header.command.ignorable_without_volume() {
                true => {
                    fx.act(Act::Notice(Notice::Peer(
                        "a volume that is not configured here",
                    )));
                    Ok(())
                }
                false => Err("a packet for a volume that is not configured here"),
            };
        };
        let capacity = self.vol(v).map_or(0, |volume| volume.capacity);
        if packet.check_capacity(capacity).is_err() {
            return Err("a range beyond the end of the volume");
        }
        let connected = self.vol(v).is_some_and(Self::is_connected);
        if !connected && !is_handshake(header.command) {
            return Err("data before the handshake of the volume is complete");
        }
        let series = self.vol(v).is_some_and(|volume| volume.bitmap_in.is_some());
        let bitmap = matches!(header.command, Command::Bitmap | Command::CompressedBitmap);
        if series && !bitmap && !header.command.travels_on(Socket::Meta) {
            return Err("another packet inside a series of bitmap packets");
        }
        match packet {
            Packet::Data(data) => self.data_received(v, data, slot.ok_or("without data")?, fx),
            Packet::DataReply(data) => self.read_answered(v, data, slot.ok_or("no data")?, fx)?,
            Packet::RsDataReply(data) => {
                self.resync_data_received(v, data.range, slot.ok_or("no data")?, fx);
            }
            Packet::Trim(write) => self.range_write_received(v, write, false, fx),
            Packet::Zeroes(write) => self.range_write_received(v, write, true, fx),
            Packet::DataRequest(request) => self.read_received(v, request, fx),
            Packet::RsDataRequest(request) | Packet::RsThinRequest(request) => {
                self.resync_read_received(v, request.range, fx);
            }
            // Without an algorithm of our own the data are the answer (section 5.5).
            Packet::CsumRsRequest(request) => {
                self.resync_read_received(v, request.request.range, fx)
            }
            Packet::Bitmap(words) => self.bitmap_received(v, Ok(words), fx),
            Packet::CompressedBitmap(runs) => self.bitmap_received(v, Err(runs), fx),
            Packet::Sizes(sizes) => self.sizes_received(v, sizes, fx),
            Packet::Uuids(uuids) => self.uuids_received(v, uuids, fx),
            Packet::State(state) => self.state_received(v, state, fx),
            Packet::SyncUuid(uuid) => self.sync_uuid_received(v, *uuid, fx),
            Packet::StateChangeRequest(change) => self.change_requested(v, change, fx),
            Packet::OutOfSync(range) => self.out_of_sync_received(v, range),
            Packet::StateChangeReply(code) => self.admin_reply(Some(v), *code, fx),
            Packet::UnplugRemote | Packet::SyncParam(_) | Packet::DelayProbe => (),
            other => return self.acknowledgement(v, other, capacity, fx),
        }
        Ok(())
    }

    fn acknowledgement(
        &mut self,
        v: VolumeIndex,
        packet: &Packet<'_>,
        capacity: u64,
        fx: &mut dyn Effects,
    ) -> Result<(), &'static str> {
        const BEYOND: &str = "an acknowledgement beyond the end of the volume";
        match packet {
            Packet::RecvAck(ack) | Packet::WriteAck(ack) | Packet::RsWriteAck(ack)
                if ack.block_id == BlockId::SYNCER =>
            {
                let range = ack.range_within(capacity).ok_or(BEYOND)?;
                self.resync_acknowledged(v, range, true);
            }
            Packet::NegAck(ack) if ack.block_id == BlockId::SYNCER => {
                let range = ack.range_within(capacity).ok_or(BEYOND)?;
                self.resync_acknowledged(v, range, false);
            }
            Packet::RecvAck(ack) | Packet::WriteAck(ack) => {
                self.write_acknowledged(v, ack, false, fx)?
            }
            Packet::RsWriteAck(ack) => self.write_acknowledged(v, ack, true, fx)?,
            Packet::NegAck(ack) => self.write_refused(v, ack, capacity, fx)?,
            Packet::NegDreply(ack) => {
                let slot = self
                    .pending(v, ack.block_id, ack.sector)
                    .ok_or("for an unknown request")?;
                self.remote_done(slot, false, fx);
            }
            Packet::NegRsDreply(ack) => {
                let range = ack.range_within(capacity).ok_or(BEYOND)?;
                self.resync_refused(v, range, true, fx);
            }
            Packet::RsCancel(ack) => {
                let range = ack.range_within(capacity).ok_or(BEYOND)?;
                self.resync_refused(v, range, false, fx);
            }
            _ => return Err("a packet that nobody asked for"),
        }
        Ok(())
    }

    /// The request of this volume that a block id and sector name (section 4.4).
    fn pending(&self, v: VolumeIndex, id: BlockId, sector: u64) -> Option<u32> {
        let slot = self.app.lookup(id.to_u64())?;
        let request = self.app.get(slot)?;
        (request.volume == v && request.io.range.sector == sector).then_some(slot)
    }

    fn write_acknowledged(
        &mut self,
        v: VolumeIndex,
        ack: &Ack,
        in_sync: bool,
        fx: &mut dyn Effects,
    ) -> Result<(), &'static str> {
        let slot = self
            .pending(v, ack.block_id, ack.sector)
            .ok_or("an acknowledgement of an unknown write")?;
        let Some(request) = self.app.get_mut(slot) else {
            return Ok(());
        };
        if !request.is_write() || request.epoch.is_none() {
            return Err("an acknowledgement of something that is no write in flight");
        }
        request.in_sync |= in_sync;
        let range = request.io.range;
        let local = request.local;
        let late = request.done;
        if request.remote == Part::Pending {
            self.remote_done(slot, true, fx);
        } else if late && in_sync && local == Part::Ok {
            // As for the acknowledgement of a resync: not after the resync in which it was sent.
            self.vol_mut(v)
                .filter(|volume| is_syncing(volume.state.conn))
                .map(|volume| volume.unmark(&range));
        }
        Ok(())
    }

    fn write_refused(
        &mut self,
        v: VolumeIndex,
        ack: &Ack,
        capacity: u64,
        fx: &mut dyn Effects,
    ) -> Result<(), &'static str> {
        match self.pending(v, ack.block_id, ack.sector) {
            Some(slot) if crate::mutants::is_active(16) => self.remote_done(slot, false, fx),
            None if crate::mutants::is_active(16) => (),
            Some(slot) => {
                let range = self.app.get(slot).map(|request| request.io.range);
                if let (Some(volume), Some(range)) = (self.vol_mut(v), range) {
                    volume.mark(&range);
                }
                self.remote_refused(v, slot, fx);
            }
            None => {
                let range: Range = ack
                    .range_within(capacity)
                    .ok_or("for an impossible range")?;
                self.vol_mut(v).map(|volume| volume.mark(&range));
            }
        }
        Ok(())
    }

    /// `P_DATA_REPLY` with the data in `peer`.
    fn read_answered(
        &mut self,
        v: VolumeIndex,
        data: &BlockData<'_>,
        peer: PeerSlot,
        fx: &mut dyn Effects,
    ) -> Result<(), &'static str> {
        const UNKNOWN: &str = "for an unknown request";
        let slot = self
            .pending(v, data.block_id, data.range.sector)
            .ok_or(UNKNOWN)?;
        let fits = self.app.get(slot).is_some_and(|request| {
            !request.is_write() && request.remote == Part::Pending && request.io.range == data.range
        });
        if !fits {
            return Err(UNKNOWN);
        }
        match self.app.get_mut(slot) {
            // A disk that was given up by force still has it, too.
            Some(request) if request.abandoned => {
                request.remote = Part::Ok;
                request.done = true;
            }
            _ => {
                self.app.remove(slot);
            }
        }
        if let Some(volume) = self.vol_mut(v) {
            volume.counters.received += data.range.sectors();
            volume.counters.peer_pending = volume.counters.peer_pending.saturating_sub(1);
            volume.counters.app_pending = volume.counters.app_pending.saturating_sub(1);
        }
        if let Some(request) = self.peer.get_mut(peer) {
            request.hand_over(v);
        }
        fx.act(Act::CompleteAppRead { slot, peer });
        fx.act(Act::Wake);
        Ok(())
    }
}

fn is_handshake(command: Command) -> bool {
    matches!(
        command,
        Command::SyncParam
            | Command::Sizes
            | Command::Uuids
            | Command::State
            | Command::StateChangeRequest
            | Command::StateChangeReply
            | Command::DelayProbe
            | Command::UnplugRemote
    )
}
