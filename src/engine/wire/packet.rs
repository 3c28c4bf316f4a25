// SPDX-License-Identifier: GPL-2.0

//! A whole packet: one variant per command, with its decoded fields.

use zerocopy::byteorder::{I32, U32, U64};

use super::block::{decode_desc, encode_desc};
use super::header::{no_room, write};
use super::layout::{body, ReplyRaw, StateRaw, SyncUuidRaw};
use super::{
    Ack, Agreed, BarrierAck, BarrierNumber, BlockData, BlockRequest, Command, CompressedBitmap,
    ConnectionFeatures, DataFlags, DigestRequest, Expected, Header, HeaderFormat, Protocol, Range,
    RangeWrite, ReturnCode, Sizes, State, StateChange, SyncParam, Uuids, VerifyResult, WireError,
};

/// A packet of the protocol. Its volume is in the frame; the payload of the three packets with
/// block data stays outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // Each variant is the command of the same name.
pub enum Packet<'a> {
    Data(BlockData<'a>),
    DataReply(BlockData<'a>),
    RsDataReply(BlockData<'a>),
    Barrier(BarrierNumber),
    Bitmap(&'a [u8]),
    UnplugRemote,
    DataRequest(BlockRequest),
    RsDataRequest(BlockRequest),
    Protocol(Protocol),
    Uuids(Uuids),
    Sizes(Sizes),
    State(State),
    SyncUuid(u64),
    /// 64 to 128 bytes.
    AuthChallenge(&'a [u8]),
    AuthResponse(&'a [u8]),
    StateChangeRequest(StateChange),
    Ping,
    PingAck,
    RecvAck(Ack),
    WriteAck(Ack),
    RsWriteAck(Ack),
    Superseded(Ack),
    NegAck(Ack),
    NegDreply(Ack),
    NegRsDreply(Ack),
    BarrierAck(BarrierAck),
    StateChangeReply(ReturnCode),
    OvRequest(BlockRequest),
    OvReply(DigestRequest<'a>),
    OvResult(VerifyResult),
    CsumRsRequest(DigestRequest<'a>),
    RsIsInSync(Ack),
    SyncParam(SyncParam),
    CompressedBitmap(CompressedBitmap<'a>),
    DelayProbe,
    OutOfSync(Range),
    RsCancel(Ack),
    ConnStateChangeRequest(StateChange),
    ConnStateChangeReply(ReturnCode),
    RetryWrite(Ack),
    ProtocolUpdate(Protocol),
    Trim(RangeWrite),
    RsThinRequest(BlockRequest),
    RsDeallocated(Range),
    Zeroes(RangeWrite),
    InitialMeta,
    InitialData,
    ConnectionFeatures(ConnectionFeatures),
}

impl<'a> Packet<'a> {
    /// Decodes a body whose length [`super::Header::frame`] has judged.
    pub(super) fn decode(
        command: Command,
        bytes: &'a [u8],
        payload_len: u32,
        agreed: &Agreed,
    ) -> Result<Self, WireError> {
        command.check_features(agreed)?;
        let name = command.name();
        Ok(match command {
            Command::Data => Self::Data(BlockData::decode(name, bytes, payload_len)?),
            Command::DataReply => Self::DataReply(BlockData::decode(name, bytes, payload_len)?),
            Command::RsDataReply => Self::RsDataReply(BlockData::decode(name, bytes, payload_len)?),
            Command::Barrier => Self::Barrier(BarrierNumber::decode(name, bytes)?),
            Command::Bitmap => Self::Bitmap(bytes),
            Command::UnplugRemote => Self::UnplugRemote,
            Command::DataRequest => Self::DataRequest(BlockRequest::decode(name, bytes)?),
            Command::RsDataRequest => Self::RsDataRequest(BlockRequest::decode(name, bytes)?),
            Command::Protocol => Self::Protocol(Protocol::decode(name, bytes)?),
            Command::Uuids => Self::Uuids(Uuids::decode(name, bytes)?),
            Command::Sizes => Self::Sizes(Sizes::decode(name, bytes)?),
            Command::State => Self::State(State::from_word(
                body::<StateRaw>(name, bytes)?.state.get(),
            )?),
            Command::SyncUuid => Self::SyncUuid(body::<SyncUuidRaw>(name, bytes)?.uuid.get()),
            Command::AuthChallenge => Self::AuthChallenge(bytes),
            Command::AuthResponse => Self::AuthResponse(bytes),
            Command::StateChangeRequest => {
                Self::StateChangeRequest(StateChange::decode(name, bytes)?)
            }
            Command::Ping => Self::Ping,
            Command::PingAck => Self::PingAck,
            Command::RecvAck => Self::RecvAck(Ack::decode(name, bytes)?),
            Command::WriteAck => Self::WriteAck(Ack::decode(name, bytes)?),
            Command::RsWriteAck => Self::RsWriteAck(Ack::decode(name, bytes)?),
            Command::Superseded => Self::Superseded(Ack::decode(name, bytes)?),
            Command::NegAck => Self::NegAck(Ack::decode(name, bytes)?),
            Command::NegDreply => Self::NegDreply(Ack::decode(name, bytes)?),
            Command::NegRsDreply => Self::NegRsDreply(Ack::decode(name, bytes)?),
            Command::BarrierAck => Self::BarrierAck(BarrierAck::decode(name, bytes)?),
            Command::StateChangeReply => Self::StateChangeReply(decode_reply(name, bytes)?),
            Command::OvRequest => Self::OvRequest(BlockRequest::decode(name, bytes)?),
            Command::OvReply => Self::OvReply(DigestRequest::decode(name, bytes)?),
            Command::OvResult => Self::OvResult(VerifyResult::decode(name, bytes)?),
            Command::CsumRsRequest => Self::CsumRsRequest(DigestRequest::decode(name, bytes)?),
            Command::RsIsInSync => Self::RsIsInSync(Ack::decode(name, bytes)?),
            Command::SyncParam => Self::SyncParam(SyncParam::decode(name, bytes)?),
            Command::CompressedBitmap => {
                Self::CompressedBitmap(CompressedBitmap::decode(name, bytes)?)
            }
            Command::DelayProbe => Self::DelayProbe,
            Command::OutOfSync => Self::OutOfSync(decode_desc(name, bytes)?),
            Command::RsCancel => Self::RsCancel(Ack::decode(name, bytes)?),
            Command::ConnStateChangeRequest => {
                Self::ConnStateChangeRequest(StateChange::decode(name, bytes)?)
            }
            Command::ConnStateChangeReply => Self::ConnStateChangeReply(decode_reply(name, bytes)?),
            Command::RetryWrite => Self::RetryWrite(Ack::decode(name, bytes)?),
            Command::ProtocolUpdate => Self::ProtocolUpdate(Protocol::decode(name, bytes)?),
            Command::Trim => Self::Trim(RangeWrite::decode(name, bytes, DataFlags::DISCARD)?),
            Command::RsThinRequest => Self::RsThinRequest(BlockRequest::decode(name, bytes)?),
            Command::RsDeallocated => Self::RsDeallocated(decode_desc(name, bytes)?),
            Command::Zeroes => Self::Zeroes(RangeWrite::decode(name, bytes, DataFlags::ZEROES)?),
            Command::InitialMeta => Self::InitialMeta,
            Command::InitialData => Self::InitialData,
            Command::ConnectionFeatures => {
                Self::ConnectionFeatures(ConnectionFeatures::decode(bytes)?)
            }
        })
    }

    /// Writes header and body to the front of `out` and returns their length. For the packets with
    /// block data the payload (`range.bytes` bytes) follows on the socket; the header already
    /// counts it.
    ///
    /// `out` of [`HeaderFormat::len`] + [`super::MAX_BODY_LEN`] bytes is always enough.
    ///
    /// # Errors
    ///
    /// A buffer that is too small, a field that a receiver would refuse, or [`Packet::DelayProbe`],
    /// which is never sent.
    pub fn encode(
        &self,
        format: HeaderFormat,
        volume: u16,
        out: &mut [u8],
    ) -> Result<usize, WireError> {
        let header_len = format.len();
        let room = out.len() as u64;
        let body = out.get_mut(header_len..).ok_or(no_room(room))?;
        let body_len = self.encode_body(body)?;
        let length = u32::try_from(body_len)
            .ok()
            .and_then(|len| len.checked_add(self.payload_len()))
            .ok_or(no_room(room))?;
        Header {
            command: self.command(),
            volume,
            length,
        }
        .encode(format, out)?;
        Ok(header_len + body_len)
    }

    /// Bytes of block data that belong to the packet.
    pub const fn payload_len(&self) -> u32 {
        match self {
            Self::Data(data) | Self::DataReply(data) | Self::RsDataReply(data) => data.range.bytes,
            _ => 0,
        }
    }

    /// Whether the range that the packet names, if it names one, lies within a volume of `capacity`
    /// sectors.
    ///
    /// Answers are not judged: they are compared with the request that they belong to.
    ///
    /// # Errors
    ///
    /// `sector`, if the range ends behind the volume.
    pub fn check_capacity(&self, capacity: u64) -> Result<(), WireError> {
        let range = match self {
            Self::Data(data) | Self::DataReply(data) | Self::RsDataReply(data) => data.range,
            Self::Trim(write) | Self::Zeroes(write) => write.range,
            Self::DataRequest(request)
            | Self::RsDataRequest(request)
            | Self::RsThinRequest(request)
            | Self::OvRequest(request) => request.range,
            Self::OvReply(reply) | Self::CsumRsRequest(reply) => reply.request.range,
            Self::OutOfSync(range) | Self::RsDeallocated(range) => *range,
            _ => return Ok(()),
        };
        range.check_capacity(self.command().name(), capacity)
    }

    fn encode_body(&self, out: &mut [u8]) -> Result<usize, WireError> {
        let name = self.command().name();
        match self {
            Self::Data(data) | Self::DataReply(data) | Self::RsDataReply(data) => {
                data.encode(name, out)
            }
            Self::Barrier(number) => number.encode(out),
            Self::Bitmap(bytes) | Self::AuthChallenge(bytes) | Self::AuthResponse(bytes) => {
                append(out, 0, bytes)
            }
            Self::UnplugRemote
            | Self::Ping
            | Self::PingAck
            | Self::InitialMeta
            | Self::InitialData => Ok(0),
            Self::DataRequest(request)
            | Self::RsDataRequest(request)
            | Self::RsThinRequest(request)
            | Self::OvRequest(request) => request.encode(name, out),
            Self::Protocol(protocol) | Self::ProtocolUpdate(protocol) => protocol.encode(out),
            Self::Uuids(uuids) => uuids.encode(out),
            Self::Sizes(sizes) => sizes.encode(out),
            Self::State(state) => write(
                &StateRaw {
                    state: U32::new(state.to_word()),
                },
                out,
            ),
            Self::SyncUuid(uuid) => write(
                &SyncUuidRaw {
                    uuid: U64::new(*uuid),
                },
                out,
            ),
            Self::StateChangeRequest(change) | Self::ConnStateChangeRequest(change) => {
                change.encode(out)
            }
            Self::RecvAck(ack)
            | Self::WriteAck(ack)
            | Self::RsWriteAck(ack)
            | Self::Superseded(ack)
            | Self::NegAck(ack)
            | Self::NegDreply(ack)
            | Self::NegRsDreply(ack)
            | Self::RsIsInSync(ack)
            | Self::RsCancel(ack)
            | Self::RetryWrite(ack) => ack.encode(out),
            Self::BarrierAck(ack) => ack.encode(out),
            Self::StateChangeReply(code) | Self::ConnStateChangeReply(code) => write(
                &ReplyRaw {
                    retcode: I32::new(code.0),
                },
                out,
            ),
            Self::OvReply(reply) | Self::CsumRsRequest(reply) => reply.encode(name, out),
            Self::OvResult(result) => result.encode(out),
            Self::SyncParam(param) => param.encode(out),
            Self::CompressedBitmap(chunk) => chunk.encode(out),
            Self::DelayProbe => Err(WireError::new(
                name,
                "command",
                0x27,
                Expected::Text("a packet that may be sent"),
            )),
            Self::OutOfSync(range) | Self::RsDeallocated(range) => encode_desc(name, range, out),
            Self::Trim(trim) => trim.encode(name, DataFlags::DISCARD, out),
            Self::Zeroes(zeroes) => zeroes.encode(name, DataFlags::ZEROES, out),
            Self::ConnectionFeatures(features) => features.encode(out),
        }
    }
}

macro_rules! commands_of_packets {
    ($($variant:ident)*) => {
        impl Packet<'_> {
            /// The command of the packet.
            pub const fn command(&self) -> Command {
                match self {
                    $(Self::$variant { .. } => Command::$variant,)*
                }
            }
        }
    };
}

commands_of_packets! {
    Data DataReply RsDataReply Barrier Bitmap UnplugRemote DataRequest RsDataRequest Protocol Uuids
    Sizes State SyncUuid AuthChallenge AuthResponse StateChangeRequest Ping PingAck RecvAck WriteAck
    RsWriteAck Superseded NegAck NegDreply NegRsDreply BarrierAck StateChangeReply OvRequest OvReply
    OvResult CsumRsRequest RsIsInSync SyncParam CompressedBitmap DelayProbe OutOfSync RsCancel
    ConnStateChangeRequest ConnStateChangeReply RetryWrite ProtocolUpdate Trim RsThinRequest
    RsDeallocated Zeroes InitialMeta InitialData ConnectionFeatures
}

/// Puts `bytes` behind the `fixed` bytes already in `out`; returns the length of both.
pub(super) fn append(out: &mut [u8], fixed: usize, bytes: &[u8]) -> Result<usize, WireError> {
    let room = out.len() as u64;
    let end = fixed.checked_add(bytes.len()).ok_or(no_room(room))?;
    out.get_mut(fixed..end)
        .ok_or(no_room(room))?
        .copy_from_slice(bytes);
    Ok(end)
}

fn decode_reply(packet: &'static str, bytes: &[u8]) -> Result<ReturnCode, WireError> {
    let raw: &ReplyRaw = body(packet, bytes)?;
    Ok(ReturnCode(raw.retcode.get()))
}
