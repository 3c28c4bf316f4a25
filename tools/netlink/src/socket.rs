// SPDX-License-Identifier: GPL-2.0

//! A generic netlink socket: messages out, messages in, and the lookup of the family.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::time::Duration;

use netlink_packet_core::{
    DecodeError, Emitable, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage,
    NetlinkPayload, ParseableParametrized,
};
use netlink_packet_generic::ctrl::nlas::{GenlCtrlAttrs, McastGrpAttrs};
use netlink_packet_generic::ctrl::{GenlCtrl, GenlCtrlCmd};
use netlink_packet_generic::{GenlFamily, GenlHeader, GenlMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_GENERIC};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::{Error, Result};

/// Bytes that the kernel may hold back for a slow reader of events.
const RECEIVE_BUFFER: u32 = 1 << 20;

/// What a request is answered with besides errors.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Perhaps messages, then an acknowledgement.
    Do,
    /// Many messages, then an end.
    Dump,
}

/// A family as the kernel knows it.
pub(crate) struct Family {
    pub(crate) id: u16,
    pub(crate) groups: HashMap<String, u32>,
}

/// An answer that is not an error.
pub(crate) enum Answer<T> {
    Message(T),
    Failed(netlink_packet_core::ErrorMessage),
    End,
}

pub(crate) struct Channel {
    socket: Socket,
    sequence: u32,
}

impl Channel {
    pub(crate) fn open() -> Result<Self> {
        let mut socket = Socket::new(NETLINK_GENERIC)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        // Kernels of the age that has the module have both.
        socket.set_ext_ack(true)?;
        socket.set_cap_ack(true)?;
        Ok(Self {
            socket,
            sequence: 0,
        })
    }

    pub(crate) fn join(&mut self, group: u32) -> Result<()> {
        self.socket.set_rx_buf_sz(RECEIVE_BUFFER)?;
        Ok(self.socket.add_membership(group)?)
    }

    /// Looks a family up; `None` if the kernel has none of that name.
    pub(crate) fn family(&mut self, name: &str) -> Result<Option<Family>> {
        let payload = GenlCtrl {
            cmd: GenlCtrlCmd::GetFamily,
            nlas: vec![GenlCtrlAttrs::FamilyName(name.to_owned())],
        };
        let answers = self.exchange(GenlMessage::from_payload(payload), Mode::Do)?;
        let mut family = Family {
            id: 0,
            groups: HashMap::new(),
        };
        for answer in answers {
            match answer {
                Answer::Message(message) => family_facts(&mut family, message),
                Answer::Failed(error) if error.raw_code() == -Errno::NOENT.raw_os_error() => {
                    return Ok(None);
                }
                Answer::Failed(error) => return Err(Error::Socket(error.to_io())),
                Answer::End => {}
            }
        }
        Ok((family.id != 0).then_some(family))
    }

    /// Sends a request and collects what comes back.
    pub(crate) fn exchange<T>(
        &mut self,
        message: GenlMessage<T>,
        mode: Mode,
    ) -> Result<Vec<Answer<T>>>
    where
        T: GenlFamily + Emitable + ParseableParametrized<[u8], GenlHeader> + std::fmt::Debug,
    {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.sequence_number = self.sequence;
        header.flags = match mode {
            Mode::Do => NLM_F_REQUEST | NLM_F_ACK,
            Mode::Dump => NLM_F_REQUEST | NLM_F_DUMP,
        };
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        let mut answers = Vec::new();
        loop {
            for answer in self.receive()? {
                if answer.header.sequence_number != self.sequence {
                    continue;
                }
                match answer.payload {
                    NetlinkPayload::InnerMessage(message) => {
                        answers.push(Answer::Message(message.into_parts().1));
                    }
                    NetlinkPayload::Error(error) if error.code.is_some() => {
                        answers.push(Answer::Failed(error));
                        return Ok(answers);
                    }
                    NetlinkPayload::Done(done) if done.code < 0 => {
                        let mut error = netlink_packet_core::ErrorMessage::default();
                        error.code = std::num::NonZeroI32::new(done.code);
                        answers.push(Answer::Failed(error));
                        return Ok(answers);
                    }
                    NetlinkPayload::Error(_) | NetlinkPayload::Done(_) => {
                        answers.push(Answer::End);
                        return Ok(answers);
                    }
                    NetlinkPayload::Overrun(_) => return Err(Error::Lost),
                    _ => {}
                }
            }
        }
    }

    /// Waits until there is something to read; false when the time is over.
    pub(crate) fn wait(&self, limit: Option<Duration>) -> Result<bool> {
        let limit = limit.map(|limit| Timespec {
            tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: limit.subsec_nanos().into(),
        });
        let mut waiting = [PollFd::new(&self.socket, PollFlags::IN)];
        match poll(&mut waiting, limit.as_ref()) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::INTR) => Ok(false),
            Err(error) => Err(Error::Socket(error.into())),
        }
    }

    /// Reads one datagram, which may hold several messages.
    pub(crate) fn receive<T>(&self) -> Result<Vec<NetlinkMessage<GenlMessage<T>>>>
    where
        T: ParseableParametrized<[u8], GenlHeader> + std::fmt::Debug,
    {
        let bytes = loop {
            match self.socket.recv_from_full() {
                Ok((bytes, _)) => break bytes,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        };
        let malformed = |error: DecodeError| Error::Malformed(error.to_string());
        let mut messages = Vec::new();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let message = NetlinkMessage::<GenlMessage<T>>::deserialize(rest).map_err(malformed)?;
            let length = usize::try_from(message.header.length).unwrap_or(usize::MAX);
            if length == 0 {
                break;
            }
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
            messages.push(message);
        }
        Ok(messages)
    }
}

fn family_facts(family: &mut Family, message: GenlCtrl) {
    for attribute in message.nlas {
        match attribute {
            GenlCtrlAttrs::FamilyId(id) => family.id = id,
            GenlCtrlAttrs::McastGroups(groups) => {
                for group in groups {
                    let name = group.iter().find_map(|part| match part {
                        McastGrpAttrs::Name(name) => Some(name.clone()),
                        McastGrpAttrs::Id(_) => None,
                    });
                    let id = group.iter().find_map(|part| match part {
                        McastGrpAttrs::Id(id) => Some(*id),
                        McastGrpAttrs::Name(_) => None,
                    });
                    family.groups.extend(name.zip(id));
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The controller of generic netlink is a family itself and in every kernel.
    #[test]
    fn families_are_found_by_name() {
        let mut channel = Channel::open().expect("netlink works");
        let found = channel
            .family("nlctrl")
            .expect("an answer")
            .expect("it is there");
        assert_eq!(found.id, 16);
        assert!(found.groups.contains_key("notify"));
        assert!(
            channel
                .family("no such family")
                .expect("an answer")
                .is_none()
        );
    }
}
