// SPDX-License-Identifier: GPL-2.0

//! State changes that need the peer's consent (section 7.6).

use core::fmt;

use zerocopy::byteorder::U32;

use super::header::write;
use super::layout::{body, StateChangeRaw};
use super::state::{Field, CONN, DISK, PDSK, PEER, ROLE};
use super::{ConnState, DiskState, Expected, Role, State, WireError};

/// Which fields of a state should get which value; `None` leaves a field alone. Point of view of
/// the node that holds it: [`StateChange::from_peer`] turns the view round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateChange {
    /// Own role.
    pub role: Option<Role>,
    /// The peer's role.
    pub peer: Option<Role>,
    /// Connection and replication.
    pub conn: Option<ConnState>,
    /// Own disk.
    pub disk: Option<DiskState>,
    /// The peer's disk.
    pub pdsk: Option<DiskState>,
}

impl StateChange {
    /// No field.
    pub const NONE: Self = Self {
        role: None,
        peer: None,
        conn: None,
        disk: None,
        pdsk: None,
    };

    /// Become Primary.
    pub const PROMOTE: Self = Self {
        role: Some(Role::Primary),
        ..Self::NONE
    };

    /// Become Primary and declare the own disk current.
    pub const PROMOTE_FORCED: Self = Self {
        disk: Some(DiskState::UpToDate),
        ..Self::PROMOTE
    };

    /// Detach the own disk.
    pub const DETACH: Self = Self {
        disk: Some(DiskState::Failed),
        ..Self::NONE
    };

    /// Full sync with this node as target.
    pub const INVALIDATE: Self = Self {
        conn: Some(ConnState::StartingSyncT),
        ..Self::NONE
    };

    /// Full sync with this node as source.
    pub const INVALIDATE_REMOTE: Self = Self {
        conn: Some(ConnState::StartingSyncS),
        ..Self::NONE
    };

    /// Start an online verify.
    pub const VERIFY: Self = Self {
        conn: Some(ConnState::VerifyS),
        ..Self::NONE
    };

    /// Disconnect gracefully.
    pub const DISCONNECT: Self = Self {
        conn: Some(ConnState::Disconnecting),
        ..Self::NONE
    };

    /// Disconnect, and the peer's disk becomes outdated.
    pub const DISCONNECT_OUTDATE_PEER: Self = Self {
        pdsk: Some(DiskState::Outdated),
        ..Self::DISCONNECT
    };

    /// Disconnect, and the own disk becomes outdated.
    pub const DISCONNECT_OUTDATE_SELF: Self = Self {
        disk: Some(DiskState::Outdated),
        ..Self::DISCONNECT
    };

    /// The state with the change made, without judging it.
    pub fn apply(&self, state: State) -> State {
        State {
            role: self.role.unwrap_or(state.role),
            peer: self.peer.unwrap_or(state.peer),
            conn: self.conn.unwrap_or(state.conn),
            disk: self.disk.unwrap_or(state.disk),
            pdsk: self.pdsk.unwrap_or(state.pdsk),
            ..state
        }
    }

    /// The same change in the view of the other node.
    ///
    /// # Errors
    ///
    /// A connection state that cannot be asked of a peer (not in the list of section 7.6).
    pub fn from_peer(&self) -> Result<Self, WireError> {
        let conn = match self.conn {
            None => None,
            Some(conn) => Some(mirror(conn).ok_or(WireError::new(
                NAME,
                "conn",
                u64::from(conn.number()),
                Expected::Text("a connection state that can be asked for"),
            ))?),
        };
        Ok(Self {
            role: self.peer,
            peer: self.role,
            conn,
            disk: self.pdsk,
            pdsk: self.disk,
        })
    }

    /// Mask and value as on the wire.
    pub fn to_words(&self) -> (u32, u32) {
        let mut mask = 0;
        let mut val = 0;
        let mut put = |field: &Field, number: Option<u32>| {
            if let Some(number) = number {
                mask |= field.mask();
                val |= number << field.shift;
            }
        };
        put(&ROLE, self.role.map(Role::number));
        put(&PEER, self.peer.map(Role::number));
        put(&CONN, self.conn.map(ConnState::number));
        put(&DISK, self.disk.map(DiskState::number));
        put(&PDSK, self.pdsk.map(DiskState::number));
        (mask, val)
    }

    /// The change that mask and value stand for.
    ///
    /// # Errors
    ///
    /// A mask with other bits than those of the five fields or with a part of a field, a value
    /// outside its mask, a number without a name, or a connection state that cannot be asked of
    /// a peer.
    pub fn from_words(mask: u32, val: u32) -> Result<Self, WireError> {
        let fields = ROLE.mask() | PEER.mask() | CONN.mask() | DISK.mask() | PDSK.mask();
        if mask & !fields != 0 {
            let expected = Expected::Text("bits of role, peer, conn, disk and pdsk only");
            return Err(WireError::new(NAME, "mask", u64::from(mask), expected));
        }
        if val & !mask != 0 {
            let expected = Expected::Text("no bit outside the mask");
            return Err(WireError::new(NAME, "val", u64::from(val), expected));
        }
        let change = Self {
            role: masked(&ROLE, mask, val, Role::from_number)?,
            peer: masked(&PEER, mask, val, Role::from_number)?,
            conn: masked(&CONN, mask, val, ConnState::from_number)?,
            disk: masked(&DISK, mask, val, DiskState::from_number)?,
            pdsk: masked(&PDSK, mask, val, DiskState::from_number)?,
        };
        change.from_peer()?;
        Ok(change)
    }

    pub(super) fn decode(packet: &'static str, bytes: &[u8]) -> Result<Self, WireError> {
        let raw: &StateChangeRaw = body(packet, bytes)?;
        Self::from_words(raw.mask.get(), raw.val.get())
            .map_err(|error| WireError { packet, ..error })
    }

    pub(super) fn encode(&self, out: &mut [u8]) -> Result<usize, WireError> {
        let (mask, val) = self.to_words();
        write(
            &StateChangeRaw {
                mask: U32::new(mask),
                val: U32::new(val),
            },
            out,
        )
    }
}

fn masked<T>(
    field: &Field,
    mask: u32,
    val: u32,
    from_number: impl Fn(u32) -> Option<T>,
) -> Result<Option<T>, WireError> {
    match mask & field.mask() {
        0 => Ok(None),
        part if part == field.mask() => field.read(NAME, val, from_number).map(Some),
        _ => {
            let expected = Expected::Text("all bits of a field or none");
            Err(WireError::new(NAME, "mask", u64::from(mask), expected))
        }
    }
}

/// What a connection state that one node asks for means to the other.
const fn mirror(conn: ConnState) -> Option<ConnState> {
    match conn {
        ConnState::WFReportParams => Some(ConnState::WFReportParams),
        ConnState::Connected => Some(ConnState::Connected),
        ConnState::StartingSyncS => Some(ConnState::StartingSyncT),
        ConnState::StartingSyncT => Some(ConnState::StartingSyncS),
        ConnState::Disconnecting => Some(ConnState::TearDown),
        ConnState::VerifyS => Some(ConnState::VerifyT),
        _ => None,
    }
}

const NAME: &str = "P_STATE_CHG_REQ";

/// Outcome of a state change, as replies carry it (section 7.2). Success is 1 and above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReturnCode(pub i32);

macro_rules! return_codes {
    ($($(#[$doc:meta])* $value:literal $name:ident $text:literal;)*) => {
        impl ReturnCode {
            $($(#[$doc])* pub const $name: Self = Self($value);)*

            /// What the code says, for logs and users.
            pub const fn text(self) -> &'static str {
                match self.0 {
                    $($value => $text,)*
                    1.. => "success",
                    _ => "refused for an unknown reason",
                }
            }
        }
    };
}

return_codes! {
    /// The peer need not be asked.
    4 CLUSTER_WIDE_NOT_NEEDED "the peer need not be asked";
    /// Both nodes made the change.
    3 CLUSTER_WIDE_SUCCESS "both nodes made the change";
    /// The state is already as wanted.
    2 NOTHING_TO_DO "nothing to do";
    /// The change was made.
    1 SUCCESS "success";
    /// Failure without a reason.
    0 UNKNOWN_ERROR "failed without a reason";
    /// A second Primary is not allowed.
    -1 TWO_PRIMARIES "the other node is Primary, and two Primaries are not allowed";
    /// No current data within reach.
    -2 NO_UP_TO_DATE_DISK "no UpToDate disk within reach";
    /// A resync needs a local disk.
    -4 NO_LOCAL_DISK "no local disk for the resync";
    /// A resync needs a disk at the peer.
    -5 NO_REMOTE_DISK "no disk at the peer for the resync";
    /// Connected disks cannot be outdated.
    -6 CONNECTED_OUTDATES "a disk cannot be Outdated while connected";
    /// Fencing: the peer must be outdated first.
    -7 PRIMARY_NOP "a Primary may not go on while the peer is not outdated";
    /// Resync or verify is running.
    -8 RESYNC_RUNNING "a resync or verify is already running";
    /// There is no connection to end.
    -9 ALREADY_STANDALONE "already StandAlone";
    /// The peer said no.
    -10 CLUSTER_WIDE_FAILED "refused by the peer";
    /// There is no disk.
    -11 IS_DISKLESS "there is no disk";
    /// The device is open.
    -12 DEVICE_IN_USE "the device is held open";
    /// There is no network configuration.
    -13 NO_NET_CONFIG "no network configuration";
    /// No algorithm for verify.
    -14 NO_VERIFY_ALGORITHM "no verify algorithm is configured";
    /// Only while connected.
    -15 NEED_CONNECTION "needs a connection";
    /// Only a consistent disk can be outdated.
    -16 LOWER_THAN_OUTDATED "the disk is lower than Outdated";
    /// The agreed protocol cannot.
    -17 NOT_SUPPORTED "not supported by the protocol";
    /// Wait and try again.
    -18 IN_TRANSIENT_STATE "in a transient state, retry later";
    /// The other node is changing the state too.
    -19 CONCURRENT_CHANGE "a concurrent state change is under way";
    /// The peer is Primary on another volume.
    -20 OTHER_VOLUME_PEER_PRIMARY "the peer is Primary on another volume";
    /// Outdating the peer needs a connection.
    -21 OUTDATE_NEEDS_CONNECTION "outdating the peer needs a connection";
}

impl ReturnCode {
    /// Whether the change was made.
    pub const fn is_success(self) -> bool {
        self.0 >= 1
    }
}

impl fmt::Display for ReturnCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.text(), self.0)
    }
}
