// SPDX-License-Identifier: GPL-2.0

//! State changes that the peer asks for (wire protocol, sections 7.6 and 7.8).

use crate::effects::{Effects, Payload, VolumeIndex};
use crate::memory::Memory;
use crate::resource::Resource;
use crate::state::{check, implied, Context};
use crate::volume::Announcement;
use crate::wire::{
    ConnState as C, DiskState as D, Packet, ReturnCode, Role, Socket, State, StateChange,
};

impl<M: Memory> Resource<M> {
    /// `P_STATE_CHG_REQ`: the peer asks for a change (section 7.6).
    pub(crate) fn change_requested(
        &mut self,
        v: VolumeIndex,
        change: &StateChange,
        fx: &mut dyn Effects,
    ) {
        let code = match (self.admin_awaits_reply(), self.link.resolve) {
            (true, true) => ReturnCode::CONCURRENT_CHANGE,
            _ => self.agree(v, change, fx),
        };
        self.announce(v, Announcement::Reply(code), fx);
    }

    fn agree(&mut self, v: VolumeIndex, change: &StateChange, fx: &mut dyn Effects) -> ReturnCode {
        let elsewhere = self.peer_primary_elsewhere(v);
        let Some(volume) = self.vol_mut(v) else {
            return ReturnCode::UNKNOWN_ERROR;
        };
        let Ok(change) = change.from_peer() else {
            return ReturnCode::NOT_SUPPORTED;
        };
        let old = volume.state;
        if old.conn < C::Connected {
            return ReturnCode::IN_TRANSIENT_STATE;
        }
        let new = implied(change.apply(old), volume.after_attach);
        let open = volume.readers + volume.writers > 0;
        let context = Context {
            two_primaries: false,
            peer_primary_elsewhere: elsewhere,
            open,
        };
        if let Err(code) = check(&old, &new, &context) {
            return code;
        }
        let both_inconsistent = old.disk == D::Inconsistent && old.pdsk == D::Inconsistent;
        if both_inconsistent && old.peer == Role::Secondary && new.peer == Role::Primary {
            volume.consider_resync = true;
        }
        self.change(v, new, "asked for by the peer", fx);
        ReturnCode::SUCCESS
    }

    /// Whether no volume loses by the end of the connection what it needs.
    pub(crate) fn may_part(&self, conn: C) -> Result<(), ReturnCode> {
        for (v, volume) in self.volumes.iter().enumerate() {
            let Some(volume) = volume else { continue };
            let old = volume.state;
            let new = implied(State { conn, ..old }, volume.state_without_peer());
            let context = Context {
                two_primaries: false,
                peer_primary_elsewhere: self.peer_primary_elsewhere(v),
                open: volume.readers + volume.writers > 0,
            };
            check(&old, &new, &context)?;
        }
        Ok(())
    }

    /// `P_CONN_ST_CHG_REQ`: the peer wants to disconnect (section 7.8).
    pub(crate) fn disconnect_received(&mut self, change: &StateChange, fx: &mut dyn Effects) {
        let tear_down = change.from_peer().ok().and_then(|change| change.conn) == Some(C::TearDown);
        let own_outdated = change.disk == Some(D::Outdated);
        let code = match tear_down {
            true if !own_outdated && self.disconnect_needs_outdated_peer() => {
                ReturnCode::PRIMARY_NOP
            }
            true => self
                .may_part(C::TearDown)
                .err()
                .unwrap_or(ReturnCode::SUCCESS),
            false => ReturnCode::NOT_SUPPORTED,
        };
        let tear_down = code == ReturnCode::SUCCESS;
        if let (true, Ok(change)) = (tear_down && own_outdated, change.from_peer()) {
            self.note_outdated(&change);
        }
        if let (true, Some(D::Outdated)) = (tear_down, change.pdsk) {
            self.for_each_volume(|this, v| {
                if let Some(state) = this
                    .vol(v)
                    .map(|volume| volume.state)
                    .filter(|s| s.disk > D::Outdated)
                {
                    if state.role != Role::Primary {
                        if let Some(volume) = this.vol_mut(v) {
                            volume.outdate_when_lost = true;
                        }
                    }
                }
            });
        }
        // The answer must not be lost to the closing of the streams.
        let payload = if tear_down {
            Payload::Last
        } else {
            Payload::None
        };
        let reply = Packet::ConnStateChangeReply(code);
        self.send(None, Socket::Meta, &reply, payload, fx);
    }
}
