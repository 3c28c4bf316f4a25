// SPDX-License-Identifier: GPL-2.0

//! What users and programs read: role, cstate, dstate, status, events, waiting, the sh- commands.

mod common;

use common::{Bench, resource, volume};
use rdb_netlink::{ConnState, DiskState, Message, Role, SyncInfo, SyncLimit, attr, cmd};

fn bench() -> Bench {
    let bench = Bench::usual();
    bench.state.borrow_mut().resources = vec![resource("r0")];
    bench.state.borrow_mut().volumes = vec![volume("r0", 0, 0)];
    bench
}

fn syncing() -> Bench {
    let bench = bench();
    {
        let mut state = bench.state.borrow_mut();
        let volume = &mut state.volumes[0];
        volume.replication = ConnState::SyncSource;
        volume.peer_disk = DiskState::Inconsistent;
        volume.counters.insert(attr::OUT_OF_SYNC, 3000);
        volume.sync = Some(SyncInfo {
            total: 1000,
            left: 750,
            rate: 500,
            average: 400,
            eta: Some(6),
            limit: Some(SyncLimit::SyncTarget),
            ..SyncInfo::default()
        });
    }
    bench
}

#[test]
fn classic_one_liners() {
    let bench = syncing();
    assert_eq!(bench.run("role r0").out, "Primary/Secondary\n");
    assert_eq!(bench.run("state r0").out, "Primary/Secondary\n");
    assert_eq!(bench.run("cstate r0").out, "SyncSource\n");
    assert_eq!(bench.run("dstate all").out, "UpToDate/Inconsistent\n");
}

#[test]
fn status_when_all_is_well() {
    insta::assert_snapshot!(bench().run("status").out, @r"
    r0 role:Primary
      disk:UpToDate
      south role:Secondary
        replication:Established peer-disk:UpToDate
    ");
}

#[test]
fn status_of_a_resync() {
    insta::assert_snapshot!(syncing().run("status r0").out, @r"
    r0 role:Primary
      disk:UpToDate
      south role:Secondary
        replication:SyncSource peer-disk:Inconsistent done:25.00 rate:500KiB/s left:0:00:06 limited-by:sync-target
    ");
}

#[test]
fn status_disconnected_and_frozen() {
    let bench = bench();
    {
        let mut state = bench.state.borrow_mut();
        state.resources[0].connection = ConnState::WfConnection;
        state.resources[0].peer_role = Role::Unknown;
        state.resources[0].suspended = 5;
        state.volumes.push(volume("r0", 3, 7));
    }
    insta::assert_snapshot!(bench.run("status").out, @r"
    r0 role:Primary suspended:user,fencing
      volume:0 disk:UpToDate
      volume:3 disk:UpToDate
      south connection:Connecting
    ");
}

#[test]
fn status_with_everything() {
    insta::assert_snapshot!(bench().run("status --verbose --statistics").out, @r"
    r0 role:Primary suspended:no
        write-ordering:flush
      volume:0 minor:0 disk:UpToDate
          size:4000 read:7 written:9 al-writes:0 bm-writes:0 upper-pending:0 lower-pending:0 al-suspended:no blocked:no
      south connection:Connected role:Secondary congested:no
        volume:0 replication:Established peer-disk:UpToDate resync-suspended:no
            received:0 sent:9 out-of-sync:0 pending:0 unacked:0
    ");
}

#[test]
fn status_is_coloured_on_demand_only() {
    let plain = bench().run("status").out;
    assert!(!plain.contains('\u{1b}'));
    let coloured = bench().run("status --color=always").out;
    assert!(
        coloured.contains("disk:\u{1b}[32mUpToDate\u{1b}[0m"),
        "{coloured:?}"
    );
    let terminal = bench()
        .run_with("status", |world| world.terminal.colour = true)
        .out;
    assert!(terminal.contains('\u{1b}'));
    assert!(
        !bench()
            .run_with("status --color=never", |world| world.terminal.colour = true)
            .out
            .contains('\u{1b}')
    );
}

#[test]
fn long_lines_wrap_on_a_terminal() {
    let out = bench()
        .run_with("status --verbose --statistics --color=never", |world| {
            world.terminal.output = true;
            world.terminal.width = 60;
        })
        .out;
    assert!(out.lines().all(|line| line.len() <= 60), "{out}");
}

#[test]
fn status_as_json() {
    let run = syncing().run("status --json");
    let value: serde_json::Value = serde_json::from_str(&run.out).expect("JSON");
    assert_eq!(value[0]["name"], "r0");
    assert_eq!(value[0]["node-id"], 0);
    assert_eq!(value[0]["devices"][0]["disk-state"], "UpToDate");
    assert_eq!(value[0]["devices"][0]["size"], 4000);
    assert_eq!(value[0]["connections"][0]["name"], "south");
    assert_eq!(
        value[0]["connections"][0]["paths"][0]["remote_host"]["port"],
        7789
    );
    let peer = &value[0]["connections"][0]["peer_devices"][0];
    assert_eq!(peer["replication-state"], "SyncSource");
    assert_eq!(peer["percent-in-sync"], 25.0);
    assert_eq!(peer["percent-resync-done"], 25.0);
    assert_eq!(peer["limited-by"], "sync-target");
    assert_eq!(peer["estimated-seconds-to-finish"], 6);
    assert_eq!(peer["rs-total"], 8000);
}

#[test]
fn status_of_unknown_resources_and_of_nothing() {
    let run = bench().run("status r1");
    assert_eq!((run.code, run.err.as_str()), (10, "r1: No such resource\n"));
    let run = Bench::usual().run("status");
    assert_eq!((run.code, run.out.as_str()), (0, ""));
    assert_eq!(Bench::usual().run("status --json").out, "[]\n");
}

fn volume_event(replication: ConnState, old: ConnState) -> Message {
    Message::new(cmd::VOLUME_EVENT)
        .u32(attr::EVENT_KIND, 2)
        .text(attr::RESOURCE_NAME, "r0")
        .u32(attr::VOLUME, 0)
        .u32(attr::MINOR, 0)
        .u32(attr::REPLICATION_STATE, replication as u32)
        .u32(attr::OLD_REPLICATION_STATE, old as u32)
        .u32(attr::DISK_STATE, DiskState::UpToDate as u32)
        .u32(attr::PEER_DISK_STATE, DiskState::UpToDate as u32)
}

#[test]
fn events_begin_with_the_present_state() {
    let bench = bench();
    let connected = Message::new(cmd::CONNECTION_EVENT)
        .u32(attr::EVENT_KIND, 2)
        .u64(attr::EVENT_SEQ, 7)
        .text(attr::RESOURCE_NAME, "r0")
        .u32(attr::CONNECTION_STATE, 8)
        .u32(attr::OLD_CONNECTION_STATE, 5)
        .text(attr::REASON, "link lost");
    bench.state.borrow_mut().events.push_back(connected);
    bench.state.borrow_mut().events.push_back(
        volume_event(ConnState::SyncSource, ConnState::WfBitmapS).u64(attr::EVENT_SEQ, 10),
    );
    insta::assert_snapshot!(bench.run("events").out, @r"
    exists resource name:r0 role:Primary suspended:no
    exists connection name:r0 peer-node-id:1 conn-name:south connection:Connected role:Secondary
    exists device name:r0 volume:0 minor:0 disk:UpToDate
    exists peer-device name:r0 peer-node-id:1 conn-name:south volume:0 replication:Established peer-disk:UpToDate resync-suspended:no
    exists -
    change connection name:r0 peer-node-id:1 conn-name:south connection:Connecting reason:link lost
    - skipped 2
    change peer-device name:r0 peer-node-id:1 conn-name:south volume:0 replication:SyncSource
    ");
}

/// States that have the same name in events are no change there.
#[test]
fn events_leave_out_what_looks_the_same() {
    let bench = bench();
    let changes = [
        (ConnState::WfConnection, ConnState::Unconnected),
        (ConnState::Connected, ConnState::WfReportParams),
    ];
    for (new, old) in changes {
        bench
            .state
            .borrow_mut()
            .events
            .push_back(volume_event(new, old));
    }
    let out = bench.run("events").out;
    let news: Vec<&str> = out
        .lines()
        .skip_while(|line| *line != "exists -")
        .skip(1)
        .collect();
    assert_eq!(
        news,
        [
            "change peer-device name:r0 peer-node-id:1 conn-name:south volume:0 replication:Established"
        ]
    );
}

#[test]
fn a_forgotten_connection_is_shown_as_stand_alone() {
    let bench = bench();
    bench.state.borrow_mut().resources[0].local = None;
    bench.state.borrow_mut().resources[0].connection = ConnState::StandAlone;
    assert!(
        bench
            .run("status")
            .out
            .contains("  south connection:StandAlone\n")
    );
}

#[test]
fn events_as_json_and_filtered() {
    let bench = bench();
    let run = bench.run("events2 --now --json r0");
    let lines: Vec<serde_json::Value> = run
        .out
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines.len(), 5);
    assert_eq!(lines[2]["disk"], "UpToDate");
    assert_eq!(bench.run("events --now other").out, "exists -\n");
    let stamped = bench.run("events --now --timestamps").out;
    let first = stamped.split(' ').next().expect("a time");
    assert_eq!(first.len(), "2026-11-22T20:00:00.000000+00:00".len());
}

#[test]
fn wait_sync_ends_with_the_resync() {
    let bench = syncing();
    let progress = Message::new(cmd::SYNC_EVENT)
        .text(attr::RESOURCE_NAME, "r0")
        .u32(attr::MINOR, 0)
        .u64(attr::SYNC_TOTAL, 1000)
        .u64(attr::SYNC_LEFT, 10);
    bench.state.borrow_mut().events.push_back(progress);
    bench
        .state
        .borrow_mut()
        .events
        .push_back(volume_event(ConnState::Connected, ConnState::SyncSource));
    let run = bench.run("wait-sync r0");
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    assert!(bench.state.borrow().events.is_empty());
}

#[test]
fn wait_sync_does_not_end_before_the_resync_begins() {
    let bench = bench();
    bench.state.borrow_mut().volumes[0].peer_disk = DiskState::Inconsistent;
    let steps = [
        (ConnState::WfBitmapS, ConnState::Connected),
        (ConnState::SyncSource, ConnState::WfBitmapS),
        (ConnState::Connected, ConnState::SyncSource),
    ];
    for (new, old) in steps {
        bench
            .state
            .borrow_mut()
            .events
            .push_back(volume_event(new, old));
    }
    assert_eq!(bench.run("wait-sync r0").code, 0);
    assert!(bench.state.borrow().events.is_empty());
}

#[test]
fn waiting_ends_with_time_or_stand_alone_or_loss() {
    let bench = syncing();
    let run = bench.run("wait-sync --timeout 1 r0");
    assert_eq!(run.code, 5);
    assert_eq!(
        run.err,
        "r0/0: still SyncSource UpToDate/Inconsistent after 1 seconds\n"
    );
    assert_eq!(bench.run("wait-connect r0").code, 0);
    bench.state.borrow_mut().resources[0].connection = ConnState::StandAlone;
    bench.state.borrow_mut().volumes[0].replication = ConnState::StandAlone;
    let run = bench.run("wait-connect r0");
    assert_eq!(run.code, 0);
    assert!(run.err.contains("StandAlone"), "{run:?}");
    let run = Bench::usual().run("wait-sync r0");
    assert_eq!(run.code, 20);
    assert!(run.err.contains("rdbadm up r0"), "{run:?}");
    let bench = syncing();
    let gone = Message::new(cmd::RESOURCE_EVENT)
        .u32(attr::EVENT_KIND, 3)
        .text(attr::RESOURCE_NAME, "r0");
    bench.state.borrow_mut().events.push_back(gone);
    assert_eq!(bench.run("wait-sync r0").code, 20);
}

#[test]
fn timeouts_of_the_configuration_are_for_the_connection() {
    let config = common::USUAL.replace("resource r0 {", "resource r0 { startup { wfc-timeout 1; }");
    let bench = Bench::new(&config);
    let waiting = ConnState::WfConnection;
    let mut known = resource("r0");
    known.connection = waiting;
    bench.state.borrow_mut().resources = vec![known];
    let mut known = volume("r0", 0, 0);
    known.replication = waiting;
    bench.state.borrow_mut().volumes = vec![known];
    assert_eq!(bench.run("wait-sync r0").code, 5);
    // Connected, it waits for the end of the resync: here until the module goes away.
    bench.state.borrow_mut().resources = vec![resource("r0")];
    bench.state.borrow_mut().volumes[0].replication = ConnState::SyncTarget;
    assert_eq!(bench.run("wait-sync r0").code, 20);
}

#[test]
fn shell_commands() {
    let bench = Bench::usual();
    assert_eq!(bench.run("sh-resources").out, "r0\n");
    assert_eq!(bench.run("sh-dev r0").out, "/dev/rdb0\n");
    assert_eq!(bench.run("sh-minor r0").out, "0\n");
    assert_eq!(bench.run("sh-ll-dev r0").out, "DISK/sdb\n");
    assert_eq!(bench.run("sh-md-dev r0").out, "DISK/sdb\n");
    assert_eq!(bench.run("sh-md-idx r0").out, "internal\n");
    assert_eq!(bench.run("sh-ip r0").out, "10.0.0.1\n");
    assert_eq!(bench.run("sh-nop").code, 0);
    assert_eq!(bench.run("sh-mod-parms").out, "minor_count=32\n");
    assert!(
        bench
            .run("sh-udev minor-0")
            .out
            .contains("SYMLINK_BY_RES=rdb/by-res/r0\n")
    );
    let status = syncing().run("sh-status").out;
    assert!(
        status.contains("_cstate=SyncSource\n") && status.contains("_resynced_percent=25.00\n")
    );
    assert!(status.ends_with("_sh_status_process\n"));
}

#[test]
fn completion_offers_what_makes_sense() {
    let bench = syncing();
    assert_eq!(bench.run("sh-complete secondary").out, "r0 all\n");
    assert_eq!(bench.run("sh-complete primary").out, "all\n");
    assert_eq!(bench.run("sh-complete pause-sync").out, "r0 all\n");
    assert_eq!(bench.run("sh-complete connect").out, "all\n");
    assert_eq!(Bench::usual().run("sh-complete connect").out, "r0 all\n");
}

#[test]
fn dump_expands_on_demand() {
    let bench = Bench::usual();
    let plain = bench.run("dump r0").out;
    assert!(!plain.contains("protocol"), "{plain}");
    let expanded = bench.run("-v dump r0").out;
    assert!(
        expanded.contains("        protocol           C;\n"),
        "{expanded}"
    );
    assert!(
        bench
            .run("dump")
            .out
            .starts_with("# DISK/rdb.conf\ncommon {\n")
    );
}
