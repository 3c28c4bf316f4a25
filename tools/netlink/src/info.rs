// SPDX-License-Identifier: GPL-2.0

//! State as the module reports it, with types.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use rdb_engine::netlink::{ConnState, DiskState, Role, SyncLimit, WriteOrdering, attr};
use rdb_engine::options::{Form, OPTIONS};

use crate::{Error, Message, Result};

/// Versions of the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModuleInfo {
    /// Version of the module.
    pub version: String,
    /// Version of the family.
    pub api: u32,
    /// Lowest and highest wire protocol version.
    pub protocols: (u32, u32),
}

impl ModuleInfo {
    pub(crate) fn decode(message: &Message) -> Self {
        let number = |number| message.get_u32(number).unwrap_or_default();
        Self {
            version: message.get_text(attr::MODULE_VERSION).unwrap_or_default(),
            api: number(attr::API_VERSION),
            protocols: (number(attr::PROTOCOL_MIN), number(attr::PROTOCOL_MAX)),
        }
    }
}

/// Value of an option that is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OptionValue {
    /// A number, a switch (0, 1) or the number of a choice.
    Number(i64),
    /// A text.
    Text(String),
}

/// The options that a message carries, by attribute.
fn options(message: &Message) -> BTreeMap<u16, OptionValue> {
    let carried = OPTIONS
        .iter()
        .filter(|option| option.attr != 0)
        .filter_map(|option| {
            let number = option.attr;
            let value = match option.form {
                Form::Text { .. } => OptionValue::Text(message.get_text(number)?),
                Form::Volume => OptionValue::Number(message.get_s32(number)?.into()),
                _ if number == attr::SIZE => {
                    OptionValue::Number(i64::try_from(message.get_u64(number)?).ok()?)
                }
                _ => OptionValue::Number(message.get_u32(number)?.into()),
            };
            Some((number, value))
        });
    carried.collect()
}

fn address(message: &Message, ip: u16, port: u16) -> Option<SocketAddr> {
    let bytes = message.get(ip)?;
    let ip: IpAddr = match bytes.len() {
        4 => IpAddr::from(*bytes.first_chunk::<4>()?),
        16 => IpAddr::from(*bytes.first_chunk::<16>()?),
        _ => return None,
    };
    Some(SocketAddr::new(ip, message.get_u16(port)?))
}

/// A resource and its connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceInfo {
    /// Name.
    pub name: String,
    /// Role: Primary if any volume is.
    pub role: Role,
    /// Why application I/O is frozen, [`crate::suspend_flags`].
    pub suspended: u32,
    /// How write order is kept.
    pub write_ordering: WriteOrdering,
    /// State of the connection.
    pub connection: ConnState,
    /// Role of the peer.
    pub peer_role: Role,
    /// Agreed wire protocol version, 0 while not connected.
    pub agreed_protocol: u32,
    /// The send buffer is full.
    pub congested: bool,
    /// Bytes of application data on the way to the peer.
    pub ap_in_flight: u64,
    /// Bytes of resync data on the way to the peer.
    pub rs_in_flight: u64,
    /// Own address, while a connection is configured.
    pub local: Option<SocketAddr>,
    /// Address of the peer, while a connection is configured.
    pub peer: Option<SocketAddr>,
    /// Resource and net options in force.
    pub options: BTreeMap<u16, OptionValue>,
}

impl ResourceInfo {
    pub(crate) fn decode(message: &Message) -> Result<Self> {
        let name = message.get_text(attr::RESOURCE_NAME);
        let name = name.ok_or_else(|| Error::Malformed("resource without a name".into()))?;
        Ok(Self {
            name,
            role: message.get_enum(attr::ROLE).unwrap_or(Role::Unknown),
            suspended: message.get_u32(attr::SUSPENDED).unwrap_or_default(),
            write_ordering: message
                .get_enum(attr::WRITE_ORDERING)
                .unwrap_or(WriteOrdering::None),
            connection: message
                .get_enum(attr::CONNECTION_STATE)
                .unwrap_or(ConnState::StandAlone),
            peer_role: message.get_enum(attr::PEER_ROLE).unwrap_or(Role::Unknown),
            agreed_protocol: message.get_u32(attr::AGREED_PROTOCOL).unwrap_or_default(),
            congested: message
                .get_u32(attr::CONGESTED)
                .is_some_and(|value| value != 0),
            ap_in_flight: message.get_u64(attr::AP_IN_FLIGHT).unwrap_or_default(),
            rs_in_flight: message.get_u64(attr::RS_IN_FLIGHT).unwrap_or_default(),
            local: address(message, attr::LOCAL_ADDR, attr::LOCAL_PORT),
            peer: address(message, attr::PEER_ADDR, attr::PEER_PORT),
            options: options(message),
        })
    }
}

/// Progress of a resync or verify. Blocks are of 4 KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SyncInfo {
    /// Blocks that the run began with.
    pub total: u64,
    /// Blocks still to do.
    pub left: u64,
    /// Blocks that failed.
    pub failed: u64,
    /// Speed of late, KiB/s.
    pub rate: u64,
    /// Speed since the start, KiB/s.
    pub average: u64,
    /// Speed that the controller asks for, KiB/s.
    pub want: Option<u64>,
    /// Seconds to the end; `None` when it cannot be told.
    pub eta: Option<u32>,
    /// What the speed is given by.
    pub limit: Option<SyncLimit>,
}

impl SyncInfo {
    /// Progress, if the message carries one.
    pub fn decode(message: &Message) -> Option<Self> {
        Some(Self {
            total: message.get_u64(attr::SYNC_TOTAL)?,
            left: message.get_u64(attr::SYNC_LEFT)?,
            failed: message.get_u64(attr::SYNC_FAILED).unwrap_or_default(),
            rate: message.get_u64(attr::SYNC_RATE).unwrap_or_default(),
            average: message.get_u64(attr::SYNC_AVERAGE).unwrap_or_default(),
            want: message.get_u64(attr::SYNC_WANT),
            eta: message.get_u32(attr::SYNC_ETA),
            limit: message.get_enum(attr::SYNC_LIMIT),
        })
    }

    /// Part that is done, in hundredths of a percent: 0 to 10000.
    pub fn done(&self) -> u64 {
        let done = self.total.saturating_sub(self.left);
        let share = u128::from(done) * 10_000 / u128::from(self.total.max(1));
        if self.total == 0 {
            10_000
        } else {
            u64::try_from(share).unwrap_or(10_000)
        }
    }
}

/// A volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeInfo {
    /// Name of its resource.
    pub resource: String,
    /// Number.
    pub volume: u16,
    /// Minor number of its device.
    pub minor: u32,
    /// Own role.
    pub role: Role,
    /// Role of the peer.
    pub peer_role: Role,
    /// State of the replication.
    pub replication: ConnState,
    /// State of the own disk.
    pub disk: DiskState,
    /// State of the disk of the peer.
    pub peer_disk: DiskState,
    /// Why application I/O is frozen, [`crate::suspend_flags`].
    pub suspended: u32,
    /// Why the resync is paused, [`crate::pause_flags`].
    pub sync_paused: u32,
    /// Why new application I/O waits, [`crate::blocked_flags`].
    pub upper_blocked: u32,
    /// The activity log is not being written.
    pub al_suspended: bool,
    /// This node was primary and alone before it went down.
    pub degraded_before: bool,
    /// Exported size in sectors.
    pub capacity: u64,
    /// How often the device is open.
    pub open_count: u32,
    /// Generation flags, [`crate::md_flags`], while a disk is attached.
    pub flags: u32,
    /// Data generation: current, bitmap, history, history; while a disk is attached.
    pub uuids: Option<[u64; 4]>,
    /// Path of the lower disk, while one is attached.
    pub lower_disk: Option<String>,
    /// Path of the metadata device, while a disk is attached.
    pub meta_disk: Option<String>,
    /// Kind of the metadata, while a disk is attached.
    pub meta_index: Option<i32>,
    /// Counters by attribute, [`attr::SENT`] to [`attr::OUT_OF_SYNC`].
    pub counters: BTreeMap<u16, u64>,
    /// Progress of a resync or verify.
    pub sync: Option<SyncInfo>,
    /// Disk options in force.
    pub options: BTreeMap<u16, OptionValue>,
}

impl VolumeInfo {
    pub(crate) fn decode(message: &Message) -> Result<Self> {
        let missing = |what: &str| Error::Malformed(format!("volume without {what}"));
        let number = |number| message.get_u32(number).unwrap_or_default();
        let uuid = |number| message.get_u64(number).unwrap_or_default();
        let uuids = message.get_u64(attr::CURRENT_UUID).map(|current| {
            [
                current,
                uuid(attr::BITMAP_UUID),
                uuid(attr::HISTORY_UUID_0),
                uuid(attr::HISTORY_UUID_1),
            ]
        });
        let counters = (attr::SENT..=attr::OUT_OF_SYNC).filter_map(|number| {
            let wide = message.get_u64(number);
            let value = wide.or_else(|| message.get_u32(number).map(u64::from))?;
            Some((number, value))
        });
        Ok(Self {
            resource: message
                .get_text(attr::RESOURCE_NAME)
                .ok_or_else(|| missing("resource"))?,
            volume: message
                .get_u32(attr::VOLUME)
                .and_then(|volume| u16::try_from(volume).ok())
                .ok_or_else(|| missing("number"))?,
            minor: message
                .get_u32(attr::MINOR)
                .ok_or_else(|| missing("minor"))?,
            role: message.get_enum(attr::ROLE).unwrap_or(Role::Unknown),
            peer_role: message.get_enum(attr::PEER_ROLE).unwrap_or(Role::Unknown),
            replication: message
                .get_enum(attr::REPLICATION_STATE)
                .unwrap_or(ConnState::StandAlone),
            disk: message
                .get_enum(attr::DISK_STATE)
                .unwrap_or(DiskState::Diskless),
            peer_disk: message
                .get_enum(attr::PEER_DISK_STATE)
                .unwrap_or(DiskState::DUnknown),
            suspended: number(attr::SUSPENDED),
            sync_paused: number(attr::SYNC_PAUSED),
            upper_blocked: number(attr::UPPER_BLOCKED),
            al_suspended: number(attr::AL_SUSPENDED) != 0,
            degraded_before: number(attr::DEGRADED_BEFORE) != 0,
            capacity: message.get_u64(attr::CAPACITY).unwrap_or_default(),
            open_count: number(attr::OPEN_COUNT),
            flags: number(attr::DEVICE_FLAGS),
            uuids,
            lower_disk: message.get_text(attr::LOWER_DISK),
            meta_disk: message.get_text(attr::META_DISK),
            meta_index: message.get_s32(attr::META_INDEX),
            counters: counters.collect(),
            sync: SyncInfo::decode(message),
            options: options(message),
        })
    }

    /// A counter, 0 if the module does not report it.
    pub fn counter(&self, number: u16) -> u64 {
        self.counters.get(&number).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdb_engine::netlink::cmd;

    #[test]
    fn resource() {
        let message = Message::new(cmd::RESOURCE_GET)
            .text(attr::RESOURCE_NAME, "r0")
            .u32(attr::ROLE, 1)
            .u32(attr::CONNECTION_STATE, 9)
            .bytes(attr::LOCAL_ADDR, &[10, 0, 0, 1])
            .u16(attr::LOCAL_PORT, 7789)
            .u32(attr::TIMEOUT, 60)
            .text(attr::VERIFY_ALG, "crc32c");
        let found = ResourceInfo::decode(&message).unwrap();
        assert_eq!(
            (found.role, found.connection),
            (Role::Primary, ConnState::WfReportParams)
        );
        assert_eq!(found.local, Some("10.0.0.1:7789".parse().unwrap()));
        assert_eq!(found.peer, None);
        assert_eq!(
            found.options.get(&attr::TIMEOUT),
            Some(&OptionValue::Number(60))
        );
        assert_eq!(
            found.options.get(&attr::VERIFY_ALG),
            Some(&OptionValue::Text("crc32c".into()))
        );
        assert!(ResourceInfo::decode(&Message::new(cmd::RESOURCE_GET)).is_err());
    }

    #[test]
    fn volume() {
        let message = Message::new(cmd::VOLUME_GET)
            .text(attr::RESOURCE_NAME, "r0")
            .u32(attr::VOLUME, 2)
            .u32(attr::MINOR, 5)
            .u32(attr::DISK_STATE, 8)
            .u64(attr::CURRENT_UUID, 4)
            .u64(attr::SENT, 17)
            .u32(attr::EPOCHS, 1)
            .u64(attr::SYNC_TOTAL, 3)
            .u64(attr::SYNC_LEFT, 1);
        let found = VolumeInfo::decode(&message).unwrap();
        assert_eq!(
            (found.volume, found.minor, found.disk),
            (2, 5, DiskState::UpToDate)
        );
        assert_eq!(found.uuids, Some([4, 0, 0, 0]));
        assert_eq!(
            (found.counter(attr::SENT), found.counter(attr::EPOCHS)),
            (17, 1)
        );
        assert_eq!(found.sync.map(|sync| sync.done()), Some(6666));
        assert_eq!(found.lower_disk, None);
    }
}
