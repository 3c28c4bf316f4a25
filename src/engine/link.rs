// SPDX-License-Identifier: GPL-2.0

//! The connection: from configured to established, kept alive, and lost again (wire protocol, sections 1, 3.1, 4.11 and 10.1).

use crate::admin::Request;
use crate::effects::{Act, Effects, Millis, Notice, Payload, VolumeIndex};
use crate::memory::Memory;
use crate::parting::Parting;
use crate::resource::Resource;
use crate::volume::Volume;
use crate::wire::{
    AfterSplitBrain, Agreed, AlgorithmName, ConnState, ConnectFlags, DiskState, Packet, Protocol,
    ReplicationProtocol, Role, Socket, State,
};

/// Options of a connection, as far as decisions depend on them (wire protocol, appendix A).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetOptions {
    /// When a write is complete.
    pub protocol: ReplicationProtocol,
    /// Policies after a split brain with no, one and two Primaries.
    pub after_split_brain: [AfterSplitBrain; 3],
    /// Apply the policies even where the history does not permit to.
    pub always_after_split_brain: bool,
    /// A Primary may become sync target.
    pub rr_conflict_violently: bool,
    /// Silence after which the peer is asked for a sign of life, in milliseconds.
    pub ping_interval_ms: u32,
    /// Time for the answer, in milliseconds.
    pub ping_timeout_ms: u32,
    /// Time for progress of a send, in milliseconds.
    pub timeout_ms: u32,
    /// How many times `timeout_ms` a write may stay unanswered; 0 = for ever.
    pub ko_count: u32,
    /// Most writes in an epoch.
    pub max_epoch_size: u32,
    /// Send run-length coded bitmaps.
    pub use_rle: bool,
    /// Give up the own data in a split brain, in this connection attempt.
    pub discard_my_data: bool,
    /// Say what would happen, and disconnect.
    pub tentative: bool,
}

impl Default for NetOptions {
    fn default() -> Self {
        Self {
            protocol: ReplicationProtocol::C,
            after_split_brain: [AfterSplitBrain::Disconnect; 3],
            always_after_split_brain: false,
            rr_conflict_violently: false,
            ping_interval_ms: 10_000,
            ping_timeout_ms: 500,
            timeout_ms: 6_000,
            ko_count: 7,
            max_epoch_size: 2048,
            use_rle: true,
            discard_my_data: false,
            tentative: false,
        }
    }
}

/// Why a connection ends without anybody having asked for it (section 10.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkFailure {
    /// No progress in sending, or a write unanswered for too long.
    Timeout,
    /// A stream ended or failed.
    BrokenPipe,
    /// The meta stream failed, or the peer gave no sign of life.
    NetworkFailure,
    /// The peer sent something that it must not send.
    ProtocolError,
}

impl LinkFailure {
    fn state(self) -> ConnState {
        match self {
            Self::Timeout => ConnState::Timeout,
            Self::BrokenPipe => ConnState::BrokenPipe,
            Self::NetworkFailure => ConnState::NetworkFailure,
            Self::ProtocolError => ConnState::ProtocolError,
        }
    }
}

/// What the two nodes agreed on before the first packet of a volume.
#[derive(Clone, Copy, Debug)]
pub struct LinkTerms {
    /// Version and features.
    pub agreed: Agreed,
    /// This node accepted the meta stream (section 1.4).
    pub resolve: bool,
}

/// State of the connection.
pub(crate) struct Link {
    /// State that volumes without one of their own have.
    pub(crate) conn: ConnState,
    pub(crate) agreed: Agreed,
    pub(crate) resolve: bool,
    /// Grows with every connection.
    pub(crate) generation: u32,
    established: bool,
    closing: bool,
    /// After the end: `true` = try again, `false` = StandAlone.
    retry: bool,
    /// The peer's `P_PROTOCOL` was accepted.
    introduced: bool,
    since: Millis,
    heard: Millis,
    pings_sent: u32,
    pings_answered: u32,
    ping_sent: Millis,
    /// The peer asked to disconnect and was answered yes.
    pub(crate) tearing_down: bool,
    /// The nodes do not fit together; until when the peer may take to find out, too.
    pub(crate) parting: Option<Parting>,
    pub(crate) peer_tentative: bool,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            conn: ConnState::StandAlone,
            agreed: Agreed::NOTHING,
            resolve: false,
            generation: 0,
            established: false,
            closing: false,
            retry: false,
            introduced: false,
            since: 0,
            heard: 0,
            pings_sent: 0,
            pings_answered: 0,
            ping_sent: 0,
            tearing_down: false,
            parting: None,
            peer_tentative: false,
        }
    }
}

impl Link {
    pub(crate) fn can_send(&self) -> bool {
        self.established && !self.closing
    }

    /// Lost, but the streams are not closed yet.
    pub(crate) fn is_closing(&self) -> bool {
        self.established && self.closing
    }

    fn ping_outstanding(&self) -> bool {
        self.pings_answered != self.pings_sent
    }
}

impl<M: Memory> Resource<M> {
    /// What was agreed with the peer.
    pub fn agreed(&self) -> &Agreed {
        &self.link.agreed
    }

    pub(crate) fn protocol(&self) -> ReplicationProtocol {
        self.net.map_or(ReplicationProtocol::C, |net| net.protocol)
    }

    pub(crate) fn max_epoch_size(&self) -> u32 {
        self.net.map_or(2048, |net| net.max_epoch_size.max(1))
    }

    /// Begins to look for the peer.
    pub(crate) fn start_connecting(&mut self, pause_ms: u32, fx: &mut dyn Effects) {
        self.link.retry = true;
        self.link.closing = false;
        self.set_connection(ConnState::Unconnected, "connecting", fx);
        self.set_connection(ConnState::WFConnection, "connecting", fx);
        fx.act(Act::OpenLink { pause_ms });
    }

    fn set_connection(&mut self, conn: ConnState, why: &'static str, fx: &mut dyn Effects) {
        self.link.conn = conn;
        self.for_each_volume(|this, v| {
            let Some(volume) = this.vol_mut(v) else {
                return;
            };
            let mut state = volume.state;
            if conn < ConnState::Connected && core::mem::take(&mut volume.trouble.outdate_peer) {
                state.pdsk = DiskState::Outdated;
            }
            this.change(v, State { conn, ..state }, why, fx);
        });
    }

    /// Both streams stand; features and, if configured, authentication are done.
    pub fn link_up(&mut self, now: Millis, terms: LinkTerms, fx: &mut dyn Effects) {
        self.now = now;
        if self.link.conn != ConnState::WFConnection || self.link.closing {
            // Somebody disconnected meanwhile; `CloseLink` is on its way.
            return;
        }
        let generation = self.link.generation.wrapping_add(1);
        self.link = Link {
            conn: ConnState::WFConnection,
            agreed: terms.agreed,
            resolve: terms.resolve,
            generation,
            established: true,
            retry: true,
            since: now,
            heard: now,
            ..Link::default()
        };
        let net = self.net.unwrap_or_default();
        let flags = ConnectFlags::NONE
            .with(ConnectFlags::DISCARD_MY_DATA, net.discard_my_data)
            .with(ConnectFlags::DRY_RUN, net.tentative);
        let packet = Packet::Protocol(Protocol {
            protocol: net.protocol,
            after_split_brain: net.after_split_brain,
            flags,
            two_primaries: false,
            integrity: AlgorithmName::NONE,
        });
        self.send(None, Socket::Data, &packet, Payload::None, fx);
        self.for_each_volume(|this, v| {
            this.mint_before_handshake(v, fx);
            this.introduce_volume(v, fx);
        });
        self.link.conn = ConnState::WFReportParams;
        self.set_connection(ConnState::WFReportParams, "connection established", fx);
        fx.act(Act::Rearm);
    }

    /// `P_PROTOCOL`: both nodes must be configured alike (section 3.6).
    pub(crate) fn protocol_received(&mut self, peer: &Protocol, fx: &mut dyn Effects) {
        let net = self.net.unwrap_or_default();
        let discards = peer.flags.contains(ConnectFlags::DISCARD_MY_DATA);
        let mirrored = peer.after_split_brain.map(AfterSplitBrain::mirrored);
        let [zero, one, two] = net.after_split_brain;
        let [peer_zero, peer_one, peer_two] = mirrored;
        let mismatch = [
            (peer.protocol != net.protocol, "protocol"),
            (peer_zero != zero, "after-sb-0pri"),
            (peer_one != one, "after-sb-1pri"),
            (peer_two != two, "after-sb-2pri"),
            (discards && net.discard_my_data, "discard-my-data"),
            (peer.two_primaries, "allow-two-primaries"),
            (!peer.integrity.is_none(), "data-integrity-alg"),
        ];
        if let Some((_, option)) = mismatch.iter().find(|(differs, _)| *differs) {
            fx.act(Act::Notice(Notice::ConfigMismatch(option)));
            return self.drop_link(fx);
        }
        self.link.introduced = true;
        self.link.peer_tentative = peer.flags.contains(ConnectFlags::DRY_RUN);
    }

    /// Whether the peer has introduced itself, so that packets of volumes may follow.
    pub(crate) fn is_introduced(&self) -> bool {
        self.link.introduced
    }

    /// A stream failed, ended, or carried bytes that mean nothing. `Act::CloseLink` follows, once.
    pub fn link_lost(&mut self, now: Millis, reason: LinkFailure, fx: &mut dyn Effects) {
        self.now = now;
        self.fail_link(reason, fx);
    }

    /// The connection could not be made, and trying again would not help: the node cannot listen, the versions do not fit,
    /// or the authentication failed (section 1.7). `Act::CloseLink` follows.
    pub fn link_refused(&mut self, now: Millis, fx: &mut dyn Effects) {
        self.now = now;
        self.drop_link(fx);
    }

    pub(crate) fn fail_link(&mut self, reason: LinkFailure, fx: &mut dyn Effects) {
        if let Some(parting) = self.link.parting {
            // A peer that was told all has decided, and closes the streams. One that was not is to be met again.
            return match parting.told() {
                true => self.end_link(ConnState::Disconnecting, false, fx),
                false => self.end_link(reason.state(), true, fx),
            };
        }
        // While both nodes agree to disconnect, streams that end are what is to be expected (section 7.8).
        if self.link.tearing_down {
            self.end_link(ConnState::TearDown, true, fx);
        } else if self.disconnect_requested() && self.admin_awaits_reply() {
            self.end_link(ConnState::Disconnecting, false, fx);
        } else {
            self.end_link(reason.state(), true, fx);
        }
    }

    /// Ends the connection for good: it would not work the next time either.
    pub(crate) fn drop_link(&mut self, fx: &mut dyn Effects) {
        self.end_link(ConnState::Disconnecting, false, fx);
    }

    /// Ends the connection, or the attempt to make one. The first reason counts.
    pub(crate) fn end_link(&mut self, conn: ConnState, retry: bool, fx: &mut dyn Effects) {
        if self.link.conn == ConnState::StandAlone {
            return;
        }
        if self.link.closing {
            self.link.retry &= retry;
            return;
        }
        self.link.closing = true;
        self.link.retry = retry && !crate::mutants::is_active(28);
        self.link.conn = conn;
        fx.act(Act::CloseLink);
        fx.act(Act::Wake);
    }

    /// The streams are shut, nothing is sent any more, and the queues are empty.
    pub fn link_closed(&mut self, now: Millis, fx: &mut dyn Effects) {
        self.now = now;
        if !self.link.closing {
            return;
        }
        let retry = self.link.retry;
        let was_up = self.link.established;
        let reason = self.link.conn;
        self.link.established = false;
        self.link.introduced = false;
        self.forget_epochs();
        self.for_each_volume(|this, v| {
            if let Some(volume) = this.vol_mut(v) {
                volume.announcements.clear();
                volume.bitmap_in = None;
                volume.bitmap_out = None;
                volume.bitmaps_waiting = 0;
                volume.early_sync_uuid = None;
                volume.missed_end = false;
                volume.early_state = None;
                volume.peer_generation = None;
                volume.consider_resync = false;
                volume.replicating = false;
            }
        });
        self.set_connection(reason, "connection lost", fx);
        self.outdate_if_asked(fx);
        // New current UUIDs are on their way to the disks now: only then may writes complete without the peer.
        self.link.closing = false;
        self.sending.reset();
        self.forget_remote_parts(fx);
        self.forget_peer_requests(fx);
        self.for_each_volume(|this, v| this.local_io_error_handled(v, fx));
        self.fence_if_wanted(fx);
        if was_up {
            self.for_each_volume(|this, v| this.write_bitmap(v, fx));
        }
        fx.act(Act::Wake);
        let disconnecting = self.disconnect_requested();
        if retry && !disconnecting {
            self.start_connecting(if was_up { 0 } else { 1000 }, fx);
        } else {
            self.set_connection(ConnState::StandAlone, "disconnected", fx);
            self.net = None;
        }
        self.admin_link_closed(fx);
        self.resume_parked(fx);
    }

    fn outdate_if_asked(&mut self, fx: &mut dyn Effects) {
        self.for_each_volume(|this, v| {
            let Some(volume) = this.vol_mut(v) else {
                return;
            };
            if core::mem::take(&mut volume.outdate_when_lost) {
                let outdated = State {
                    disk: DiskState::Outdated,
                    ..volume.state
                };
                this.change(v, outdated, "outdated by the peer", fx);
            }
        });
    }

    /// Sends a ping; its number is answered when [`Resource::ping_answered`] says so.
    pub(crate) fn send_ping(&mut self, fx: &mut dyn Effects) -> u32 {
        self.link.pings_sent = self.link.pings_sent.wrapping_add(1);
        self.link.ping_sent = self.now;
        self.send(None, Socket::Meta, &Packet::Ping, Payload::None, fx);
        fx.act(Act::Rearm);
        self.link.pings_sent
    }

    /// Whether the ping with this number was answered.
    pub(crate) fn ping_answered(&self, number: u32) -> bool {
        (self.link.pings_answered.wrapping_sub(number) as i32) >= 0
    }

    pub(crate) fn ping_ack_received(&mut self, fx: &mut dyn Effects) {
        if !self.link.ping_outstanding() {
            return;
        }
        self.link.pings_answered = self.link.pings_answered.wrapping_add(1);
        self.for_each_volume(|this, v| this.resync_ping_answered(v, fx));
        self.admin_ping_answered(fx);
    }

    /// Bytes arrived on a stream.
    pub fn heard(&mut self, now: Millis) {
        self.now = now;
        self.link.heard = now;
    }

    /// When [`Resource::tick`] wants to be called; `None` = not at all.
    pub fn next_deadline(&self) -> Option<Millis> {
        let net = self.net.unwrap_or_default();
        let mut next: Option<Millis> = self.admin_deadline();
        let mut at = |time: Millis| next = Some(next.map_or(time, |other| other.min(time)));
        if let Some(time) = self.disk_timeout_deadline() {
            at(time);
        }
        if let (true, Some(parting)) = (self.link.can_send(), self.link.parting) {
            at(parting.until());
        }
        if self.link.can_send() {
            at(match self.link.ping_outstanding() {
                true => {
                    self.link.heard.max(self.link.ping_sent) + Millis::from(net.ping_timeout_ms)
                }
                false => self.link.heard + Millis::from(net.ping_interval_ms),
            });
            if let (Some(oldest), Some(limit)) = (self.oldest_unanswered(), request_limit(&net)) {
                at(oldest.max(self.link.since) + limit);
            }
        }
        for volume in self.volumes.iter().flatten() {
            if volume.resync.started.is_some() {
                at(self.now + 100);
            }
        }
        next
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Millis, fx: &mut dyn Effects) {
        self.now = now;
        let net = self.net.unwrap_or_default();
        self.parting_tick(fx);
        if self.link.can_send() {
            let quiet_since = self.link.heard.max(self.link.ping_sent);
            if self.link.ping_outstanding() {
                if now >= quiet_since + Millis::from(net.ping_timeout_ms) {
                    fx.act(Act::Notice(Notice::Peer(
                        "no answer to a ping within ping-timeout",
                    )));
                    self.fail_link(LinkFailure::NetworkFailure, fx);
                }
            } else if now >= self.link.heard + Millis::from(net.ping_interval_ms) {
                self.send_ping(fx);
            }
            if let (Some(oldest), Some(limit)) = (self.oldest_unanswered(), request_limit(&net)) {
                if now >= oldest.max(self.link.since) + limit {
                    fx.act(Act::Notice(Notice::Peer(
                        "a write was not acknowledged for ko-count times timeout",
                    )));
                    self.fail_link(LinkFailure::Timeout, fx);
                }
            }
        }
        self.for_each_volume(|this, v| {
            this.resync_tick(v, fx);
            this.disk_timeout_tick(v, fx);
        });
        self.admin_tick(fx);
        self.resume_parked(fx);
    }

    fn oldest_unanswered(&self) -> Option<Millis> {
        self.app
            .iter()
            .find(|(_, request)| request.epoch.is_some())
            .map(|(_, request)| request.since)
    }

    /// Starts a connection on behalf of the administrator.
    pub(crate) fn connect(&mut self, net: NetOptions, fx: &mut dyn Effects) {
        self.net = Some(net);
        self.start_connecting(0, fx);
    }

    /// Whether a volume is past its handshake.
    pub(crate) fn is_connected(volume: &Volume<M>) -> bool {
        volume.state.conn >= ConnState::Connected
    }

    /// Whether the peer is Primary on another volume than `v`.
    pub(crate) fn peer_primary_elsewhere(&self, v: VolumeIndex) -> bool {
        self.volumes.iter().enumerate().any(|(i, volume)| {
            i != v
                && volume
                    .as_ref()
                    .is_some_and(|volume| volume.state.peer == Role::Primary)
        })
    }

    fn disconnect_requested(&self) -> bool {
        matches!(
            self.admin.as_ref().map(|admin| &admin.request),
            Some(Request::Disconnect { .. })
        )
    }

    /// Whether any volume has a usable disk and is being written by this node.
    pub(crate) fn any_primary(&self) -> bool {
        self.volumes
            .iter()
            .flatten()
            .any(|volume| volume.primary() && volume.state.disk >= DiskState::Inconsistent)
    }
}

fn request_limit(net: &NetOptions) -> Option<Millis> {
    (net.ko_count > 0).then(|| Millis::from(net.ko_count) * Millis::from(net.timeout_ms))
}
