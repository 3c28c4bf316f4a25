// SPDX-License-Identifier: GPL-2.0

//! Requests to the module.

use std::sync::Mutex;

use netlink_packet_generic::GenlMessage;
use rdb_engine::netlink::{FAMILY_NAME, attr, cmd};

use crate::socket::{Answer, Channel, Mode};
use crate::{
    Error, Events, Kernel, Message, ModuleInfo, Refusal, ResourceInfo, Result, Stream, VolumeInfo,
};

/// A connection to the module.
pub struct Client {
    channel: Mutex<Channel>,
    family: u16,
}

impl Client {
    /// Connects; [`Error::NoModule`] if the module is not there.
    pub fn connect() -> Result<Self> {
        let mut channel = Channel::open()?;
        let family = channel.family(FAMILY_NAME)?.ok_or(Error::NoModule)?;
        Ok(Self {
            channel: Mutex::new(channel),
            family: family.id,
        })
    }

    /// Sends a request and gives the messages of the reply.
    pub fn request(&self, request: &Message, dump: bool) -> Result<Vec<Message>> {
        let mut message = GenlMessage::from_payload(request.clone());
        message.set_resolved_family_id(self.family);
        let mode = if dump { Mode::Dump } else { Mode::Do };
        let mut channel = self
            .channel
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut messages: Vec<Message> = Vec::new();
        for answer in channel.exchange(message, mode)? {
            match answer {
                Answer::Message(message) => messages.push(message),
                Answer::Failed(error) => {
                    let info = messages
                        .iter()
                        .filter_map(|part| part.get_text(attr::INFO_TEXT));
                    return Err(Error::Refused(Refusal::decode(
                        &error,
                        request,
                        info.collect(),
                    )));
                }
                Answer::End => {}
            }
        }
        Ok(messages)
    }
}

impl Kernel for Client {
    fn change(&self, request: &Message) -> Result<()> {
        self.request(request, false).map(|_| ())
    }

    fn module(&self) -> Result<ModuleInfo> {
        let found = self.request(&Message::new(cmd::MODULE_GET), false)?;
        let message = found
            .first()
            .ok_or_else(|| Error::Malformed("module-get: no answer".into()))?;
        Ok(ModuleInfo::decode(message))
    }

    fn resources(&self) -> Result<Vec<ResourceInfo>> {
        let found = self.request(&Message::new(cmd::RESOURCE_GET), true)?;
        found.iter().map(ResourceInfo::decode).collect()
    }

    fn volumes(&self) -> Result<Vec<VolumeInfo>> {
        let found = self.request(&Message::new(cmd::VOLUME_GET), true)?;
        found.iter().map(VolumeInfo::decode).collect()
    }

    fn subscribe(&self) -> Result<Box<dyn Stream>> {
        Ok(Box::new(Events::subscribe()?))
    }
}
