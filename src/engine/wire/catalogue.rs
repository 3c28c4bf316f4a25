// SPDX-License-Identifier: GPL-2.0

//! The catalogue of packets: section 2.5 of the specification as a table.

use super::{Scope, Socket};

/// A row of the catalogue.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    pub(super) code: u16,
    pub(super) name: &'static str,
    /// The socket on which it travels; `None` means either.
    pub(super) socket: Option<Socket>,
    pub(super) scope: Scope,
    pub(super) body: Body,
}

/// How many bytes follow the header (sections 2.4, 2.6 and 10.3).
#[derive(Clone, Copy)]
pub(super) enum Body {
    /// Always as many.
    Exact(u32),
    /// At least the first, at most the second number.
    Between(u32, u32),
    /// A structure of this size, the integrity digest if one is agreed, then block data as
    /// payload.
    BlockData(u32),
    /// A structure of this size and a digest of the verify algorithm.
    VerifyDigest(u32),
    /// A structure of this size and a digest of the checksum algorithm for resync.
    ChecksumDigest(u32),
    /// As long as the agreed features say (section 3.8).
    Sizes,
    /// As long as the digest of the authentication hash (section 3.5).
    AuthResponse,
}

macro_rules! catalogue {
    ($(
        $(#[$doc:meta])*
        $code:literal $variant:ident $name:literal $socket:expr, $scope:ident, $body:expr;
    )*) => {
        /// The packets of the protocol.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Command {
            $($(#[$doc])* $variant,)*
        }

        impl Command {
            /// Every command, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            pub(super) const fn lookup(code: u16) -> Option<Self> {
                match code {
                    $($code => Some(Self::$variant),)*
                    _ => None,
                }
            }

            pub(super) const fn entry(self) -> Entry {
                match self {
                    $(Self::$variant => Entry {
                        code: $code,
                        name: $name,
                        socket: $socket,
                        scope: Scope::$scope,
                        body: $body,
                    },)*
                }
            }
        }
    };
}

use Body::{AuthResponse, Between, BlockData, ChecksumDigest, Exact, Sizes, VerifyDigest};

const D: Option<Socket> = Some(Socket::Data);
const M: Option<Socket> = Some(Socket::Meta);
const ANY: Option<Socket> = None;

catalogue! {
    /// Replicated write.
    0x00 Data "P_DATA" D, Volume, BlockData(24);
    /// Answer to a read request.
    0x01 DataReply "P_DATA_REPLY" D, Volume, BlockData(24);
    /// Answer to a resync request: data to write.
    0x02 RsDataReply "P_RS_DATA_REPLY" D, Volume, BlockData(24);
    /// Closes a write epoch of the connection.
    0x03 Barrier "P_BARRIER" D, Connection, Exact(8);
    /// Plain bitmap chunk; empty at the end of a series.
    0x04 Bitmap "P_BITMAP" D, Volume, Between(0, 4080);
    /// Hint that the sender has nothing more right now.
    0x07 UnplugRemote "P_UNPLUG_REMOTE" D, Volume, Exact(0);
    /// Application read from the peer's disk.
    0x08 DataRequest "P_DATA_REQUEST" D, Volume, Exact(24);
    /// Resync read request.
    0x09 RsDataRequest "P_RS_DATA_REQUEST" D, Volume, Exact(24);
    /// Connection parameters, once per connection.
    0x0B Protocol "P_PROTOCOL" D, Connection, Between(25, 88);
    /// Data generation identifiers.
    0x0C Uuids "P_UUIDS" D, Volume, Exact(48);
    /// Device sizes and limits.
    0x0D Sizes "P_SIZES" D, Volume, Sizes;
    /// State of the volume as the sender sees it.
    0x0E State "P_STATE" D, Volume, Exact(4);
    /// New current UUID for the sync target; starts the resync.
    0x0F SyncUuid "P_SYNC_UUID" D, Volume, Exact(8);
    /// Authentication challenge.
    0x10 AuthChallenge "P_AUTH_CHALLENGE" D, Connection, Between(64, 128);
    /// Authentication response.
    0x11 AuthResponse "P_AUTH_RESPONSE" D, Connection, AuthResponse;
    /// Asks the peer to agree to a state change of one volume.
    0x12 StateChangeRequest "P_STATE_CHG_REQ" D, Volume, Exact(8);
    /// Keep-alive probe.
    0x13 Ping "P_PING" M, Connection, Exact(0);
    /// Answer to a probe.
    0x14 PingAck "P_PING_ACK" M, Connection, Exact(0);
    /// Protocol B: write received.
    0x15 RecvAck "P_RECV_ACK" M, Volume, Exact(24);
    /// Write is on disk.
    0x16 WriteAck "P_WRITE_ACK" M, Volume, Exact(24);
    /// Write is on disk and its blocks are in sync now; also the ack of resync data.
    0x17 RsWriteAck "P_RS_WRITE_ACK" M, Volume, Exact(24);
    /// Write was superseded by a concurrent one.
    0x18 Superseded "P_SUPERSEDED" M, Volume, Exact(24);
    /// Write failed on the peer's disk, or there is none.
    0x19 NegAck "P_NEG_ACK" M, Volume, Exact(24);
    /// A read request cannot be served.
    0x1A NegDreply "P_NEG_DREPLY" M, Volume, Exact(24);
    /// A resync or verify request cannot be served.
    0x1B NegRsDreply "P_NEG_RS_DREPLY" M, Volume, Exact(24);
    /// All writes of an epoch are done.
    0x1C BarrierAck "P_BARRIER_ACK" M, Connection, Exact(8);
    /// Answer to a state-change request.
    0x1D StateChangeReply "P_STATE_CHG_REPLY" M, Volume, Exact(4);
    /// Verify: asks for the digest of a block.
    0x1E OvRequest "P_OV_REQUEST" D, Volume, Exact(24);
    /// Verify: digest of a block.
    0x1F OvReply "P_OV_REPLY" D, Volume, VerifyDigest(24);
    /// Verify: outcome of one block.
    0x20 OvResult "P_OV_RESULT" M, Volume, Exact(24);
    /// Resync request with own checksum.
    0x21 CsumRsRequest "P_CSUM_RS_REQUEST" D, Volume, ChecksumDigest(24);
    /// Checksum equal, nothing to transfer.
    0x22 RsIsInSync "P_RS_IS_IN_SYNC" M, Volume, Exact(24);
    /// Sync parameters.
    0x23 SyncParam "P_SYNC_PARAM89" D, Volume, Exact(148);
    /// Run-length coded bitmap chunk.
    0x24 CompressedBitmap "P_COMPRESSED_BITMAP" D, Volume, Between(2, 4080);
    /// Ignored.
    0x27 DelayProbe "P_DELAY_PROBE" ANY, Volume, Exact(8);
    /// Mark a range out of sync; its data will not be sent.
    0x28 OutOfSync "P_OUT_OF_SYNC" D, Volume, Exact(16);
    /// Resync request dropped because the source went ahead.
    0x29 RsCancel "P_RS_CANCEL" M, Volume, Exact(24);
    /// Connection-wide state-change request.
    0x2A ConnStateChangeRequest "P_CONN_ST_CHG_REQ" D, Connection, Exact(8);
    /// Answer to a connection-wide state-change request.
    0x2B ConnStateChangeReply "P_CONN_ST_CHG_REPLY" M, Connection, Exact(4);
    /// Submit this write again later.
    0x2C RetryWrite "P_RETRY_WRITE" M, Volume, Exact(24);
    /// Connection parameters of an established connection.
    0x2D ProtocolUpdate "P_PROTOCOL_UPDATE" D, Connection, Between(25, 88);
    /// Discard.
    0x31 Trim "P_TRIM" D, Volume, Exact(28);
    /// Resync request that may be answered with "deallocated".
    0x32 RsThinRequest "P_RS_THIN_REQ" D, Volume, Exact(24);
    /// The requested range is all zero; discard it.
    0x33 RsDeallocated "P_RS_DEALLOCATED" D, Volume, Exact(16);
    /// Write zeroes.
    0x36 Zeroes "P_ZEROES" D, Volume, Exact(28);
    /// First packet of the meta stream. Its receiver does not know yet what the socket is for.
    0xFFF1 InitialMeta "P_INITIAL_META" ANY, Connection, Exact(0);
    /// First packet of the data stream. As above.
    0xFFF2 InitialData "P_INITIAL_DATA" ANY, Connection, Exact(0);
    /// Version and feature negotiation.
    0xFFFE ConnectionFeatures "P_CONNECTION_FEATURES" D, Connection, Exact(72);
}
