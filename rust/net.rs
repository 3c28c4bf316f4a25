// SPDX-License-Identifier: GPL-2.0

//! TCP sockets in the initial network namespace. Sending and receiving is in
//! [`transfer`](crate::transfer).

use crate::bindings;
use crate::errno::{ECONNRESET, EINPROGRESS, ESHUTDOWN};
use core::ptr::NonNull;
use kernel::error::to_result;
use kernel::prelude::*;

pub use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// Why a socket operation ended without having done all.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum NetError {
    /// The time given was over. `done` bytes had been moved.
    Timeout {
        /// Bytes moved before.
        done: usize,
    },
    /// The peer has closed the connection, or [`Socket::shutdown`] was called. `done` bytes had
    /// been moved.
    Closed {
        /// Bytes moved before.
        done: usize,
    },
    /// Anything else: refused, unreachable, reset …
    Failed(Error),
}

impl NetError {
    /// The errno for it.
    pub fn to_error(self) -> Error {
        match self {
            NetError::Timeout { .. } => ETIMEDOUT,
            NetError::Closed { .. } => ECONNRESET.into(),
            NetError::Failed(e) => e,
        }
    }

    /// From an errno of a call which had moved `done` bytes.
    pub(crate) fn new(e: Error, done: usize) -> Self {
        if e == EAGAIN || e == EINPROGRESS {
            NetError::Timeout { done }
        } else if e == EPIPE || e == ESHUTDOWN {
            NetError::Closed { done }
        } else {
            NetError::Failed(e)
        }
    }
}

/// How a socket is set up.
///
/// Always: the address may be reused at once, allocations start no I/O.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct SocketOptions {
    /// Bytes of the send buffer, beyond the administrator's limit if need be; 0: the kernel adapts
    /// it.
    pub sndbuf: u32,
    /// Bytes of the receive buffer; 0: the kernel adapts it.
    pub rcvbuf: u32,
    /// Send small pieces at once.
    pub nodelay: bool,
    /// Have the kernel probe an idle connection.
    pub keepalive: bool,
    /// Use the last memory reserves (`SOCK_MEMALLOC`), for a connection on which swapping depends.
    pub memalloc: bool,
    /// Throw unsent data away when the socket is released, and reset the connection, so that no
    /// page is referred to any more.
    pub no_linger: bool,
    /// As `SO_PRIORITY`: 0 to 6.
    pub priority: u32,
}

impl Default for SocketOptions {
    fn default() -> Self {
        SocketOptions {
            sndbuf: 0,
            rcvbuf: 0,
            nodelay: true,
            keepalive: true,
            memalloc: false,
            no_linger: true,
            priority: 0,
        }
    }
}

/// What [`Socket::peek`] found.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Peek {
    /// There is something to receive.
    Readable,
    /// Nothing yet.
    Quiet,
    /// The peer has closed it, or it has failed.
    Dead,
}

/// A TCP socket. Share it by `Arc`: everything may be called by several threads at once, but data
/// of several concurrent senders (or receivers) get mixed.
///
/// All functions sleep unless they say otherwise. Dropping releases the socket.
///
/// # Invariants
///
/// The pointer is a TCP socket of ours, with a `struct sock`.
pub struct Socket(NonNull<bindings::socket>);

// SAFETY: Sockets have their own locks.
unsafe impl Send for Socket {}
// SAFETY: As above.
unsafe impl Sync for Socket {}

impl Socket {
    /// A socket for addresses like `address`, not bound. For connections that another thread may
    /// have to stop: share it, then call [`connect_to`](Self::connect_to).
    pub fn create(address: &SocketAddr, options: &SocketOptions) -> Result<Socket> {
        let mut raw = core::ptr::null_mut();
        // SAFETY: `raw` is valid for writes.
        to_result(unsafe { bindings::sock_create(address.is_ipv6(), &mut raw) })?;
        let socket = Socket(NonNull::new(raw).ok_or(ENOMEM)?);
        socket.set_up(options);
        Ok(socket)
    }

    fn set_up(&self, options: &SocketOptions) {
        let sock = self.as_ptr();
        // SAFETY: By the type invariant.
        unsafe {
            bindings::sock_set_reuseaddr(sock);
            bindings::sock_for_io(sock, options.memalloc);
            bindings::sock_set_bufs(sock, options.sndbuf, options.rcvbuf);
            if options.no_linger {
                bindings::sock_no_linger(sock);
            }
            if options.keepalive {
                bindings::sock_set_keepalive(sock);
            }
            if options.priority != 0 {
                bindings::sock_set_priority(sock, options.priority);
            }
            if options.nodelay {
                bindings::sock_set_nodelay(sock, true);
            }
        }
    }

    pub(crate) fn as_ptr(&self) -> *mut bindings::socket {
        self.0.as_ptr()
    }

    /// Listen at `local`. `EADDRINUSE`, `EADDRNOTAVAIL` (no such address here).
    pub fn listen(local: SocketAddr, backlog: u32, options: &SocketOptions) -> Result<Socket> {
        let socket = Self::create(&local, options)?;
        socket.bind(&local)?;
        let backlog = c_int::try_from(backlog).unwrap_or(c_int::MAX);
        // SAFETY: By the type invariant.
        to_result(unsafe { bindings::kernel_listen(socket.as_ptr(), backlog) })?;
        Ok(socket)
    }

    fn bind(&self, local: &SocketAddr) -> Result {
        // SAFETY: By the type invariant; the address is read only.
        to_result(unsafe { bindings::sock_bind(self.as_ptr(), &encode(local)) })
    }

    /// Wait for a connection, at most `timeout_ms` milliseconds (0: for ever). Buffer sizes are
    /// those of the listening socket. `Closed`: [`shutdown`](Self::shutdown) was called.
    pub fn accept(&self, timeout_ms: u32, options: &SocketOptions) -> Result<Socket, NetError> {
        let mut raw = core::ptr::null_mut();
        // SAFETY: By the type invariant; `raw` is valid for writes.
        let result = to_result(unsafe {
            bindings::sock_set_rcvtimeo(self.as_ptr(), timeout_ms);
            bindings::kernel_accept(self.as_ptr(), &mut raw, 0)
        });
        match result {
            Ok(()) => {}
            // What accept says after a shutdown.
            Err(e) if e == EINVAL => return Err(NetError::Closed { done: 0 }),
            Err(e) => return Err(NetError::new(e, 0)),
        }
        let socket = Socket(NonNull::new(raw).ok_or(NetError::Failed(ENOMEM))?);
        socket.set_up(options);
        // A timeout of the listener is inherited.
        socket.set_recv_timeout(0);
        Ok(socket)
    }

    /// A connection to `remote`, from `local` if that is given (port 0: any). Waits at most
    /// `timeout_ms` milliseconds (0: as long as TCP tries).
    pub fn connect(
        local: Option<SocketAddr>,
        remote: SocketAddr,
        timeout_ms: u32,
        options: &SocketOptions,
    ) -> Result<Socket, NetError> {
        let socket = Self::create(&remote, options).map_err(NetError::Failed)?;
        socket.connect_to(local, remote, timeout_ms)?;
        Ok(socket)
    }

    /// Connect a socket of [`create`](Self::create), once. As [`connect`](Self::connect).
    pub fn connect_to(
        &self,
        local: Option<SocketAddr>,
        remote: SocketAddr,
        timeout_ms: u32,
    ) -> Result<(), NetError> {
        if let Some(local) = local {
            self.bind(&local).map_err(NetError::Failed)?;
        }
        // SAFETY: By the type invariant; the address is read only.
        to_result(unsafe { bindings::sock_connect(self.as_ptr(), &encode(&remote), timeout_ms) })
            .map_err(|e| NetError::new(e, 0))
    }

    /// Our address.
    pub fn local_addr(&self) -> Result<SocketAddr> {
        self.name(false)
    }

    /// The peer's address. An IPv4 peer of an IPv6 listener has a mapped address.
    pub fn peer_addr(&self) -> Result<SocketAddr> {
        self.name(true)
    }

    fn name(&self, peer: bool) -> Result<SocketAddr> {
        let mut addr = bindings::rdb_helper_addr::default();
        // SAFETY: By the type invariant; `addr` is valid for writes.
        to_result(unsafe { bindings::sock_name(self.as_ptr(), peer, &mut addr) })?;
        Ok(decode(&addr))
    }

    /// How long receiving waits for something, in milliseconds; 0: for ever. Does not sleep.
    pub fn set_recv_timeout(&self, ms: u32) {
        // SAFETY: By the type invariant.
        unsafe { bindings::sock_set_rcvtimeo(self.as_ptr(), ms) }
    }

    /// How long sending waits for room, in milliseconds; 0: for ever. Does not sleep.
    pub fn set_send_timeout(&self, ms: u32) {
        // SAFETY: By the type invariant.
        unsafe { bindings::sock_set_sndtimeo(self.as_ptr(), ms) }
    }

    /// Hold small pieces back until a segment is full (`true`); let them go (`false`).
    pub fn set_cork(&self, on: bool) {
        // SAFETY: By the type invariant.
        unsafe { bindings::sock_set_cork(self.as_ptr(), on) }
    }

    /// Send small pieces at once (`true`), or collect them (`false`).
    pub fn set_nodelay(&self, on: bool) {
        // SAFETY: By the type invariant.
        unsafe { bindings::sock_set_nodelay(self.as_ptr(), on) }
    }

    /// Acknowledge what was received without delay, this time.
    pub fn set_quickack(&self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::sock_set_quickack(self.as_ptr()) }
    }

    /// Bytes that were sent and that the peer's TCP has not acknowledged. Any context.
    pub fn queued_out(&self) -> u32 {
        // SAFETY: By the type invariant.
        unsafe { bindings::sock_queued_out(self.as_ptr()) }
    }

    /// Whether the connection is established in both directions. Any context.
    pub fn is_established(&self) -> bool {
        // SAFETY: By the type invariant.
        unsafe { bindings::sock_established(self.as_ptr()) }
    }

    /// End the connection (or the listening) for both directions. Other threads which are in a call
    /// of this socket return at once.
    pub fn shutdown(&self) {
        // SAFETY: By the type invariant.
        unsafe {
            bindings::kernel_sock_shutdown(self.as_ptr(), bindings::sock_shutdown_cmd_SHUT_RDWR);
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // SAFETY: By the type invariant; nobody uses it any more.
        unsafe { bindings::sock_release(self.as_ptr()) }
    }
}

fn encode(address: &SocketAddr) -> bindings::rdb_helper_addr {
    let mut out = bindings::rdb_helper_addr {
        port: address.port(),
        ..Default::default()
    };
    match address {
        SocketAddr::V4(v4) => {
            for (to, from) in out.ip.iter_mut().zip(v4.ip().octets()) {
                *to = from;
            }
        }
        SocketAddr::V6(v6) => {
            out.is_v6 = 1;
            out.flow_info = v6.flowinfo();
            out.scope_id = v6.scope_id();
            out.ip = v6.ip().octets();
        }
    }
    out
}

fn decode(address: &bindings::rdb_helper_addr) -> SocketAddr {
    if address.is_v6 != 0 {
        SocketAddr::V6(SocketAddrV6::new(
            Ipv6Addr::from(address.ip),
            address.port,
            address.flow_info,
            address.scope_id,
        ))
    } else {
        let [a, b, c, d, ..] = address.ip;
        SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), address.port))
    }
}
