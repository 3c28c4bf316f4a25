// SPDX-License-Identifier: GPL-2.0

//! Requests about a resource as a whole.

use kernel::prelude::*;
use rdb_engine::admin::Request as Admin;
use rdb_engine::effects::VolumeIndex;
use rdb_engine::netlink::{attr, OnNoDataAccessible};
use rdb_engine::wire::{DiskState, Role};
use rdb_kapi::genl::Request;

use super::{connection, request, resource_of};
use crate::shell::failure::Failure;
use crate::shell::queues::Context;
use crate::shell::registry;
use crate::shell::resource::{Engine, Resource};
use crate::shell::settings::Shape;

/// State code: the device is open.
const IN_USE: i32 = -12;

/// Makes a resource; one that exists stays as it is.
pub(super) fn add(req: &Request<'_>) -> Result<(), Failure> {
    let name = request::name(req)?;
    if registry::find(name).is_some() {
        return Ok(());
    }
    match registry::new_resource(name) {
        Ok(res) => {
            res.settings
                .with(|values| request::take_options(req, &mut values.options))?;
            apply(&res);
            Ok(())
        }
        // Somebody else was faster.
        Err(_) if registry::find(name).is_some() => Ok(()),
        Err(failure) => Err(failure),
    }
}

/// Changes resource options.
pub(super) fn set(req: &Request<'_>) -> Result<(), Failure> {
    let res = resource_of(req)?;
    res.settings.with(|values| -> Result<(), Failure> {
        let mut options = values.options.try_clone()?;
        request::take_options(req, &mut options)?;
        values.options = options;
        Ok(())
    })?;
    apply(&res);
    Ok(())
}

/// Tells the engine what it decides by.
fn apply(res: &Resource) {
    let policy = res
        .settings
        .with(|values| values.options.unsigned(attr::ON_NO_DATA_ACCESSIBLE));
    let suspend = OnNoDataAccessible::try_from(policy) == Ok(OnNoDataAccessible::SuspendIo);
    res.with(Context::Thread, |engine, _, _| {
        engine.set_no_data_suspends(suspend)
    });
}

/// Deletes an empty resource.
pub(super) fn delete(req: &Request<'_>) -> Result<(), Failure> {
    let res = resource_of(req)?;
    let mut shape = res.settings.shape()?;
    if res.settings.with(|values| values.connection.is_some()) {
        return Err(refused!(
            ResourceInUse,
            "has a connection: disconnect first"
        ));
    }
    remove(&res, &mut shape)
}

/// Takes everything down; a resource that does not exist is down.
pub(super) fn down(req: &Request<'_>) -> Result<(), Failure> {
    let name = request::name(req)?;
    let Some(res) = registry::find(name) else {
        return Ok(());
    };
    let all = volumes(&res)?;
    for &(index, number, minor) in &all {
        if res.opens(index) != (0, 0) {
            return Err(Failure::new(
                IN_USE,
                format_args!(
                    "volume {number} is held open: unmount or close /dev/rdb{minor} first"
                ),
            ));
        }
    }
    for &(index, ..) in &all {
        let primary = |engine: &Engine| {
            engine
                .volume(index)
                .is_some_and(|volume| volume.state.role == Role::Primary)
        };
        if res.inspect(primary) {
            step("secondary", res.admin(Admin::Secondary { volume: index }))?;
        }
    }
    step("disconnect", connection::forget(&res, false))?;
    for &(index, number, _) in &all {
        let attached = |engine: &Engine| {
            engine
                .volume(index)
                .is_some_and(|volume| volume.state.disk != DiskState::Diskless)
        };
        if res.inspect(attached) {
            step(
                "detach",
                res.admin(Admin::Detach {
                    volume: index,
                    force: false,
                }),
            )?;
        }
        res.settings.with(|values| values.forget_disk(number));
    }
    // Somebody else may have taken it down meanwhile.
    let Ok(mut shape) = res.settings.shape() else {
        return Ok(());
    };
    for (_, _, minor) in volumes(&res)? {
        step("remove the volume", registry::remove_volume(minor))?;
    }
    step("remove the resource", remove(&res, &mut shape))
}

fn remove(res: &Resource, shape: &mut Shape) -> Result<(), Failure> {
    registry::remove_resource(res.name())?;
    shape.end();
    res.settings.release_module();
    Ok(())
}

/// Names the step that failed.
fn step(name: &str, result: Result<(), Failure>) -> Result<(), Failure> {
    result.map_err(|failure| Failure::new(failure.code(), format_args!("{name}: {failure}")))
}

/// Index, number and minor of all volumes.
fn volumes(res: &Resource) -> Result<KVec<(VolumeIndex, u16, u32)>, Failure> {
    let count = res.inspect(|engine| engine.volumes().count());
    let mut list = KVec::with_capacity(count, GFP_KERNEL).map_err(Error::from)?;
    res.inspect(|engine| {
        for index in engine.volumes() {
            let Some(volume) = engine.volume(index) else {
                continue;
            };
            // A volume that was added just now is for the next `down`: removing the resource will refuse.
            if list
                .push_within_capacity((index, volume.number, volume.minor))
                .is_err()
            {
                break;
            }
        }
    });
    Ok(list)
}
