// SPDX-License-Identifier: GPL-2.0

//! Fencing: the handler that succeeds, fails, hangs, is late, or says something odd.

use super::*;
use crate::wire::Role;

fn pair(fencing: Fencing) -> Pair {
    Pair::new(DiskOptions {
        fencing,
        ..DiskOptions::default()
    })
}

fn answer(pair: &mut Pair, code: u8) {
    let now = pair.now;
    pair.a
        .end_handler(now, Handler::FencePeer, HandlerEnd::Exited(code));
    pair.settle();
}

/// A Primary that has lost its peer with a write under way, and is frozen.
fn frozen() -> (Pair, crate::effects::AppSlot) {
    let mut pair = pair(Fencing::ResourceAndStonith);
    pair.b.wants = HOLD_IO;
    let write = pair.a.write(pair.now, 0);
    pair.settle();
    pair.break_link();
    assert!(pair.a.state().susp_fen);
    assert_eq!(pair.a.handlers, [Handler::FencePeer]);
    assert_eq!(pair.a.outcome(write), None);
    assert_eq!(pair.a.submit(pair.now, AppOp::Write, 64), Submit::Busy);
    pair.b.wants = GOOD;
    pair.b.answer_held(pair.now);
    pair.settle();
    (pair, write)
}

#[test]
fn io_goes_on_when_the_peer_is_fenced() {
    for (code, pdsk) in [
        (3, DiskState::Inconsistent),
        (4, DiskState::Outdated),
        (5, DiskState::Outdated),
        (7, DiskState::Outdated),
    ] {
        let (mut pair, write) = frozen();
        let before = pair.a.written().current_uuid;
        pair.a.wants.hold_metadata = true;
        answer(&mut pair, code);
        assert!(!pair.a.state().susp_fen);
        assert_eq!(pair.a.state().pdsk, pdsk);
        // Not before the new generation is on stable storage.
        assert_ne!(pair.a.written().current_uuid, before);
        assert_eq!(pair.a.outcome(write), None);
        pair.a.wants = GOOD;
        pair.a.answer_held(pair.now);
        pair.settle();
        assert_eq!(pair.a.outcome(write), Some(Outcome::Ok));
    }
}

#[test]
fn io_stays_frozen_when_the_handler_fails() {
    for code in [0, 1, 2, 6, 8, 127, 255] {
        let (mut pair, write) = frozen();
        answer(&mut pair, code);
        assert!(pair.a.state().susp_fen, "code {code}");
        assert_eq!(pair.a.outcome(write), None);
        pair.a.ask(pair.now, Request::ResumeIo { volume: 0 });
        pair.settle();
        assert_eq!(pair.a.outcome(write), Some(Outcome::Ok));
    }
    let (mut pair, _) = frozen();
    let now = pair.now;
    pair.a
        .end_handler(now, Handler::FencePeer, HandlerEnd::Broken);
    pair.settle();
    assert!(pair.a.state().susp_fen);
}

#[test]
fn the_peer_returns_before_the_handler_does() {
    let (mut pair, write) = frozen();
    pair.restore_link();
    assert!(!pair.a.state().susp_fen);
    assert_eq!(pair.a.outcome(write), Some(Outcome::Ok));
    pair.pass(3000);
    // The block that was under way has been copied.
    assert_eq!(pair.a.state().conn, ConnState::Connected);
    assert_eq!(pair.a.engine.volume(0).map(|v| v.out_of_sync()), Some(0));
    // Its answer is about an outage that is over.
    answer(&mut pair, 4);
    assert_eq!(pair.a.state().pdsk, DiskState::UpToDate);
    assert_eq!(pair.a.state().conn, ConnState::Connected);
}

#[test]
fn a_late_answer_does_not_count_for_the_next_outage() {
    let (mut pair, _) = frozen();
    pair.restore_link();
    pair.pass(3000);
    pair.break_link();
    assert!(pair.a.state().susp_fen);
    let calls = |pair: &Pair| {
        let fence = |handler: &&Handler| **handler == Handler::FencePeer;
        pair.a.handlers.iter().filter(fence).count()
    };
    assert_eq!(calls(&pair), 1, "the first still runs");
    answer(&mut pair, 4);
    assert!(pair.a.state().susp_fen);
    assert_eq!(pair.a.state().pdsk, DiskState::DUnknown);
    assert_eq!(calls(&pair), 1, "called again");
    answer(&mut pair, 4);
    assert!(!pair.a.state().susp_fen);
    assert_eq!(pair.a.state().pdsk, DiskState::Outdated);
}

#[test]
fn resource_only_does_not_freeze() {
    let mut pair = pair(Fencing::ResourceOnly);
    pair.break_link();
    assert_eq!(pair.a.handlers, [Handler::FencePeer]);
    assert!(!pair.a.state().is_suspended());
    let write = pair.a.write(pair.now, 0);
    pair.settle();
    assert_eq!(pair.a.outcome(write), Some(Outcome::Ok));
    answer(&mut pair, 4);
    assert_eq!(pair.a.state().pdsk, DiskState::Outdated);
}

#[test]
fn without_fencing_nobody_is_called() {
    let mut pair = pair(Fencing::DontCare);
    pair.break_link();
    assert_eq!(pair.a.handlers, []);
}

#[test]
fn a_secondary_is_promoted_when_the_peer_is_fenced() {
    let promote = |force| Request::Primary { volume: 0, force };
    for (code, force, expected) in [
        (4, false, Ok(())),
        (5, false, Ok(())),
        (7, false, Ok(())),
        (1, false, Err(ReturnCode::PRIMARY_NOP)),
        (6, false, Err(ReturnCode::PRIMARY_NOP)),
        (1, true, Ok(())),
    ] {
        let mut pair = pair(Fencing::ResourceOnly);
        pair.break_link();
        assert_eq!(pair.b.handlers, []);
        pair.b.ask(pair.now, promote(force));
        pair.settle();
        assert_eq!(pair.b.admin, None, "it waits for the handler");
        let now = pair.now;
        pair.b
            .end_handler(now, Handler::FencePeer, HandlerEnd::Exited(code));
        pair.settle();
        let expected = expected.map_err(Refusal::from);
        assert_eq!(pair.b.admin, Some(expected), "code {code}, force {force}");
        let disk = match code {
            6 => DiskState::Outdated,
            _ => DiskState::UpToDate,
        };
        assert_eq!(pair.b.state().disk, disk, "code {code}");
        let primary = pair.b.state().role == Role::Primary;
        assert_eq!(primary, expected.is_ok(), "code {code}");
    }
}

#[test]
fn a_disk_is_consistent_until_the_peer_is_known() {
    let mut pair = pair(Fencing::ResourceOnly);
    pair.break_link();
    let superblock = pair.b.written();
    let detach = Request::Detach {
        volume: 0,
        force: false,
    };
    pair.b.ask(pair.now, detach);
    pair.settle();
    let fencing = DiskOptions {
        fencing: Fencing::ResourceOnly,
        ..DiskOptions::default()
    };
    pair.b.attach(pair.now, superblock, fencing);
    pair.settle();
    assert_eq!(pair.b.state().disk, DiskState::Consistent);
    pair.b.ask(
        pair.now,
        Request::Primary {
            volume: 0,
            force: false,
        },
    );
    let now = pair.now;
    pair.settle();
    pair.b
        .end_handler(now, Handler::FencePeer, HandlerEnd::Exited(4));
    pair.settle();
    assert_eq!(pair.b.admin, Some(Ok(())));
    assert_eq!(pair.b.state().disk, DiskState::UpToDate);
}

#[test]
fn a_secondary_that_leaves_a_fencing_primary_is_outdated() {
    let mut pair = pair(Fencing::ResourceAndStonith);
    pair.b.ask(pair.now, Request::Disconnect { force: false });
    pair.settle();
    assert_eq!(pair.b.admin, Some(Ok(())));
    assert_eq!(pair.b.state().disk, DiskState::Outdated);
    assert_eq!(pair.a.state().pdsk, DiskState::Outdated);
    assert!(!pair.a.state().is_suspended());
    assert_eq!(pair.a.handlers, []);
}

#[test]
fn a_fencing_primary_that_leaves_has_the_peer_outdated() {
    let mut pair = pair(Fencing::ResourceAndStonith);
    pair.a.ask(pair.now, Request::Disconnect { force: false });
    pair.settle();
    assert_eq!(pair.a.admin, Some(Ok(())));
    assert_eq!(pair.b.state().disk, DiskState::Outdated);
    assert_eq!(pair.a.state().pdsk, DiskState::Outdated);
    assert!(!pair.a.state().is_suspended());
    assert_eq!(pair.a.handlers, []);
}

#[test]
fn the_peer_is_unfenced_when_it_is_in_sync_again() {
    let mut pair = pair(Fencing::ResourceOnly);
    pair.break_link();
    answer(&mut pair, 4);
    pair.a.write(pair.now, 0);
    pair.settle();
    pair.restore_link();
    pair.pass(3000);
    assert_eq!(pair.a.state().conn, ConnState::Connected);
    assert_eq!(pair.a.handlers, [Handler::UnfencePeer]);
    assert_eq!(pair.b.handlers, [Handler::AfterResyncTarget]);
}
