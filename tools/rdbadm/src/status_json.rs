// SPDX-License-Identifier: GPL-2.0

//! status as JSON (admin-tool.md, section 6.3).

use rdb_netlink::{ConnState, VolumeInfo, attr, names, suspend_flags};
use serde_json::{Value, json};

use crate::status::{Shown, is_syncing, paused};

/// All resources as one JSON array.
pub fn json(shown: &[Shown<'_>]) -> Value {
    Value::Array(shown.iter().map(resource_json).collect())
}

fn resource_json(shown: &Shown<'_>) -> Value {
    let resource = shown.resource;
    let suspended_for = |flag: u32| resource.suspended & flag != 0;
    let connections: Vec<Value> = match resource.local {
        None if resource.connection == ConnState::StandAlone => Vec::new(),
        _ => vec![connection_json(shown)],
    };
    json!({
        "name": resource.name,
        "node-id": shown.node_id,
        "role": names::role(resource.role),
        "suspended": resource.suspended != 0,
        "suspended-user": suspended_for(suspend_flags::USER),
        "suspended-no-data": suspended_for(suspend_flags::NO_DATA),
        "suspended-fencing": suspended_for(suspend_flags::FENCING),
        "suspended-quorum": false,
        "force-io-failures": false,
        "write-ordering": names::write_ordering(resource.write_ordering),
        "devices": shown.volumes.iter().map(|volume| device_json(volume)).collect::<Vec<_>>(),
        "connections": connections,
    })
}

fn device_json(volume: &VolumeInfo) -> Value {
    json!({
        "volume": volume.volume,
        "minor": volume.minor,
        "disk-state": names::disk(volume.disk),
        "client": false,
        "open": volume.open_count > 0,
        "quorum": true,
        "size": volume.capacity / 2,
        "read": volume.counter(attr::DISK_READ),
        "written": volume.counter(attr::DISK_WRITTEN),
        "al-writes": volume.counter(attr::AL_WRITES),
        "bm-writes": volume.counter(attr::BM_WRITES),
        "upper-pending": volume.counter(attr::UPPER_PENDING),
        "lower-pending": volume.counter(attr::LOCAL_PENDING),
    })
}

fn connection_json(shown: &Shown<'_>) -> Value {
    let resource = shown.resource;
    let host = |address: Option<std::net::SocketAddr>| {
        address.map(|address| {
            let family = if address.is_ipv4() { "ipv4" } else { "ipv6" };
            json!({ "address": address.ip().to_string(), "port": address.port(), "family": family })
        })
    };
    json!({
        "peer-node-id": 1 - shown.node_id.min(1),
        "name": shown.peer,
        "connection-state": names::connection(resource.connection),
        "congested": resource.congested,
        "peer-role": names::role(resource.peer_role),
        "tls": false,
        "ap-in-flight": resource.ap_in_flight / 512,
        "rs-in-flight": resource.rs_in_flight / 512,
        "paths": [{
            "this_host": host(resource.local),
            "remote_host": host(resource.peer),
            "established": resource.connection >= ConnState::WfReportParams,
        }],
        "peer_devices": shown.volumes.iter().map(|volume| peer_device_json(volume)).collect::<Vec<_>>(),
    })
}

fn peer_device_json(volume: &VolumeInfo) -> Value {
    let syncing = is_syncing(volume.replication);
    let verifying = matches!(volume.replication, ConnState::VerifyS | ConnState::VerifyT);
    let oos = volume.counter(attr::OUT_OF_SYNC);
    let size = (volume.capacity / 2).max(1);
    // Hundredths of a percent, rounded down, so that 100 means all.
    let in_sync = size.saturating_sub(oos).saturating_mul(10_000) / size;
    let mut object = json!({
        "volume": volume.volume,
        "replication-state": names::replication(volume.replication),
        "peer-disk-state": names::disk(volume.peer_disk),
        "peer-client": false,
        "resync-suspended": paused(volume.sync_paused),
        "received": volume.counter(attr::RECEIVED),
        "sent": volume.counter(attr::SENT),
        "out-of-sync": oos,
        "pending": volume.counter(attr::PEER_PENDING),
        "unacked": volume.counter(attr::UNACKED),
        "has-sync-details": syncing && !verifying,
        "has-online-verify-details": verifying,
        "percent-in-sync": percent(in_sync),
    });
    if let (Some(sync), Some(fields)) = (volume.sync.filter(|_| syncing), object.as_object_mut()) {
        fields.insert("percent-resync-done".into(), percent(sync.done()));
        fields.insert("rs-total".into(), json!(sync.total * 8));
        fields.insert("rs-failed".into(), json!(sync.failed * 8));
        fields.insert("want".into(), json!(sync.want.unwrap_or_default()));
        fields.insert("estimated-seconds-to-finish".into(), json!(sync.eta));
        fields.insert("db-dt [KiB/s]".into(), json!(sync.rate));
        fields.insert(
            "limited-by".into(),
            json!(sync.limit.map(names::sync_limit)),
        );
    }
    object
}

#[allow(clippy::cast_precision_loss, reason = "at most 10000")]
fn percent(hundredths: u64) -> Value {
    json!(hundredths as f64 / 100.0)
}
