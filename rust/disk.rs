// SPDX-License-Identifier: GPL-2.0

//! The volume: a disk whose driver gets bios.
//!
//! A [`Disk`] goes through these states:
//!
//! 1. *Live*, from [`Disk::new`] on: requests and openings reach the driver.
//! 2. *Removed*: dropping it calls `del_gendisk`, which writes out what the page cache still has
//!    (the driver must go on answering) and then lets no request in; after that it waits until
//!    every [`Bio`] was answered.
//! 3. *Dead*: the driver's value stays as long as somebody has the dead disk open; no requests come
//!    any more.
//! 4. *Freed*: the block layer calls `free_disk`, which lets go of the driver's value.

use crate::bdev::LowerDevice;
use crate::bindings;
use crate::bio::Bio;
use crate::inflight::InFlight;
use crate::limits::Limits;
use core::marker::PhantomData;
use core::ptr::NonNull;
use kernel::error::{from_err_ptr, from_result, to_result};
use kernel::prelude::*;
use kernel::sync::{Arc, ArcBorrow};
use kernel::{static_lock_class, ThisModule};

/// What a disk does.
pub trait BioDriver: Send + Sync + 'static {
    /// A request has come, of at most the disk's [`Limits`]; it has to be answered by
    /// [`Bio::complete`], here or later.
    ///
    /// Process context of whoever submits, possibly in the middle of memory reclaim: allocate with
    /// GFP_NOIO or from reserves, do not wait for other requests of this disk, and do no
    /// synchronous I/O. May sleep shortly, but changing the disk's limits and removing it wait for
    /// the call to return.
    fn submit(this: ArcBorrow<'_, Self>, bio: Bio);

    /// Somebody opens the disk or a partition of it. Sleeps; openings and releases of one disk are
    /// serialized.
    fn open(this: ArcBorrow<'_, Self>, writable: bool) -> Result;

    /// Somebody who had been let in by `open` is gone. Sleeps; serialized as `open`.
    fn release(this: ArcBorrow<'_, Self>);
}

/// What all disks have, whatever their driver. At the start of [`Private`].
#[pin_data]
pub(crate) struct Common {
    /// Bios that the driver has not answered.
    #[pin]
    pub(crate) in_flight: InFlight,
}

impl Common {
    /// The disk of a bio.
    ///
    /// # Safety
    ///
    /// `bio` must be one for a [`Disk`], not answered yet.
    pub(crate) unsafe fn of(bio: *mut bindings::bio) -> NonNull<Common> {
        // SAFETY: Its block device is one of our disk, whose private data is a `Private`, which
        // begins with a `Common`.
        unsafe { NonNull::new_unchecked((*(*(*bio).bi_bdev).bd_disk).private_data.cast()) }
    }
}

/// What a gendisk of ours points to.
#[repr(C)]
#[pin_data]
struct Private<D> {
    #[pin]
    common: Common,
    driver: Arc<D>,
    /// After the driver, so that the count goes down last.
    disks: DiskCount,
}

/// One disk in the count of its [`Major`].
struct DiskCount(Arc<MajorInner>);

impl DiskCount {
    fn new(major: &Arc<MajorInner>) -> Self {
        major.disks.get();
        DiskCount(major.clone())
    }
}

impl Drop for DiskCount {
    fn drop(&mut self) {
        self.0.disks.put();
    }
}

#[pin_data]
struct MajorInner {
    /// Disks that are not freed.
    #[pin]
    disks: InFlight,
}

/// A registered major device number.
///
/// Dropping it waits until all its disks are freed (nobody has one open) and releases the number.
/// Sleeps.
pub struct Major {
    inner: Arc<MajorInner>,
    number: c_uint,
    name: &'static CStr,
}

impl Major {
    /// Register `number`, or a free one for 0, under `name` in `/proc/devices`. Sleeps. `EBUSY`:
    /// taken.
    pub fn register(number: u32, name: &'static CStr) -> Result<Self> {
        let inner = Arc::pin_init(
            pin_init!(MajorInner {
                disks <- crate::new_in_flight!("rdb_disks"),
            }),
            GFP_KERNEL,
        )?;
        // SAFETY: The name is a C string; no probe function.
        let got = unsafe { bindings::__register_blkdev(number, name.as_char_ptr(), None) };
        to_result(got)?;
        let number = if number == 0 {
            u32::try_from(got).map_err(|_| EINVAL)?
        } else {
            number
        };
        Ok(Major {
            inner,
            number,
            name,
        })
    }

    /// The number.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Number of disks that are not freed yet.
    pub fn disks(&self) -> u32 {
        self.inner.disks.count()
    }
}

impl Drop for Major {
    fn drop(&mut self) {
        self.inner.disks.wait_zero();
        // SAFETY: Registered by us under this name.
        unsafe { bindings::unregister_blkdev(self.number, self.name.as_char_ptr()) }
    }
}

/// The table of operations of disks with driver `D`. A static of the module that has the driver:
///
/// ```ignore
/// static OPS: DiskOps<Volume> = DiskOps::new(this_module::<Rdb>());
/// ```
pub struct DiskOps<D> {
    raw: bindings::block_device_operations,
    _driver: PhantomData<fn() -> D>,
}

// SAFETY: Never written to; its pointers are to functions and the module.
unsafe impl<D> Sync for DiskOps<D> {}

impl<D: BioDriver> DiskOps<D> {
    /// The table, on behalf of `module`, which cannot be unloaded while a disk is open.
    pub const fn new(module: &'static ThisModule) -> Self {
        let mut raw: bindings::block_device_operations = pin_init::zeroed();
        raw.submit_bio = Some(submit_bio::<D>);
        raw.open = Some(open::<D>);
        raw.release = Some(release::<D>);
        raw.free_disk = Some(free_disk::<D>);
        raw.owner = module.as_ptr();
        DiskOps {
            raw,
            _driver: PhantomData,
        }
    }
}

/// # Safety
///
/// Called by the block layer with a bio for a disk with driver `D`.
unsafe extern "C" fn submit_bio<D: BioDriver>(bio: *mut bindings::bio) {
    // SAFETY: The bio is ours now. Its rest, if it was too large, is resubmitted by
    // bio_split_to_limits(), which returns null if it has ended the bio itself. The private data is
    // valid as long as requests come in.
    unsafe {
        let Some(bio) = NonNull::new(bindings::bio_split_to_limits(bio)) else {
            return;
        };
        let private = Common::of(bio.as_ptr()).cast::<Private<D>>().as_ref();
        private.common.in_flight.get();
        D::submit(private.driver.as_arc_borrow(), Bio::new(bio));
    }
}

/// # Safety
///
/// `disk` must be one with driver `D`, not freed.
unsafe fn private<'a, D>(disk: *mut bindings::gendisk) -> &'a Private<D> {
    // SAFETY: The caller guarantees it.
    unsafe { &*(*disk).private_data.cast() }
}

/// # Safety
///
/// Called by the block layer for a disk with driver `D`.
unsafe extern "C" fn open<D: BioDriver>(
    disk: *mut bindings::gendisk,
    mode: bindings::blk_mode_t,
) -> c_int {
    // SAFETY: The block layer holds the disk.
    let private = unsafe { private::<D>(disk) };
    from_result(|| {
        let writable = mode & bindings::BLK_OPEN_WRITE != 0;
        D::open(private.driver.as_arc_borrow(), writable).map(|()| 0)
    })
}

/// # Safety
///
/// Called by the block layer for a disk with driver `D`.
unsafe extern "C" fn release<D: BioDriver>(disk: *mut bindings::gendisk) {
    // SAFETY: The block layer holds the disk.
    let private = unsafe { private::<D>(disk) };
    D::release(private.driver.as_arc_borrow());
}

/// # Safety
///
/// Called by the block layer once, when nobody has the disk any more.
unsafe extern "C" fn free_disk<D>(disk: *mut bindings::gendisk) {
    // SAFETY: `Disk::new` gave up this box when the disk was added; it stays pinned until it is
    // dropped here.
    drop(unsafe { KBox::<Private<D>>::from_raw((*disk).private_data.cast()) });
}

/// A disk with driver `D`, from [`Disk::new`] to drop.
///
/// Dropping removes it from the system; see the module's states. Sleeps until every request was
/// answered, so it must be dropped by a thread that answering does not depend on, and no driver
/// lock may be held.
///
/// # Invariants
///
/// `raw` is a live gendisk, whose private data is a `Private<D>`.
pub struct Disk<D: BioDriver> {
    raw: NonNull<bindings::gendisk>,
    _driver: PhantomData<Arc<D>>,
}

// SAFETY: A gendisk may be used from any thread; `D` is Send and Sync.
unsafe impl<D: BioDriver> Send for Disk<D> {}
// SAFETY: As above.
unsafe impl<D: BioDriver> Sync for Disk<D> {}

impl<D: BioDriver> Disk<D> {
    /// Make `/dev/NAME` with capacity 0 for `driver`. Sleeps. `EINVAL`: the name is too long (31
    /// bytes), or the limits make no sense; `EBUSY` or `EEXIST`: minor or name is in use.
    pub fn new(
        ops: &'static DiskOps<D>,
        major: &Major,
        minor: u32,
        name: &CStr,
        limits: &Limits<'_>,
        driver: Arc<D>,
    ) -> Result<Self> {
        let mut lim = limits.build()?;
        let minor = c_int::try_from(minor).map_err(|_| EINVAL)?;
        let private = KBox::pin_init(
            try_pin_init!(Private {
                common <- pin_init!(Common { in_flight <- crate::new_in_flight!("rdb_bios") }),
                driver,
                disks: DiskCount::new(&major.inner),
            }? Error),
            GFP_KERNEL,
        )?;
        // SAFETY: The limits are initialized, the key is static. As long as the disk is not added
        // it is ours alone. Once it is added, put_disk() leads to `free_disk`, which owns the
        // private data then; before, they are freed here, pinned all the time, and after the disk
        // because of the order of the variables.
        unsafe {
            let disk = from_err_ptr(bindings::__blk_alloc_disk(
                &mut lim,
                bindings::NUMA_NO_NODE,
                static_lock_class!().as_ptr(),
            ))?;
            let guard = AllocatedDisk(disk);
            let room = &mut (*disk).disk_name;
            let bytes = name.to_bytes_with_nul();
            for (to, from) in room
                .get_mut(..bytes.len())
                .ok_or(EINVAL)?
                .iter_mut()
                .zip(bytes)
            {
                *to = *from;
            }
            (*disk).major = c_int::try_from(major.number).map_err(|_| EINVAL)?;
            (*disk).first_minor = minor;
            (*disk).minors = 1;
            (*disk).private_data = core::ptr::from_ref(&*private).cast_mut().cast();
            (*disk).fops = &ops.raw;
            to_result(bindings::device_add_disk(
                core::ptr::null_mut(),
                disk,
                core::ptr::null_mut(),
            ))?;
            core::mem::forget(guard);
            let _ = KBox::into_raw(Pin::into_inner_unchecked(private));
            Ok(Disk {
                raw: NonNull::new_unchecked(disk),
                _driver: PhantomData,
            })
        }
    }

    fn private(&self) -> &Private<D> {
        // SAFETY: By the type invariant.
        unsafe { private(self.raw.as_ptr()) }
    }

    /// Set the size in sectors of 512 bytes, and tell user space. Partitions are looked for at the
    /// next opening. Sleeps.
    pub fn set_capacity(&self, sectors: u64) {
        // SAFETY: By the type invariant.
        unsafe { bindings::set_capacity_and_notify(self.raw.as_ptr(), sectors) };
        self.rescan_on_open();
    }

    /// The size in sectors of 512 bytes. Any context.
    pub fn capacity_sectors(&self) -> u64 {
        // SAFETY: By the type invariant.
        unsafe { bindings::get_capacity(self.raw.as_ptr()) }
    }

    /// Change the limits. Sleeps; waits until no call of `BioDriver::submit` is running. `EINVAL`:
    /// they make no sense.
    pub fn set_limits(&self, limits: &Limits<'_>) -> Result {
        let mut lim = limits.build()?;
        // SAFETY: By the type invariant. start_update takes a lock which commit_update releases.
        unsafe {
            let queue = (*self.raw.as_ptr()).queue;
            let mut current: bindings::queue_limits = pin_init::zeroed();
            bindings::queue_limits_start_update(queue, &mut current);
            // What the administrator set by sysfs stays.
            lim.max_user_sectors = current.max_user_sectors;
            lim.max_user_discard_sectors = current.max_user_discard_sectors;
            to_result(bindings::queue_limits_commit_update_frozen(queue, &mut lim))
        }
    }

    /// Let nobody write (`true`), or let them again. Those who have it open for writing keep that.
    /// Sleeps.
    pub fn set_read_only(&self, read_only: bool) {
        // SAFETY: By the type invariant.
        unsafe { bindings::set_disk_ro(self.raw.as_ptr(), read_only) }
    }

    /// Look for partitions at the next opening. Any context.
    pub fn rescan_on_open(&self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::disk_need_part_scan(self.raw.as_ptr()) }
    }

    /// Tell user space that something changed (a `change` uevent, at which udev looks again).
    /// Sleeps.
    pub fn notify_change(&self) {
        // SAFETY: By the type invariant.
        unsafe {
            bindings::disk_uevent(self.raw.as_ptr(), bindings::kobject_action_KOBJ_CHANGE);
        }
    }

    /// Number of requests that are not answered. Any context.
    pub fn in_flight(&self) -> u32 {
        self.private().common.in_flight.count()
    }

    /// Show in sysfs (`lsblk`) that this disk sits on `lower`. Sleeps. To be undone by
    /// [`unlink_lower`](Self::unlink_lower) before either goes.
    pub fn link_lower(&self, lower: &LowerDevice) -> Result {
        // SAFETY: Both are live.
        to_result(unsafe { bindings::bd_link_disk_holder(lower.as_ptr(), self.raw.as_ptr()) })
    }

    /// Undo [`link_lower`](Self::link_lower), which must have succeeded: the block layer warns otherwise. Sleeps.
    pub fn unlink_lower(&self, lower: &LowerDevice) {
        // SAFETY: Both are live.
        unsafe { bindings::bd_unlink_disk_holder(lower.as_ptr(), self.raw.as_ptr()) }
    }
}

impl<D: BioDriver> Drop for Disk<D> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant. After del_gendisk() no bio comes in, and put_disk() may
        // free the private data only after the last one went out.
        unsafe {
            bindings::del_gendisk(self.raw.as_ptr());
            self.private().common.in_flight.wait_zero();
            bindings::put_disk(self.raw.as_ptr());
        }
    }
}

/// A gendisk that was allocated and not added.
struct AllocatedDisk(*mut bindings::gendisk);

impl Drop for AllocatedDisk {
    fn drop(&mut self) {
        // SAFETY: Ours, and never added.
        unsafe { bindings::put_disk(self.0) }
    }
}
