// SPDX-License-Identifier: GPL-2.0

//! The stream of events.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use netlink_packet_core::NetlinkPayload;
use netlink_packet_generic::constants::GENL_ID_CTRL;
use rdb_engine::netlink::{EVENTS_GROUP, EventKind, FAMILY_NAME, attr, cmd};

use crate::socket::Channel;
use crate::{Error, Message, Result, Stream};

/// Name of the controller's family.
const CONTROLLER: &str = "nlctrl";
/// Its command for a family that went away.
const DELETED: u8 = 2;
/// Its attribute with the name of a family.
const FAMILY: u16 = 2;

/// Whether a message of the controller says that our family went away.
fn is_farewell(message: &Message) -> bool {
    message.command() == DELETED && message.get_text(FAMILY).as_deref() == Some(FAMILY_NAME)
}

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object {
    /// A resource.
    Resource,
    /// The connection of a resource.
    Connection,
    /// A volume.
    Volume,
    /// Progress of a resync or verify.
    Sync,
    /// A handler.
    Helper,
}

/// An event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What it is about.
    pub object: Object,
    /// What happened.
    pub kind: EventKind,
    /// Counts all events.
    pub sequence: u64,
    /// Name of the resource.
    pub resource: String,
    /// The attributes; which there are says the specification.
    pub attributes: Message,
}

impl Event {
    /// Reads an event; `None` for messages that are none.
    pub fn decode(message: Message) -> Option<Self> {
        let object = match message.command() {
            cmd::RESOURCE_EVENT => Object::Resource,
            cmd::CONNECTION_EVENT => Object::Connection,
            cmd::VOLUME_EVENT => Object::Volume,
            cmd::SYNC_EVENT => Object::Sync,
            cmd::HELPER_EVENT => Object::Helper,
            _ => return None,
        };
        Some(Self {
            object,
            kind: message
                .get_enum(attr::EVENT_KIND)
                .unwrap_or(EventKind::Change),
            sequence: message.get_u64(attr::EVENT_SEQ).unwrap_or_default(),
            resource: message.get_text(attr::RESOURCE_NAME).unwrap_or_default(),
            attributes: message,
        })
    }
}

/// Events as the kernel sends them.
pub struct Events {
    channel: Channel,
    family: u16,
    waiting: VecDeque<Event>,
}

impl Events {
    /// Subscribes; [`Error::NoModule`] if the module is not there.
    pub fn subscribe() -> Result<Self> {
        let mut channel = Channel::open()?;
        let family = channel.family(FAMILY_NAME)?.ok_or(Error::NoModule)?;
        let missing = || Error::Malformed(format!("the family has no group {EVENTS_GROUP}"));
        channel.join(*family.groups.get(EVENTS_GROUP).ok_or_else(missing)?)?;
        // The controller tells when the family goes away with its module.
        if let Some(notify) = channel
            .family(CONTROLLER)?
            .and_then(|it| it.groups.get("notify").copied())
        {
            channel.join(notify)?;
        }
        Ok(Self {
            channel,
            family: family.id,
            waiting: VecDeque::new(),
        })
    }
}

impl Stream for Events {
    fn next(&mut self, limit: Option<Duration>) -> Result<Option<Event>> {
        let end = limit.and_then(|limit| Instant::now().checked_add(limit));
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Ok(Some(event));
            }
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            if !self.channel.wait(left)? {
                if left.is_some_and(|left| left.is_zero()) {
                    return Ok(None);
                }
                continue;
            }
            for message in self.channel.receive::<Message>()? {
                let kind = message.header.message_type;
                if let (GENL_ID_CTRL, NetlinkPayload::InnerMessage(inner)) =
                    (kind, &message.payload)
                {
                    if is_farewell(&inner.payload) {
                        return Err(Error::NoModule);
                    }
                }
                if kind != self.family {
                    continue;
                }
                if let NetlinkPayload::InnerMessage(inner) = message.payload {
                    self.waiting.extend(Event::decode(inner.into_parts().1));
                }
            }
        }
    }
}
