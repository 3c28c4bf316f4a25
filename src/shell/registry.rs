// SPDX-License-Identifier: GPL-2.0

//! All resources of the module, and which minor belongs to which volume.

use kernel::prelude::*;
use kernel::sync::{new_mutex, Arc, Mutex};
use rdb_engine::effects::VolumeIndex;
use rdb_engine::wire::{ConnState, DiskState};
use rdb_kapi::disk::Major;
use rdb_kapi::global::Global;

use super::device::Device;
use super::events;
use super::failure::{no_memory, Failure};
use super::log::say;
use super::queues::Context;
use super::resource::Resource;

static REGISTRY: Global<Registry> = Global::new();

#[pin_data]
struct Registry {
    // Outlives the devices: they are dropped with their resources, before the module goes.
    major: Major,
    #[pin]
    lists: Mutex<Lists>,
}

struct Lists {
    /// In the order of their names.
    resources: KVec<Arc<Resource>>,
    /// In the order of the minors.
    minors: KVec<(u32, Arc<Resource>, VolumeIndex)>,
}

/// The registry exists as long as this.
pub(crate) struct Guard(());

impl Guard {
    /// Makes the registry. Sleeps.
    pub(crate) fn new() -> Result<Self> {
        let lists = Lists {
            resources: KVec::new(),
            minors: KVec::new(),
        };
        let registry = Arc::pin_init(
            try_pin_init!(Registry {
                major: Major::register(0, c"rdb")?,
                lists <- new_mutex!(lists, "rdb::registry"),
            }),
            GFP_KERNEL,
        )?;
        REGISTRY.set(registry)?;
        Ok(Self(()))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let Some(registry) = REGISTRY.clear() else {
            return;
        };
        // A resource holds a reference to the module, so nothing is left here.
        let lists = registry.lists.lock();
        if !lists.resources.is_empty() {
            say!(pr_err: "unloaded with {} resources", lists.resources.len());
        }
    }
}

fn registry() -> Result<Arc<Registry>, Failure> {
    REGISTRY
        .get()
        .ok_or_else(|| Failure::new(162, format_args!("the module is being unloaded")))
}

/// The resource with this name.
pub(crate) fn find(name: &str) -> Option<Arc<Resource>> {
    let registry = REGISTRY.get()?;
    let lists = registry.lists.lock();
    lists
        .resources
        .iter()
        .find(|resource| resource.name() == name)
        .cloned()
}

/// The volume with this minor number.
pub(crate) fn by_minor(minor: u32) -> Option<(Arc<Resource>, VolumeIndex)> {
    next_minor(minor)
        .and_then(|(found, resource, volume)| (found == minor).then_some((resource, volume)))
}

/// The first resource, or the one whose name follows.
pub(crate) fn next_resource(after: Option<&str>) -> Option<Arc<Resource>> {
    let registry = REGISTRY.get()?;
    let lists = registry.lists.lock();
    lists
        .resources
        .iter()
        .find(|resource| after.is_none_or(|after| resource.name() > after))
        .cloned()
}

/// The volume with the smallest minor number that is at least `from`.
pub(crate) fn next_minor(from: u32) -> Option<(u32, Arc<Resource>, VolumeIndex)> {
    let registry = REGISTRY.get()?;
    let lists = registry.lists.lock();
    lists
        .minors
        .iter()
        .find(|(minor, _, _)| *minor >= from)
        .cloned()
}

/// Makes a resource. Sleeps.
///
/// # Errors
///
/// 126 bad name, 161 exists, 122 no memory.
pub(crate) fn new_resource(name: &str) -> Result<Arc<Resource>, Failure> {
    if name.is_empty()
        || !name
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'/')
    {
        return Err(Failure::new(
            126,
            format_args!("resource name: expected printable ASCII without blanks or '/'"),
        ));
    }
    let registry = registry()?;
    let resource = Resource::new(name)?;
    let added = {
        let mut lists = registry.lists.lock();
        let at = lists
            .resources
            .iter()
            .position(|other| other.name() >= name)
            .unwrap_or(lists.resources.len());
        if lists
            .resources
            .get(at)
            .is_some_and(|other| other.name() == name)
        {
            Err(Failure::new(
                161,
                format_args!("resource {name} exists already"),
            ))
        } else {
            insert(&mut lists.resources, at, resource.clone())
        }
    };
    match added {
        Ok(()) => {
            events::resource_created(&resource);
            Ok(resource)
        }
        Err(failure) => {
            resource.retire();
            Err(failure)
        }
    }
}

/// Removes a resource that has no volumes and no connection. Sleeps.
///
/// # Errors
///
/// 158 unknown, 159 in use.
pub(crate) fn remove_resource(name: &str) -> Result<(), Failure> {
    let registry = registry()?;
    let resource = {
        let mut lists = registry.lists.lock();
        let Some(at) = lists
            .resources
            .iter()
            .position(|resource| resource.name() == name)
        else {
            return Err(Failure::new(
                158,
                format_args!("resource {name} is unknown"),
            ));
        };
        let resource = lists.resources.get(at).cloned().ok_or_else(no_memory)?;
        let volumes = resource.inspect(|engine| engine.volumes().count());
        if volumes > 0 {
            return Err(Failure::new(
                159,
                format_args!("resource {name} has {volumes} volumes"),
            ));
        }
        if resource.inspect(|engine| engine.connection()) != ConnState::StandAlone {
            return Err(Failure::new(
                159,
                format_args!("resource {name} has a connection: disconnect it first"),
            ));
        }
        let _ = lists.resources.remove(at);
        resource
    };
    resource.retire();
    events::resource_removed(name);
    Ok(())
}

/// Adds a volume to a resource, and its block device. Sleeps.
///
/// # Errors
///
/// 161 the minor or the volume exists, 122 no memory or no room, 126 a minor number out of range.
pub(crate) fn new_volume(resource: &Arc<Resource>, vnr: u16, minor: u32) -> Result<(), Failure> {
    let registry = registry()?;
    if minor >= 1 << 20 {
        return Err(Failure::new(
            126,
            format_args!("minor {minor} is out of range, expected 0 to 1048575"),
        ));
    }
    {
        let mut lists = registry.lists.lock();
        let at = lists
            .minors
            .iter()
            .position(|(other, _, _)| *other >= minor)
            .unwrap_or(lists.minors.len());
        if lists
            .minors
            .get(at)
            .is_some_and(|(other, _, _)| *other == minor)
        {
            return Err(Failure::new(
                161,
                format_args!("minor {minor} exists already"),
            ));
        }
        let v = resource.with(Context::Thread, |engine, queues, _| {
            engine.add_volume(vnr, minor, queues)
        })?;
        if let Err(failure) = insert(&mut lists.minors, at, (minor, resource.clone(), v)) {
            let _ = resource.with(Context::Thread, |engine, _, _| engine.remove_volume(v));
            return Err(failure);
        }
    }
    let made = by_minor(minor).map(|(_, v)| (v, Device::new(resource, v, &registry.major, minor)));
    match made {
        Some((v, Ok(device))) => {
            let sectors =
                resource.inspect(|engine| engine.volume(v).map_or(0, |volume| volume.capacity));
            device.set_capacity(sectors);
            resource.queues(|queues| queues.set_device(v, Some(device)));
            events::volume_created(resource, vnr, minor);
            Ok(())
        }
        Some((v, Err(error))) => {
            let _ = resource.with(Context::Thread, |engine, _, _| engine.remove_volume(v));
            forget(&registry, minor);
            Err(Failure::new(
                122,
                format_args!("cannot make device rdb{minor}: {error:?}"),
            ))
        }
        None => Err(no_memory()),
    }
}

/// Removes a volume that has no disk and is not open. Sleeps.
///
/// # Errors
///
/// 127 unknown, -12 open, 160 has a disk, and what the engine says.
pub(crate) fn remove_volume(minor: u32) -> Result<(), Failure> {
    let registry = registry()?;
    let Some((resource, v)) = by_minor(minor) else {
        return Err(Failure::new(127, format_args!("minor {minor} is unknown")));
    };
    let (vnr, device) = resource.with(Context::Thread, |engine, queues, _| {
        let Some(volume) = engine.volume(v) else {
            return Err(Failure::new(127, format_args!("minor {minor} is unknown")));
        };
        let vnr = volume.number;
        if queues
            .device(v)
            .is_some_and(|device| device.opens() != (0, 0))
        {
            return Err(Failure::new(-12, format_args!("device rdb{minor} is open")));
        }
        if volume.state.disk != DiskState::Diskless {
            return Err(Failure::new(
                160,
                format_args!("minor {minor} has a disk: detach it first"),
            ));
        }
        engine.remove_volume(v)?;
        Ok((vnr, queues.set_device(v, None)))
    })?;
    // Waits for its requests, without the lock. The number is free only then.
    drop(device);
    forget(&registry, minor);
    events::volume_removed(resource.name(), vnr, minor);
    Ok(())
}

fn forget(registry: &Registry, minor: u32) {
    let entry = {
        let mut lists = registry.lists.lock();
        let at = lists
            .minors
            .iter()
            .position(|(other, _, _)| *other == minor);
        at.and_then(|at| lists.minors.remove(at).ok())
    };
    drop(entry);
}

fn insert<T>(list: &mut KVec<T>, at: usize, item: T) -> Result<(), Failure> {
    list.reserve(1, GFP_KERNEL).map_err(|_| no_memory())?;
    list.insert_within_capacity(at, item)
        .map_err(|_| no_memory())
}
