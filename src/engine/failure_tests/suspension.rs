// SPDX-License-Identifier: GPL-2.0

//! Suspended I/O.

use super::*;
use crate::meta::MetaFlags;

const SUSPEND: Request = Request::SuspendIo { volume: 0 };
const RESUME: Request = Request::ResumeIo { volume: 0 };

fn without_data(mut pair: Pair) -> Pair {
    pair.a.engine.set_no_data_suspends(true);
    pair.a.ask(
        pair.now,
        Request::Detach {
            volume: 0,
            force: false,
        },
    );
    pair.settle();
    assert_eq!(pair.a.state().disk, DiskState::Diskless);
    pair
}

#[test]
fn suspend_io_waits_for_what_is_under_way() {
    let mut pair = Pair::new(DiskOptions::default());
    pair.b.wants = HOLD_IO;
    let write = pair.a.write(pair.now, 0);
    pair.settle();
    pair.a.ask(pair.now, SUSPEND);
    pair.settle();
    assert_eq!(pair.a.admin, None, "a write is under way at the peer");
    assert_eq!(pair.a.submit(pair.now, AppOp::Write, 8), Submit::Busy);
    assert_eq!(pair.a.submit(pair.now, AppOp::Read, 8), Submit::Busy);
    pair.b.wants = GOOD;
    pair.b.answer_held(pair.now);
    pair.pass(300);
    assert_eq!(pair.a.outcome(write), Some(Outcome::Ok));
    assert_eq!(pair.a.admin, Some(Ok(())));
    assert!(!pair.a.engine.app_in_flight(0));
    pair.a.ask(pair.now, RESUME);
    pair.settle();
    pair.a.write(pair.now, 8);
}

#[test]
fn suspend_io_waits_for_the_peer_with_protocol_a() {
    let net = crate::link::NetOptions {
        protocol: crate::wire::ReplicationProtocol::A,
        ..crate::link::NetOptions::default()
    };
    let mut pair = Pair::with(DiskOptions::default(), net);
    pair.b.wants = HOLD_IO;
    let write = pair.a.write(pair.now, 0);
    pair.settle();
    assert_eq!(pair.a.outcome(write), Some(Outcome::Ok));
    pair.a.ask(pair.now, SUSPEND);
    pair.settle();
    assert_eq!(pair.a.admin, None, "the peer does not have it yet");
    pair.b.wants = GOOD;
    pair.b.answer_held(pair.now);
    pair.pass(300);
    assert_eq!(pair.a.admin, Some(Ok(())));
}

#[test]
fn requests_without_data_wait_for_the_peer() {
    let mut pair = without_data(Pair::new(DiskOptions::default()));
    pair.b.wants = HOLD_IO;
    let write = pair.a.write(pair.now, 0);
    let Submit::Accepted(read) = pair.a.submit(pair.now, AppOp::Read, 8) else {
        panic!("a read was not taken");
    };
    pair.settle();
    pair.break_link();
    assert!(pair.a.state().susp_nod);
    assert_eq!(pair.a.submit(pair.now, AppOp::Write, 16), Submit::Busy);
    assert_eq!(pair.a.outcome(write), None);
    assert_eq!(pair.a.outcome(read), None);
    pair.b.wants = GOOD;
    pair.b.answer_held(pair.now);
    pair.restore_link();
    assert!(!pair.a.state().susp_nod);
    assert_eq!(pair.a.outcome(write), Some(Outcome::Ok));
    assert_eq!(pair.a.outcome(read), Some(Outcome::Ok));
}

#[test]
fn requests_without_data_fail_when_the_administrator_gives_up() {
    let mut pair = without_data(Pair::new(DiskOptions::default()));
    pair.b.wants = HOLD_IO;
    let write = pair.a.write(pair.now, 0);
    pair.settle();
    pair.break_link();
    assert_eq!(pair.a.outcome(write), None);
    pair.a.ask(pair.now, RESUME);
    pair.settle();
    assert_eq!(pair.a.admin, Some(Ok(())));
    assert_eq!(pair.a.outcome(write), Some(Outcome::Error));
    let next = pair.a.submit(pair.now, AppOp::Write, 16);
    assert_eq!(next, Submit::Done(Outcome::Error));
}

#[test]
fn requests_without_data_wait_for_the_disk() {
    let mut pair = Pair::new(DiskOptions::default());
    pair.a.engine.set_no_data_suspends(true);
    pair.break_link();
    let mut superblock = pair.a.written();
    assert!(superblock.flags.contains(MetaFlags::PRIMARY_IND));
    pair.a.wants = FAIL_IO;
    let write = pair.a.write(pair.now, 0);
    pair.settle();
    assert_eq!(pair.a.state().disk, DiskState::Diskless);
    assert!(pair.a.state().susp_nod);
    assert_eq!(pair.a.outcome(write), None);
    pair.a.wants = GOOD;
    superblock.clean = false;
    let now = pair.now;
    pair.a.attach(now, superblock, DiskOptions::default());
    pair.settle();
    assert_eq!(pair.a.state().disk, DiskState::UpToDate);
    assert!(!pair.a.state().susp_nod);
    assert_eq!(pair.a.outcome(write), Some(Outcome::Ok));
    let crashed = pair.a.engine.volume(0).map(|v| v.crashed_primary);
    assert_eq!(crashed, Some(false), "it was frozen, it did not crash");
}

#[test]
fn a_loss_while_suspended_mints_when_io_goes_on() {
    let mut pair = Pair::new(DiskOptions::default());
    pair.a.ask(pair.now, SUSPEND);
    pair.settle();
    let before = pair.a.written().current_uuid;
    pair.break_link();
    assert_eq!(pair.a.written().current_uuid, before);
    pair.a.ask(pair.now, RESUME);
    pair.settle();
    assert_ne!(pair.a.written().current_uuid, before);
    assert_eq!(pair.a.written().bitmap_uuid & !1, before & !1);
}

#[test]
fn a_loss_while_suspended_is_forgotten_if_nothing_differs() {
    let mut pair = Pair::new(DiskOptions::default());
    pair.a.ask(pair.now, SUSPEND);
    pair.settle();
    let before = pair.a.written().current_uuid;
    pair.break_link();
    pair.restore_link();
    assert_eq!(pair.a.state().conn, ConnState::Connected);
    assert_eq!(pair.a.written().current_uuid, before);
    pair.a.ask(pair.now, RESUME);
    pair.settle();
    assert_eq!(pair.a.written().current_uuid, before);
}
