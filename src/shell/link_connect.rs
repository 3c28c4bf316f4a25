// SPDX-License-Identifier: GPL-2.0

//! Finding the peer: sockets for the decisions of the engine's `connect` (wire protocol, sections 1.2 to 1.6).

use kernel::prelude::*;
use kernel::sync::atomic::Relaxed;
use kernel::sync::Arc;
use rdb_engine::connect::{ConnectTimes, Connector, Event, Step, Stream};
use rdb_engine::link::LinkFailure;
use rdb_engine::wire::{Agreed, Command, Header, HeaderFormat, Packet};
use rdb_kapi::crypto::random_u64;
use rdb_kapi::errno::{EADDRINUSE, ENOBUFS};
use rdb_kapi::net::{NetError, Peek, Socket, SocketAddr};

use super::link::{End, LinkConfig, Place, Stop, Streams, Why};
use super::log::say;
use super::resource::Resource;

/// Callers that may wait.
const BACKLOG: u32 = 5;

/// Most bytes of a first packet: a header of 8.
const FIRST: usize = 8;

/// The sockets of an attempt.
struct Attempt<'a> {
    name: &'a str,
    config: &'a LinkConfig,
    stop: &'a Stop,
    listener: Arc<Socket>,
    new: Option<Arc<Socket>>,
    data: Option<Arc<Socket>>,
    meta: Option<Arc<Socket>>,
}

/// Looks for the peer until both streams stand, or `stop` is set. Says whether this node accepted the meta stream. Sleeps.
pub(crate) fn connect(
    resource: &Resource,
    config: &LinkConfig,
    stop: &Stop,
) -> Result<(Streams, bool), End> {
    let name = resource.name();
    let listener = Socket::listen(config.local, BACKLOG, &config.socket_options())
        .and_then(|socket| Ok(Arc::new(socket, GFP_KERNEL)?))
        .map_err(|error| {
            say!(pr_err: "{}: cannot listen on {}: {:?}", name, config.local, error);
            // ENFILE is what the socket layer says when it has no memory for a socket, EADDRINUSE when it has none for a
            // port. An address that could be had before is no mistake of the administrator's.
            let used = error == EADDRINUSE && resource.listened.load(Relaxed);
            if used || error == ENOMEM || error == ENFILE || error == ENOBUFS {
                End::Lost(LinkFailure::NetworkFailure)
            } else {
                End::Refused
            }
        })?;
    resource.listened.store(true, Relaxed);
    stop.watch(Place::Listen, Some(listener.clone()));
    let mut attempt = Attempt {
        name,
        config,
        stop,
        listener,
        new: None,
        data: None,
        meta: None,
    };
    let result = attempt.run();
    stop.watch(Place::Listen, None);
    stop.watch(Place::New, None);
    result
}

impl Attempt<'_> {
    fn run(&mut self) -> Result<(Streams, bool), End> {
        let check_ms = match self.config.sock_check_ms {
            0 => self.config.net.ping_timeout_ms,
            ms => ms,
        };
        let mut machine = Connector::new(ConnectTimes {
            attempt_ms: self.config.connect_int_ms,
            check_ms,
        });
        let mut step = machine.start();
        loop {
            if self.stop.is_set() {
                return Err(End::Stopped);
            }
            let event = match step {
                Step::Dial { timeout_ms } => self.dial(timeout_ms),
                Step::SendFirst(stream) => self.send_first(stream),
                Step::Accept { timeout_ms } => self.accept(timeout_ms),
                Step::Check { pause_ms } => {
                    self.stop.sleep(pause_ms);
                    self.check()
                }
                Step::Take(stream) => {
                    self.take(stream);
                    Event::Done
                }
                Step::Reject => {
                    self.set_new(None);
                    Event::Done
                }
                Step::Established { resolve } => match (self.data.take(), self.meta.take()) {
                    (Some(data), Some(meta)) => return Ok((Streams { data, meta }, resolve)),
                    // The machine knows what we have.
                    _ => return Err(End::Stopped),
                },
            };
            step = machine.next(event, random_u64() & 1 == 1);
        }
    }

    fn set_new(&mut self, socket: Option<Arc<Socket>>) {
        self.stop.watch(Place::New, socket.clone());
        self.new = socket;
    }

    fn dial(&mut self, timeout_ms: u32) -> Event {
        let peer = self.config.peer;
        let socket = Socket::create(&peer, &self.config.socket_options())
            .and_then(|socket| Ok(Arc::new(socket, GFP_KERNEL)?));
        let Ok(socket) = socket else {
            // Do not spin while there is no memory.
            self.stop.sleep(1000);
            return Event::Nothing;
        };
        self.set_new(Some(socket.clone()));
        let mut local = self.config.local;
        local.set_port(0);
        match socket.connect_to(Some(local), peer, timeout_ms) {
            Ok(()) => Event::Dialled,
            Err(error) => {
                say!(pr_debug: "{}: connect to {}: {}", self.name, peer, Why(error));
                self.set_new(None);
                Event::Nothing
            }
        }
    }

    fn send_first(&mut self, stream: Stream) -> Event {
        let packet = match stream {
            Stream::Data => Packet::InitialData,
            Stream::Meta => Packet::InitialMeta,
        };
        let mut bytes = [0; FIRST];
        let sent = match (&self.new, packet.encode(HeaderFormat::P80, 0, &mut bytes)) {
            (Some(socket), Ok(len)) => {
                socket.set_send_timeout(self.config.handshake_ms());
                socket
                    .send_all(bytes.get(..len).unwrap_or_default(), false, &mut |_| false)
                    .is_ok()
            }
            _ => false,
        };
        if sent {
            self.take(stream);
            Event::Sent
        } else {
            self.set_new(None);
            Event::Nothing
        }
    }

    /// Keeps the new socket as a stream.
    fn take(&mut self, stream: Stream) {
        let socket = self.new.take();
        let (place, kept) = match stream {
            Stream::Data => (Place::Data, &mut self.data),
            Stream::Meta => (Place::Meta, &mut self.meta),
        };
        self.stop.watch(place, socket.clone());
        *kept = socket;
        self.stop.watch(Place::New, None);
    }

    fn accept(&mut self, timeout_ms: u32) -> Event {
        let socket = match self
            .listener
            .accept(timeout_ms, &self.config.socket_options())
        {
            Ok(socket) => socket,
            Err(NetError::Timeout { .. }) => return Event::Nothing,
            Err(error) => {
                if !self.stop.is_set() {
                    say!(pr_warn: "{}: accept: {}", self.name, Why(error));
                    self.stop.sleep(1000);
                }
                return Event::Nothing;
            }
        };
        match socket.peer_addr() {
            Ok(address) if same_host(&address, &self.config.peer) => (),
            Ok(address) => {
                let wanted = self.config.peer.ip();
                say!(pr_warn: "{}: refused a connection from {}, expected {}", self.name, address, wanted);
                return Event::Called(None);
            }
            Err(_) => return Event::Called(None),
        }
        let Ok(socket) = Arc::new(socket, GFP_KERNEL) else {
            return Event::Called(None);
        };
        self.set_new(Some(socket.clone()));
        Event::Called(self.first_packet(&socket))
    }

    fn first_packet(&self, socket: &Socket) -> Option<Stream> {
        socket.set_recv_timeout(self.config.handshake_ms());
        let mut bytes = [0; FIRST];
        if let Err(error) = socket.recv_exact(&mut bytes, &mut |_| false) {
            say!(pr_warn: "{}: first packet of a new connection: {}", self.name, Why(error));
            return None;
        }
        let header = Header::decode(HeaderFormat::P80, &bytes).and_then(|header| {
            // Either socket will do: these packets travel on both.
            header.frame(rdb_engine::wire::Socket::Data, &Agreed::NOTHING)?;
            Ok(header)
        });
        match header {
            Ok(Header {
                command: Command::InitialData,
                ..
            }) => Some(Stream::Data),
            Ok(Header {
                command: Command::InitialMeta,
                ..
            }) => Some(Stream::Meta),
            Ok(header) => {
                let found = header.command.name();
                say!(pr_warn: "{}: first packet is {}, expected P_INITIAL_DATA or P_INITIAL_META", self.name, found);
                None
            }
            Err(error) => {
                say!(pr_warn: "{}: first packet: {}", self.name, error);
                None
            }
        }
    }

    fn check(&mut self) -> Event {
        let alive = |socket: &Option<Arc<Socket>>| {
            socket
                .as_ref()
                .is_some_and(|socket| socket.peek() != Peek::Dead)
        };
        let (data, meta) = (alive(&self.data), alive(&self.meta));
        if !data {
            self.data = None;
            self.stop.watch(Place::Data, None);
        }
        if !meta {
            self.meta = None;
            self.stop.watch(Place::Meta, None);
        }
        Event::Alive { data, meta }
    }
}

fn same_host(address: &SocketAddr, wanted: &SocketAddr) -> bool {
    address.ip().to_canonical() == wanted.ip().to_canonical()
}
