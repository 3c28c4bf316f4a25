// SPDX-License-Identifier: GPL-2.0

//! Reading the two streams of an established link.

use core::fmt;

use kernel::prelude::*;
use kernel::sync::Arc;
use rdb_engine::effects::PeerSlot;
use rdb_engine::link::{LinkFailure, LinkTerms};
use rdb_engine::wire::{Agreed, Header, Socket as Stream, WireError};
use rdb_kapi::buf::{BufPool, PageBuf};
use rdb_kapi::net::{NetError, Socket};
use rdb_kapi::thread::KThread;

use super::link::{fail, failure_of, End, LinkConfig, Stop, Streams, Why};
use super::queues::Context;
use super::resource::Resource;
use super::{link_send, worker};

/// Longest header.
const HEADER: usize = 16;

/// Why a packet could not be read.
enum Trouble {
    Net(NetError),
    Wire(WireError),
    /// No slot, no memory.
    Own(&'static str),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Net(error) => Why(*error).fmt(f),
            Self::Wire(error) => error.fmt(f),
            Self::Own(what) => f.write_str(what),
        }
    }
}

impl From<NetError> for Trouble {
    fn from(error: NetError) -> Self {
        Self::Net(error)
    }
}

impl From<WireError> for Trouble {
    fn from(error: WireError) -> Self {
        Self::Wire(error)
    }
}

/// Runs the link until it ends. Sleeps.
pub(crate) fn serve(
    resource: &Arc<Resource>,
    config: &LinkConfig,
    stop: &Arc<Stop>,
    streams: &Streams,
    terms: LinkTerms,
) -> End {
    for socket in [&streams.data, &streams.meta] {
        // The engine counts the time of silence.
        socket.set_recv_timeout(0);
        socket.set_send_timeout(config.net.timeout_ms);
    }
    let Ok(buffer) = PageBuf::new() else {
        return End::Lost(LinkFailure::NetworkFailure);
    };
    let wanted = resource.with(Context::Thread, |engine, queues, now| {
        let wanted = queues.open_link();
        if wanted {
            engine.link_up(now, terms, queues);
        }
        wanted
    });
    if !wanted {
        return End::Stopped;
    }
    let mut threads = [const { None }; 3];
    match start(resource, config, stop, streams, terms.agreed, &mut threads) {
        Ok(()) => receive(
            resource,
            stop,
            &streams.data,
            Stream::Data,
            &terms.agreed,
            buffer,
        ),
        Err(error) => {
            fail(
                resource,
                stop,
                LinkFailure::NetworkFailure,
                format_args!("no threads for the link: {error:?}"),
            );
        }
    }
    // Before the threads are waited for.
    stop.set();
    drop(threads);
    End::Stopped
}

/// Starts the other three threads; they end when `stop` is set.
fn start(
    resource: &Arc<Resource>,
    config: &LinkConfig,
    stop: &Arc<Stop>,
    streams: &Streams,
    agreed: Agreed,
    threads: &mut [Option<KThread>; 3],
) -> Result {
    let sender = |name: &CStr, stream: Stream, socket: &Arc<Socket>| {
        let (resource, stop, socket, config) = (
            resource.clone(),
            stop.clone(),
            socket.clone(),
            config.clone(),
        );
        KThread::spawn(name, worker::options(), move |_| {
            link_send::run(&resource, &config, &stop, &socket, stream);
        })
    };
    let [data, meta, receiver] = threads;
    *data = Some(sender(c"rdb_send", Stream::Data, &streams.data)?);
    *meta = Some(sender(c"rdb_ack", Stream::Meta, &streams.meta)?);
    let (own, told, socket) = (resource.clone(), stop.clone(), streams.meta.clone());
    let buffer = PageBuf::new()?;
    *receiver = Some(KThread::spawn(c"rdb_meta", worker::options(), move |_| {
        receive(&own, &told, &socket, Stream::Meta, &agreed, buffer);
    })?);
    Ok(())
}

/// Reads packets until the link ends.
fn receive(
    resource: &Resource,
    stop: &Stop,
    socket: &Socket,
    stream: Stream,
    agreed: &Agreed,
    mut buffer: PageBuf,
) {
    while !stop.is_set() {
        if stream == Stream::Data {
            wait_ready(resource, stop);
        }
        if let Err(trouble) = receive_one(resource, stop, socket, stream, agreed, &mut buffer) {
            let failure = match (&trouble, stream) {
                (Trouble::Net(error), Stream::Data) => failure_of(*error),
                (Trouble::Wire(_), Stream::Data) => LinkFailure::ProtocolError,
                _ => LinkFailure::NetworkFailure,
            };
            fail(
                resource,
                stop,
                failure,
                format_args!("{} stream: {trouble}", name_of(stream)),
            );
            break;
        }
    }
}

pub(crate) fn name_of(stream: Stream) -> &'static str {
    match stream {
        Stream::Data => "data",
        Stream::Meta => "meta",
    }
}

fn wait_ready(resource: &Resource, stop: &Stop) {
    loop {
        let seen = resource.signals.changed.seen();
        if stop.is_set() || resource.inspect(|engine| engine.receiver_ready()) {
            break;
        }
        resource.signals.changed.wait_unless(seen, || stop.is_set());
    }
}

fn receive_one(
    resource: &Resource,
    stop: &Stop,
    socket: &Socket,
    stream: Stream,
    agreed: &Agreed,
    buffer: &mut PageBuf,
) -> Result<(), Trouble> {
    let mut wait = |_| !stop.is_set();
    let format = agreed.header_format();
    let mut bytes = [0; HEADER];
    let bytes = bytes.get_mut(..format.len()).unwrap_or_default();
    socket.recv_exact(bytes, &mut wait)?;
    let header = Header::decode(format, bytes)?;
    let frame = header.frame(stream, agreed)?;
    let body = buffer
        .get_mut(..frame.body_len)
        .ok_or(Trouble::Own("a body is longer than any may be"))?;
    socket.recv_exact(body, &mut wait)?;
    let packet = frame.decode(body, agreed)?;
    let slot = match frame.payload_len {
        0 => None,
        len => Some(receive_payload(resource, stop, socket, len)?),
    };
    // Acknowledgements free buffers, so their receiver must not wait for any.
    let context = match stream {
        Stream::Data => Context::Thread,
        Stream::Meta => Context::NoBuffers,
    };
    resource.with(context, |engine, queues, now| {
        engine.heard(now);
        if queues.is_link_open() {
            engine.packet(now, stream, &header, &packet, slot, queues);
        }
    });
    Ok(())
}

/// Reads block data into the buffer of a slot.
fn receive_payload(
    resource: &Resource,
    stop: &Stop,
    socket: &Socket,
    len: u32,
) -> Result<PeerSlot, Trouble> {
    let bytes = usize::try_from(len).map_err(|_| Trouble::Own("no memory"))?;
    let mut buf = BufPool::alloc(&resource.pool, bytes)
        .map_err(|_| Trouble::Own("no memory for block data"))?;
    socket.recv_buf(&mut buf, &mut |_| !stop.is_set())?;
    resource
        .with(Context::Thread, |engine, queues, _| {
            let slot = engine.reserve_peer(len)?;
            queues.keep(slot, Some(buf));
            Some(slot)
        })
        .ok_or(Trouble::Own("no slot for block data"))
}
