// SPDX-License-Identifier: GPL-2.0

//! The threads of a resource, and how acts are carried out.

use kernel::prelude::*;
use kernel::sync::Arc;
use rdb_engine::effects::{Act, AppSlot, DiskOp, Millis, VolumeIndex};
use rdb_engine::handler::HandlerEnd;
use rdb_engine::wire::Role;

use rdb_kapi::bio::{BioHold, CloneFlags, Op};
use rdb_kapi::buf::{BufPool, PageBuf};
use rdb_kapi::lower::{BufOp, IoFlags};
use rdb_kapi::status::Status;
use rdb_kapi::thread::{KThread, Options, ThreadContext};

use super::backing::Backing;
use super::handlers::Runners;
use super::log;
use super::queues::{Batch, Context, Job, Queues, Report, BATCH};
use super::resource::{Engine, Resource, Threads};
use super::signals::{Done, Signals, Whose};
use super::{events, link};

/// Starts the threads that live as long as the resource.
pub(crate) fn start(resource: &Arc<Resource>) -> Result<Threads> {
    let spawn = |name: &CStr, run: fn(&Arc<Resource>, &ThreadContext)| {
        let resource = resource.clone();
        KThread::spawn(name, options(), move |thread| run(&resource, thread))
    };
    let completer = spawn(c"rdb_done", complete)?;
    let worker = spawn(c"rdb_work", work)?;
    // Writes wait for superblocks and transactions: there must be memory for one.
    let mut page = PageBuf::new()?;
    let of_disks = resource.clone();
    let disk_worker = KThread::spawn(c"rdb_disk", options(), move |thread| {
        work_disk(&of_disks, thread, &mut page);
    })?;
    Ok(Threads {
        completer: Some(completer),
        worker: Some(worker),
        disk_worker: Some(disk_worker),
        handlers: Some(Runners::start(resource)?),
    })
}

/// All threads are on the write path: they may use the reserves of memory, and never start I/O to get some.
pub(crate) fn options() -> Options {
    Options {
        noio: true,
        memalloc: true,
        ..Options::default()
    }
}

/// Tells the engine how a job began and ended at once.
pub(crate) fn report(engine: &mut Engine, queues: &mut Queues, now: Millis, report: Report) {
    match report {
        Report::AppFailed(slot) => engine.app_local_done(now, slot, false, queues),
        Report::PeerFailed(slot) => engine.peer_disk_done(now, slot, false, queues),
        Report::Released(slot) => engine.peer_released(now, slot, queues),
    }
}

/// The completer.
fn complete(resource: &Arc<Resource>, thread: &ThreadContext) {
    while !thread.should_stop() {
        let mut busy = false;
        while let Some(first) = resource.signals.next_done() {
            busy = true;
            resource.with(Context::NoBuffers, |engine, queues, now| {
                disk_done(engine, queues, now, first);
                // As many as one batch may answer.
                for _ in 1..BATCH {
                    let Some(done) = resource.signals.next_done() else {
                        break;
                    };
                    disk_done(engine, queues, now, done);
                }
            });
        }
        let deadline = resource.with(Context::NoBuffers, |engine, queues, now| {
            if engine
                .next_deadline()
                .is_some_and(|deadline| deadline <= now)
            {
                engine.tick(now, queues);
            }
            let left = |deadline: Millis| deadline.saturating_sub(now).clamp(1, 60_000);
            // At most a minute.
            engine.next_deadline().map(|deadline| left(deadline) as u32)
        });
        resource.signals.wait_done(thread, deadline, busy);
    }
}

/// Tells the engine what a disk has done.
pub(crate) fn disk_done(engine: &mut Engine, queues: &mut Queues, now: Millis, done: Done) {
    let ok = done.status.is_ok();
    match done.whose {
        Whose::App(slot) => {
            if let Some(bio) = done.bio {
                queues.park(slot, bio);
            }
            // A request that was given up has ended: its memory is not there any more.
            let filled = match &done.buf {
                Some(buf) if ok && engine.wants_local_data(slot) => queues.fill(slot, buf),
                _ => true,
            };
            match done.status == Status::NOTSUPP {
                true => engine.app_local_refused(now, slot, queues),
                false => engine.app_local_done(now, slot, ok && filled, queues),
            }
        }
        Whose::Peer(slot) => {
            queues.keep(slot, done.buf);
            engine.peer_disk_done(now, slot, ok, queues);
        }
    }
}

/// The worker.
fn work(resource: &Arc<Resource>, thread: &ThreadContext) {
    loop {
        let called = resource.signals.worker.wait_in(thread);
        while let Some(act) = resource.queues(Queues::next_work) {
            do_work(resource, act);
        }
        if !called && thread.should_stop() {
            break;
        }
    }
}

fn do_work(resource: &Arc<Resource>, act: Act) {
    match act {
        Act::OpenLink { pause_ms } => link::open(resource, pause_ms),
        Act::CloseLink => link::close(resource),
        Act::SetCapacity { volume, sectors } => {
            if let Some(device) = resource.queues(|queues| queues.device(volume)) {
                device.set_capacity(sectors);
            }
        }
        Act::StateChanged {
            volume,
            old,
            new,
            why,
        } => {
            let numbers = resource.inspect(|engine| {
                engine
                    .volume(volume)
                    .map(|volume| (volume.number, volume.minor))
            });
            if old.role != Role::Primary && new.role == Role::Primary {
                if let Some(device) = resource.queues(|queues| queues.device(volume)) {
                    device.promoted();
                }
            }
            if let Some((vnr, minor)) = numbers {
                log::state_changed(resource.name(), vnr, &old, &new, why);
                events::state_changed(resource, volume, vnr, minor, old, new, why);
            }
        }
        Act::Notice(notice) => {
            log::notice(resource, &notice);
            events::notice(resource, &notice);
        }
        Act::RunHandler { volume, handler } => {
            // The queue of handlers was full.
            resource.with(Context::Thread, |engine, queues, now| {
                engine.handler_done(now, volume, handler, HandlerEnd::Broken, queues);
            });
        }
        Act::AdminDone(result) => {
            resource.queues(|queues| queues.admin_result = Some(result));
            resource.signals.admin.bump();
        }
        // The queues hand nothing else to the worker.
        _ => (),
    }
}

/// The disk worker.
fn work_disk(resource: &Arc<Resource>, thread: &ThreadContext, page: &mut PageBuf) {
    loop {
        let called = resource.signals.disk_worker.wait_in(thread);
        while let Some(act) = resource.queues(Queues::next_disk_work) {
            do_disk_work(resource, act, page);
        }
        if !called && thread.should_stop() {
            break;
        }
    }
}

fn do_disk_work(resource: &Arc<Resource>, act: Act, page: &mut PageBuf) {
    match act {
        Act::SubmitApp { .. } | Act::SubmitPeer { .. } => {
            let job = resource.queues(|queues| queues.disk_job(act));
            if let Some(failed) = job.and_then(|job| resource.do_job(job)) {
                resource.with(Context::Thread, |engine, queues, now| {
                    report(engine, queues, now, failed);
                });
            }
        }
        Act::WriteSuperblock { volume } => write_superblock(resource, volume, page),
        Act::WriteBitmap { volume } => {
            let disk = resource.queues(|queues| queues.disk(volume));
            let ok = disk.is_some_and(|disk| disk.write_bitmap(resource, volume));
            resource.with(Context::Thread, |engine, queues, now| {
                engine.bitmap_written(now, volume, ok, queues)
            });
        }
        Act::WriteLog { volume } => {
            let disk = resource.queues(|queues| queues.disk(volume));
            let ok = disk.is_some_and(|disk| disk.write_log(resource, volume, page));
            resource.with(Context::Thread, |engine, queues, now| {
                engine.log_written(now, volume, ok, queues)
            });
        }
        Act::FlushDisk { volume } => {
            let disk = resource.queues(|queues| queues.disk(volume));
            let flushed = disk.map_or(Some(false), |disk| disk.flush());
            resource.with(Context::Thread, |engine, queues, now| match flushed {
                Some(ok) => engine.flush_done(now, volume, ok, queues),
                None => engine.flush_unsupported(now, volume, queues),
            });
        }
        Act::CloseDisk { volume } => {
            let disk =
                resource.queues(|queues| (queues.set_disk(volume, None), queues.device(volume)));
            if let (Some(disk), device) = disk {
                disk.drain();
                if let Some(device) = device {
                    device.unlink(&disk);
                }
                drop(disk);
            }
            resource.with(Context::Thread, |engine, queues, now| {
                engine.disk_closed(now, volume, queues);
            });
        }
        // The queues hand nothing else to the disk worker.
        _ => (),
    }
}

fn write_superblock(resource: &Resource, volume: VolumeIndex, page: &mut PageBuf) {
    let taken = resource.with(Context::Thread, |engine, queues, _| {
        engine
            .superblock(volume)
            .map(|(number, superblock)| (number, superblock, queues.disk(volume)))
    });
    let Some((number, superblock, disk)) = taken else {
        return;
    };
    let ok = disk.is_some_and(|disk| disk.write_superblock(&superblock, page));
    resource.with(Context::Thread, |engine, queues, now| {
        engine.superblock_done(now, volume, number, ok, queues);
    });
}

impl Resource {
    /// Carries jobs out; what has an end at once comes back. Sleeps, holding no lock.
    pub(crate) fn carry_out(&self, batch: &mut Batch) -> [Option<Report>; BATCH] {
        let mut reports = [None; BATCH];
        for (job, report) in batch.iter_mut().zip(reports.iter_mut()) {
            if let Some(job) = job.take() {
                *report = self.do_job(job);
            }
        }
        reports
    }

    /// Carries a job out. Sleeps, holding no lock.
    pub(crate) fn do_job(&self, job: Job) -> Option<Report> {
        match job {
            Job::Submit { slot, bio, disk } => {
                let cookie = Signals::cookie(Whose::App(slot));
                bio.submit_clone(disk.data(), CloneFlags::Keep, cookie, self.signals.clone());
                None
            }
            Job::PassOn { slot, bio, disk } => {
                let cookie = Signals::passed_on(slot, bio.op() == Op::Read);
                bio.pass_on(disk.data(), cookie, self.signals.clone());
                None
            }
            Job::Copy { slot, bio, disk } => self.submit_copy(slot, bio, &disk),
            Job::Complete { bio, status } => {
                bio.complete(status);
                None
            }
            Job::CompleteRead { mut bio, buf, peer } => {
                let copied = match buf {
                    Some(buf) => bio.copy_from_buf(&buf).is_ok(),
                    None => false,
                };
                bio.complete(if copied { Status::OK } else { Status::IOERR });
                Some(Report::Released(peer))
            }
            Job::Peer { .. } => self.submit_peer(job),
            Job::Report(report) => Some(report),
        }
    }

    /// Submits a request by way of a buffer, which stays with the lower disk for as long as that has the request: the request
    /// itself may end before.
    fn submit_copy(&self, slot: AppSlot, bio: BioHold, disk: &Backing) -> Option<Report> {
        let failed = Some(Report::AppFailed(slot));
        // At most 1 MiB.
        let Ok(mut buf) = BufPool::alloc(&self.pool, bio.len() as usize) else {
            return failed;
        };
        let write = bio.op() == Op::Write;
        if write && bio.copy_to_buf(&mut buf).is_err() {
            return failed;
        }
        let flags = IoFlags {
            fua: write && bio.is_fua(),
            preflush: write && bio.is_preflush(),
            sync: bio.is_sync(),
            meta: bio.is_meta(),
        };
        let op = if write { BufOp::Write } else { BufOp::Read };
        let sector = bio.sector();
        drop(bio);
        let cookie = Signals::cookie(Whose::App(slot));
        buf.submit(disk.data(), op, sector, flags, cookie, self.signals.clone());
        None
    }

    fn submit_peer(&self, job: Job) -> Option<Report> {
        let Job::Peer {
            slot,
            disk,
            op,
            range,
            buf,
            fua,
            preflush,
        } = job
        else {
            return None;
        };
        let cookie = Signals::cookie(Whose::Peer(slot));
        let done = self.signals.clone();
        let flags = IoFlags {
            fua,
            preflush,
            ..IoFlags::default()
        };
        let data = disk.data();
        match (op, buf) {
            (DiskOp::Read, _) => {
                let bytes = usize::try_from(range.bytes).ok()?;
                match BufPool::alloc(&self.pool, bytes) {
                    Ok(buf) => buf.submit(data, BufOp::Read, range.sector, flags, cookie, done),
                    Err(_) => return Some(Report::PeerFailed(slot)),
                }
            }
            (DiskOp::Write, Some(buf)) => {
                buf.submit(data, BufOp::Write, range.sector, flags, cookie, done)
            }
            (DiskOp::Write, None) => return Some(Report::PeerFailed(slot)),
            // `sectors` of 128 MiB at most fit.
            (DiskOp::Discard, _) => {
                data.submit_discard(range.sector, range.sectors() as u32, cookie, done)
            }
            (DiskOp::Zeroes { unmap }, _) => {
                data.submit_write_zeroes(range.sector, range.sectors() as u32, unmap, cookie, done);
            }
        }
        None
    }
}
