// SPDX-License-Identifier: GPL-2.0

//! A passthrough disk that uses the wrappers as rdb does: requests parked in a table, clones of
//! them, and copies through buffers in a worker thread.

use crate::block::open_lower;
use crate::net::pair;
use crate::{check, this_module};
use core::sync::atomic::{AtomicU32, Ordering};
use kernel::prelude::*;
use kernel::sync::{Arc, ArcBorrow};
use rdb_kapi::bdev::{Holder, LowerDevice, OpenError};
use rdb_kapi::bio::{Bio, CloneFlags, Op};
use rdb_kapi::buf::{BufPool, IoBuf};
use rdb_kapi::crypto::{Hash, MAX_DIGEST};
use rdb_kapi::disk::{BioDriver, Disk, DiskOps, Major};
use rdb_kapi::limits::Limits;
use rdb_kapi::lock::IrqSpinLock;
use rdb_kapi::lower::{BufOp, IoFlags, LowerDone};
use rdb_kapi::net::{IpAddr, Ipv4Addr, NetError, Socket, SocketOptions};
use rdb_kapi::queue::CompletionQueue;
use rdb_kapi::status::Status;
use rdb_kapi::thread::{KThread, Options};
use rdb_kapi::transfer::SendMode;
use rdb_kapi::wait::WaitQueue;
use rdb_kapi::{mem, new_irq_spinlock, new_wait_queue};

/// Requests parked at a time.
const SLOTS: usize = 64;
/// Largest request; smaller than usual, so that requests are split.
const MAX_IO: u32 = 128 << 10;

static OPS: DiskOps<Passthrough> = DiskOps::new(this_module());

/// Cookie of a clone whose request was answered already.
const ANSWERED: u64 = u64::MAX;

/// Where a request is parked.
enum Slot {
    Free,
    /// The worker has the request.
    Out,
    Parked(Bio),
}

/// For the worker: carry the request in this slot out; or a buffer for it came back; or its clone
/// has ended.
enum Job {
    Start(u64),
    Ended(u64, Status, Option<IoBuf>),
}

#[pin_data]
struct Passthrough {
    lower: Arc<LowerDevice>,
    pool: Arc<BufPool>,
    #[pin]
    parked: IrqSpinLock<KVVec<Slot>>,
    #[pin]
    free: WaitQueue,
    #[pin]
    jobs: CompletionQueue<Job>,
    /// Two ends of a connection with room for a request: data take the way over the network.
    wire: (Socket, Socket),
    hash: Option<Hash>,
    turn: AtomicU32,
    wired: AtomicU32,
    largest: AtomicU32,
    opens: AtomicU32,
}

impl Passthrough {
    /// Park the bio in a free slot, waiting for one.
    fn park(&self, bio: Bio) -> u64 {
        let mut bio = Some(bio);
        let is_free = |slot: &Slot| matches!(slot, Slot::Free);
        loop {
            self.free.wait(|| self.parked.lock().iter().any(is_free));
            let mut parked = self.parked.lock();
            for (i, slot) in parked.iter_mut().enumerate() {
                if is_free(slot) {
                    if let Some(bio) = bio.take() {
                        *slot = Slot::Parked(bio);
                    }
                    return i as u64;
                }
            }
        }
    }

    /// Take the request out of its slot, which becomes `left`.
    fn take(&self, slot: u64, left: Slot) -> Option<Bio> {
        match self.set(slot, left) {
            Some(Slot::Parked(bio)) => Some(bio),
            _ => {
                pr_err!("not ok disk: no request in slot {}\n", slot);
                None
            }
        }
    }

    fn set(&self, slot: u64, to: Slot) -> Option<Slot> {
        let old = self
            .parked
            .lock()
            .get_mut(slot as usize)
            .map(|s| core::mem::replace(s, to));
        self.free.wake_all();
        old
    }

    fn push(&self, job: Job) {
        if self.jobs.push(job).is_err() {
            pr_err!("not ok disk: queue full\n");
        }
    }

    /// In the worker: carry a request out through a buffer of our own. Its slot is not free
    /// meanwhile.
    fn start(self: &Arc<Self>, slot: u64) {
        let Some(bio) = self.take(slot, Slot::Out) else {
            return;
        };
        let Ok(mut buf) = BufPool::alloc(&self.pool, bio.len() as usize) else {
            self.set(slot, Slot::Free);
            return bio.complete(Status::RESOURCE);
        };
        let flags = IoFlags {
            fua: bio.is_fua(),
            preflush: bio.is_preflush(),
            sync: bio.is_sync(),
            meta: bio.is_meta(),
        };
        let (op, sector) = match bio.op() {
            Op::Read => (BufOp::Read, bio.sector()),
            _ => (BufOp::Write, bio.sector()),
        };
        if op == BufOp::Write {
            if let Err(e) = self.fetch(&bio, &mut buf) {
                pr_err!("not ok disk: data of a write: {:?}\n", e);
            }
        }
        self.set(slot, Slot::Parked(bio));
        buf.submit(&self.lower, op, sector, flags, slot, self.clone());
    }

    /// Data of a write request into `buf`: copied, or over the network in one of two ways.
    fn fetch(&self, bio: &Bio, buf: &mut IoBuf) -> Result<(), NetError> {
        let (a, b) = &self.wire;
        let mut never = |_| false;
        let mode = match self.wired.fetch_add(1, Ordering::Relaxed) % 3 {
            0 => return bio.copy_to_buf(buf).map_err(NetError::Failed),
            1 => SendMode::Copy,
            _ => SendMode::Splice,
        };
        a.send_bio(bio, mode, false, &mut never)?;
        b.recv_buf(buf, &mut never)?;
        self.compare(bio, buf)
    }

    /// Data for a read request out of `buf`.
    fn give(&self, buf: &IoBuf, bio: &mut Bio) -> Result<(), NetError> {
        let (a, b) = &self.wire;
        let mut never = |_| false;
        if self.wired.fetch_add(1, Ordering::Relaxed) % 2 == 0 {
            return bio.copy_from_buf(buf).map_err(NetError::Failed);
        }
        b.send_buf(buf, false, &mut never)?;
        a.recv_bio(bio, &mut never)?;
        self.compare(bio, buf)
    }

    fn compare(&self, bio: &Bio, buf: &IoBuf) -> Result<(), NetError> {
        let Some(hash) = &self.hash else {
            return Ok(());
        };
        let (mut x, mut y) = ([0u8; MAX_DIGEST], [1u8; MAX_DIGEST]);
        hash.digest_bio(bio, &mut x).map_err(NetError::Failed)?;
        hash.digest_buf(buf, &mut y).map_err(NetError::Failed)?;
        let n = hash.size();
        if x.get(..n) == y.get(..n) {
            Ok(())
        } else {
            Err(NetError::Failed(EILSEQ))
        }
    }

    /// In the worker: answer a request.
    fn ended(&self, slot: u64, status: Status, buf: Option<IoBuf>) {
        let Some(mut bio) = self.take(slot, Slot::Free) else {
            return;
        };
        if let Some(buf) = buf.filter(|_| bio.op() == Op::Read && status.is_ok()) {
            if let Err(e) = self.give(&buf, &mut bio) {
                pr_err!("not ok disk: data of a read: {:?}\n", e);
            }
        }
        bio.complete(status);
    }
}

impl LowerDone for Passthrough {
    fn lower_done(&self, cookie: u64, status: Status, buf: Option<IoBuf>) {
        if cookie != ANSWERED {
            self.push(Job::Ended(cookie, status, buf));
        }
    }
}

impl BioDriver for Passthrough {
    fn submit(this: ArcBorrow<'_, Self>, bio: Bio) {
        let this: Arc<Self> = this.into();
        let turn = this.turn.fetch_add(1, Ordering::Relaxed);
        if bio.len() > MAX_IO {
            pr_err!("not ok disk: too large: {:?}\n", bio);
        }
        this.largest.fetch_max(bio.len(), Ordering::Relaxed);
        match (turn % 3, bio.op()) {
            (0, Op::Read | Op::Write) => {
                let slot = this.park(bio);
                this.push(Job::Start(slot));
            }
            (1, _) => {
                // Answered at once; who asked learns of it when the clone has ended.
                bio.submit_clone(&this.lower, CloneFlags::Keep, ANSWERED, this.clone());
                drop(bio.prepare_clone(&this.lower, CloneFlags::Keep));
                let (hold, len) = (bio.hold(), bio.len());
                bio.complete(Status::OK);
                if hold.len() != len {
                    pr_err!("not ok disk: a request that was held is gone\n");
                }
            }
            _ => {
                let clone = bio.prepare_clone(&this.lower, CloneFlags::Keep);
                let slot = this.park(bio);
                clone.submit(slot, this.clone());
            }
        }
    }

    fn open(this: ArcBorrow<'_, Self>, _writable: bool) -> Result {
        this.opens.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn release(this: ArcBorrow<'_, Self>) {
        this.opens.fetch_sub(1, Ordering::Relaxed);
    }
}

pub(crate) struct TestDisk {
    disk: Disk<Passthrough>,
    driver: Arc<Passthrough>,
    worker: KThread,
    major: Major,
}

impl TestDisk {
    pub(crate) fn new() -> Result<Self> {
        let major = Major::register(0, c"rdb_kapi_test")?;
        check!(major.number() > 0);
        let lower = open_lower(Holder::Own).map_err(OpenError::to_error)?;
        let below = lower.clone();
        let driver = Arc::pin_init(
            try_pin_init!(Passthrough {
                lower: below,
                pool: BufPool::new(0)?,
                parked <- new_irq_spinlock!(mem::filled_with(SLOTS, |_| Ok(Slot::Free))?, "kapi_parked"),
                free <- new_wait_queue!("kapi_free"),
                wire: pair(
                    IpAddr::V4(Ipv4Addr::LOCALHOST),
                    &SocketOptions { sndbuf: 1 << 20, rcvbuf: 1 << 20, ..SocketOptions::default() },
                )?,
                hash: Hash::new(c"sha1").ok(),
                // One job for each slot at a time.
                jobs <- CompletionQueue::new(SLOTS),
                turn: AtomicU32::new(0),
                wired: AtomicU32::new(0),
                largest: AtomicU32::new(0),
                opens: AtomicU32::new(0),
            }),
            GFP_KERNEL,
        )?;
        let d = driver.clone();
        let worker = KThread::spawn(c"kapi-worker", Options::default(), move |t| loop {
            d.jobs
                .waiters()
                .wait_idle(|| !d.jobs.is_empty() || t.should_stop());
            match d.jobs.pop() {
                Some(Job::Start(slot)) => d.start(slot),
                Some(Job::Ended(slot, status, buf)) => d.ended(slot, status, buf),
                None if t.should_stop() => return,
                None => {}
            }
        })?;
        let bad = Limits {
            logical_block_size: 1000,
            ..Limits::default()
        };
        let none = Limits::default();
        check!(Disk::new(&OPS, &major, 0, c"kapi0", &bad, driver.clone()).err() == Some(EINVAL));
        let long = c"a-name-of-thirty-two-characters!";
        check!(Disk::new(&OPS, &major, 0, long, &none, driver.clone()).err() == Some(EINVAL));
        let disk = Disk::new(&OPS, &major, 0, c"kapi0", &none, driver.clone())?;
        check!(disk.capacity_sectors() == 0 && disk.in_flight() == 0 && major.disks() == 1);
        check!(disk.set_limits(&bad) == Err(EINVAL));
        disk.set_limits(&Limits {
            lower: Some(&lower),
            max_io_bytes: MAX_IO,
            max_discard_bytes: lower.max_discard_sectors().min(256) << 9,
            max_write_zeroes_bytes: lower.max_write_zeroes_sectors().min(256) << 9,
            ..none
        })?;
        disk.link_lower(&lower)?;
        disk.set_read_only(true);
        disk.set_read_only(false);
        disk.set_capacity(lower.capacity_sectors());
        disk.notify_change();
        check!(disk.capacity_sectors() == lower.capacity_sectors());
        Ok(TestDisk {
            disk,
            driver,
            worker,
            major,
        })
    }

    /// Remove the disk, whatever is under way.
    pub(crate) fn remove(self) -> Result {
        self.disk.unlink_lower(&self.driver.lower);
        drop(self.disk);
        self.worker.stop();
        let d = &self.driver;
        let largest = d.largest.load(Ordering::Relaxed);
        let turns = d.turn.load(Ordering::Relaxed);
        pr_info!("disk: {} requests, largest {}\n", turns, largest);
        check!(d.parked.lock().iter().all(|s| matches!(s, Slot::Free)));
        check!(d.opens.load(Ordering::Relaxed) == 0);
        check!(self.major.disks() == 0);
        d.lower.drain();
        Ok(())
    }
}
