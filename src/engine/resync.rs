// SPDX-License-Identifier: GPL-2.0

//! Bringing a node up to date (wire protocol, section 5).
//!
//! The target walks its bitmap, asks for blocks, writes what comes, and clears the bits; so does the source when it gets the
//! acknowledgement. The target alone decides the end; a ping makes sure that the source has seen every acknowledgement first.

use crate::bits::Words;
use crate::effects::{Act, Effects, Millis, Notice, Payload, PeerSlot, VolumeIndex};
use crate::generation::Generation;
use crate::link::LinkFailure;
use crate::memory::Memory;
use crate::resource::Resource;
use crate::resync_rate::{Observed, Pace, RateOptions};
use crate::state::{is_source, is_target};
use crate::volume::{Resync, Volume};
use crate::wire::{
    BlockId, BlockRequest, ConnState as C, DiskState as D, Packet, Range, Socket, State, SyncParam,
    BITMAP_BLOCK_SECTORS,
};

/// Most blocks of one request.
const REQUEST_BLOCKS: u64 = 64;

/// Bytes of a block.
const BLOCK_BYTES: u64 = 4096;

/// Bytes that may be asked for and not yet written.
const WINDOW: u64 = 4 << 20;

/// Steps of the rate limit, in milliseconds.
const STEP_MS: Millis = 100;

/// Interval at which the progress is noted on the disk: what a crash makes this node copy once more. In milliseconds.
const NOTE_MS: Millis = 2000;

/// Interval of the marks from which the current speed is computed, in milliseconds.
const MARK_MS: Millis = 3000;

impl<M: Memory> Resource<M> {
    /// A resync begins on this node.
    pub(crate) fn resync_begins(&mut self, v: VolumeIndex, fx: &mut dyn Effects) {
        let now = self.now;
        let Some(volume) = self.vol_mut(v) else {
            return;
        };
        let left = volume.out_of_sync();
        volume.resync_round = volume.resync_round.wrapping_add(1);
        volume.resync = Resync {
            total: left,
            started: Some(now),
            mark_left: left,
            mark_time: now,
            last_mark_left: left,
            last_mark_time: now,
            refilled: now,
            noted: now,
            pace: Pace::new(&rate_options(volume)),
            ..Resync::default()
        };
        let source = is_source(volume.state.conn);
        volume.resync.others_io = volume.others_io();
        grant(volume, STEP_MS);
        fx.act(Act::Notice(Notice::SyncStarted {
            volume: v,
            bits: left,
            source,
        }));
        fx.act(Act::Rearm);
        self.resync_fill(v, fx);
    }

    /// A resync ends on this node, finished or not.
    pub(crate) fn resync_ends(&mut self, v: VolumeIndex, fx: &mut dyn Effects) {
        let now = self.now;
        let Some(volume) = self.vol_mut(v) else {
            return;
        };
        let resync = core::mem::take(&mut volume.resync);
        let took_ms = now.saturating_sub(resync.started.unwrap_or(now));
        let copied = resync.total.saturating_sub(volume.out_of_sync());
        fx.act(Act::Notice(Notice::SyncDone {
            volume: v,
            failed: resync.failed,
            took_ms,
            copied,
        }));
        self.write_bitmap(v, fx);
    }

    /// Asks for more blocks, as far as window and rate permit; ends the resync when there are none left.
    pub(crate) fn resync_fill(&mut self, v: VolumeIndex, fx: &mut dyn Effects) {
        if !self.link.can_send() {
            return;
        }
        while let Some(range) = self.next_resync_range(v) {
            if self.app_is_writing(v, &range) || !self.remember_resync_request(v, range) {
                return;
            }
            if let Some(volume) = self.vol_mut(v) {
                volume.resync.in_flight += u64::from(range.bytes);
                volume.resync.budget -= i64::from(range.bytes);
                volume.resync.cursor = range.end().div_ceil(BITMAP_BLOCK_SECTORS);
                volume.counters.peer_pending += 1;
            }
            let packet = Packet::RsDataRequest(BlockRequest::syncer(range));
            self.send(Some(v), Socket::Data, &packet, Payload::None, fx);
        }
        self.resync_check_end(v, fx);
    }

    fn next_resync_range(&mut self, v: VolumeIndex) -> Option<Range> {
        let idle = !self.resync_in_flight(v);
        let volume = self.vol_mut(v)?;
        let ready = volume.state.conn == C::SyncTarget
            && volume.resync.finishing.is_none()
            && !volume.waits_for_metadata()
            && volume.resync.in_flight < WINDOW
            && volume.resync.budget > 0;
        let disk = volume
            .disk
            .as_ref()
            .filter(|disk| ready && !disk.superblock_after_bitmap)?;
        let bits = disk.bitmap.bits();
        let first = match disk.bitmap.find(volume.resync.cursor, bits, true) {
            Some(bit) => bit,
            // Bits behind the cursor that are set again: another round, when this one is complete.
            None if idle
                && !crate::mutants::is_active(37)
                && volume.resync.failed < disk.bitmap.set_bits() =>
            {
                disk.bitmap.find(0, bits, true)?
            }
            None => return None,
        };
        // A request lies on a multiple of its size, so it stays within an extent (section 5.4).
        // A slow resync asks for little at a time, lest its requests come in bursts.
        let step = volume.resync.pace.allowance(STEP_MS) / BLOCK_BYTES;
        let most = REQUEST_BLOCKS.min(1 << step.checked_ilog2().unwrap_or(0));
        let aligned = if first == 0 {
            most
        } else {
            most.min(1 << first.trailing_zeros().min(32))
        };
        let end = disk
            .bitmap
            .find(first, first.saturating_add(aligned), false);
        let end = end.unwrap_or(first.saturating_add(aligned)).min(bits);
        let sector = first.saturating_mul(BITMAP_BLOCK_SECTORS);
        let end_sector = end
            .saturating_mul(BITMAP_BLOCK_SECTORS)
            .min(volume.capacity);
        let bytes = u32::try_from(end_sector.checked_sub(sector)?.checked_mul(512)?).ok()?;
        (bytes > 0).then_some(Range { sector, bytes })
    }

    fn resync_check_end(&mut self, v: VolumeIndex, fx: &mut dyn Effects) {
        if self.resync_in_flight(v) {
            return;
        }
        let Some(volume) = self.vol(v) else { return };
        let done = volume.state.conn == C::SyncTarget
            && volume.resync.finishing.is_none()
            && !volume.waits_for_metadata()
            && volume.out_of_sync() <= volume.resync.failed;
        if done {
            let ping = self.send_ping(fx);
            if let Some(volume) = self.vol_mut(v) {
                volume.resync.finishing = Some(ping);
            }
            if crate::mutants::is_active(8) {
                self.finish_resync(v, fx);
            }
        }
    }

    /// `P_RS_DATA_REPLY` with its data in `slot`.
    pub(crate) fn resync_data_received(
        &mut self,
        v: VolumeIndex,
        range: Range,
        slot: PeerSlot,
        fx: &mut dyn Effects,
    ) {
        let Some(in_resync) = self.take_resync_request(v, range) else {
            self.release(slot, fx);
            fx.act(Act::Notice(Notice::Peer(
                "resync data that nobody asked for",
            )));
            return self.fail_link(LinkFailure::ProtocolError, fx);
        };
        let Some(volume) = self.vol_mut(v) else {
            return;
        };
        volume.counters.received += range.sectors();
        volume.resync.arrived += u64::from(range.bytes);
        volume.counters.peer_pending = volume.counters.peer_pending.saturating_sub(1);
        // The answer to a request that was made before the disk went away and came back is too old: the source may have written
        // to the block, and told so, since.
        if volume.has_disk() && in_resync {
            volume.counters.unacked += 1;
            self.write_resync_data(v, range, slot, fx);
        } else {
            self.release(slot, fx);
            self.resync_written(v, range, false, in_resync, fx);
        }
    }

    /// A block of a resync is written, or could not be. `in_resync`: that resync still runs; a write of an earlier one proves nothing.
    pub(crate) fn resync_written(
        &mut self,
        v: VolumeIndex,
        range: Range,
        ok: bool,
        in_resync: bool,
        fx: &mut dyn Effects,
    ) {
        let Some(volume) = self.vol_mut(v) else {
            return;
        };
        let ok = ok && in_resync;
        if in_resync {
            volume.resync.in_flight = volume
                .resync
                .in_flight
                .saturating_sub(u64::from(range.bytes));
            match ok {
                true => {
                    volume.unmark(&range);
                }
                false => volume.resync.failed += range.sectors().div_ceil(BITMAP_BLOCK_SECTORS),
            }
        }
        let kind = if ok {
            Packet::RsWriteAck
        } else {
            Packet::NegAck
        };
        self.acknowledge(v, kind, range, BlockId::SYNCER, fx);
    }

    /// The source cannot serve a request (`failed`), or will not now.
    pub(crate) fn resync_refused(
        &mut self,
        v: VolumeIndex,
        range: Range,
        failed: bool,
        fx: &mut dyn Effects,
    ) {
        let Some(in_resync) = self.take_resync_request(v, range) else {
            return self.fail_link(LinkFailure::NetworkFailure, fx);
        };
        if let Some(volume) = self.vol_mut(v) {
            volume.counters.peer_pending = volume.counters.peer_pending.saturating_sub(1);
            if in_resync {
                let in_flight = volume.resync.in_flight;
                volume.resync.in_flight = in_flight.saturating_sub(u64::from(range.bytes));
                if failed {
                    volume.resync.failed += range.sectors().div_ceil(BITMAP_BLOCK_SECTORS);
                }
            }
        }
        self.resync_fill(v, fx);
    }

    /// The target has written a block of the resync, or failed to.
    ///
    /// After the resync this says nothing: the target has lost its disk, and the block may have been written here since. An answer so
    /// late that it comes in the next resync does no harm: the target has the bit until it has asked for the block again.
    pub(crate) fn resync_acknowledged(&mut self, v: VolumeIndex, range: Range, ok: bool) {
        if let Some(volume) = self
            .vol_mut(v)
            .filter(|volume| is_source(volume.state.conn))
        {
            if ok {
                volume.unmark(&range);
            } else {
                volume.resync.failed += range.sectors().div_ceil(BITMAP_BLOCK_SECTORS);
            }
        }
    }

    /// The target says that it is done (section 5.7, source side). It has acknowledged every block before.
    pub(crate) fn peer_finished_resync(&mut self, v: VolumeIndex, fx: &mut dyn Effects) {
        let Some(volume) = self.vol(v).filter(|v| v.resync.finishing.is_none()) else {
            return;
        };
        // What this node could not read itself concerns the target no more.
        let own = volume.trouble.passed_on;
        if !own && volume.out_of_sync() > volume.resync.failed {
            // Blocks that were marked here alone: the next exchange of bitmaps tells the target.
            fx.act(Act::Notice(Notice::Peer(
                "the resync has ended, but not all blocks were copied: the nodes meet again",
            )));
            return self.fail_link(LinkFailure::NetworkFailure, fx);
        }
        let ping = self.send_ping(fx);
        if let Some(volume) = self.vol_mut(v) {
            volume.resync.finishing = Some(ping);
        }
    }

    /// A ping was answered: perhaps the one that a resync ends with.
    pub(crate) fn resync_ping_answered(&mut self, v: VolumeIndex, fx: &mut dyn Effects) {
        let Some(ping) = self.vol(v).and_then(|volume| volume.resync.finishing) else {
            return;
        };
        if self.ping_answered(ping) {
            self.finish_resync(v, fx);
        }
    }

    fn finish_resync(&mut self, v: VolumeIndex, fx: &mut dyn Effects) {
        let Some(volume) = self.vol_mut(v) else {
            return;
        };
        volume.resync.finishing = None;
        let state = volume.state;
        let failed = volume.resync.failed > 0 && volume.out_of_sync() > 0;
        if is_target(state.conn) && volume.out_of_sync() > volume.resync.failed {
            // New blocks were marked while the ping was under way.
            return self.resync_fill(v, fx);
        }
        let primary = volume.primary();
        let mut new = State {
            conn: C::Connected,
            ..state
        };
        if is_target(state.conn) {
            if !failed && !crate::mutants::is_active(29) {
                if let Some(peer) = &mut volume.peer_generation {
                    let source = peer.uuids;
                    volume.generation.finish_target(&source, primary);
                    // What it has said of itself is from before the resync; now it has what this node has.
                    peer.uuids = Generation {
                        current: source.current,
                        ..volume.generation
                    };
                }
                new = State {
                    disk: D::UpToDate,
                    pdsk: D::UpToDate,
                    ..new
                };
            }
        } else if is_source(state.conn) {
            volume.generation.finish_source();
            if let Some(peer) = &mut volume.peer_generation {
                peer.uuids = volume.generation;
            }
            new = State {
                pdsk: D::UpToDate,
                ..new
            };
        } else {
            return;
        }
        self.superblock_changed(v, fx);
        self.change(v, new, "resync finished", fx);
    }

    /// An agreed full resync (section 5.9): marks everything, then goes on as source or target.
    pub(crate) fn start_full_sync(&mut self, v: VolumeIndex, fx: &mut dyn Effects) {
        self.set_all_bits(v, fx);
        let Some(state) = self.vol(v).map(|volume| volume.state) else {
            return;
        };
        let (conn, disk, pdsk) = match state.conn {
            C::StartingSyncS => (C::SyncSource, state.disk, D::Inconsistent),
            C::StartingSyncT => (C::WFSyncUUID, D::Inconsistent, state.pdsk),
            _ => return,
        };
        self.change(
            v,
            State {
                conn,
                disk,
                pdsk,
                ..state
            },
            "full resync",
            fx,
        );
    }

    /// The options of the disk have changed: tells the peer what pace this node wants, as it did in the handshake.
    pub(crate) fn tell_sync_param(&mut self, v: VolumeIndex, fx: &mut dyn Effects) {
        let connected = |volume: &&Volume<M>| volume.state.conn >= C::Connected;
        if let Some(volume) = self.vol(v).filter(connected) {
            let packet = Packet::SyncParam(sync_param(volume));
            self.send(Some(v), Socket::Data, &packet, Payload::None, fx);
        }
    }

    /// Another resync on this node goes first, or does no more (section 9.2). The owner of all resources knows.
    pub fn resync_waits(&mut self, now: Millis, v: VolumeIndex, waits: bool, fx: &mut dyn Effects) {
        self.now = now;
        if let Some(state) = self.vol(v).map(|volume| volume.state) {
            let aftr_isp = waits;
            self.change(v, State { aftr_isp, ..state }, "resync-after", fx);
        }
    }

    /// Time has passed for a resync: rate limit and speed.
    pub(crate) fn resync_tick(&mut self, v: VolumeIndex, fx: &mut dyn Effects) {
        let now = self.now;
        let Some(volume) = self.vol_mut(v) else {
            return;
        };
        if volume.resync.started.is_none() {
            return;
        }
        let left = volume.out_of_sync();
        let resync = &mut volume.resync;
        if now.saturating_sub(resync.mark_time) >= MARK_MS && left != resync.mark_left {
            resync.last_mark_left = resync.mark_left;
            resync.last_mark_time = resync.mark_time;
            resync.mark_left = left;
            resync.mark_time = now;
        }
        let elapsed_ms = now.saturating_sub(resync.refilled);
        if elapsed_ms >= STEP_MS {
            resync.refilled = now;
            let arrived = core::mem::take(&mut resync.arrived);
            let others_io = volume.others_io();
            let application = others_io.saturating_sub(volume.resync.others_io);
            volume.resync.others_io = others_io;
            if volume.state.conn == C::SyncTarget {
                let (asked, writing) = self.resync_under_way(v);
                let seen = Observed {
                    elapsed_ms,
                    arrived,
                    asked,
                    writing,
                    application: application.saturating_mul(512),
                };
                if let Some(volume) = self.vol_mut(v) {
                    let options = rate_options(volume);
                    volume.resync.pace.step(&options, &seen);
                    grant(volume, elapsed_ms.min(10 * STEP_MS));
                }
                self.resync_fill(v, fx);
            }
        }
        self.note_progress(v, fx);
        fx.act(Act::Rearm);
    }

    fn note_progress(&mut self, v: VolumeIndex, fx: &mut dyn Effects) {
        let now = self.now;
        let Some(volume) = self.vol_mut(v) else {
            return;
        };
        if now.saturating_sub(volume.resync.noted) >= NOTE_MS {
            volume.resync.noted = now;
            self.write_bitmap(v, fx);
        }
    }
}

/// What a node says of the pace that it wants (section 3.7).
pub(crate) fn sync_param<M: Memory>(volume: &Volume<M>) -> SyncParam {
    let Some(disk) = &volume.disk else {
        return SyncParam::DEFAULT;
    };
    let rate = disk.options.rate;
    SyncParam {
        resync_rate: rate.resync_rate,
        plan_ahead: rate.plan_ahead,
        delay_target: rate.delay_target,
        fill_target: rate.fill_target,
        max_rate: rate.max_rate,
        ..SyncParam::DEFAULT
    }
}

fn rate_options<M: Memory>(volume: &Volume<M>) -> RateOptions {
    volume
        .disk
        .as_ref()
        .map_or(RateOptions::default(), |disk| disk.options.rate)
}

/// Allows what the pace gives in so many milliseconds. What was not used before is not saved up; what was too much counts.
fn grant<M: Memory>(volume: &mut Volume<M>, ms: Millis) {
    let allowance = i64::try_from(volume.resync.pace.allowance(ms)).unwrap_or(i64::MAX);
    volume.resync.budget = volume.resync.budget.min(0).saturating_add(allowance);
}
