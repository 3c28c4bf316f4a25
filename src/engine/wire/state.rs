// SPDX-License-Identifier: GPL-2.0

//! Roles, connection and disk states, and the state word that carries them (sections 7.1 and 7.2).

use super::{Expected, WireError};

wire_enum! {
    /// Role of a node for a resource.
    pub enum Role {
        /// Not known (of a peer that is not connected).
        0 Unknown;
        /// May be written by applications.
        1 Primary;
        /// Receives writes only.
        2 Secondary;
    }
}

wire_enum! {
    /// State of a disk. The order counts: the protocol compares the numbers.
    pub enum DiskState {
        /// No disk.
        0 Diskless;
        /// Reading metadata.
        1 Attaching;
        /// On the way to `Diskless` after an error or a detach.
        2 Failed;
        /// Attached while connected; the peer's opinion is awaited.
        3 Negotiating;
        /// Parts are newer or older than others.
        4 Inconsistent;
        /// Consistent, but the peer has newer data.
        5 Outdated;
        /// Of a peer's disk only: not known.
        6 DUnknown;
        /// Consistent; not known whether outdated.
        7 Consistent;
        /// Consistent and current.
        8 UpToDate;
    }
}

wire_enum! {
    /// State of connection and replication of a volume. The order counts: the protocol compares
    /// the numbers.
    pub enum ConnState {
        /// No network configuration active.
        0 StandAlone;
        /// On the way to `StandAlone`.
        1 Disconnecting;
        /// Between a failure and the next attempt.
        2 Unconnected;
        /// Failed: no answer in time.
        3 Timeout;
        /// Failed: stream closed or broken on the data socket.
        4 BrokenPipe;
        /// Failed: stream broken on the meta socket, or no answer to a ping.
        5 NetworkFailure;
        /// Failed: the peer broke the protocol.
        6 ProtocolError;
        /// The peer disconnected gracefully.
        7 TearDown;
        /// Trying to connect.
        8 WFConnection;
        /// Sockets exist; handshake of the volume not finished.
        9 WFReportParams;
        /// The normal state.
        10 Connected;
        /// Full sync asked for, this node source.
        11 StartingSyncS;
        /// Full sync asked for, this node target.
        12 StartingSyncT;
        /// Bitmap exchange, becoming source.
        13 WFBitMapS;
        /// Bitmap exchange, becoming target.
        14 WFBitMapT;
        /// Waiting for `P_SYNC_UUID`.
        15 WFSyncUUID;
        /// Source of a running resync.
        16 SyncSource;
        /// Target of a running resync.
        17 SyncTarget;
        /// Asks for digests in an online verify.
        18 VerifyS;
        /// Answers with digests in an online verify.
        19 VerifyT;
        /// Source of a paused resync.
        20 PausedSyncS;
        /// Target of a paused resync.
        21 PausedSyncT;
        /// Congested: sends out-of-sync notices instead of data.
        22 Ahead;
        /// The peer is ahead.
        23 Behind;
    }
}

/// State of a volume as one node sees it: content of `P_STATE`, and of the peer's copy of it.
///
/// Everything is from the point of view of the node whose state it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// Own role.
    pub role: Role,
    /// The peer's role.
    pub peer: Role,
    /// Connection and replication.
    pub conn: ConnState,
    /// Own disk.
    pub disk: DiskState,
    /// The peer's disk.
    pub pdsk: DiskState,
    /// I/O suspended by the administrator.
    pub susp: bool,
    /// Resync paused because of a dependency on this node.
    pub aftr_isp: bool,
    /// Resync paused by the peer.
    pub peer_isp: bool,
    /// Resync paused by the administrator of this node.
    pub user_isp: bool,
    /// I/O suspended: no usable data.
    pub susp_nod: bool,
    /// I/O suspended: fence handler running.
    pub susp_fen: bool,
}

impl State {
    /// A volume that exists and has neither disk nor connection.
    pub const INITIAL: Self = Self {
        role: Role::Secondary,
        peer: Role::Unknown,
        conn: ConnState::StandAlone,
        disk: DiskState::Diskless,
        pdsk: DiskState::DUnknown,
        susp: false,
        aftr_isp: false,
        peer_isp: false,
        user_isp: false,
        susp_nod: false,
        susp_fen: false,
    };

    /// The state word (section 7.1).
    pub const fn to_word(self) -> u32 {
        let numbers = (self.role.number() << ROLE.shift)
            | (self.peer.number() << PEER.shift)
            | (self.conn.number() << CONN.shift)
            | (self.disk.number() << DISK.shift)
            | (self.pdsk.number() << PDSK.shift);
        let flags = ((self.susp as u32) << 17)
            | ((self.aftr_isp as u32) << 18)
            | ((self.peer_isp as u32) << 19)
            | ((self.user_isp as u32) << 20)
            | ((self.susp_nod as u32) << 21)
            | ((self.susp_fen as u32) << 22);
        numbers | flags
    }

    /// The state that `word` stands for. Bits 23 to 31 are ignored.
    ///
    /// # Errors
    ///
    /// A role, connection or disk state whose number has no name.
    pub fn from_word(word: u32) -> Result<Self, WireError> {
        let flag = |bit: u32| word & (1 << bit) != 0;
        Ok(Self {
            role: ROLE.read(NAME, word, Role::from_number)?,
            peer: PEER.read(NAME, word, Role::from_number)?,
            conn: CONN.read(NAME, word, ConnState::from_number)?,
            disk: DISK.read(NAME, word, DiskState::from_number)?,
            pdsk: PDSK.read(NAME, word, DiskState::from_number)?,
            susp: flag(17),
            aftr_isp: flag(18),
            peer_isp: flag(19),
            user_isp: flag(20),
            susp_nod: flag(21),
            susp_fen: flag(22),
        })
    }

    /// Whether I/O is suspended for any reason.
    pub const fn is_suspended(&self) -> bool {
        self.susp || self.susp_nod || self.susp_fen
    }

    /// Whether a resync is paused for any reason (section 5.11).
    pub const fn is_sync_paused(&self) -> bool {
        self.aftr_isp || self.peer_isp || self.user_isp
    }
}

const NAME: &str = "P_STATE";

/// Place of a number in the state word.
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) shift: u32,
    /// All ones: the field's mask, before shifting.
    pub(super) ones: u32,
    /// Highest number with a meaning.
    highest: u32,
}

pub(super) const ROLE: Field = Field {
    name: "role",
    shift: 0,
    ones: 0x3,
    highest: 2,
};
pub(super) const PEER: Field = Field {
    name: "peer",
    shift: 2,
    ones: 0x3,
    highest: 2,
};
pub(super) const CONN: Field = Field {
    name: "conn",
    shift: 4,
    ones: 0x1F,
    highest: 23,
};
pub(super) const DISK: Field = Field {
    name: "disk",
    shift: 9,
    ones: 0xF,
    highest: 8,
};
pub(super) const PDSK: Field = Field {
    name: "pdsk",
    shift: 13,
    ones: 0xF,
    highest: 8,
};

impl Field {
    pub(super) const fn mask(&self) -> u32 {
        self.ones << self.shift
    }

    pub(super) fn read<T>(
        &self,
        packet: &'static str,
        word: u32,
        from_number: impl Fn(u32) -> Option<T>,
    ) -> Result<T, WireError> {
        let number = (word >> self.shift) & self.ones;
        from_number(number).ok_or(WireError::new(
            packet,
            self.name,
            u64::from(number),
            Expected::AtMost(u64::from(self.highest)),
        ))
    }
}
