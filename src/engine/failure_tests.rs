// SPDX-License-Identifier: GPL-2.0

//! Scenarios of failure, step by step.

mod fencing;
mod last_copy;
mod meeting;
mod pair;
mod suspension;

use self::pair::{Pair, Wants};
use crate::admin::{Refusal, Request};
use crate::effects::Outcome;
use crate::fencing::Fencing;
use crate::handler::{Handler, HandlerEnd};
use crate::request::{AppOp, Submit};
use crate::volume::{DiskOptions, OnIoError};
use crate::wire::{ConnState, DiskState, ReturnCode};
use crate::write_order::WriteOrder;

const HOLD_IO: Wants = Wants {
    hold_io: true,
    fail_io: false,
    refuse: false,
    fail_flush: false,
    hold_metadata: false,
};
const FAIL_IO: Wants = Wants {
    fail_io: true,
    hold_io: false,
    ..HOLD_IO
};
const GOOD: Wants = Wants {
    fail_io: false,
    ..FAIL_IO
};

fn options(on_io_error: OnIoError) -> DiskOptions {
    DiskOptions {
        on_io_error,
        ..DiskOptions::default()
    }
}

#[test]
fn detach_on_error_goes_on_through_the_peer() {
    let mut pair = Pair::new(options(OnIoError::Detach));
    pair.a.wants = FAIL_IO;
    let write = pair.a.write(pair.now, 0);
    pair.settle();
    assert_eq!(pair.a.outcome(write), Some(Outcome::Ok));
    assert_eq!(pair.a.state().disk, DiskState::Diskless);
    assert_eq!(pair.b.state().pdsk, DiskState::Diskless);
    let Submit::Accepted(read) = pair.a.submit(pair.now, AppOp::Read, 0) else {
        panic!("a read was not taken");
    };
    pair.settle();
    assert_eq!(pair.a.outcome(read), Some(Outcome::Ok));
}

#[test]
fn a_failed_read_is_read_from_the_peer() {
    for policy in [OnIoError::Detach, OnIoError::PassOn] {
        let mut pair = Pair::new(options(policy));
        pair.a.wants = FAIL_IO;
        let Submit::Accepted(read) = pair.a.submit(pair.now, AppOp::Read, 8) else {
            panic!("a read was not taken");
        };
        pair.settle();
        assert_eq!(pair.a.outcome(read), Some(Outcome::Ok), "{policy:?}");
    }
}

#[test]
fn pass_on_keeps_the_disk_inconsistent() {
    let mut pair = Pair::new(options(OnIoError::PassOn));
    pair.a.wants = FAIL_IO;
    let write = pair.a.write(pair.now, 0);
    pair.settle();
    assert_eq!(pair.a.outcome(write), Some(Outcome::Ok));
    assert_eq!(pair.a.state().disk, DiskState::Inconsistent);
    assert_eq!(pair.b.state().pdsk, DiskState::Inconsistent);
    assert_eq!(pair.a.engine.volume(0).map(|v| v.out_of_sync()), Some(1));
    let flags = pair.a.written().flags;
    assert!(!flags.contains(crate::meta::MetaFlags::CONSISTENT));
    // Nobody can serve it any more: the error reaches the application.
    pair.break_link();
    assert!(pair.a.handlers.contains(&Handler::PrimaryDegraded));
    let read = pair.a.submit(pair.now, AppOp::Read, 0);
    assert_eq!(read, Submit::Done(Outcome::Error));
}

#[test]
fn the_peer_is_told_after_the_helper() {
    let mut pair = Pair::new(options(OnIoError::CallLocalIoError));
    pair.a.wants = FAIL_IO;
    pair.a.write(pair.now, 0);
    pair.settle();
    assert_eq!(pair.a.handlers, [Handler::LocalIoError]);
    assert_eq!(pair.a.state().disk, DiskState::Failed);
    assert_eq!(pair.b.state().pdsk, DiskState::UpToDate);
    let end = HandlerEnd::Exited(0);
    pair.a.end_handler(pair.now, Handler::LocalIoError, end);
    pair.settle();
    assert_eq!(pair.a.state().disk, DiskState::Diskless);
    assert_eq!(pair.b.state().pdsk, DiskState::Diskless);
}

#[test]
fn a_helper_that_hangs_does_not_keep_the_nodes_apart() {
    let mut pair = Pair::new(options(OnIoError::CallLocalIoError));
    pair.a.wants = FAIL_IO;
    pair.a.write(pair.now, 0);
    pair.settle();
    pair.break_link();
    pair.restore_link();
    assert_eq!(pair.b.state().pdsk, DiskState::Diskless);
    assert_eq!(pair.a.state().conn, ConnState::Connected);
}

#[test]
fn a_disk_may_refuse_to_discard_but_must_not_fail_to() {
    let mut pair = Pair::new(options(OnIoError::Detach));
    pair.a.wants = Wants {
        refuse: true,
        ..GOOD
    };
    pair.a.submit(pair.now, AppOp::Discard, 0);
    pair.settle();
    assert!(matches!(pair.a.done[..], [(_, Outcome::Unsupported)]));
    assert_eq!(pair.a.state().disk, DiskState::UpToDate);
    let volume = pair.a.engine.volume(0).expect("the volume is there");
    assert_eq!(volume.counters.sent, 0, "the peer has not discarded it");
    pair.a.wants = GOOD;
    pair.b.wants = FAIL_IO;
    pair.a.submit(pair.now, AppOp::Discard, 64);
    pair.settle();
    assert_eq!(pair.b.state().disk, DiskState::Diskless);
    assert_eq!(pair.a.state().pdsk, DiskState::Diskless);
}

#[test]
fn a_primary_keeps_the_last_copy() {
    let mut pair = Pair::new(DiskOptions::default());
    let detach = |force| Request::Detach { volume: 0, force };
    pair.a.ask(pair.now, detach(false));
    pair.settle();
    assert_eq!(pair.a.admin, Some(Ok(())));
    assert_eq!(pair.a.state().disk, DiskState::Diskless);
    // Neither may the peer give up what the diskless Primary lives on.
    pair.b.ask(pair.now, detach(false));
    pair.settle();
    assert!(matches!(pair.b.admin, Some(Err(_))), "{:?}", pair.b.admin);
    let mut alone = Pair::new(DiskOptions::default());
    alone.break_link();
    alone.a.ask(alone.now, detach(false));
    alone.settle();
    let refused = Refusal::from(ReturnCode::NO_UP_TO_DATE_DISK);
    assert_eq!(alone.a.admin, Some(Err(refused)));
}

#[test]
fn a_disk_that_does_not_answer_is_given_up() {
    let mut pair = Pair::new(DiskOptions {
        disk_timeout_ms: 2000,
        ..DiskOptions::default()
    });
    pair.pass(3000);
    pair.a.wants = HOLD_IO;
    let write = pair.a.write(pair.now, 0);
    pair.settle();
    pair.pass(1900);
    assert_eq!(pair.a.outcome(write), None);
    pair.pass(1000);
    assert_eq!(pair.a.outcome(write), Some(Outcome::Ok));
    assert_eq!(pair.a.state().disk, DiskState::Failed);
    assert_eq!(pair.b.state().pdsk, DiskState::Failed);
    // Others run meanwhile, and none of them gets the slot that the disk still has.
    for sector in 1..20 {
        let other = pair.a.write(pair.now, sector * 8);
        assert_ne!(other, write);
        pair.settle();
        assert_eq!(pair.a.outcome(other), Some(Outcome::Ok));
    }
    pair.a.wants = GOOD;
    pair.a.answer_held(pair.now);
    pair.settle();
    assert_eq!(pair.a.state().disk, DiskState::Diskless);
    let completions = pair.a.done.iter().filter(|(slot, _)| *slot == write);
    assert_eq!(completions.count(), 1);
}

#[test]
fn a_read_from_the_peer_leaves_the_slot_to_the_silent_disk() {
    let mut pair = Pair::new(DiskOptions {
        disk_timeout_ms: 2000,
        ..DiskOptions::default()
    });
    pair.pass(3000);
    pair.a.wants = HOLD_IO;
    let Submit::Accepted(read) = pair.a.submit(pair.now, AppOp::Read, 0) else {
        panic!("a read was not taken");
    };
    pair.settle();
    pair.pass(3000);
    assert_eq!(pair.a.outcome(read), Some(Outcome::Ok));
    // The next request must not be taken for the one that the disk still has.
    pair.b.wants = HOLD_IO;
    let write = pair.a.write(pair.now, 8);
    assert_ne!(write, read);
    pair.a.wants = GOOD;
    pair.a.answer_held(pair.now);
    pair.settle();
    assert_eq!(pair.a.outcome(write), None);
    assert_eq!(pair.a.state().disk, DiskState::Diskless);
}

#[test]
fn the_peers_writes_time_out_as_well() {
    let mut pair = Pair::new(DiskOptions {
        disk_timeout_ms: 2000,
        ..DiskOptions::default()
    });
    pair.pass(3000);
    pair.b.wants = HOLD_IO;
    let write = pair.a.write(pair.now, 0);
    pair.settle();
    assert_eq!(pair.a.outcome(write), None);
    pair.pass(3000);
    assert_eq!(pair.a.outcome(write), Some(Outcome::Ok));
    assert_eq!(pair.a.state().pdsk, DiskState::Failed);
    assert_eq!(pair.a.engine.volume(0).map(|v| v.out_of_sync()), Some(1));
    pair.b.wants = GOOD;
    pair.b.answer_held(pair.now);
    pair.settle();
    assert_eq!(pair.b.state().disk, DiskState::Diskless);
    assert_eq!(pair.b.engine.peer.used(), 0);
}

#[test]
fn metadata_time_out_as_well() {
    let mut pair = Pair::new(DiskOptions {
        disk_timeout_ms: 2000,
        ..DiskOptions::default()
    });
    pair.pass(3000);
    pair.a.wants = Wants {
        hold_metadata: true,
        ..GOOD
    };
    // A cold extent: the write waits for the activity log.
    let write = pair.a.write(pair.now, 0);
    pair.settle();
    assert_eq!(pair.a.outcome(write), None);
    pair.pass(3000);
    assert_eq!(pair.a.outcome(write), Some(Outcome::Ok));
    assert_eq!(pair.a.state().disk, DiskState::Failed);
}

#[test]
fn detach_by_force_does_not_wait_for_the_disk() {
    let mut pair = Pair::new(DiskOptions::default());
    pair.a.wants = HOLD_IO;
    let write = pair.a.write(pair.now, 0);
    pair.settle();
    let force = Request::Detach {
        volume: 0,
        force: true,
    };
    pair.a.ask(pair.now, force);
    pair.settle();
    assert_eq!(pair.a.admin, Some(Ok(())));
    assert_eq!(pair.a.state().disk, DiskState::Failed);
    assert_eq!(pair.a.outcome(write), Some(Outcome::Ok));
    pair.a.wants = GOOD;
    pair.a.answer_held(pair.now);
    pair.settle();
    assert_eq!(pair.a.state().disk, DiskState::Diskless);
}

#[test]
fn the_weakest_disk_decides_on_write_order() {
    let order = |flushes, drain| {
        let pair = Pair::new(DiskOptions {
            disk_flushes: flushes,
            disk_drain: drain,
            ..DiskOptions::default()
        });
        pair.b.engine.write_order()
    };
    assert_eq!(order(true, true), WriteOrder::Flush);
    assert_eq!(order(true, false), WriteOrder::Flush);
    assert_eq!(order(false, true), WriteOrder::Drain);
    assert_eq!(order(false, false), WriteOrder::None);
}

#[test]
fn a_failed_flush_leaves_no_write_forgotten() {
    let mut pair = Pair::new(options(OnIoError::Detach));
    pair.b.wants = Wants {
        fail_flush: true,
        ..GOOD
    };
    pair.cut = true;
    let write = pair.a.write(pair.now, 0);
    pair.settle();
    assert_eq!(pair.a.outcome(write), Some(Outcome::Ok));
    // The epoch was not acknowledged: the block may be lost, and is marked.
    assert!(pair.a.state().conn < ConnState::Connected);
    assert_eq!(pair.a.engine.volume(0).map(|v| v.out_of_sync()), Some(1));
}
