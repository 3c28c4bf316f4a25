// SPDX-License-Identifier: GPL-2.0

//! Locks, queues, waiting, threads, checksums, clocks.

use crate::check;
use core::sync::atomic::{AtomicU32, Ordering};
use kernel::prelude::*;
use kernel::sync::Arc;
use rdb_kapi::inflight::InFlight;
use rdb_kapi::lock::IrqSpinLock;
use rdb_kapi::queue::CompletionQueue;
use rdb_kapi::thread::{KThread, Options};
use rdb_kapi::wait::WaitQueue;
use rdb_kapi::{crypto, mem, new_in_flight, new_irq_spinlock, new_wait_queue, time};

pub(crate) const TESTS: &[crate::Test] = &[
    ("lock", lock),
    ("queue", queue),
    ("queue-thread", queue_thread),
    ("wait", wait),
    ("thread", thread),
    ("in-flight", in_flight),
    ("crypto", crypto_known),
    ("mem", memory),
    ("time", clocks),
];

/// Something that one thread does and others wait for.
#[pin_data]
pub(crate) struct Milestone {
    reached: AtomicU32,
    #[pin]
    waiters: WaitQueue,
}

impl Milestone {
    pub(crate) fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                reached: AtomicU32::new(0),
                waiters <- new_wait_queue!("kapi_milestone"),
            }),
            GFP_KERNEL,
        )
    }

    pub(crate) fn reach(&self) {
        self.reached.store(1, Ordering::SeqCst);
        self.waiters.wake_all();
    }

    pub(crate) fn wait(&self) {
        self.waiters
            .wait(|| self.reached.load(Ordering::SeqCst) == 1);
    }
}

fn lock() -> Result {
    let lock: Pin<KBox<IrqSpinLock<u32>>> =
        KBox::pin_init(new_irq_spinlock!(1, "kapi_test"), GFP_KERNEL)?;
    *lock.lock() += 1;
    check!(*lock.lock() == 2);
    Ok(())
}

fn queue() -> Result {
    let q = KBox::pin_init(CompletionQueue::<u64>::new(3), GFP_KERNEL)?;
    check!(q.is_empty() && q.pop().is_none());
    // Round the ring more than once.
    for round in 0..5u64 {
        for i in 0..3 {
            check!(q.push(round * 10 + i).is_ok());
        }
        check!(q.push(99) == Err(99) && q.len() == 3);
        for i in 0..3 {
            check!(q.pop() == Some(round * 10 + i));
        }
        check!(q.pop().is_none());
    }
    Ok(())
}

fn queue_thread() -> Result {
    const ITEMS: u64 = 10_000;
    let q = Arc::pin_init(CompletionQueue::<u64>::new(16), GFP_KERNEL)?;
    let sum = Arc::new(IrqSum::default(), GFP_KERNEL)?;
    let (q2, sum2) = (q.clone(), sum.clone());
    let reader = KThread::spawn(c"kapi-reader", Options::default(), move |t| loop {
        q2.waiters().wait_idle(|| !q2.is_empty() || t.should_stop());
        match q2.pop() {
            Some(n) => sum2.add(n),
            None if t.should_stop() => return,
            None => {}
        }
    })?;
    for i in 1..=ITEMS {
        while q.push(i).is_err() {
            time::yield_now();
        }
    }
    let deadline = time::now_ms() + 60_000;
    while sum.count() < ITEMS && time::now_ms() < deadline {
        time::sleep_ms(1);
    }
    reader.stop();
    check!(sum.count() == ITEMS && sum.sum() == ITEMS * (ITEMS + 1) / 2);
    Ok(())
}

#[derive(Default)]
struct IrqSum {
    count: core::sync::atomic::AtomicU64,
    sum: core::sync::atomic::AtomicU64,
}

impl IrqSum {
    fn add(&self, n: u64) {
        self.sum.fetch_add(n, Ordering::SeqCst);
        self.count.fetch_add(1, Ordering::SeqCst);
    }
    fn count(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }
    fn sum(&self) -> u64 {
        self.sum.load(Ordering::SeqCst)
    }
}

fn wait() -> Result {
    let wq: Arc<WaitQueue> = Arc::pin_init(new_wait_queue!("kapi_test"), GFP_KERNEL)?;
    check!(!wq.wait_timeout(|| false, 20));
    check!(!wq.wait_idle_timeout(|| false, 20));
    check!(wq.wait_interruptible_timeout(|| false, 20) == Ok(false));
    check!(wq.wait_timeout(|| true, 0));
    wq.wait(|| true);
    check!(wq.wait_interruptible(|| true).is_ok());

    let flag = Arc::new(AtomicU32::new(0), GFP_KERNEL)?;
    let (wq2, flag2) = (wq.clone(), flag.clone());
    let waker = KThread::spawn(c"kapi-waker", Options::default(), move |_| {
        time::sleep_ms(10);
        flag2.store(1, Ordering::SeqCst);
        wq2.wake_all();
    })?;
    wq.wait(|| flag.load(Ordering::SeqCst) == 1);
    waker.stop();
    Ok(())
}

fn thread() -> Result {
    // Returned by itself, stopped after that; with all options.
    let ran = Milestone::new()?;
    let ran2 = ran.clone();
    let options = Options {
        noio: true,
        memalloc: true,
        nice: -5,
        fifo: false,
    };
    let t = KThread::spawn(c"kapi-short", options, move |_| {
        ran2.reach();
    })?;
    ran.wait();
    check!(!t.is_current());
    t.stop();

    // Stopped at once, many times: the closure is dropped, run or not.
    for _ in 0..100 {
        let token = Arc::new((), GFP_KERNEL)?;
        let held = token.clone();
        let fifo = Options {
            fifo: true,
            ..Options::default()
        };
        let wq: Arc<WaitQueue> = Arc::pin_init(new_wait_queue!("kapi_test"), GFP_KERNEL)?;
        let t = KThread::spawn(c"kapi-stop", fifo, move |t| {
            let _held = held;
            wq.wait_idle(|| t.should_stop());
        })?;
        t.stop();
        check!(Arc::into_unique_or_drop(token).is_some());
    }
    Ok(())
}

fn in_flight() -> Result {
    let n: Arc<InFlight> = Arc::pin_init(new_in_flight!("kapi_test"), GFP_KERNEL)?;
    n.wait_zero();
    for _ in 0..10 {
        n.get();
    }
    check!(n.count() == 10);
    let n2 = n.clone();
    let t = KThread::spawn(c"kapi-put", Options::default(), move |_| {
        for _ in 0..10 {
            time::sleep_ms(1);
            n2.put();
        }
    })?;
    n.wait_zero();
    check!(n.count() == 0);
    t.stop();
    Ok(())
}

fn crypto_known() -> Result {
    check!(!crypto::crc32c(!0, b"123456789") == 0xe306_9283);
    let mut a = [0u8; 16];
    let mut b = [0u8; 16];
    crypto::random_bytes(&mut a);
    crypto::random_bytes(&mut b);
    check!(a != b && crypto::equal_ct(&a, &a) && !crypto::equal_ct(&a, &b));
    check!(!crypto::equal_ct(&a, &a[..8]));

    check!(crypto::Hash::new(c"no-such-hash").err() == Some(ENOENT));
    match crypto::Hash::new(c"sha1") {
        Ok(sha1) => {
            let mut out = [0u8; 20];
            sha1.digest(&[b"a", b"", b"bc"], &mut out)?;
            check!(out[..4] == [0xa9, 0x99, 0x3e, 0x36] && out[16..] == [0x9c, 0xd0, 0xd8, 0x9d]);
            check!(sha1.digest(&[b"abc"], &mut out[..19]) == Err(EINVAL));
        }
        Err(e) => pr_info!("skip sha1: {:?}\n", e),
    }
    match crypto::Hash::keyed(c"hmac(sha1)", b"Jefe") {
        Ok(hmac) => {
            let mut out = [0u8; 20];
            hmac.digest(&[b"what do ya want ", b"for nothing?"], &mut out)?;
            check!(out[..4] == [0xef, 0xfc, 0xdf, 0x6a]);
            check!(crypto::Hash::new(c"hmac(sha1)").err() == Some(EINVAL));
        }
        Err(e) => pr_info!("skip hmac(sha1): {:?}\n", e),
    }
    Ok(())
}

fn memory() -> Result {
    let big = mem::zeroed::<u64>(1 << 20)?;
    check!(big.len() == 1 << 20 && big.iter().all(|x| *x == 0));
    let v = mem::filled_with(100, Ok)?;
    check!(v.iter().enumerate().all(|(i, x)| i == *x));
    check!(mem::filled_with(3, |i| if i == 2 { Err(EDOM) } else { Ok(i) }).err() == Some(EDOM));
    let outer = mem::NoIo::enter();
    let inner = mem::NoIo::enter();
    drop(inner);
    let _more = KBox::new(0u8, GFP_KERNEL)?;
    drop(outer);
    Ok(())
}

fn clocks() -> Result {
    // Ticks and clock of an emulated machine differ by what it was held up: only that both go on.
    let (ms, ns, j) = (time::now_ms(), time::now_ns(), time::jiffies());
    for _ in 0..6_000 {
        time::sleep_ms(10);
        if time::now_ms() > ms && time::now_ns() > ns && time::jiffies() > j {
            break;
        }
    }
    check!(time::now_ms() > ms && time::now_ns() > ns && time::jiffies() > j);
    check!(time::wall_s() > 0 && time::TICKS_PER_SECOND > 0);
    Ok(())
}
