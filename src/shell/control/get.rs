// SPDX-License-Identifier: GPL-2.0

//! Requests that only read, and dumps.

use kernel::prelude::*;
use kernel::sync::Arc;
use rdb_engine::effects::VolumeIndex;
use rdb_engine::netlink::{attr, WriteOrdering};
use rdb_engine::wire::{ConnState, Features, OWN_VERSIONS};
use rdb_engine::write_order::WriteOrder;
use rdb_kapi::genl::{Message, Request};
use rdb_kapi::time;

use super::message::{put, put_address, put_generation, put_options, put_signed, put_text};
use super::{request, resource_of, API, VERSION};
use crate::shell::failure::Failure;
use crate::shell::registry;
use crate::shell::resource::{Engine, Resource};
use crate::shell::settings::Disk;
use crate::shell::status::{self, Progress, VolumeStatus};

/// Where a dump of resources is: the name of the one shown last.
#[derive(Clone)]
pub(super) struct Names(Option<Arc<Resource>>);

impl Names {
    /// Before the first.
    pub(super) fn all() -> Result<Self> {
        Ok(Self(None))
    }
}

/// The reply to resource-get.
pub(super) fn resource(req: &Request<'_>) -> Result<(), Failure> {
    let res = resource_of(req)?;
    Ok(req.reply(|msg| put_resource(msg, &res))?)
}

/// One message of a dump of resources; false at the end.
pub(super) fn next_resource(
    at: &mut Names,
    _req: &Request<'_>,
    msg: &mut Message<'_>,
) -> Result<bool> {
    let Some(res) = registry::next_resource(at.0.as_ref().map(|res| res.name())) else {
        return Ok(false);
    };
    put_resource(msg, &res)?;
    at.0 = Some(res);
    Ok(true)
}

/// The reply to volume-get.
pub(super) fn volume(req: &Request<'_>) -> Result<(), Failure> {
    let (res, index) = request::volume(req)?;
    let now = time::now_ms();
    let status = res
        .inspect(|engine| VolumeStatus::take(engine, index, now))
        .ok_or_else(|| refused!(MinorInvalid, "the volume is gone"))?;
    Ok(req.reply(|msg| put_volume(msg, &res, &status))?)
}

/// One message of a dump of volumes; false at the end.
pub(super) fn next_volume(from: &mut u32, msg: &mut Message<'_>) -> Result<bool> {
    while let Some((minor, res, index)) = registry::next_minor(*from) {
        *from = minor.saturating_add(1);
        if let Some(status) = take(&res, index) {
            put_volume(msg, &res, &status)?;
            return Ok(true);
        }
    }
    Ok(false)
}

/// The reply to module-get.
pub(super) fn module(req: &Request<'_>) -> Result<(), Failure> {
    Ok(req.reply(|msg| {
        msg.put_str(attr::MODULE_VERSION, VERSION)?;
        msg.put_u32(attr::API_VERSION, API)?;
        put(msg, attr::PROTOCOL_MIN, OWN_VERSIONS.min.into())?;
        put(msg, attr::PROTOCOL_MAX, OWN_VERSIONS.max.into())?;
        put(msg, attr::FEATURE_FLAGS, Features::ALL.bits().into())
    })?)
}

fn take(res: &Resource, index: VolumeIndex) -> Option<VolumeStatus> {
    let now = time::now_ms();
    res.inspect(|engine| VolumeStatus::take(engine, index, now))
}

fn put_resource(msg: &mut Message<'_>, res: &Resource) -> Result {
    let (whole, agreed) = res.inspect(|engine| (status::summary(engine), engine.agreed().version));
    let ordering = write_ordering(res);
    msg.put_str(attr::RESOURCE_NAME, res.name())?;
    put(msg, attr::ROLE, whole.role.number().into())?;
    put(msg, attr::SUSPENDED, whole.suspended.into())?;
    put(
        msg,
        attr::CONNECTION_STATE,
        whole.connection.number().into(),
    )?;
    put(msg, attr::PEER_ROLE, whole.peer.number().into())?;
    if whole.connection == ConnState::WFReportParams {
        put(msg, attr::AGREED_PROTOCOL, agreed.into())?;
    }
    res.settings.with(|values| {
        put(msg, attr::WRITE_ORDERING, (ordering as u32).into())?;
        put_options(msg, &values.options)?;
        match &values.connection {
            Some(known) => {
                put_address(msg, attr::LOCAL_ADDR, &known.local)?;
                put_address(msg, attr::PEER_ADDR, &known.peer)?;
                put_options(msg, &known.options)
            }
            None => Ok(()),
        }
    })
}

/// How write order is kept.
pub(crate) fn write_ordering(res: &Resource) -> WriteOrdering {
    match res.inspect(Engine::write_order) {
        WriteOrder::Flush => WriteOrdering::Flush,
        WriteOrder::Drain => WriteOrdering::Drain,
        WriteOrder::None => WriteOrdering::None,
    }
}

fn put_volume(msg: &mut Message<'_>, res: &Resource, status: &VolumeStatus) -> Result {
    msg.put_str(attr::RESOURCE_NAME, res.name())?;
    put(msg, attr::VOLUME, status.number.into())?;
    put(msg, attr::MINOR, status.minor.into())?;
    put_states(msg, status)?;
    put(msg, attr::CAPACITY, status.capacity)?;
    put(msg, attr::OPEN_COUNT, status.opens.into())?;
    put(msg, attr::UPPER_BLOCKED, 0)?;
    put(msg, attr::AL_SUSPENDED, 0)?;
    put(msg, attr::DEGRADED_BEFORE, u64::from(status.degraded))?;
    if status.has_disk() {
        put(msg, attr::DEVICE_FLAGS, status.flags.into())?;
        put_generation(msg, &status.generation)?;
        res.settings.with(|values| {
            values
                .disk(status.number)
                .map_or(Ok(()), |disk| put_disk(msg, disk))
        })?;
    }
    put_counters(msg, status)?;
    match &status.progress {
        Some(progress) => put_progress(msg, progress),
        None => Ok(()),
    }
}

/// Puts roles and states.
pub(crate) fn put_states(msg: &mut Message<'_>, status: &VolumeStatus) -> Result {
    let state = &status.state;
    put(msg, attr::ROLE, state.role.number().into())?;
    put(msg, attr::PEER_ROLE, state.peer.number().into())?;
    put(msg, attr::REPLICATION_STATE, state.conn.number().into())?;
    put(msg, attr::DISK_STATE, state.disk.number().into())?;
    put(msg, attr::PEER_DISK_STATE, state.pdsk.number().into())?;
    put(msg, attr::SUSPENDED, status::suspended(state).into())?;
    put(msg, attr::SYNC_PAUSED, status::paused(state).into())
}

fn put_disk(msg: &mut Message<'_>, disk: &Disk) -> Result {
    put_text(msg, attr::LOWER_DISK, &disk.lower)?;
    put_text(msg, attr::META_DISK, &disk.meta)?;
    put_signed(msg, attr::META_INDEX, disk.index.into())?;
    put_options(msg, &disk.options)
}

fn put_counters(msg: &mut Message<'_>, status: &VolumeStatus) -> Result {
    let counters = &status.counters;
    // The engine counts sectors.
    put(msg, attr::SENT, counters.sent / 2)?;
    put(msg, attr::RECEIVED, counters.received / 2)?;
    put(msg, attr::DISK_WRITTEN, counters.written / 2)?;
    put(msg, attr::DISK_READ, counters.read / 2)?;
    put(msg, attr::AL_WRITES, counters.activity_log)?;
    put(msg, attr::BM_WRITES, counters.bitmap)?;
    put(msg, attr::LOCAL_PENDING, counters.local_pending.into())?;
    put(msg, attr::PEER_PENDING, counters.peer_pending.into())?;
    put(msg, attr::UNACKED, counters.unacked.into())?;
    put(msg, attr::UPPER_PENDING, counters.app_pending.into())?;
    put(msg, attr::OUT_OF_SYNC, status.out_of_sync_kib())
}

/// Puts how far a resync is.
pub(crate) fn put_progress(msg: &mut Message<'_>, progress: &Progress) -> Result {
    put(msg, attr::SYNC_TOTAL, progress.total)?;
    put(msg, attr::SYNC_LEFT, progress.left)?;
    put(msg, attr::SYNC_FAILED, progress.failed)?;
    put(msg, attr::SYNC_RATE, progress.rate)?;
    put(msg, attr::SYNC_AVERAGE, progress.average)?;
    if let Some(want) = progress.want {
        put(msg, attr::SYNC_WANT, want)?;
    }
    if let Some(seconds) = progress.eta {
        put(msg, attr::SYNC_ETA, seconds)?;
    }
    match progress.limit {
        Some(limit) => put(msg, attr::SYNC_LIMIT, status::sync_limit(limit) as u64),
        None => Ok(()),
    }
}
