// SPDX-License-Identifier: GPL-2.0

//! Two nodes, or their disks, meet, and something changes between what a node has told and what it decides.

use super::*;
use crate::meta::MetaFlags;
use crate::resource::uuids_of;
use crate::wire::{Packet, Role, State, Uuids};

const HOLD_METADATA: Wants = Wants {
    hold_metadata: true,
    ..GOOD
};

/// The connection was lost and is back. B cannot tell its side before its metadata are written; A has told its own.
fn half_met(mut pair: Pair) -> Pair {
    pair.b.wants = HOLD_METADATA;
    pair.break_link();
    pair.restore_link();
    for node in [&pair.a, &pair.b] {
        assert_eq!(node.state().conn, ConnState::WFReportParams);
    }
    pair
}

fn meet(pair: &mut Pair) {
    pair.b.wants = GOOD;
    pair.b.answer_held(pair.now);
    pair.pass(500);
}

fn assert_in_sync(pair: &Pair) {
    for node in [&pair.a, &pair.b] {
        let state = node.state();
        assert_eq!(state.conn, ConnState::Connected);
        assert_eq!(state.disk, DiskState::UpToDate);
        assert_eq!(state.pdsk, DiskState::UpToDate);
    }
}

/// It would decide on something that the peer does not know, and could write to it, before the peer knows who is there.
#[test]
fn a_node_decides_after_it_has_told_its_side() {
    let mut pair = half_met(Pair::new(DiskOptions::default()));
    meet(&mut pair);
    assert_in_sync(&pair);
}

/// The peer decides on the role that it was told.
#[test]
fn a_node_keeps_its_role_and_its_disk_until_both_have_met() {
    let requests = [
        Request::Secondary { volume: 0 },
        Request::Detach {
            volume: 0,
            force: false,
        },
    ];
    for request in requests {
        let mut pair = half_met(Pair::new(DiskOptions::default()));
        pair.a.ask(pair.now, request);
        pair.pass(300);
        assert_eq!(pair.a.admin, None, "{request:?}");
        assert_eq!(pair.a.state().role, Role::Primary);
        assert_eq!(pair.a.state().disk, DiskState::UpToDate);
        meet(&mut pair);
        assert_eq!(pair.a.admin, Some(Ok(())), "{request:?}");
    }
}

/// Its peer would wait for a source that is none.
#[test]
fn a_node_whose_disk_errs_before_both_have_met_meets_again() {
    let mut pair = Pair::new(options(OnIoError::PassOn));
    pair.a.wants = HOLD_IO;
    pair.a.write(pair.now, 0);
    pair.settle();
    let mut pair = half_met(pair);
    pair.a.wants = FAIL_IO;
    pair.a.answer_held(pair.now);
    pair.a.wants = GOOD;
    pair.settle();
    assert_eq!(pair.a.state().disk, DiskState::Inconsistent);
    meet(&mut pair);
    assert_in_sync(&pair);
}

/// A has been without a disk, and attaches it; B has not heard of that yet. With `all_bits` this must be noted on the disk, before A may
/// tell of it.
fn attaching(all_bits: bool) -> (Pair, Uuids, State) {
    let mut pair = Pair::new(DiskOptions::default());
    let mut superblock = pair.a.written();
    superblock.flags = superblock.flags.with(MetaFlags::FULL_SYNC, all_bits);
    let detach = Request::Detach {
        volume: 0,
        force: false,
    };
    pair.a.ask(pair.now, detach);
    pair.settle();
    pair.a.wants = HOLD_METADATA;
    pair.a.attach(pair.now, superblock, DiskOptions::default());
    assert_eq!(pair.a.state().disk, DiskState::Negotiating);
    let volume = pair.b.engine.volume(0).expect("the volume is there");
    let (uuids, state) = (uuids_of(volume), pair.b.state());
    (pair, uuids, state)
}

fn metadata_are_written(pair: &mut Pair) {
    pair.a.wants = GOOD;
    pair.a.answer_held(pair.now);
}

/// A state that was sent before the peer knew of the disk says nothing of it, whatever else it says.
#[test]
fn a_disk_is_not_used_before_the_peer_has_answered_the_attach() {
    for disk in [DiskState::UpToDate, DiskState::Failed] {
        let (mut pair, _, state) = attaching(false);
        let stale = State {
            conn: ConnState::Connected,
            disk,
            pdsk: DiskState::UpToDate,
            ..state
        };
        pair.a.hears(pair.now, &Packet::State(stale));
        assert_eq!(pair.a.state().conn, ConnState::Connected, "{disk:?}");
        assert_eq!(pair.a.state().disk, DiskState::Negotiating, "{disk:?}");
    }
    let (mut pair, ..) = attaching(false);
    metadata_are_written(&mut pair);
    pair.pass(500);
    assert_in_sync(&pair);
}

fn answer(pair: &mut Pair, uuids: Uuids, state: State) {
    pair.a.hears(pair.now, &Packet::Uuids(uuids));
    pair.a.hears(pair.now, &Packet::State(state));
}

/// The peer has met the disk first, and may have corrected its identifiers before it told them: by them alone the two would be equal.
#[test]
fn an_attached_disk_follows_the_decision_of_the_peer() {
    let answers = [
        (ConnState::WFBitMapS, ConnState::WFBitMapT),
        (ConnState::WFBitMapT, ConnState::WFBitMapS),
    ];
    for (conn, own) in answers {
        let (mut pair, uuids, state) = attaching(false);
        let volume = pair.a.engine.volume(0).expect("the volume is there");
        let equal = Uuids {
            current: volume.generation.current,
            bitmap: 0,
            ..uuids
        };
        let decided = State {
            conn,
            pdsk: DiskState::UpToDate,
            ..state
        };
        answer(&mut pair, equal, decided);
        assert_eq!(pair.a.state().conn, own);
    }
}

/// What is in the peer's stream after its answer belongs to what it has decided.
#[test]
fn an_answer_waits_with_all_that_follows_until_the_attach_is_told() {
    let (mut pair, uuids, state) = attaching(true);
    let decided = State {
        conn: ConnState::WFBitMapS,
        pdsk: DiskState::UpToDate,
        ..state
    };
    answer(&mut pair, uuids, decided);
    assert_eq!(pair.a.state().disk, DiskState::Negotiating);
    assert!(!pair.a.engine.receiver_ready());
    pair.settle();
    metadata_are_written(&mut pair);
    assert!(pair.a.engine.receiver_ready());
    assert_eq!(pair.a.state().conn, ConnState::WFBitMapT);
}

/// The identifiers of a peer that attaches came while there was a disk here, and its state after.
#[test]
fn a_peer_may_attach_while_this_node_detaches() {
    let mut pair = Pair::new(DiskOptions::default());
    let volume = pair.a.engine.volume(0).expect("the volume is there");
    let (uuids, state) = (uuids_of(volume), pair.a.state());
    pair.b.hears(pair.now, &Packet::Uuids(uuids));
    let force = true;
    pair.b.ask(pair.now, Request::Detach { volume: 0, force });
    pair.settle();
    assert_eq!(pair.b.state().disk, DiskState::Diskless);
    let negotiating = State {
        disk: DiskState::Negotiating,
        pdsk: DiskState::Failed,
        ..state
    };
    pair.b.hears(pair.now, &Packet::State(negotiating));
    assert_eq!(pair.b.state().conn, ConnState::Connected);
    assert_eq!(pair.b.state().disk, DiskState::Diskless);
}

/// What was to be told of a disk is not told without it.
#[test]
fn a_disk_that_goes_before_the_peer_has_heard_of_it_was_never_there() {
    let (mut pair, ..) = attaching(true);
    let force = true;
    pair.a.ask(pair.now, Request::Detach { volume: 0, force });
    pair.settle();
    metadata_are_written(&mut pair);
    pair.settle();
    for node in [&pair.a, &pair.b] {
        assert_eq!(node.state().conn, ConnState::Connected);
    }
    assert_eq!(pair.a.state().disk, DiskState::Diskless);
    assert_eq!(pair.b.state().pdsk, DiskState::Diskless);
}

/// With I/O suspended the new current UUID is put off. A write that was under way then is on one disk alone all the same.
#[test]
fn a_disk_that_comes_back_while_io_is_suspended_gets_what_it_missed() {
    let mut pair = Pair::new(DiskOptions::default());
    let superblock = pair.b.written();
    pair.b.wants = HOLD_IO;
    pair.a.write(pair.now, 0);
    pair.settle();
    pair.a.ask(pair.now, Request::SuspendIo { volume: 0 });
    let force = true;
    pair.b.ask(pair.now, Request::Detach { volume: 0, force });
    pair.settle();
    pair.b.wants = GOOD;
    pair.b.answer_held(pair.now);
    pair.settle();
    let out_of_sync = |pair: &Pair| pair.a.engine.volume(0).map(|volume| volume.out_of_sync());
    assert_eq!(out_of_sync(&pair), Some(1));
    pair.b.attach(pair.now, superblock, DiskOptions::default());
    pair.pass(500);
    assert_in_sync(&pair);
    assert_eq!(out_of_sync(&pair), Some(0));
}

/// Data that are known to be bad do not become good because somebody else is to be overwritten with them.
#[test]
fn nobody_is_overwritten_from_an_inconsistent_disk() {
    let mut pair = Pair::new(options(OnIoError::PassOn));
    pair.b.wants = FAIL_IO;
    pair.a.write(pair.now, 0);
    pair.settle();
    pair.b.wants = GOOD;
    assert_eq!(pair.b.state().disk, DiskState::Inconsistent);
    assert_eq!(pair.a.state().pdsk, DiskState::Inconsistent);
    let refused = Some(Err(Refusal::from(ReturnCode::NO_UP_TO_DATE_DISK)));
    pair.b
        .ask(pair.now, Request::InvalidateRemote { volume: 0 });
    pair.settle();
    assert_eq!(pair.b.admin, refused);
    pair.a.ask(pair.now, Request::Invalidate { volume: 0 });
    pair.settle();
    assert_eq!(pair.a.admin, refused);
    assert_eq!(pair.b.state().disk, DiskState::Inconsistent);
}
