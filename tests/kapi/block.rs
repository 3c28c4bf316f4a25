// SPDX-License-Identifier: GPL-2.0

//! Buffers and the lower device.

use crate::check;
use kernel::prelude::*;
use kernel::sync::Arc;
use rdb_kapi::bdev::{Holder, LowerDevice, OpenError};
use rdb_kapi::buf::{BufPool, IoBuf, PageBuf};
use rdb_kapi::errno::EOPNOTSUPP;
use rdb_kapi::lower::{BufOp, IoFlags, LowerDone};
use rdb_kapi::queue::CompletionQueue;
use rdb_kapi::status::Status;

pub(crate) const TESTS: &[crate::Test] = &[
    ("buf", buffers),
    ("buf-reserve", reserve),
    ("open", open),
    ("sync-io", sync_io),
    ("async-io", async_io),
    ("range-io", range_io),
    ("bad-io", bad_io),
];

/// A disk that may be overwritten, different on each ground. The module leaves its contents
/// undefined.
pub(crate) fn open_lower(holder: Holder) -> Result<Arc<LowerDevice>, OpenError> {
    match LowerDevice::open(c"/dev/ubda", holder) {
        Err(OpenError::Missing) => LowerDevice::open(c"/dev/vda", holder),
        result => result,
    }
}

fn pattern(buf: &mut IoBuf, seed: u8) {
    let mut x = seed;
    buf.for_each_chunk_mut(|chunk| {
        for byte in chunk {
            x = x.wrapping_mul(31).wrapping_add(7);
            *byte = x;
        }
    });
}

fn same(a: &IoBuf, b: &IoBuf) -> bool {
    a.len() == b.len() && a.chunks().zip(b.chunks()).all(|(a, b)| a == b)
}

fn buffers() -> Result {
    let pool = BufPool::new(0)?;
    check!(BufPool::alloc(&pool, 0).is_err());
    check!(BufPool::alloc(&pool, BufPool::MAX_BYTES + 1).is_err());
    for len in [1, 511, 4096, 4097, 65536, BufPool::MAX_BYTES] {
        let mut buf = BufPool::alloc(&pool, len)?;
        check!(buf.len() == len && buf.capacity() == len.div_ceil(4096) * 4096);
        buf.zero();
        check!(buf.is_zero());
        check!(buf.copy_from(len - 1, &[0x55]).is_ok() && !buf.is_zero());
        check!(buf.copy_from(len, &[1]) == Err(EINVAL));
        check!(buf.chunks().map(<[u8]>::len).sum::<usize>() == len);
        check!(buf.set_len(buf.capacity() + 1) == Err(EINVAL));
    }
    let mut buf = BufPool::try_alloc(&pool, 3 * 4096).ok_or(ENOMEM)?;
    buf.zero();
    // Over two page borders.
    let mut data = KVec::from_elem(0u8, 5000, GFP_KERNEL)?;
    for (i, b) in data.iter_mut().enumerate() {
        *b = (i % 251) as u8;
    }
    buf.copy_from(4000, &data)?;
    let mut back = KVec::from_elem(0u8, 5000, GFP_KERNEL)?;
    buf.copy_to(4000, &mut back)?;
    check!(data[..] == back[..]);
    let mut around = [9u8; 2];
    buf.copy_to(3999, &mut around)?;
    check!(around == [0, data[0]]);
    buf.copy_to(9000, &mut around)?;
    check!(around == [0, 0]);
    check!(buf.copy_to(usize::MAX, &mut around) == Err(EINVAL));
    Ok(())
}

/// More than the reserve, given back in another order.
fn reserve() -> Result {
    let pool = BufPool::new(4 << 20)?;
    let mut all = KVec::new();
    for i in 0..8usize {
        all.push(
            BufPool::alloc(&pool, BufPool::MAX_BYTES - i * 5000)?,
            GFP_KERNEL,
        )?;
    }
    while let Some(buf) = all.pop() {
        drop(buf);
        drop(BufPool::alloc(&pool, 4096)?);
    }
    Ok(())
}

fn open() -> Result {
    let err = |path| LowerDevice::open(path, Holder::Own).err();
    check!(err(c"/dev/there-is-none") == Some(OpenError::Missing));
    check!(err(c"/dev/null") == Some(OpenError::NotBlock));
    check!(err(c"/dev") == Some(OpenError::NotBlock));
    let lower = open_lower(Holder::Own).map_err(OpenError::to_error)?;
    check!(open_lower(Holder::Own).err() == Some(OpenError::Busy));
    check!(open_lower(Holder::Shared).err() == Some(OpenError::Busy));
    drop(lower);
    let a = open_lower(Holder::Shared).map_err(OpenError::to_error)?;
    let b = open_lower(Holder::Shared).map_err(OpenError::to_error)?;
    check!(open_lower(Holder::Own).err() == Some(OpenError::Busy));
    check!(a.dev() == b.dev() && a.capacity_sectors() == b.capacity_sectors());
    pr_info!(
        "lower {}: {} sectors, blocks {}/{}, discard {}, zeroes {}, cache {}, rotational {}, zoned {}\n",
        a.name(),
        a.capacity_sectors(),
        a.logical_block_size(),
        a.physical_block_size(),
        a.max_discard_sectors(),
        a.max_write_zeroes_sectors(),
        a.has_write_cache(),
        a.is_rotational(),
        a.is_zoned()
    );
    Ok(())
}

fn lower() -> Result<Arc<LowerDevice>> {
    open_lower(Holder::Own).map_err(OpenError::to_error)
}

fn sync_io() -> Result {
    let lower = lower()?;
    let mut page = PageBuf::new()?;
    check!(page.iter().all(|b| *b == 0));
    page.fill(0x77);
    let durable = IoFlags {
        fua: true,
        preflush: true,
        sync: true,
        meta: true,
    };
    lower.write_at(8, &page, 4096, durable)?;
    let mut back = PageBuf::new()?;
    lower.read_at(8, &mut back, 4096)?;
    check!(back[..] == page[..]);

    let pool = BufPool::new(0)?;
    let mut buf = BufPool::alloc(&pool, BufPool::MAX_BYTES)?;
    pattern(&mut buf, 1);
    lower.write_buf(16, &buf, IoFlags::default())?;
    let mut again = BufPool::alloc(&pool, BufPool::MAX_BYTES)?;
    lower.read_buf(16, &mut again)?;
    check!(same(&buf, &again));
    lower.flush()
}

/// Queues what ended.
#[pin_data]
struct Done {
    #[pin]
    queue: CompletionQueue<(u64, Status, Option<IoBuf>)>,
}

impl Done {
    fn new() -> Result<Arc<Done>> {
        Arc::pin_init(
            try_pin_init!(Done { queue <- CompletionQueue::new(64) }),
            GFP_KERNEL,
        )
    }

    fn wait(&self) -> Result<(u64, Status, Option<IoBuf>)> {
        if !self
            .queue
            .waiters()
            .wait_timeout(|| !self.queue.is_empty(), 60_000)
        {
            return Err(ETIMEDOUT);
        }
        self.queue.pop().ok_or(EINVAL)
    }
}

impl LowerDone for Done {
    fn lower_done(&self, cookie: u64, status: Status, buf: Option<IoBuf>) {
        if self.queue.push((cookie, status, buf)).is_err() {
            pr_err!("not ok completion-lost\n");
        }
    }
}

fn async_io() -> Result {
    let lower = lower()?;
    let pool = BufPool::new(0)?;
    let done = Done::new()?;
    for i in 0..32u64 {
        let mut buf = BufPool::alloc(&pool, 65536)?;
        pattern(&mut buf, i as u8);
        buf.submit(
            &lower,
            BufOp::Write,
            i * 128,
            IoFlags::default(),
            i,
            done.clone(),
        );
    }
    let mut seen = 0u64;
    for _ in 0..32 {
        let (cookie, status, buf) = done.wait()?;
        check!(status.is_ok() && buf.is_some_and(|b| b.len() == 65536));
        seen |= 1 << cookie;
    }
    check!(seen == 0xffff_ffff);
    let mut expected = BufPool::alloc(&pool, 65536)?;
    for i in 0..32u64 {
        let buf = BufPool::alloc(&pool, 65536)?;
        buf.submit(
            &lower,
            BufOp::Read,
            i * 128,
            IoFlags::default(),
            i,
            done.clone(),
        );
        let (cookie, status, buf) = done.wait()?;
        pattern(&mut expected, i as u8);
        check!(cookie == i && status.is_ok() && buf.is_some_and(|b| same(&b, &expected)));
    }
    lower.submit_flush(77, done.clone());
    let (cookie, status, buf) = done.wait()?;
    check!(cookie == 77 && status.is_ok() && buf.is_none());
    lower.drain();
    check!(lower.in_flight() == 0);

    // Closed with requests under way: drop waits for them.
    for i in 0..8u64 {
        let buf = BufPool::alloc(&pool, 4096)?;
        buf.submit(
            &lower,
            BufOp::Read,
            i * 8,
            IoFlags::default(),
            i,
            done.clone(),
        );
    }
    drop(lower);
    check!(done.queue.len() == 8);
    Ok(())
}

fn range_io() -> Result {
    let lower = lower()?;
    let pool = BufPool::new(0)?;
    let done = Done::new()?;
    let mut buf = BufPool::alloc(&pool, 65536)?;
    pattern(&mut buf, 3);
    lower.write_buf(0, &buf, IoFlags::default())?;
    lower.zero_out(0, 128, false)?;
    lower.read_buf(0, &mut buf)?;
    check!(buf.is_zero());

    pattern(&mut buf, 4);
    lower.write_buf(0, &buf, IoFlags::default())?;
    lower.submit_write_zeroes(0, 128, true, 5, done.clone());
    let (_, status, _) = done.wait()?;
    if lower.max_write_zeroes_sectors() > 0 {
        check!(status.is_ok());
        lower.read_buf(0, &mut buf)?;
        check!(buf.is_zero());
    } else {
        check!(status == Status::NOTSUPP);
    }
    lower.submit_discard(0, 128, 6, done.clone());
    let (_, status, _) = done.wait()?;
    let can = lower.max_discard_sectors() > 0;
    check!(status == if can { Status::OK } else { Status::NOTSUPP });
    check!(lower.discard(0, 128) == if can { Ok(()) } else { Err(EOPNOTSUPP.into()) });
    Ok(())
}

fn bad_io() -> Result {
    let lower = lower()?;
    let pool = BufPool::new(0)?;
    let done = Done::new()?;
    let mut page = PageBuf::new()?;
    check!(lower.read_at(0, &mut page, 100) == Err(EINVAL));
    check!(lower.read_at(0, &mut page, 8192) == Err(EINVAL));
    let end = lower.capacity_sectors();
    check!(lower.read_at(end, &mut page, 4096) == Err(EIO));
    check!(lower.read_at(u64::MAX / 512, &mut page, 4096).is_err());

    let buf = BufPool::alloc(&pool, 100)?;
    buf.submit(&lower, BufOp::Write, 0, IoFlags::default(), 1, done.clone());
    let (_, status, buf) = done.wait()?;
    check!(status == Status::INVAL && buf.is_some_and(|b| b.len() == 100));
    let buf = BufPool::alloc(&pool, 4096)?;
    buf.submit(
        &lower,
        BufOp::Write,
        end - 1,
        IoFlags::default(),
        2,
        done.clone(),
    );
    let (_, status, buf) = done.wait()?;
    check!(status == Status::IOERR && status.to_result() == Err(EIO) && buf.is_some());
    Ok(())
}
