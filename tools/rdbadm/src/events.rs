// SPDX-License-Identifier: GPL-2.0

//! events: state and its changes as lines (admin-tool.md, section 7).

use rdb_config::Config;
use rdb_config::resolve::Node;
use rdb_netlink::{
    ConnState, DiskState, Error, Event, EventKind, Message, Object, ResourceInfo, Role, SyncInfo,
    VolumeInfo, attr, names,
};
use serde_json::{Map, Value, json};

use crate::failure::{Failure, Outcome, exit};
use crate::status::{self, peer_name};
use crate::world::World;

/// One line: what happened to which object.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    action: &'static str,
    object: &'static str,
    fields: Vec<(&'static str, Value)>,
}

impl Record {
    fn new(action: &'static str, object: &'static str, resource: &str) -> Self {
        Self {
            action,
            object,
            fields: vec![("name", json!(resource))],
        }
    }

    fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    fn with_some(self, name: &'static str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// The classic line.
    pub fn text(&self) -> String {
        let mut line = format!("{} {}", self.action, self.object);
        for (name, value) in &self.fields {
            match value {
                Value::String(text) => line += &format!(" {name}:{text}"),
                other => line += &format!(" {name}:{other}"),
            }
        }
        line
    }

    /// The same as an object.
    pub fn json(&self) -> Value {
        let mut object = Map::new();
        object.insert("event".into(), json!(self.action));
        object.insert("object".into(), json!(self.object));
        object.extend(
            self.fields
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone())),
        );
        Value::Object(object)
    }
}

/// How to show events.
#[derive(Clone, Debug, Default)]
pub struct How {
    /// As JSON.
    pub json: bool,
    /// Stop behind the first dump.
    pub now: bool,
    /// With counters.
    pub statistics: bool,
    /// With times.
    pub timestamps: bool,
    /// Only these resources; all if empty.
    pub only: Vec<String>,
}

/// Names of the peers, as far as the configuration tells them.
struct Peers<'a> {
    config: Option<&'a Config>,
    node: &'a Node,
}

impl Peers<'_> {
    /// Adds the fields that name the peer.
    fn name(&self, record: Record, resource: &str) -> Record {
        let (peer, own) = peer_name(self.config, self.node, resource);
        record
            .with("peer-node-id", 1 - own.min(1))
            .with("conn-name", peer)
    }

    fn dump(
        &self,
        resources: &[ResourceInfo],
        volumes: &[VolumeInfo],
        statistics: bool,
    ) -> Vec<Record> {
        let mut records = Vec::new();
        for resource in resources {
            let record = Record::new("exists", "resource", &resource.name)
                .with("role", names::role(resource.role))
                .with("suspended", status::suspended(resource.suspended));
            records.push(match statistics {
                true => record.with(
                    "write-ordering",
                    names::write_ordering(resource.write_ordering),
                ),
                false => record,
            });
        }
        for resource in resources.iter().filter(|resource| resource.local.is_some()) {
            let record = Record::new("exists", "connection", &resource.name);
            let record = self
                .name(record, &resource.name)
                .with("connection", names::connection(resource.connection))
                .with("role", names::role(resource.peer_role));
            records.push(match statistics {
                true => record.with("congested", if resource.congested { "yes" } else { "no" }),
                false => record,
            });
        }
        for volume in volumes {
            let record = Record::new("exists", "device", &volume.resource)
                .with("volume", volume.volume)
                .with("minor", volume.minor)
                .with("disk", names::disk(volume.disk));
            let counters = [
                ("size", volume.capacity / 2),
                ("read", volume.counter(attr::DISK_READ)),
                ("written", volume.counter(attr::DISK_WRITTEN)),
                ("al-writes", volume.counter(attr::AL_WRITES)),
                ("bm-writes", volume.counter(attr::BM_WRITES)),
                ("upper-pending", volume.counter(attr::UPPER_PENDING)),
                ("lower-pending", volume.counter(attr::LOCAL_PENDING)),
            ];
            records.push(counted(record, statistics, &counters));
        }
        for volume in volumes {
            let record = Record::new("exists", "peer-device", &volume.resource);
            let record = self
                .name(record, &volume.resource)
                .with("volume", volume.volume)
                .with("replication", names::replication(volume.replication))
                .with("peer-disk", names::disk(volume.peer_disk))
                .with_some("done", volume.sync.map(|sync| done(&sync)))
                .with("resync-suspended", status::paused(volume.sync_paused));
            let counters = [
                ("received", volume.counter(attr::RECEIVED)),
                ("sent", volume.counter(attr::SENT)),
                ("out-of-sync", volume.counter(attr::OUT_OF_SYNC)),
                ("pending", volume.counter(attr::PEER_PENDING)),
                ("unacked", volume.counter(attr::UNACKED)),
            ];
            records.push(counted(record, statistics, &counters));
        }
        records
    }

    /// The lines of an event; several if several objects changed.
    fn event(&self, event: &Event) -> Vec<Record> {
        let action = action(event.kind);
        let name = event.resource.as_str();
        let from = &event.attributes;
        let all = event.kind != EventKind::Change;
        let reason = || from.get_text(attr::REASON);
        match event.object {
            Object::Resource => vec![
                Record::new(action, "resource", name)
                    .with_some(
                        "role",
                        changed::<Role>(from, attr::ROLE, all).map(names::role),
                    )
                    .with_some(
                        "suspended",
                        changed_number(from, attr::SUSPENDED, all).map(status::suspended),
                    )
                    .with_some("reason", reason()),
            ],
            Object::Connection => {
                let record = self.name(Record::new(action, "connection", name), name);
                let state = renamed(from, attr::CONNECTION_STATE, all, names::connection);
                let role = changed::<Role>(from, attr::PEER_ROLE, all).map(names::role);
                if state.is_none() && role.is_none() && !all {
                    return Vec::new();
                }
                vec![
                    record
                        .with_some("connection", state)
                        .with_some("role", role)
                        .with_some("reason", reason()),
                ]
            }
            Object::Volume => self.volume_event(event, action, all),
            Object::Sync => {
                let record = self.name(Record::new(action, "peer-device", name), name);
                let sync = SyncInfo::decode(from);
                vec![
                    record
                        .with_some("volume", from.get_u32(attr::VOLUME))
                        .with_some("done", sync.as_ref().map(done))
                        .with_some("out-of-sync", from.get_u64(attr::OUT_OF_SYNC))
                        .with_some("rate", sync.map(|sync| sync.rate))
                        .with_some("eta", sync.and_then(|sync| sync.eta))
                        .with_some(
                            "limited-by",
                            sync.and_then(|sync| sync.limit).map(names::sync_limit),
                        ),
                ]
            }
            Object::Helper => {
                let record = self.name(Record::new(action, "helper", name), name);
                vec![
                    record
                        .with_some("volume", from.get_u32(attr::VOLUME))
                        .with_some("minor", from.get_u32(attr::MINOR))
                        .with_some("helper", from.get_text(attr::HELPER))
                        .with_some("status", from.get_s32(attr::HELPER_STATUS)),
                ]
            }
        }
    }

    fn volume_event(&self, event: &Event, action: &'static str, all: bool) -> Vec<Record> {
        let name = event.resource.as_str();
        let from = &event.attributes;
        let mut records = Vec::new();
        let disk = changed::<DiskState>(from, attr::DISK_STATE, all);
        if disk.is_some() || all {
            records.push(
                Record::new(action, "device", name)
                    .with_some("volume", from.get_u32(attr::VOLUME))
                    .with_some("minor", from.get_u32(attr::MINOR))
                    .with_some("disk", disk.map(names::disk))
                    .with_some("reason", from.get_text(attr::REASON)),
            );
        }
        let replication = renamed(from, attr::REPLICATION_STATE, all, names::replication);
        let peer_disk = changed::<DiskState>(from, attr::PEER_DISK_STATE, all);
        let paused = changed_number(from, attr::SYNC_PAUSED, all);
        if replication.is_some() || peer_disk.is_some() || paused.is_some() || all {
            let record = self.name(Record::new(action, "peer-device", name), name);
            records.push(
                record
                    .with_some("volume", from.get_u32(attr::VOLUME))
                    .with_some("replication", replication)
                    .with_some("peer-disk", peer_disk.map(names::disk))
                    .with_some("resync-suspended", paused.map(status::paused))
                    .with_some("reason", from.get_text(attr::REASON)),
            );
        }
        records
    }
}

fn counted(record: Record, wanted: bool, counters: &[(&'static str, u64)]) -> Record {
    match wanted {
        true => counters
            .iter()
            .fold(record, |record, (name, value)| record.with(name, *value)),
        false => record,
    }
}

fn done(sync: &SyncInfo) -> String {
    format!("{}.{:02}", sync.done() / 100, sync.done() % 100)
}

/// The old value of a state has the number behind it.
fn changed<T: TryFrom<u32>>(from: &Message, number: u16, all: bool) -> Option<T> {
    if all || from.has(number + 1) {
        from.get_enum(number)
    } else {
        None
    }
}

/// A state under the name that it has in events, unless the name stayed the same.
fn renamed(
    from: &Message,
    number: u16,
    all: bool,
    name: impl Fn(ConnState) -> &'static str,
) -> Option<&'static str> {
    let new = name(changed::<ConnState>(from, number, all)?);
    let old = from.get_enum::<ConnState>(number + 1).map(name);
    (all || old != Some(new)).then_some(new)
}

fn changed_number(from: &Message, number: u16, all: bool) -> Option<u32> {
    if all || from.has(number + 1) {
        from.get_u32(number)
    } else {
        None
    }
}

fn action(kind: EventKind) -> &'static str {
    kind.name()
}

/// Prints the present state, then changes until the module goes away or nobody reads any more.
pub fn follow(world: &World, config: Option<&Config>, how: &How) -> Outcome {
    let cannot = |error: Error| Failure::new(exit::CANNOT, error.to_string());
    let peers = Peers {
        config,
        node: &world.node,
    };
    let wanted = |name: &str| how.only.is_empty() || how.only.iter().any(|only| only == name);
    let print = |record: &Record| -> Outcome {
        let time = if how.timestamps {
            timestamp()
        } else {
            String::new()
        };
        match how.json {
            true => world.say(&record.json().to_string()),
            false => world.say(&format!("{time}{}", record.text())),
        }
    };
    let kernel = world.kernel().map_err(cannot)?;
    let mut stream = kernel.subscribe().map_err(cannot)?;
    let mut last = 0;
    loop {
        let mut resources = kernel.resources().map_err(cannot)?;
        let mut volumes = kernel.volumes().map_err(cannot)?;
        resources.retain(|resource| wanted(&resource.name));
        volumes.retain(|volume| wanted(&volume.resource));
        for record in peers.dump(&resources, &volumes, how.statistics) {
            print(&record)?;
        }
        match how.json {
            true => world.say(&json!({ "event": "exists", "object": "-" }).to_string())?,
            false if how.timestamps => world.say(&format!("{}exists -", timestamp()))?,
            false => world.say("exists -")?,
        }
        if how.now {
            return Ok(());
        }
        loop {
            let event = match stream.next(None) {
                Ok(Some(event)) => event,
                Ok(None) => continue,
                // What was lost cannot be told; the state can.
                Err(Error::Lost) => break,
                Err(Error::NoModule) => return Ok(()),
                Err(error) => return Err(cannot(error)),
            };
            if last != 0 && event.sequence > last + 1 && !how.json {
                world.say(&format!("- skipped {}", event.sequence - last - 1))?;
            }
            last = event.sequence.max(last);
            if wanted(&event.resource) {
                peers.event(&event).iter().try_for_each(print)?;
            }
        }
    }
}

/// `YYYY-MM-DDThh:mm:ss.uuuuuu+00:00 ` in UTC.
fn timestamp() -> String {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    let (days, rest) = (now.as_secs() / 86400, now.as_secs() % 86400);
    let (year, month, day) = civil(days);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:06}+00:00 ",
        rest / 3600,
        rest / 60 % 60,
        rest % 60,
        now.subsec_micros()
    )
}

/// Date of a day since 1970-01-01: eras of 400 years, years that begin in March.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let of_era = shifted % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdb_netlink::cmd;

    #[test]
    fn dates() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(19_782), (2024, 2, 29));
        assert_eq!(civil(20_779), (2026, 11, 22));
    }

    fn lines(message: Message) -> Vec<String> {
        let node = Node::default();
        let peers = Peers {
            config: None,
            node: &node,
        };
        let event = Event::decode(message).expect("an event");
        peers.event(&event).iter().map(Record::text).collect()
    }

    #[test]
    fn only_what_changed_is_shown() {
        let message = Message::new(cmd::VOLUME_EVENT)
            .u32(attr::EVENT_KIND, 2)
            .text(attr::RESOURCE_NAME, "r0")
            .u32(attr::VOLUME, 0)
            .u32(attr::MINOR, 3)
            .u32(attr::REPLICATION_STATE, 16)
            .u32(attr::OLD_REPLICATION_STATE, 13)
            .u32(attr::DISK_STATE, 8)
            .u32(attr::PEER_DISK_STATE, 4);
        assert_eq!(
            lines(message),
            [
                "change peer-device name:r0 peer-node-id:1 conn-name:peer volume:0 replication:SyncSource"
            ]
        );
    }

    #[test]
    fn helpers_and_ends() {
        let message = Message::new(cmd::HELPER_EVENT)
            .u32(attr::EVENT_KIND, 5)
            .text(attr::RESOURCE_NAME, "r0")
            .text(attr::HELPER, "fence-peer")
            .s32(attr::HELPER_STATUS, 4);
        assert_eq!(
            lines(message),
            ["response helper name:r0 peer-node-id:1 conn-name:peer helper:fence-peer status:4"]
        );
        let message = Message::new(cmd::RESOURCE_EVENT)
            .u32(attr::EVENT_KIND, 3)
            .text(attr::RESOURCE_NAME, "r0");
        assert_eq!(lines(message), ["destroy resource name:r0"]);
    }
}
