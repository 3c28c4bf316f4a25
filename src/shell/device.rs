// SPDX-License-Identifier: GPL-2.0

//! `/dev/rdbN`: requests from above.

use kernel::prelude::*;
use kernel::str::CString;
use kernel::sync::atomic::{Atomic, Full, Relaxed, Release};
use kernel::sync::{Arc, ArcBorrow};
use rdb_engine::effects::{Range, VolumeIndex};
use rdb_engine::request::{AppIo, AppOp, Submit};
use rdb_engine::wire::{MAX_REQUEST_BYTES, MAX_TRIM_BYTES};
use rdb_kapi::bio::{Bio, Op};
use rdb_kapi::disk::{BioDriver, Disk, DiskOps, Major};
use rdb_kapi::errno;
use rdb_kapi::limits::Limits;
use rdb_kapi::status::Status;

use super::backing::Backing;
use super::log::say;
use super::queues::{status_of, Context};
use super::resource::Resource;

static OPS: DiskOps<Driver> = DiskOps::new(crate::module());

/// What the block layer calls.
pub(crate) struct Driver {
    resource: Arc<Resource>,
    volume: VolumeIndex,
    // Changed under the open mutex of the disk only.
    readers: Atomic<u32>,
    writers: Atomic<u32>,
}

/// The block device of a volume. Dropping it waits for its requests (sleeps).
pub(crate) struct Device {
    disk: Disk<Driver>,
    driver: Arc<Driver>,
    /// The lower disk is shown in sysfs.
    linked: Atomic<bool>,
}

impl Device {
    /// Makes the device appear, with no capacity. Sleeps.
    pub(crate) fn new(
        resource: &Arc<Resource>,
        volume: VolumeIndex,
        major: &Major,
        minor: u32,
    ) -> Result<Arc<Self>> {
        let driver = Driver {
            resource: resource.clone(),
            volume,
            readers: Atomic::new(0),
            writers: Atomic::new(0),
        };
        let driver = Arc::new(driver, GFP_KERNEL)?;
        let name = CString::try_from_fmt(fmt!("rdb{minor}"))?;
        let disk = Disk::new(&OPS, major, minor, &name, &limits(None), driver.clone())?;
        let linked = Atomic::new(false);
        let device = Self {
            disk,
            driver,
            linked,
        };
        Ok(Arc::new(device, GFP_KERNEL)?)
    }

    /// How often it is open for reading only, and for writing.
    pub(crate) fn opens(&self) -> (u32, u32) {
        (
            self.driver.readers.load(Relaxed),
            self.driver.writers.load(Relaxed),
        )
    }

    /// Changes the size and tells userspace. Sleeps.
    pub(crate) fn set_capacity(&self, sectors: u64) {
        if self.disk.capacity_sectors() != sectors {
            self.disk.set_capacity(sectors);
        }
    }

    /// The volume became Primary: what the peer wrote may have changed the partitions. Sleeps.
    pub(crate) fn promoted(&self) {
        self.disk.rescan_on_open();
    }

    /// Takes over the limits of a lower disk that is being attached, and shows it in sysfs. Sleeps.
    pub(crate) fn link(&self, disk: &Backing) -> Result {
        self.disk.set_limits(&limits(Some(disk)))?;
        // Only for show.
        match self.disk.link_lower(disk.data()) {
            Ok(()) => self.linked.store(true, Release),
            Err(error) => {
                say!(pr_debug: "no holder link for {}: {:?}", disk.data().name(), error);
            }
        }
        Ok(())
    }

    /// Takes the lower disk out of sysfs.
    pub(crate) fn unlink(&self, disk: &Backing) {
        if self.linked.xchg(false, Full) {
            self.disk.unlink_lower(disk.data());
        }
    }
}

/// Requests beyond these limits are split by the block layer.
fn limits(disk: Option<&Backing>) -> Limits<'_> {
    let lower = disk.map(Backing::data);
    let bytes = |sectors: u32| sectors.min(MAX_TRIM_BYTES / 512).saturating_mul(512);
    Limits {
        lower,
        max_io_bytes: MAX_REQUEST_BYTES,
        max_discard_bytes: lower.map_or(0, |lower| bytes(lower.max_discard_sectors())),
        discard_granularity: lower.map_or(0, |lower| lower.discard_granularity()),
        max_write_zeroes_bytes: lower.map_or(0, |lower| bytes(lower.max_write_zeroes_sectors())),
        ..Limits::default()
    }
}

impl Driver {
    fn tell_opens(&self) {
        let (readers, writers) = (self.readers.load(Relaxed), self.writers.load(Relaxed));
        self.resource.with(Context::Thread, |engine, _, _| {
            engine.set_open(self.volume, readers, writers)
        });
    }
}

impl BioDriver for Driver {
    fn submit(this: ArcBorrow<'_, Self>, bio: Bio) {
        let Some(io) = request(&bio) else {
            return bio.complete(Status::NOTSUPP);
        };
        let signals = &this.resource.signals;
        let mut bio = bio;
        let mut waiting = false;
        loop {
            let seen = signals.changed.seen();
            bio = match this.resource.submit(this.volume, io, bio) {
                Ok(()) => break,
                Err((bio, Submit::Done(outcome))) => {
                    bio.complete(status_of(outcome));
                    break;
                }
                Err((bio, _)) => bio,
            };
            if waiting {
                signals.changed.wait(seen);
            } else {
                // Once more, now that ends of requests are told at once.
                waiting = true;
                signals.submitter_waits(true);
            }
        }
        if waiting {
            signals.submitter_waits(false);
        }
    }

    fn open(this: ArcBorrow<'_, Self>, writable: bool) -> Result {
        let volume = this.volume;
        this.resource.with(Context::Thread, |engine, _, _| {
            engine
                .may_open(volume, writable)
                .map_err(|refusal| refused(&refusal))?;
            let count = if writable {
                &this.writers
            } else {
                &this.readers
            };
            count.fetch_add(1, Relaxed);
            engine.set_open(
                volume,
                this.readers.load(Relaxed),
                this.writers.load(Relaxed),
            );
            Ok(())
        })
    }

    fn release(this: ArcBorrow<'_, Self>) {
        // The block layer does not say which kind of open ends: the writers are believed to stay longest.
        let count = if this.readers.load(Relaxed) > 0 {
            &this.readers
        } else {
            &this.writers
        };
        count.fetch_sub(1, Relaxed);
        this.tell_opens();
    }
}

fn refused(refusal: &rdb_engine::admin::OpenRefusal) -> Error {
    use rdb_engine::admin::OpenRefusal;
    match refusal {
        OpenRefusal::ReadOnly => EROFS,
        OpenRefusal::NoMedium => errno::error(errno::EMEDIUMTYPE),
        OpenRefusal::NoDevice => ENODEV,
    }
}

/// The engine's form of a request; `None` for operations that there is no support for.
fn request(bio: &Bio) -> Option<AppIo> {
    let op = match bio.op() {
        Op::Read => AppOp::Read,
        Op::Write => AppOp::Write,
        Op::Flush => AppOp::Flush,
        Op::Discard => AppOp::Discard,
        Op::WriteZeroes => AppOp::Zeroes {
            unmap: !bio.is_nounmap(),
        },
        Op::Other(_) => return None,
    };
    let most = match op {
        AppOp::Read | AppOp::Write => MAX_REQUEST_BYTES,
        _ => MAX_TRIM_BYTES,
    };
    if bio.len() > most {
        return None;
    }
    Some(AppIo {
        op,
        range: Range {
            sector: bio.sector(),
            bytes: bio.len(),
        },
        fua: bio.is_fua(),
        preflush: bio.is_preflush(),
        sync: bio.is_sync(),
    })
}
