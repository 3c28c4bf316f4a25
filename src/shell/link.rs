// SPDX-License-Identifier: GPL-2.0

//! The link of a resource: two TCP streams, and the threads on them.
//!
//! [`open`] starts the *receiver*. It looks for the peer (`link_connect`), agrees with it on versions and features and
//! authenticates (`link_handshake`), reports `link_up`, starts two senders and the meta receiver, and from then on reads the
//! data stream (`link_receive`, `link_send`). Whoever sees a failure first reports it to the engine and shuts the
//! streams, which ends the other threads; the engine asks for [`close`], which waits for them.

use core::fmt;

use kernel::prelude::*;
use kernel::sync::atomic::{Acquire, Atomic, Release};
use kernel::sync::{new_mutex, Arc, Mutex};
use rdb_engine::link::{LinkFailure, NetOptions};
use rdb_engine::wire::ConnState;
use rdb_kapi::errno;
use rdb_kapi::net::{NetError, Socket, SocketAddr, SocketOptions};
use rdb_kapi::new_wait_queue;
use rdb_kapi::thread::KThread;
use rdb_kapi::wait::WaitQueue;

pub(crate) use super::link_handshake::Auth;
use super::log::say;
use super::queues::Context;
use super::resource::Resource;
use super::signals::Signals;
use super::{link_connect, link_handshake, link_receive, worker};

/// What the connection needs to know beyond what the engine decides on.
#[derive(Clone)]
pub(crate) struct LinkConfig {
    /// The own address.
    pub(crate) local: SocketAddr,
    /// The peer's.
    pub(crate) peer: SocketAddr,
    /// Options of the engine.
    pub(crate) net: NetOptions,
    /// `connect-int` in milliseconds.
    pub(crate) connect_int_ms: u32,
    /// `socket-check-timeout` in milliseconds; 0 = `ping-timeout`.
    pub(crate) sock_check_ms: u32,
    /// Bytes; 0 = the kernel decides.
    pub(crate) sndbuf: u32,
    /// Bytes; 0 = the kernel decides.
    pub(crate) rcvbuf: u32,
    /// Collect packets into full segments while there are more.
    pub(crate) tcp_cork: bool,
    /// Authenticate the peer, and oneself.
    pub(crate) auth: Option<Auth>,
}

impl LinkConfig {
    /// Time for each step of the handshake.
    pub(crate) fn handshake_ms(&self) -> u32 {
        self.net.ping_timeout_ms.saturating_mul(4)
    }

    pub(crate) fn socket_options(&self) -> SocketOptions {
        // TC_PRIO_INTERACTIVE: both streams carry what somebody waits for.
        let priority = 6;
        SocketOptions {
            sndbuf: self.sndbuf,
            rcvbuf: self.rcvbuf,
            memalloc: true,
            priority,
            ..SocketOptions::default()
        }
    }
}

/// A link that is wanted: the receiver, and how to end it.
pub(crate) struct Session {
    stop: Arc<Stop>,
    thread: KThread,
}

/// Both streams.
pub(crate) struct Streams {
    pub(crate) data: Arc<Socket>,
    pub(crate) meta: Arc<Socket>,
}

/// Why a receiver ends.
pub(crate) enum End {
    /// It was told to.
    Stopped,
    /// Trying again may help.
    Lost(LinkFailure),
    /// Trying again would not help.
    Refused,
}

/// Places of sockets in [`Stop`].
#[derive(Clone, Copy)]
pub(crate) enum Place {
    Listen,
    New,
    Data,
    Meta,
}

/// How to end all threads of a link, wherever they wait.
#[pin_data]
pub(crate) struct Stop {
    stopped: Atomic<bool>,
    #[pin]
    sockets: Mutex<[Option<Arc<Socket>>; 4]>,
    #[pin]
    queue: WaitQueue,
    signals: Arc<Signals>,
}

impl Stop {
    fn new(signals: Arc<Signals>) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                stopped: Atomic::new(false),
                sockets <- new_mutex!([const { None }; 4], "rdb::stop"),
                queue <- new_wait_queue!("rdb::stop"),
                signals,
            }),
            GFP_KERNEL,
        )
    }

    /// Whether the threads shall end. Any context.
    pub(crate) fn is_set(&self) -> bool {
        self.stopped.load(Acquire)
    }

    /// Ends the threads: shuts the sockets and wakes who waits. Sleeps.
    pub(crate) fn set(&self) {
        self.stopped.store(true, Release);
        for socket in self.sockets.lock().iter().flatten() {
            socket.shutdown();
        }
        self.queue.wake_all();
        self.signals.changed.bump();
        self.signals.data.nudge();
        self.signals.meta.nudge();
    }

    /// Puts a socket where [`Stop::set`] finds it, or takes it away from there. Sleeps.
    pub(crate) fn watch(&self, place: Place, socket: Option<Arc<Socket>>) {
        let mut sockets = self.sockets.lock();
        if let (true, Some(socket)) = (self.is_set(), &socket) {
            socket.shutdown();
        }
        let old = sockets
            .get_mut(place as usize)
            .and_then(|entry| core::mem::replace(entry, socket));
        drop(sockets);
        // Releasing a socket may take long.
        drop(old);
    }

    /// Sleeps `ms` milliseconds, or until the threads shall end.
    pub(crate) fn sleep(&self, ms: u32) {
        if ms > 0 {
            self.queue.wait_idle_timeout(|| self.is_set(), ms);
        }
    }
}

/// Starts to look for the peer. On the worker.
pub(crate) fn open(resource: &Arc<Resource>, pause_ms: u32) {
    close_session(resource);
    let started = || -> Result<Session> {
        let config = resource
            .link_config()
            .ok_or_else(|| errno::error(errno::ENOTCONN))?;
        let stop = Stop::new(resource.signals.clone())?;
        let (own, told) = (resource.clone(), stop.clone());
        let thread = KThread::spawn(c"rdb_recv", worker::options(), move |_| {
            let end = run(&own, &config, &told, pause_ms);
            finish(&own, &told, end);
        })?;
        Ok(Session { stop, thread })
    };
    match started() {
        Ok(session) => *resource.session.lock() = Some(session),
        Err(error) => {
            say!(pr_err: "{}: cannot start to connect: {:?}", resource.name(), error);
            // The thread that would have paused is not there, and without a pause the next attempt follows at once.
            rest(resource, pause_ms);
            finish_now(resource, &End::Lost(LinkFailure::NetworkFailure));
        }
    }
}

/// Lets the worker rest `ms` milliseconds, or until there is something for it to do.
fn rest(resource: &Resource, ms: u32) {
    let bell = &resource.signals.worker;
    // It was rung for what has been taken from the queue already; whoever puts more into it rings anew.
    bell.hush();
    if ms > 0 && !resource.queues(|queues| queues.has_work()) {
        bell.wait_timeout(ms);
    }
}

/// Ends the link: streams shut, threads gone, nothing queued any more. On the worker.
pub(crate) fn close(resource: &Arc<Resource>) {
    close_session(resource);
    resource.with(Context::Thread, |engine, queues, now| {
        queues.close_link();
        engine.link_closed(now, queues);
    });
}

fn close_session(resource: &Resource) {
    let session = resource.session.lock().take();
    if let Some(Session { stop, thread }) = session {
        stop.set();
        drop(thread);
    }
}

/// The receiver.
fn run(resource: &Arc<Resource>, config: &LinkConfig, stop: &Arc<Stop>, pause_ms: u32) -> End {
    stop.sleep(pause_ms);
    let result = || -> Result<End, End> {
        let (streams, resolve) = link_connect::connect(resource, config, stop)?;
        let terms = link_handshake::agree(resource, config, &streams.data, resolve)?;
        Ok(link_receive::serve(resource, config, stop, &streams, terms))
    };
    let end = match result() {
        Ok(end) | Err(end) => end,
    };
    for place in [Place::Data, Place::Meta] {
        stop.watch(place, None);
    }
    end
}

fn finish(resource: &Resource, stop: &Stop, end: End) {
    // What fails because it was shut is no failure.
    if !stop.is_set() {
        finish_now(resource, &end);
    }
}

fn finish_now(resource: &Resource, end: &End) {
    resource.with(Context::Thread, |engine, queues, now| match end {
        End::Stopped => (),
        End::Lost(failure) => engine.link_lost(now, *failure, queues),
        End::Refused => engine.link_refused(now, queues),
    });
}

/// Reports that a stream failed, and ends all threads of the link. From the threads of the link.
pub(crate) fn fail(
    resource: &Resource,
    stop: &Stop,
    failure: LinkFailure,
    what: fmt::Arguments<'_>,
) {
    if stop.is_set() {
        return;
    }
    let expected = resource.with(Context::NoBuffers, |engine, queues, now| {
        let given_up = !queues.is_link_open();
        engine.link_lost(now, failure, queues);
        // A peer that agreed to a disconnect may close the streams before its answer is read.
        given_up || engine.connection() == ConnState::Disconnecting
    });
    if !expected {
        say!(pr_warn: "{}: {}", resource.name(), what);
    }
    stop.set();
}

/// Why a socket operation ended, for people.
pub(crate) struct Why(pub(crate) NetError);

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            NetError::Timeout { done } => write!(f, "timed out after {done} bytes"),
            NetError::Closed { done } => write!(f, "closed by the peer after {done} bytes"),
            NetError::Failed(error) => write!(f, "failed: {error:?}"),
        }
    }
}

/// Which engine's state a failed socket stands for.
pub(crate) fn failure_of(error: NetError) -> LinkFailure {
    match error {
        NetError::Timeout { .. } => LinkFailure::Timeout,
        NetError::Closed { .. } | NetError::Failed(_) => LinkFailure::BrokenPipe,
    }
}
