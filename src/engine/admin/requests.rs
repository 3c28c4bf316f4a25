// SPDX-License-Identifier: GPL-2.0

//! What each request of the administrator does, up to the point where it has to wait.

use super::{Refusal, Request, Step, Wait, RETRY_MS};
use crate::effects::{Effects, Millis, Payload, VolumeIndex};
use crate::generation::Generation;
use crate::link::NetOptions;
use crate::memory::Memory;
use crate::resource::Resource;
use crate::state::{check, implied, is_syncing, Context};
use crate::volume::{Announcement, Volume};
use crate::wire::{
    ConnState as C, DiskState as D, Packet, ReturnCode, Role, Socket, State, StateChange,
};

impl<M: Memory> Resource<M> {
    pub(super) fn admin_connect(&mut self, net: NetOptions, fx: &mut dyn Effects) -> Step {
        if self.link.conn != C::StandAlone {
            return Err(Refusal::new(125, "a connection is configured already"));
        }
        if net.discard_my_data && self.any_primary() {
            return Err(Refusal::new(123, "a Primary cannot discard its data"));
        }
        self.connect(net, fx);
        Ok(None)
    }

    pub(super) fn admin_disconnect(&mut self, force: bool, fx: &mut dyn Effects) -> Step {
        if self.link.conn == C::StandAlone {
            return Ok(None);
        }
        if self.link.can_send() && self.is_introduced() && !force {
            self.may_part(C::Disconnecting)?;
            let change = match self.disconnect_needs_outdated_peer() {
                true => StateChange::DISCONNECT_OUTDATE_PEER,
                false => StateChange::DISCONNECT,
            };
            self.ask_to_disconnect(change, fx);
            return Ok(Some(Wait::Reply));
        }
        self.end_link(C::Disconnecting, false, fx);
        Ok(Some(Wait::LinkClosed))
    }

    fn ask_to_disconnect(&mut self, change: StateChange, fx: &mut dyn Effects) {
        self.fence.asked = Some(change);
        let packet = Packet::ConnStateChangeRequest(change);
        self.send(None, Socket::Data, &packet, Payload::None, fx);
    }

    /// The peer is a Primary that does not go on beside data that may be as good as its own: offers to outdate them. False if
    /// there is nothing more to offer.
    pub(super) fn admin_disconnect_refused(
        &mut self,
        request: &Request,
        fx: &mut dyn Effects,
    ) -> bool {
        let plain = self.fence.asked == Some(StateChange::DISCONNECT);
        if !matches!(request, Request::Disconnect { .. }) || !plain || self.any_primary() {
            return false;
        }
        let worthless = |volume: &Volume<M>| volume.state.disk < D::Outdated;
        if self.volumes.iter().flatten().all(worthless) {
            self.end_link(C::Disconnecting, false, fx);
            self.admin_wait(Wait::LinkClosed, fx);
        } else {
            self.ask_to_disconnect(StateChange::DISCONNECT_OUTDATE_SELF, fx);
        }
        true
    }

    /// Holds new requests, and waits until none is under way, here or at the peer.
    pub(super) fn admin_suspend(&mut self, v: VolumeIndex, fx: &mut dyn Effects) -> Step {
        self.admin_local(v, fx, |s| State { susp: true, ..s })?;
        self.close_epoch(fx);
        match self.app_in_flight(v) && !crate::mutants::is_active(36) {
            true => Ok(Some(Wait::Retry(self.now + RETRY_MS))),
            false => Ok(None),
        }
    }

    pub(super) fn admin_primary(
        &mut self,
        v: VolumeIndex,
        force: bool,
        tries: u32,
        fx: &mut dyn Effects,
    ) -> Step {
        let volume = self.admin_volume(v)?;
        if volume.primary() {
            return Ok(None);
        }
        if volume.state.conn == C::WFReportParams || self.link.is_closing() {
            return Ok(Some(Wait::Retry(self.now + RETRY_MS)));
        }
        // What a dead Primary wrote last may still be on its way to the disk here. Nobody may read or write before that is
        // there: blocks would change behind their back, or a new write be overwritten by an old one.
        if volume.state.conn < C::Connected && self.peer_writes_to_disk(v) {
            return Ok(Some(Wait::Retry(self.now + RETRY_MS)));
        }
        if volume.state.conn >= C::Connected && tries == 0 {
            // A peer that died a moment ago must not stand in the way.
            return Ok(Some(Wait::Ping(self.send_ping(fx))));
        }
        let old = volume.state;
        if self.must_fence(v) {
            match self.fence.answer {
                None => {
                    self.call_fence(fx);
                    return Ok(Some(Wait::Fence));
                }
                Some(_) if force => (),
                Some(_) => return Err(ReturnCode::PRIMARY_NOP.into()),
            }
        }
        let wanted = self.promoted(v, force)?;
        let context = self.admin_context(v)?;
        let two_primaries = old.peer == Role::Primary || context.peer_primary_elsewhere;
        if two_primaries && tries <= 1 {
            let patience = Millis::from(self.net.map_or(500, |net| net.ping_timeout_ms));
            return Ok(Some(Wait::Retry(self.now + patience + RETRY_MS)));
        }
        check(&old, &wanted, &context)?;
        if old.conn >= C::Connected {
            let change = match wanted.disk != old.disk {
                true => StateChange::PROMOTE_FORCED,
                false => StateChange::PROMOTE,
            };
            self.announce(v, Announcement::Request(change), fx);
            return Ok(Some(Wait::Reply));
        }
        self.promote(v, force, fx)?;
        Ok(None)
    }

    /// The state that a promotion leads to.
    pub(super) fn promoted(&self, v: VolumeIndex, force: bool) -> Result<State, Refusal> {
        let old = self.admin_volume(v)?.state;
        let may_force = force && (D::Inconsistent..D::UpToDate).contains(&old.disk);
        // A resync target has a source; it needs no force and must not get it.
        let forced =
            may_force && !is_syncing(old.conn) && old.pdsk < D::UpToDate.max(D::Consistent);
        let disk = match (forced, old.disk) {
            (true, _) => D::UpToDate,
            // Nobody can have outdated it, or the peer is known to be outdated itself.
            (false, D::Consistent) if old.conn < C::Connected => D::UpToDate,
            (false, disk) => disk,
        };
        Ok(State {
            role: Role::Primary,
            disk,
            ..old
        })
    }

    pub(super) fn promote(
        &mut self,
        v: VolumeIndex,
        force: bool,
        fx: &mut dyn Effects,
    ) -> Result<(), Refusal> {
        let new = self.promoted(v, force)?;
        let volume = self.admin_volume_mut(v)?;
        let old = volume.state;
        let forced = new.disk != old.disk && old.disk != D::Consistent;
        let alone =
            (old.conn < C::Connected || old.pdsk <= D::Failed) && volume.generation.bitmap == 0;
        let has_disk = volume.has_disk();
        let before = volume.generation.current;
        volume.discard_my_data = false;
        if let Some(net) = &mut self.net {
            net.discard_my_data = false;
        }
        self.change(v, new, "promoted by the administrator", fx);
        if has_disk && (forced || alone) {
            // Losing the peer in the same moment may have minted one already.
            if forced
                || self
                    .vol(v)
                    .is_some_and(|volume| volume.generation.bitmap == 0)
            {
                self.mint_after(v, before, fx);
            }
        }
        if old.conn >= C::WFReportParams {
            if forced {
                self.announce(v, Announcement::Uuids, fx);
            }
            let state = self.vol(v).map_or(new, |volume| volume.state);
            self.announce(v, Announcement::State(state), fx);
        }
        Ok(())
    }

    pub(super) fn admin_secondary(&mut self, v: VolumeIndex, fx: &mut dyn Effects) -> Step {
        let volume = self.admin_volume(v)?;
        let old = volume.state;
        if old.role == Role::Secondary {
            return Ok(None);
        }
        if volume.readers + volume.writers > 0 {
            return Err(ReturnCode::DEVICE_IN_USE.into());
        }
        if old.conn == C::WFReportParams {
            return Ok(Some(Wait::Retry(self.now + RETRY_MS)));
        }
        // After a crash nobody asks a Secondary for its activity log: the peer must have said that all writes are on its disk.
        self.close_epoch(fx);
        if old.is_suspended() && self.app_is_held(v) {
            return Err(Refusal::new(
                ReturnCode::DEVICE_IN_USE.0,
                "requests wait for suspended I/O: resume it first",
            ));
        }
        if self.app.iter().any(|(_, request)| request.volume == v) {
            return Ok(Some(Wait::Retry(self.now + RETRY_MS)));
        }
        self.change(
            v,
            State {
                role: Role::Secondary,
                ..old
            },
            "demoted by the administrator",
            fx,
        );
        if old.conn >= C::WFReportParams {
            let state = self.vol(v).map_or(old, |volume| volume.state);
            self.announce(v, Announcement::State(state), fx);
        }
        if !is_syncing(old.conn) {
            self.write_bitmap(v, fx);
        }
        Ok(None)
    }

    pub(super) fn admin_detach(
        &mut self,
        v: VolumeIndex,
        force: bool,
        fx: &mut dyn Effects,
    ) -> Step {
        let context = self.admin_context(v)?;
        let volume = self.admin_volume(v)?;
        let old = volume.state;
        match old.disk {
            D::Diskless => return Ok(None),
            D::Failed if !force => return Ok(Some(Wait::DiskClosed)),
            _ => (),
        }
        if !force {
            if old.conn == C::WFReportParams {
                return Ok(Some(Wait::Retry(self.now + RETRY_MS)));
            }
            let failed = implied(
                State {
                    disk: D::Failed,
                    ..old
                },
                volume.after_attach,
            );
            check(&old, &failed, &context)?;
            if old.conn >= C::Connected {
                self.announce(v, Announcement::Request(StateChange::DETACH), fx);
                return Ok(Some(Wait::Reply));
            }
        }
        if force {
            self.abandon_disk(v, "detached by force", fx);
            return Ok(None);
        }
        self.change(
            v,
            State {
                disk: D::Failed,
                ..old
            },
            "detached by the administrator",
            fx,
        );
        Ok(Some(Wait::DiskClosed))
    }

    pub(super) fn admin_invalidate(
        &mut self,
        v: VolumeIndex,
        change: StateChange,
        fx: &mut dyn Effects,
    ) -> Step {
        let context = self.admin_context(v)?;
        let volume = self.admin_volume(v)?;
        let old = volume.state;
        if !volume.has_disk() {
            return Err(Refusal::new(138, "the volume has no disk"));
        }
        let own = change == StateChange::INVALIDATE;
        if old.conn < C::Connected {
            if own == (old.role == Role::Primary) || old.conn != C::StandAlone {
                return Err(ReturnCode::NEED_CONNECTION.into());
            }
            self.set_all_bits(v, fx);
            let new = match own {
                true => State {
                    disk: D::Inconsistent,
                    ..old
                },
                false => State {
                    pdsk: D::Outdated,
                    ..old
                },
            };
            self.change(v, new, "invalidated by the administrator", fx);
            return Ok(None);
        }
        check(
            &old,
            &implied(change.apply(old), volume.after_attach),
            &context,
        )?;
        self.announce(v, Announcement::Request(change), fx);
        Ok(Some(Wait::Reply))
    }

    pub(super) fn admin_local(
        &mut self,
        v: VolumeIndex,
        fx: &mut dyn Effects,
        to: impl Fn(State) -> State,
    ) -> Step {
        let context = self.admin_context(v)?;
        let old = self.admin_volume(v)?.state;
        let new = to(old);
        check(&old, &new, &context)?;
        self.change(v, new, "asked for by the administrator", fx);
        Ok(None)
    }

    pub(super) fn admin_flag(
        &mut self,
        v: VolumeIndex,
        pause: bool,
        code: i32,
        text: &'static str,
        fx: &mut dyn Effects,
    ) -> Step {
        let old = self.admin_volume(v)?.state;
        if old.user_isp == pause {
            return Err(Refusal::new(code, text));
        }
        self.change(
            v,
            State {
                user_isp: pause,
                ..old
            },
            "asked for by the administrator",
            fx,
        );
        Ok(None)
    }

    pub(super) fn admin_new_uuid(
        &mut self,
        v: VolumeIndex,
        clear: bool,
        fx: &mut dyn Effects,
    ) -> Step {
        let volume = self.admin_volume_mut(v)?;
        let state = volume.state;
        if !volume.has_disk() {
            return Err(Refusal::new(138, "the volume has no disk"));
        }
        let skip = clear
            && state.conn == C::Connected
            && volume.generation.current & !1 == Generation::JUST_CREATED.current;
        if !skip && state.conn != C::StandAlone {
            return Err(Refusal::new(
                151,
                "the connection is in use: disconnect first",
            ));
        }
        let old_bitmap = volume.generation.bitmap;
        volume.generation.rotate_bitmap(0);
        if skip || (clear && old_bitmap == 0) {
            if let Some(disk) = &mut volume.disk {
                disk.bitmap.clear_all();
            }
        }
        self.mint(v, fx);
        self.force_write_bitmap(v, fx);
        if skip {
            return self.skip_initial_sync(v, state, fx);
        }
        Ok(None)
    }

    pub(super) fn skip_initial_sync(
        &mut self,
        v: VolumeIndex,
        state: State,
        fx: &mut dyn Effects,
    ) -> Step {
        let volume = self.admin_volume_mut(v)?;
        let mut uuids = crate::resource::uuids_of(volume);
        uuids.flags = uuids.flags | crate::wire::UuidFlags::SKIP_INITIAL_SYNC;
        volume.generation.bitmap = 0;
        self.superblock_changed(v, fx);
        self.send(
            Some(v),
            Socket::Data,
            &Packet::Uuids(uuids),
            Payload::None,
            fx,
        );
        let new = State {
            disk: D::UpToDate,
            pdsk: D::UpToDate,
            ..state
        };
        self.change(v, new, "the initial resync is skipped", fx);
        Ok(None)
    }

    pub(super) fn admin_context(&self, v: VolumeIndex) -> Result<Context, Refusal> {
        let volume = self.admin_volume(v)?;
        Ok(Context {
            two_primaries: false,
            peer_primary_elsewhere: self.peer_primary_elsewhere(v),
            open: volume.readers + volume.writers > 0,
        })
    }
}
