// SPDX-License-Identifier: GPL-2.0

//! Identifiers and flags through the life of a volume, as the reference was seen to keep them (metadata, section 7.2): two engines
//! are led through the runs of `k-lifecycle.tsv`, and after every stage their superblocks are compared with the file's.
//!
//! The values themselves are random. Each is given a name when it is seen first, on either node, in the file and here; then the names
//! must be the same. Bit 0 of the current UUID tells the role, and when the reference writes it is its own affair; the bitmap UUID's,
//! which decides about younger and older Primaries, is compared.

mod pair;

use std::collections::BTreeMap;

use pair::{Pair, A, B};
use rdb_engine::admin::Request;
use rdb_engine::meta::MetaFlags;
use rdb_engine::wire::{ConnState, DiskState, UUID_SYNC_OFFSET};

const FILE: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../tests/vectors/metadata/k-lifecycle.tsv"
));

/// Flags that are compared: consistent, was up to date, primary, connected, full sync, peer outdated, crashed primary.
const FLAGS: u32 = 0x7f;

struct Expected {
    uuids: [u64; 4],
    flags: u32,
}

fn row(run: &str, stage: &str, node: &str) -> Expected {
    let fields = FILE
        .lines()
        .skip(1)
        .map(|line| line.split('\t').collect::<Vec<_>>())
        .find(|fields| fields[..3] == [run, stage, node])
        .unwrap_or_else(|| panic!("no row {run} {stage} {node}"));
    let hex = |text: &str| {
        u64::from_str_radix(text.trim_start_matches("0x"), 16)
            .unwrap_or_else(|_| panic!("{run} {stage}: {text}"))
    };
    Expected {
        uuids: [4, 5, 6, 7].map(|field| hex(fields[field])),
        flags: hex(fields[8]) as u32,
    }
}

/// Names for values, by the order in which they are seen; a sync UUID is named for the one that it was made of.
#[derive(Default)]
struct Names {
    known: BTreeMap<u64, String>,
}

impl Names {
    fn of(&mut self, value: u64) -> String {
        let value = value & !1;
        if value == 0 {
            return "-".into();
        }
        if value == 4 {
            return "4".into();
        }
        if let Some(name) = self.known.get(&value) {
            return name.clone();
        }
        let name = match self.known.get(&value.wrapping_sub(UUID_SYNC_OFFSET)) {
            Some(base) => format!("{base}'"),
            None => format!("{}", char::from(b'A' + self.known.len() as u8)),
        };
        self.known.insert(value, name.clone());
        name
    }
}

/// A run of the file.
struct Run {
    name: &'static str,
    pair: Pair,
    theirs: Names,
    ours: Names,
}

impl Run {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            pair: Pair::new(),
            theirs: Names::default(),
            ours: Names::default(),
        }
    }

    /// Both nodes at this stage. `ignored` are flags that need not be alike, with the reason beside the call.
    fn stage(&mut self, stage: &str, ignored: u32) {
        self.check(stage, &[("a", A), ("b", B)], ignored);
    }

    fn check(&mut self, stage: &str, nodes: &[(&str, usize)], ignored: u32) {
        self.pair.pump();
        for &(name, n) in nodes {
            let wanted = row(self.name, stage, name);
            let found = self.pair.nodes[n].disk.superblock;
            let [h0, h1] = found.history_uuids;
            let found_uuids = [found.current_uuid, found.bitmap_uuid, h0, h1];
            let theirs = wanted.uuids.map(|uuid| self.theirs.of(uuid)).join(" : ");
            let ours = found_uuids.map(|uuid| self.ours.of(uuid)).join(" : ");
            let place = format!("run {} stage {stage} node {name}", self.name);
            assert_eq!(ours, theirs, "{place}\n{}", self.pair.report());
            // A sync UUID's bit 0 is as it falls; that of another bitmap UUID tells who was Primary when the generations parted.
            if self.pair.nodes[n].state().conn == ConnState::StandAlone {
                let bit = |uuid: u64| uuid & 1;
                assert_eq!(bit(found.bitmap_uuid), bit(wanted.uuids[1]), "{place}");
            }
            let mask = FLAGS & !ignored;
            assert_eq!(
                found.flags.bits() & mask,
                wanted.flags & mask,
                "{place}: flags {:#x}, wanted {:#x}\n{}",
                found.flags.bits(),
                wanted.flags,
                self.pair.report()
            );
        }
    }
}

const CRASHED: u32 = 0x40;

/// First use, disconnect while Primary, reconnect, switch of roles, split brain.
#[test]
fn first_use_and_split_brain() {
    let mut run = Run::new("L1");
    run.stage("attach", 0);
    run.pair.connect();
    run.stage("conn", 0);
    run.pair.begin(
        A,
        Request::Primary {
            volume: 0,
            force: true,
        },
    );
    run.pair.wait("the resync runs", |pair| {
        pair.nodes[B].state().conn == ConnState::SyncTarget
    });
    run.stage("prim", 0);
    run.pair.wait_synced();
    run.stage("synced", 0);
    run.pair.write(A, 7);
    run.pair.write(A, 2000);
    run.stage("wr", 0);
    run.pair.disconnect();
    run.stage("disc", 0);
    run.pair.write(A, 9);
    run.check("wdisc", &[("a", A)], 0);
    run.pair.connect();
    run.pair.wait_synced();
    assert_eq!(run.pair.nodes[A].rows().last(), Some(&"70"));
    assert_eq!(run.pair.nodes[B].rows().last(), Some(&"50"));
    run.stage("recon", 0);
    run.pair.secondary(A);
    run.stage("sec", 0);
    run.pair.primary(B);
    run.stage("sw", 0);
    run.pair.write(B, 11);
    run.stage("sww", 0);
    run.pair.secondary(B);
    run.pair.disconnect();
    run.stage("sb0", 0);
    run.pair.primary(A);
    run.pair.primary(B);
    run.stage("sb1", 0);
    run.pair.write(A, 13);
    run.pair.write(B, 14);
    run.stage("sb2", 0);
    run.pair.secondary(A);
    run.pair.secondary(B);
    run.stage("sb3", 0);
    run.pair.connect();
    run.pair.wait("both have dropped the connection", |pair| {
        let alone = |n: usize| pair.nodes[n].state().conn == ConnState::StandAlone;
        alone(A) && alone(B)
    });
    run.stage("sb4", 0);
    for n in [A, B] {
        assert!(run.pair.nodes[n].saw_split_brain());
    }
}

/// Identifiers by hand and by force, without a peer; invalidation both ways; outdating; all without a Primary.
#[test]
fn administrators_requests() {
    let mut run = Run::new("L2");
    let new_uuid = |clear_bitmap| Request::NewCurrentUuid {
        volume: 0,
        clear_bitmap,
    };
    run.check("attach", &[("-", A)], 0);
    run.pair.ask(A, new_uuid(false));
    run.check("ncu", &[("-", A)], 0);
    run.pair.ask(A, new_uuid(true));
    run.check("ncuclear", &[("-", A)], 0);
    run.pair.force_primary(A);
    run.check("prim", &[("-", A)], 0);
    run.pair.write(A, 3);
    run.check("wrote", &[("-", A)], 0);

    run.name = "L3";
    run.pair.crash(A);
    run.pair.bring_up(A);
    run.check("attached", &[("-", A)], 0);
    run.pair.connect();
    run.pair.wait("the resync runs", |pair| {
        pair.nodes[B].state().conn == ConnState::SyncTarget
    });
    run.stage("conn", 0);
    run.pair.wait_synced();
    // The reference leaves the mark of the crash on the disk until something else is written.
    run.stage("synced", CRASHED);
    for (request, during, after) in [
        (Request::Invalidate { volume: 0 }, "inv1", "inv2"),
        (Request::InvalidateRemote { volume: 0 }, "invr1", "invr2"),
    ] {
        let asked = match request {
            Request::Invalidate { .. } => B,
            _ => A,
        };
        run.pair.begin(asked, request);
        run.pair.wait("the resync runs", |pair| {
            pair.nodes[B].state().conn == ConnState::SyncTarget
        });
        run.stage(during, 0);
        run.pair.wait_synced();
        run.stage(after, 0);
    }
    run.pair.disconnect();
    run.stage("disc", 0);
    run.pair.ask(B, Request::Outdate { volume: 0 });
    run.check("outd", &[("b", B)], 0);
    run.pair.ask(B, Request::Invalidate { volume: 0 });
    run.check("sinv", &[("b", B)], 0);
    let refused = run.pair.try_ask(B, Request::InvalidateRemote { volume: 0 });
    assert!(refused.is_err());
    run.pair.primary(A);
    run.check("pri", &[("a", A)], 0);
    run.pair.ask(A, Request::InvalidateRemote { volume: 0 });
    run.check("pinvr", &[("a", A)], 0);
    run.pair.secondary(A);
    for n in [A, B] {
        let force = false;
        run.pair.ask(n, Request::Detach { volume: 0, force });
    }
    run.check("det2", &[("a", A)], 0);
    run.check("det", &[("b", B)], 0);
    for n in [A, B] {
        run.pair.attach(n);
    }
    run.stage("re2", 0);
}

/// A disk goes and comes back, on the Secondary and on the Primary; then the Primary crashes.
#[test]
fn disks_that_go_and_return() {
    let mut run = Run::new("L4");
    run.pair = Pair::synced();
    // The pair of the file came to its first generation by skipping the initial resync.
    let settle = |pair: &mut Pair| {
        pair.secondary(A);
        pair.disconnect();
        for n in [A, B] {
            let force = false;
            pair.ask(n, Request::Detach { volume: 0, force });
            pair.nodes[n].disk.superblock.history_uuids = [0, 0];
            pair.attach(n);
        }
        pair.connect();
        pair.wait_synced();
        pair.primary(A);
    };
    settle(&mut run.pair);
    run.stage("base", 0);
    run.pair.write(A, 1);
    let detach = Request::Detach {
        volume: 0,
        force: false,
    };
    run.pair.ask(B, detach);
    run.stage("detb", 0);
    run.pair.write(A, 2);
    run.pair.attach(B);
    run.pair.wait_synced();
    run.stage("reb", 0);
    run.pair.ask(A, detach);
    run.stage("deta", 0);
    run.pair.write(A, 3);
    run.check("deta2", &[("b", B)], 0);
    run.pair.secondary(A);
    run.check("deta3", &[("b", B)], 0);
    run.pair.primary(A);
    run.pair.attach(A);
    run.pair.wait_synced();
    // The reference leaves the mark of the crash on the disk until something else is written.
    run.stage("rea", CRASHED);
    run.pair.write(A, 4);
    run.stage("cr", CRASHED);

    run.name = "L5";
    run.pair.crash_both();
    run.stage("raw", CRASHED);
    run.pair.bring_up(A);
    run.pair.bring_up(B);
    run.stage("att", 0);
    run.pair.connect();
    run.pair.wait("the resync runs", |pair| {
        pair.nodes[B].state().conn == ConnState::SyncTarget
    });
    run.stage("con", 0);
    run.pair.wait_synced();
    run.stage("fin", CRASHED);
    run.pair.primary(A);
    run.stage("fin2", 0);
}

/// The initial resync is skipped.
#[test]
fn skipped_initial_resync() {
    let mut run = Run::new("L6");
    run.pair.connect();
    run.pair.ask(
        A,
        Request::NewCurrentUuid {
            volume: 0,
            clear_bitmap: true,
        },
    );
    run.pair.wait_synced();
    run.stage("skip", 0);
    run.pair.primary(A);
    run.stage("pri", 0);
    for node in &run.pair.nodes {
        assert_eq!(node.resynced, 0);
        assert_eq!(node.state().disk, DiskState::UpToDate);
        assert!(!node.disk.superblock.flags.contains(MetaFlags::FULL_SYNC));
    }
}
