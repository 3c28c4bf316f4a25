// SPDX-License-Identifier: GPL-2.0

//! Sending: what the engine queued goes out in order, a thread per stream (wire protocol, sections 1.6 and 4.11).

use kernel::prelude::*;
use rdb_engine::effects::VolumeIndex;
use rdb_engine::link::LinkFailure;
use rdb_engine::wire::Socket as Stream;
use rdb_kapi::buf::PageBuf;
use rdb_kapi::net::{NetError, Socket};
use rdb_kapi::transfer::SendMode;

use super::link::{fail, failure_of, LinkConfig, Stop, Why};
use super::link_receive::name_of;
use super::queues::{Cargo, Context};
use super::resource::Resource;

/// A sender at work.
struct Sender<'a> {
    resource: &'a Resource,
    config: &'a LinkConfig,
    stop: &'a Stop,
    socket: &'a Socket,
    stream: Stream,
}

/// Sends what is queued for a stream until the link ends.
pub(crate) fn run(
    resource: &Resource,
    config: &LinkConfig,
    stop: &Stop,
    socket: &Socket,
    stream: Stream,
) {
    let sender = Sender {
        resource,
        config,
        stop,
        socket,
        stream,
    };
    let Ok(mut buffer) = PageBuf::new() else {
        return fail(
            resource,
            stop,
            LinkFailure::NetworkFailure,
            format_args!("no memory to send"),
        );
    };
    let bell = match stream {
        Stream::Data => &resource.signals.data,
        Stream::Meta => &resource.signals.meta,
    };
    while !stop.is_set() {
        match sender.send_some(&mut buffer) {
            Ok(true) => (),
            Ok(false) => {
                bell.wait(|| stop.is_set());
            }
            Err(error) => {
                let failure = failure_of(error);
                let name = name_of(stream);
                return fail(
                    resource,
                    stop,
                    failure,
                    format_args!("{name} stream: send {}", Why(error)),
                );
            }
        }
    }
}

impl Sender<'_> {
    /// Sends as much as fits into one buffer, and the payload of its last packet. False: there was nothing.
    fn send_some(&self, buffer: &mut PageBuf) -> Result<bool, NetError> {
        let taken = self
            .resource
            .queues(|queues| queues.next_packets(self.stream, buffer.as_mut()));
        let Some((len, cargo, more)) = taken else {
            // The payload is gone with the request: the link is being given up.
            return Err(NetError::Closed { done: 0 });
        };
        let has_payload = matches!(cargo, Cargo::App { .. } | Cargo::Peer { .. });
        if len == 0 && matches!(cargo, Cargo::None) {
            return Ok(false);
        }
        let more = more && self.config.tcp_cork;
        if len > 0 {
            let bytes = buffer.get(..len).unwrap_or_default();
            self.with_patience(|stall| self.socket.send_all(bytes, has_payload || more, stall))?;
        }
        match cargo {
            Cargo::None => (),
            Cargo::App { slot, bio, report } => {
                self.with_patience(|stall| {
                    self.socket.send_bio(&bio, SendMode::Copy, more, stall)
                })?;
                drop(bio);
                if report {
                    self.resource
                        .with(Context::NoBuffers, |engine, queues, now| {
                            if queues.is_link_open() {
                                engine.app_sent(now, slot, queues);
                            }
                        });
                }
            }
            Cargo::Peer { slot, buf } => {
                self.with_patience(|stall| self.socket.send_buf(&buf, more, stall))?;
                drop(buf);
                self.resource
                    .with(Context::NoBuffers, |engine, queues, now| {
                        if queues.is_link_open() {
                            engine.peer_sent(now, slot, queues);
                        }
                    });
            }
            Cargo::Bitmap { volume } => self.send_bitmap(volume, buffer)?,
            Cargo::Last => self
                .resource
                .with(Context::NoBuffers, |engine, queues, now| {
                    engine.last_sent(now, queues)
                }),
        }
        Ok(true)
    }

    /// Sends a series of bitmap packets, with nothing in between.
    fn send_bitmap(&self, volume: VolumeIndex, buffer: &mut PageBuf) -> Result<(), NetError> {
        while !self.stop.is_set() {
            let len = self.resource.with(Context::NoBuffers, |engine, _, _| {
                engine.bitmap_packet(volume, buffer.as_mut())
            });
            let Some(len) = len else {
                break;
            };
            let bytes = buffer.get(..len).unwrap_or_default();
            self.with_patience(|stall| self.socket.send_all(bytes, false, stall))?;
        }
        Ok(())
    }

    /// Sends on as long as it is not hopeless: `ko-count` times `timeout` without progress on the data stream, once on the
    /// meta stream.
    fn with_patience(
        &self,
        send: impl FnOnce(&mut dyn FnMut(usize) -> bool) -> Result<(), NetError>,
    ) -> Result<(), NetError> {
        let mut left = match self.stream {
            Stream::Data => self.config.net.ko_count,
            Stream::Meta => 1,
        };
        send(&mut |_| {
            if self.stop.is_set() {
                return false;
            }
            // A ko-count of 0 waits for ever.
            if self.stream == Stream::Data && self.config.net.ko_count == 0 {
                return true;
            }
            left = left.saturating_sub(1);
            left > 0
        })
    }
}
