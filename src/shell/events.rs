// SPDX-License-Identifier: GPL-2.0

//! Events for programs that follow the state, by multicast.
//!
//! A resource's events are sent by its worker, one after the other, so that they arrive in the order in which things happened.
//! What they tell beside the change itself is how things are when the message is built.

use kernel::prelude::*;
use kernel::sync::atomic::{Atomic, Relaxed};
use rdb_engine::effects::{Notice, VolumeIndex};
use rdb_engine::netlink::{attr, cmd, EventKind};
use rdb_engine::wire::{ConnState, Role, State};
use rdb_kapi::genl::Message;
use rdb_kapi::time;

use super::control::{
    multicast, put, put_address, put_progress, put_signed, put_states, put_text, write_ordering,
};
use super::progress;
use super::resource::Resource;
use super::settings::Announced;
use super::status::{self, VolumeStatus};

/// Number of the last event.
static SEQUENCE: Atomic<u64> = Atomic::new(0);

fn next() -> u64 {
    SEQUENCE.fetch_add(1, Relaxed).wrapping_add(1)
}

/// Sends an event, or counts it as one if nobody listens.
fn send(command: u8, kind: EventKind, build: impl FnOnce(&mut Message<'_>) -> Result) {
    let number = next();
    multicast(command, |msg| {
        put(msg, attr::EVENT_KIND, u64::from(kind as u32))?;
        put(msg, attr::EVENT_SEQ, number)?;
        build(msg)
    });
}

/// A resource was made.
pub(crate) fn resource_created(res: &Resource) {
    send(cmd::RESOURCE_EVENT, EventKind::Create, |msg| {
        msg.put_str(attr::RESOURCE_NAME, res.name())?;
        put(msg, attr::ROLE, Role::Secondary.number().into())?;
        put(msg, attr::SUSPENDED, 0)
    });
}

/// A resource is gone.
pub(crate) fn resource_removed(name: &str) {
    send(cmd::RESOURCE_EVENT, EventKind::Destroy, |msg| {
        msg.put_str(attr::RESOURCE_NAME, name)
    });
}

/// A volume was made.
pub(crate) fn volume_created(res: &Resource, number: u16, minor: u32) {
    send(cmd::VOLUME_EVENT, EventKind::Create, |msg| {
        put_volume(msg, res.name(), number, minor)?;
        let index = res.inspect(|engine| engine.volume_by_number(number));
        match index.and_then(|index| take(res, index)) {
            Some(status) => put_states(msg, &status),
            None => Ok(()),
        }
    });
}

/// A volume is gone.
pub(crate) fn volume_removed(name: &str, number: u16, minor: u32) {
    send(cmd::VOLUME_EVENT, EventKind::Destroy, |msg| {
        put_volume(msg, name, number, minor)
    });
}

/// A connection was configured.
pub(crate) fn connection_created(res: &Resource) {
    let whole = res.inspect(status::summary);
    send(cmd::CONNECTION_EVENT, EventKind::Create, |msg| {
        msg.put_str(attr::RESOURCE_NAME, res.name())?;
        put(
            msg,
            attr::CONNECTION_STATE,
            whole.connection.number().into(),
        )?;
        put(msg, attr::PEER_ROLE, whole.peer.number().into())?;
        put_ends(msg, res)
    });
}

/// A connection was forgotten.
pub(crate) fn connection_destroyed(res: &Resource) {
    send(cmd::CONNECTION_EVENT, EventKind::Destroy, |msg| {
        msg.put_str(attr::RESOURCE_NAME, res.name())?;
        put(
            msg,
            attr::CONNECTION_STATE,
            ConnState::StandAlone.number().into(),
        )
    });
}

/// The state of a volume changed. To be called in the order of the changes.
pub(crate) fn state_changed(
    res: &Resource,
    index: VolumeIndex,
    number: u16,
    minor: u32,
    old: State,
    new: State,
    why: &str,
) {
    let counts = |state: &State| (status::is_syncing(state.conn), state.is_sync_paused());
    if status::is_syncing(new.conn) || counts(&old) != counts(&new) {
        progress::call();
    }
    whole_changed(res, &new, why);
    let now = take(res, index);
    send(cmd::VOLUME_EVENT, EventKind::Change, |msg| {
        put_volume(msg, res.name(), number, minor)?;
        put_change(msg, &old, &new)?;
        if let Some(status) = now {
            put(msg, attr::CAPACITY, status.capacity)?;
            put(msg, attr::OUT_OF_SYNC, status.out_of_sync_kib())?;
        }
        put_text(msg, attr::REASON, why.as_bytes())
    });
}

/// A condition of the resource that is worth telling although no state says it.
pub(crate) fn notice(res: &Resource, notice: &Notice) {
    let reason = match notice {
        Notice::SplitBrain {
            resolved: false, ..
        } => "split brain: both nodes changed data on their own",
        Notice::SplitBrain { .. } => "split brain, resolved by policy",
        Notice::PrimaryLost { .. } => {
            "the split brain is lost by policy, but this Primary is in use"
        }
        Notice::UnrelatedData { .. } => "the data of the nodes have nothing in common",
        Notice::ConfigMismatch(_) => "the configuration of the peer does not fit",
        _ => return,
    };
    let whole = res.inspect(status::summary);
    send(cmd::CONNECTION_EVENT, EventKind::Change, |msg| {
        msg.put_str(attr::RESOURCE_NAME, res.name())?;
        put(
            msg,
            attr::CONNECTION_STATE,
            whole.connection.number().into(),
        )?;
        put(msg, attr::PEER_ROLE, whole.peer.number().into())?;
        msg.put_str(attr::REASON, reason)
    });
}

/// Tells what a change of a volume means for the resource and its connection.
fn whole_changed(res: &Resource, volume: &State, why: &str) {
    let mut new = res.inspect(status::summary);
    // What the resource as a whole is by now may be ahead of the change that is being told.
    new.connection = status::connection(volume.conn);
    let old = res
        .settings
        .with(|values| core::mem::replace(&mut values.announced, new));
    if (old.role, old.suspended) != (new.role, new.suspended) {
        send(cmd::RESOURCE_EVENT, EventKind::Change, |msg| {
            msg.put_str(attr::RESOURCE_NAME, res.name())?;
            put_pair(
                msg,
                (attr::ROLE, attr::OLD_ROLE),
                old.role.number(),
                new.role.number(),
            )?;
            put_pair(
                msg,
                (attr::SUSPENDED, attr::OLD_SUSPENDED),
                old.suspended,
                new.suspended,
            )?;
            put(
                msg,
                attr::WRITE_ORDERING,
                (write_ordering(res) as u32).into(),
            )?;
            put_text(msg, attr::REASON, why.as_bytes())
        });
    }
    if (old.connection, old.peer) != (new.connection, new.peer) {
        send(cmd::CONNECTION_EVENT, EventKind::Change, |msg| {
            put_connection(msg, res, &old, &new, why)
        });
    }
}

fn put_connection(
    msg: &mut Message<'_>,
    res: &Resource,
    old: &Announced,
    new: &Announced,
    why: &str,
) -> Result {
    msg.put_str(attr::RESOURCE_NAME, res.name())?;
    let states = (attr::CONNECTION_STATE, attr::OLD_CONNECTION_STATE);
    put_pair(
        msg,
        states,
        old.connection.number(),
        new.connection.number(),
    )?;
    put_pair(
        msg,
        (attr::PEER_ROLE, attr::OLD_PEER_ROLE),
        old.peer.number(),
        new.peer.number(),
    )?;
    if new.connection == ConnState::WFReportParams {
        put(
            msg,
            attr::AGREED_PROTOCOL,
            res.inspect(|engine| engine.agreed().version).into(),
        )?;
    }
    put_ends(msg, res)?;
    put_text(msg, attr::REASON, why.as_bytes())
}

fn put_ends(msg: &mut Message<'_>, res: &Resource) -> Result {
    res.settings.with(|values| match &values.connection {
        Some(known) => {
            put_address(msg, attr::LOCAL_ADDR, &known.local)?;
            put_address(msg, attr::PEER_ADDR, &known.peer)
        }
        None => Ok(()),
    })
}

fn put_volume(msg: &mut Message<'_>, resource: &str, number: u16, minor: u32) -> Result {
    msg.put_str(attr::RESOURCE_NAME, resource)?;
    put(msg, attr::VOLUME, number.into())?;
    put(msg, attr::MINOR, minor.into())
}

/// Puts a state, and what it was before if that was something else.
fn put_pair(msg: &mut Message<'_>, (number, old_number): (u16, u16), old: u32, new: u32) -> Result {
    put(msg, number, new.into())?;
    if old != new {
        put(msg, old_number, old.into())?;
    }
    Ok(())
}

/// Puts all states of a volume, each with what it was before if that was something else.
fn put_change(msg: &mut Message<'_>, old: &State, new: &State) -> Result {
    let pairs = [
        (
            attr::ROLE,
            attr::OLD_ROLE,
            old.role.number(),
            new.role.number(),
        ),
        (
            attr::PEER_ROLE,
            attr::OLD_PEER_ROLE,
            old.peer.number(),
            new.peer.number(),
        ),
        (
            attr::REPLICATION_STATE,
            attr::OLD_REPLICATION_STATE,
            old.conn.number(),
            new.conn.number(),
        ),
        (
            attr::DISK_STATE,
            attr::OLD_DISK_STATE,
            old.disk.number(),
            new.disk.number(),
        ),
        (
            attr::PEER_DISK_STATE,
            attr::OLD_PEER_DISK_STATE,
            old.pdsk.number(),
            new.pdsk.number(),
        ),
        (
            attr::SUSPENDED,
            attr::OLD_SUSPENDED,
            status::suspended(old),
            status::suspended(new),
        ),
        (
            attr::SYNC_PAUSED,
            attr::OLD_SYNC_PAUSED,
            status::paused(old),
            status::paused(new),
        ),
    ];
    for (number, old_number, old, new) in pairs {
        put_pair(msg, (number, old_number), old, new)?;
    }
    Ok(())
}

/// A handler is about to be run; `about` are number and minor of a volume.
pub(crate) fn helper_called(res: &Resource, about: Option<(u16, u32)>, name: &str) {
    send(cmd::HELPER_EVENT, EventKind::Call, |msg| {
        put_helper(msg, res, about, name)
    });
}

/// It has ended with this exit code; negative: it was killed or could not be run.
pub(crate) fn helper_ended(res: &Resource, about: Option<(u16, u32)>, name: &str, code: i32) {
    send(cmd::HELPER_EVENT, EventKind::Response, |msg| {
        put_helper(msg, res, about, name)?;
        put_signed(msg, attr::HELPER_STATUS, code.into())
    });
}

fn put_helper(
    msg: &mut Message<'_>,
    res: &Resource,
    about: Option<(u16, u32)>,
    name: &str,
) -> Result {
    msg.put_str(attr::RESOURCE_NAME, res.name())?;
    if let Some((number, minor)) = about {
        put(msg, attr::VOLUME, number.into())?;
        put(msg, attr::MINOR, minor.into())?;
    }
    msg.put_str(attr::HELPER, name)
}

/// Tells how far a resync is.
pub(crate) fn progress(res: &Resource, status: &VolumeStatus) {
    let Some(progress) = &status.progress else {
        return;
    };
    let number = next();
    multicast(cmd::SYNC_EVENT, |msg| {
        put(msg, attr::EVENT_SEQ, number)?;
        put_volume(msg, res.name(), status.number, status.minor)?;
        put(
            msg,
            attr::REPLICATION_STATE,
            status.state.conn.number().into(),
        )?;
        put_progress(msg, progress)?;
        put(msg, attr::OUT_OF_SYNC, status.out_of_sync_kib())
    });
}

fn take(res: &Resource, index: VolumeIndex) -> Option<VolumeStatus> {
    let now = time::now_ms();
    res.inspect(|engine| VolumeStatus::take(engine, index, now))
}
