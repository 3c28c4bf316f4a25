// SPDX-License-Identifier: GPL-2.0

//! Sockets over the loopback interface.

use crate::check;
use core::sync::atomic::{AtomicU32, Ordering};
use kernel::prelude::*;
use kernel::sync::Arc;
use rdb_kapi::buf::BufPool;
use rdb_kapi::crypto::crc32c;
use rdb_kapi::errno::{EADDRNOTAVAIL, EAFNOSUPPORT, EBADMSG, ECONNREFUSED, EPROTO};
use rdb_kapi::net::{
    IpAddr, Ipv4Addr, Ipv6Addr, NetError, Peek, Socket, SocketAddr, SocketOptions,
};
use rdb_kapi::thread::{KThread, Options};
use rdb_kapi::time;

use crate::sync::Milestone;

pub(crate) const TESTS: &[crate::Test] = &[
    ("tcp-v4", || transfer(IpAddr::V4(Ipv4Addr::LOCALHOST))),
    ("tcp-v6", || {
        match transfer(IpAddr::V6(Ipv6Addr::LOCALHOST)) {
            Err(e) if e == EAFNOSUPPORT || e == EADDRNOTAVAIL => {
                pr_info!("skip tcp-v6: {:?}\n", e);
                Ok(())
            }
            result => result,
        }
    }),
    ("tcp-timeout", timeouts),
    ("tcp-shutdown", shutdown),
    ("tcp-refused", refused),
];

const ROUNDS: usize = 20;

fn never(_: usize) -> bool {
    false
}

/// Two ends of a connection.
pub(crate) fn pair(ip: IpAddr, options: &SocketOptions) -> Result<(Socket, Socket)> {
    let listener = Socket::listen(SocketAddr::new(ip, 0), 4, options)?;
    let address = listener.local_addr()?;
    let client = Socket::connect(Some(SocketAddr::new(ip, 0)), address, 10_000, options)
        .map_err(NetError::to_error)?;
    let server = listener
        .accept(10_000, options)
        .map_err(NetError::to_error)?;
    check!(server.peer_addr()? == client.local_addr()? && client.peer_addr()? == address);
    check!(server.is_established() && client.is_established());
    Ok((client, server))
}

/// Header and 1 MiB of data, in the three ways of sending, each way answered by a checksum.
fn transfer(ip: IpAddr) -> Result {
    let options = SocketOptions {
        sndbuf: 256 << 10,
        rcvbuf: 256 << 10,
        memalloc: true,
        priority: 6,
        ..SocketOptions::default()
    };
    let (client, server) = pair(ip, &options)?;
    let failed = Arc::new(AtomicU32::new(0), GFP_KERNEL)?;
    let failed2 = failed.clone();
    let echo = KThread::spawn(c"kapi-server", Options::default(), move |_| {
        if let Err(e) = serve(&server) {
            pr_err!("server: {:?}\n", e);
            failed2.store(1, Ordering::SeqCst);
        }
    })?;
    let result = ask(&client).map_err(NetError::to_error);
    client.shutdown();
    echo.stop();
    check!(failed.load(Ordering::SeqCst) == 0);
    result
}

fn serve(server: &Socket) -> Result<(), NetError> {
    let pool = BufPool::new(0).map_err(NetError::Failed)?;
    for _ in 0..ROUNDS {
        let mut head = [0u8; 8];
        server.recv_exact(&mut head, &mut never)?;
        let len = usize::from_be_bytes(head);
        let mut buf = BufPool::alloc(&pool, len).map_err(NetError::Failed)?;
        server.recv_buf(&mut buf, &mut never)?;
        let crc = buf.chunks().fold(!0, crc32c);
        server.send_all(&crc.to_be_bytes(), false, &mut never)?;
    }
    match server.recv_some(&mut [0u8; 1]) {
        Err(NetError::Closed { .. }) => Ok(()),
        _ => Err(NetError::Failed(EPROTO.into())),
    }
}

fn ask(client: &Socket) -> Result<(), NetError> {
    let pool = BufPool::new(0).map_err(NetError::Failed)?;
    client.set_recv_timeout(30_000);
    client.set_send_timeout(30_000);
    for round in 0..ROUNDS {
        let len = BufPool::MAX_BYTES - round * 1001;
        let mut buf = BufPool::alloc(&pool, len).map_err(NetError::Failed)?;
        let mut x = round as u8;
        buf.for_each_chunk_mut(|chunk| {
            for b in chunk {
                x = x.wrapping_mul(13).wrapping_add(1);
                *b = x;
            }
        });
        let crc = buf.chunks().fold(!0, crc32c);
        let head = len.to_be_bytes();
        let (front, back) = head.split_at(3);
        client.set_cork(true);
        client.send_slices(&[front, &[], back], true, &mut never)?;
        match round % 2 {
            0 => client.send_buf(&buf, false, &mut never)?,
            // Its pages are written to again as soon as they are free: the network must have its
            // own.
            _ => client.send_buf_owned(buf, false, &mut never)?,
        }
        client.set_cork(false);
        let mut dirt = BufPool::alloc(&pool, BufPool::MAX_BYTES).map_err(NetError::Failed)?;
        dirt.for_each_chunk_mut(|chunk| chunk.fill(0xee));
        drop(dirt);
        let mut answer = [0u8; 4];
        client.recv_exact(&mut answer, &mut never)?;
        if u32::from_be_bytes(answer) != crc {
            return Err(NetError::Failed(EBADMSG.into()));
        }
    }
    Ok(())
}

fn timeouts() -> Result {
    let options = SocketOptions {
        sndbuf: 8 << 10,
        rcvbuf: 8 << 10,
        ..SocketOptions::default()
    };
    let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let listener = Socket::listen(SocketAddr::new(ip, 0), 4, &options)?;
    check!(listener.accept(30, &options).err() == Some(NetError::Timeout { done: 0 }));
    let (client, server) = pair(ip, &options)?;
    check!(client.peek() == Peek::Quiet);
    client.set_recv_timeout(30);
    let mut byte = [0u8; 2];
    check!(client.recv_some(&mut byte) == Err(NetError::Timeout { done: 0 }));
    server
        .send_all(b"x", false, &mut never)
        .map_err(NetError::to_error)?;
    // Half of it came: the stalls are counted, then it is given up.
    let mut stalls = 0;
    let result = client.recv_exact(&mut byte, &mut |done| {
        stalls += 1;
        done == 1 && stalls < 3
    });
    check!(result == Err(NetError::Timeout { done: 1 }) && stalls == 3);

    // Nobody receives: the buffers fill up.
    server.set_send_timeout(30);
    let big = KVVec::from_elem(7u8, 4 << 20, GFP_KERNEL)?;
    let mut stalls = 0;
    let result = server.send_all(&big, false, &mut |_| {
        stalls += 1;
        stalls < 3
    });
    check!(matches!(result, Err(NetError::Timeout { done }) if done > 0) && stalls == 3);
    check!(server.queued_out() > 0 && client.peek() == Peek::Readable);
    drop(server);
    // Reset, since there was unsent data and no lingering.
    let deadline = time::now_ms() + 30_000;
    while client.recv_some(&mut byte).is_ok() && time::now_ms() < deadline {}
    check!(client.peek() == Peek::Dead);
    Ok(())
}

/// What sleeps in accept, recv and send returns when somebody else shuts the socket down.
fn shutdown() -> Result {
    let options = SocketOptions::default();
    let any = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
    let outcome = Arc::new(AtomicU32::new(0), GFP_KERNEL)?;
    let closed = Some(NetError::Closed { done: 0 });

    // The other thread says that it is about to wait; the shutdown comes now before that, now after.
    for _ in 0..ROUNDS {
        let (begun, o) = (Milestone::new()?, outcome.clone());
        let listener = Arc::new(Socket::listen(any, 4, &options)?, GFP_KERNEL)?;
        let (l, b) = (listener.clone(), begun.clone());
        let t = KThread::spawn(c"kapi-accept", Options::default(), move |_| {
            b.reach();
            if l.accept(0, &options).err() == closed {
                o.fetch_add(1, Ordering::SeqCst);
            }
        })?;
        begun.wait();
        listener.shutdown();
        t.stop();
    }
    check!(outcome.swap(0, Ordering::SeqCst) == ROUNDS as u32);

    for _ in 0..ROUNDS {
        let (begun, o) = (Milestone::new()?, outcome.clone());
        let (client, _server) = pair(any.ip(), &options)?;
        let client = Arc::new(client, GFP_KERNEL)?;
        let (c, b) = (client.clone(), begun.clone());
        let t = KThread::spawn(c"kapi-recv", Options::default(), move |_| {
            b.reach();
            if c.recv_some(&mut [0u8; 8]).err() == closed {
                o.fetch_add(1, Ordering::SeqCst);
            }
        })?;
        begun.wait();
        client.shutdown();
        t.stop();
    }
    check!(outcome.swap(0, Ordering::SeqCst) == ROUNDS as u32);

    let (client, server) = pair(any.ip(), &options)?;
    let server = Arc::new(server, GFP_KERNEL)?;
    let (s, o) = (server.clone(), outcome.clone());
    let sender = KThread::spawn(c"kapi-send", Options::default(), move |_| {
        let Ok(big) = KVVec::from_elem(7u8, 64 << 20, GFP_KERNEL) else {
            return;
        };
        if s.send_all(&big, false, &mut never).is_err() {
            o.fetch_add(1, Ordering::SeqCst);
        }
    })?;
    // It cannot end: nobody receives, and no buffer takes all of that.
    let deadline = time::now_ms() + 60_000;
    while client.peek() != Peek::Readable && time::now_ms() < deadline {
        time::sleep_ms(1);
    }
    server.shutdown();
    sender.stop();
    check!(outcome.load(Ordering::SeqCst) == 1);
    Ok(())
}

fn refused() -> Result {
    let options = SocketOptions::default();
    let any = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
    let address = Socket::listen(any, 4, &options)?.local_addr()?;
    let result = Socket::connect(None, address, 5_000, &options);
    check!(result.err() == Some(NetError::Failed(ECONNREFUSED.into())));
    let nowhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1)), 9);
    check!(Socket::listen(nowhere, 1, &options).err() == Some(EADDRNOTAVAIL.into()));
    Ok(())
}
