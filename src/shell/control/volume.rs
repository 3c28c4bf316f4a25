// SPDX-License-Identifier: GPL-2.0

//! Requests about a volume.

use kernel::prelude::*;
use kernel::str::CString;
use kernel::sync::Arc;
use rdb_engine::admin::Request as Admin;
use rdb_engine::effects::VolumeIndex;
use rdb_engine::fencing::Fencing;
use rdb_engine::netlink::{
    attr, Fencing as FencingPolicy, OnIoError as Policy, META_INDEX_FLEXIBLE, META_INDEX_INTERNAL,
};
use rdb_engine::options::Section;
use rdb_engine::resync_rate::RateOptions;
use rdb_engine::volume::{DiskOptions, OnIoError};
use rdb_engine::wire::DiskState;
use rdb_kapi::genl::Request;

use super::request::{self, missing};
use super::resource_of;
use crate::shell::failure::Failure;
use crate::shell::progress;
use crate::shell::registry;
use crate::shell::resource::{AttachRequest, Resource};
use crate::shell::settings::{Disk, OptionSet};

/// State code: there is no algorithm for verify.
const NO_VERIFY_ALG: i32 = -14;

/// Makes a volume and its device; the same volume with the same minor stays as it is.
pub(super) fn add(req: &Request<'_>) -> Result<(), Failure> {
    let res = resource_of(req)?;
    let number = req
        .attrs()
        .u32(attr::VOLUME)
        .ok_or_else(|| missing(attr::VOLUME))?;
    let minor = req
        .attrs()
        .u32(attr::MINOR)
        .ok_or_else(|| missing(attr::MINOR))?;
    let number = u16::try_from(number)
        .ok()
        .filter(|&number| number <= rdb_engine::wire::MAX_VOLUME)
        .ok_or_else(|| {
            let most = rdb_engine::wire::MAX_VOLUME;
            refused!(MandatoryAttr, "volume {number}: numbers go up to {most}")
        })?;
    let _shape = res.settings.shape()?;
    if let Some((other, index)) = registry::by_minor(minor) {
        let taken = other.inspect(|engine| engine.volume(index).map(|volume| volume.number));
        if other.name() == res.name() && taken == Some(number) {
            return Ok(());
        }
        let owner = other.name();
        return Err(refused!(
            MinorOrVolumeExists,
            "/dev/rdb{minor} belongs to {owner}/{}",
            taken.unwrap_or(0)
        ));
    }
    registry::new_volume(&res, number, minor)
}

/// Deletes a volume without disk that nobody has open.
pub(super) fn delete(req: &Request<'_>) -> Result<(), Failure> {
    let (res, _) = request::volume(req)?;
    let _shape = res.settings.shape()?;
    let index = volume_of(req, &res)?;
    let (disk, minor) = res
        .inspect(|engine| {
            engine
                .volume(index)
                .map(|volume| (volume.state.disk, volume.minor))
        })
        .unwrap_or((DiskState::Diskless, 0));
    if disk != DiskState::Diskless {
        return Err(refused!(
            MinorConfigured,
            "has a disk ({}): detach it first",
            disk.name()
        ));
    }
    registry::remove_volume(minor)
}

/// Attaches the lower disk.
pub(super) fn attach(req: &Request<'_>) -> Result<(), Failure> {
    let (res, _) = request::volume(req)?;
    let _shape = res.settings.shape()?;
    let index = volume_of(req, &res)?;
    let lower = path(req, attr::LOWER_DISK)?;
    let meta = path(req, attr::META_DISK)?;
    let kind = request::signed(req, attr::META_INDEX).unwrap_or(META_INDEX_INTERNAL);
    let same = lower.to_bytes() == meta.to_bytes();
    if kind < META_INDEX_INTERNAL || kind == -1 || (kind == META_INDEX_INTERNAL) != same {
        return Err(refused!(
            MdIndexInvalid,
            "meta-index {kind} does not fit: {META_INDEX_INTERNAL} (internal) takes one device for \
             both, {META_INDEX_FLEXIBLE} (flexible) and slot numbers take another one"
        ));
    }
    let (number, disk) = res
        .inspect(|engine| {
            engine
                .volume(index)
                .map(|volume| (volume.number, volume.state.disk))
        })
        .ok_or_else(|| refused!(MinorInvalid, "the volume is gone"))?;
    if disk != DiskState::Diskless {
        return Err(refused!(
            DiskConfigured,
            "a disk is attached already ({})",
            disk.name()
        ));
    }
    let mut options = OptionSet::defaults(Section::Disk)?;
    request::take_options(req, &mut options)?;
    refuse_protocol_a(&res, &options)?;
    let record = Disk {
        volume: number,
        lower: copy(lower.to_bytes())?,
        meta: copy(meta.to_bytes())?,
        index: kind,
        options,
    };
    let engine_options = disk_options(&record.options);
    let md_flushes = record.options.is_on(attr::MD_FLUSHES);
    let log_slots = record
        .options
        .is_on(attr::AL_UPDATES)
        .then(|| record.options.unsigned(attr::AL_EXTENTS));
    // Once the disk is attached it is too late to fail.
    res.settings.with(|values| values.reserve_disk())?;
    res.attach(
        index,
        AttachRequest {
            data: &lower,
            meta: &meta,
            index: kind,
            options: engine_options,
            md_flushes,
            log_slots,
        },
    )?;
    res.settings.with(|values| values.set_disk(record))?;
    // The disk may be one that another one's resync waits for, or the other way round.
    progress::call();
    Ok(())
}

/// Detaches the lower disk.
pub(super) fn detach(req: &Request<'_>) -> Result<(), Failure> {
    let (res, _) = request::volume(req)?;
    let _shape = res.settings.shape()?;
    let index = volume_of(req, &res)?;
    let state = res.inspect(|engine| {
        engine
            .volume(index)
            .map(|volume| (volume.number, volume.state.disk))
    });
    let Some((number, disk)) = state else {
        return Ok(());
    };
    if disk != DiskState::Diskless {
        res.admin(Admin::Detach {
            volume: index,
            force: req.attrs().flag(attr::FORCE),
        })?;
    }
    res.settings.with(|values| values.forget_disk(number));
    Ok(())
}

/// Changes disk options.
pub(super) fn set(req: &Request<'_>) -> Result<(), Failure> {
    let (res, _) = request::volume(req)?;
    let _shape = res.settings.shape()?;
    let index = volume_of(req, &res)?;
    let number = res
        .inspect(|engine| engine.volume(index).map(|volume| volume.number))
        .unwrap_or(u16::MAX);
    let no_disk = || refused!(NoDisk, "no disk is attached: its options come with attach");
    let mut options = res
        .settings
        .with(|values| values.disk(number).map(|disk| disk.options.try_clone()))
        .ok_or_else(no_disk)??;
    request::take_options(req, &mut options)?;
    refuse_protocol_a(&res, &options)?;
    let engine_options = disk_options(&options);
    res.admin(Admin::SetDisk {
        volume: index,
        options: engine_options,
    })?;
    if let Some(disk) = res.queues(|queues| queues.disk(index)) {
        disk.set_options(&engine_options, options.is_on(attr::MD_FLUSHES));
    }
    let kept = res.settings.with(|values| {
        match values.disks.iter_mut().find(|disk| disk.volume == number) {
            Some(disk) => {
                disk.options = options;
                Ok(())
            }
            None => Err(no_disk()),
        }
    });
    progress::call();
    kept
}

/// Hands a request about the volume to its resource.
fn admin(req: &Request<'_>, make: impl FnOnce(VolumeIndex) -> Admin) -> Result<(), Failure> {
    let (res, _) = request::volume(req)?;
    res.admin_of(request::minor(req)?, make)
}

/// Makes the node Primary.
pub(super) fn primary(req: &Request<'_>) -> Result<(), Failure> {
    admin(req, |volume| Admin::Primary {
        volume,
        force: req.attrs().flag(attr::FORCE),
    })
}

/// Makes the node Secondary.
pub(super) fn secondary(req: &Request<'_>) -> Result<(), Failure> {
    admin(req, |volume| Admin::Secondary { volume })
}

/// Drops the own data.
pub(super) fn invalidate(req: &Request<'_>) -> Result<(), Failure> {
    admin(req, |volume| Admin::Invalidate { volume })
}

/// Drops the peer's data.
pub(super) fn invalidate_remote(req: &Request<'_>) -> Result<(), Failure> {
    admin(req, |volume| Admin::InvalidateRemote { volume })
}

/// Pauses a resync.
pub(super) fn pause_sync(req: &Request<'_>) -> Result<(), Failure> {
    admin(req, |volume| Admin::PauseSync { volume })
}

/// Lets a resync go on.
pub(super) fn resume_sync(req: &Request<'_>) -> Result<(), Failure> {
    admin(req, |volume| Admin::ResumeSync { volume })
}

/// Freezes I/O.
pub(super) fn suspend_io(req: &Request<'_>) -> Result<(), Failure> {
    admin(req, |volume| Admin::SuspendIo { volume })
}

/// Lets I/O go on.
pub(super) fn resume_io(req: &Request<'_>) -> Result<(), Failure> {
    admin(req, |volume| Admin::ResumeIo { volume })
}

/// Marks the own data as outdated.
pub(super) fn outdate(req: &Request<'_>) -> Result<(), Failure> {
    admin(req, |volume| Admin::Outdate { volume })
}

/// Begins a new data generation.
pub(super) fn new_current_uuid(req: &Request<'_>) -> Result<(), Failure> {
    admin(req, |volume| Admin::NewCurrentUuid {
        volume,
        clear_bitmap: req.attrs().flag(attr::CLEAR_BITMAP),
    })
}

/// Online verify does not exist yet; without an algorithm it would be refused anyway.
pub(super) fn verify(req: &Request<'_>) -> Result<(), Failure> {
    let (res, _) = request::volume(req)?;
    let has_algorithm = res.settings.with(|values| {
        values
            .connection
            .as_ref()
            .is_some_and(|net| !net.options.text(attr::VERIFY_ALG).is_empty())
    });
    if !has_algorithm {
        return Err(Failure::new(
            NO_VERIFY_ALG,
            format_args!("no verify-alg is configured"),
        ));
    }
    not_yet(req)
}

/// Resizing does not exist yet.
pub(super) fn resize(req: &Request<'_>) -> Result<(), Failure> {
    not_yet(req)
}

/// For what the family has and this version of the module does not do yet.
fn not_yet(req: &Request<'_>) -> Result<(), Failure> {
    request::volume(req)?;
    Err(refused!(
        InvalidRequest,
        "this version of the module cannot do that yet"
    ))
}

/// The volume that the request is about, found again now that nobody can replace it.
fn volume_of(req: &Request<'_>, res: &Arc<Resource>) -> Result<VolumeIndex, Failure> {
    let (now, index) = request::volume(req)?;
    if !Arc::ptr_eq(&now, res) {
        return Err(refused!(MinorInvalid, "the volume was replaced meanwhile"));
    }
    Ok(index)
}

/// The counterpart of what `connect` refuses.
fn refuse_protocol_a(res: &Resource, options: &OptionSet) -> Result<(), Failure> {
    let lazy = res.settings.with(|values| {
        let net = values.connection.as_ref();
        net.is_some_and(|net| net.options.protocol_letter() == 'A')
    });
    if lazy && options.freezes() {
        return Err(refused!(
            StonithAndProtocolA,
            "fencing resource-and-stonith needs protocol B or C, the connection has A"
        ));
    }
    Ok(())
}

/// What the engine wants to know of the disk options.
fn disk_options(options: &OptionSet) -> DiskOptions {
    DiskOptions {
        size: u64::try_from(options.number(attr::SIZE)).unwrap_or(0),
        disk_flushes: options.is_on(attr::DISK_FLUSHES),
        disk_drain: options.is_on(attr::DISK_DRAIN),
        // The unit is a tenth of a second.
        disk_timeout_ms: options.unsigned(attr::DISK_TIMEOUT).saturating_mul(100),
        fencing: match FencingPolicy::try_from(options.unsigned(attr::FENCING)) {
            Ok(FencingPolicy::ResourceOnly) => Fencing::ResourceOnly,
            Ok(FencingPolicy::ResourceAndStonith) => Fencing::ResourceAndStonith,
            _ => Fencing::DontCare,
        },
        rate: RateOptions {
            resync_rate: options.unsigned(attr::RESYNC_RATE),
            plan_ahead: options.unsigned(attr::C_PLAN_AHEAD),
            fill_target: options.unsigned(attr::C_FILL_TARGET),
            delay_target: options.unsigned(attr::C_DELAY_TARGET),
            max_rate: options.unsigned(attr::C_MAX_RATE),
            min_rate: options.unsigned(attr::C_MIN_RATE),
        },
        on_io_error: match Policy::try_from(options.unsigned(attr::ON_IO_ERROR)) {
            Ok(Policy::PassOn) => OnIoError::PassOn,
            Ok(Policy::CallLocalIoError) => OnIoError::CallLocalIoError,
            _ => OnIoError::Detach,
        },
    }
}

fn path(req: &Request<'_>, number: u16) -> Result<CString, Failure> {
    let text = request::text(req, number).ok_or_else(|| missing(number))?;
    if !text.starts_with('/') {
        return Err(refused!(
            MandatoryAttr,
            "{text}: the path of a device begins with '/'"
        ));
    }
    Ok(CString::try_from_fmt(format_args!("{text}"))?)
}

fn copy(bytes: &[u8]) -> Result<KVec<u8>, Failure> {
    let mut copy = KVec::new();
    copy.extend_from_slice(bytes, GFP_KERNEL)
        .map_err(Error::from)?;
    Ok(copy)
}
