// SPDX-License-Identifier: GPL-2.0

//! A write is done when it is on a disk that will be used again: what a Primary may do that has lost its disk, or is about to.

use super::*;
use crate::link::NetOptions;
use crate::wire::{ReplicationProtocol, Role};

const DETACH: Request = Request::Detach {
    volume: 0,
    force: false,
};
const PART: Request = Request::Disconnect { force: false };

/// A Primary that lives on its peer's data.
fn diskless(net: NetOptions) -> Pair {
    let mut pair = Pair::with(DiskOptions::default(), net);
    pair.a.ask(pair.now, DETACH);
    pair.settle();
    assert_eq!(pair.a.state().disk, DiskState::Diskless);
    pair
}

fn of(protocol: ReplicationProtocol) -> NetOptions {
    NetOptions {
        protocol,
        ..NetOptions::default()
    }
}

#[test]
fn neither_node_parts_from_a_primary_its_last_data() {
    let mut pair = diskless(NetOptions::default());
    let refused = Err(Refusal::from(ReturnCode::NO_UP_TO_DATE_DISK));
    pair.b.ask(pair.now, PART);
    pair.settle();
    assert_eq!(pair.b.admin, Some(refused));
    pair.a.ask(pair.now, PART);
    pair.settle();
    assert_eq!(pair.a.admin, Some(refused));
    assert_eq!(pair.a.state().conn, ConnState::Connected);
    pair.a.ask(pair.now, Request::Disconnect { force: true });
    pair.settle();
    assert_eq!(pair.a.admin, Some(Ok(())));
    assert_eq!(pair.a.state().conn, ConnState::StandAlone);
}

#[test]
fn without_a_disk_a_write_is_done_when_the_peers_disk_has_it() {
    for protocol in [ReplicationProtocol::A, ReplicationProtocol::B] {
        let mut pair = diskless(of(protocol));
        pair.b.wants = HOLD_IO;
        let write = pair.a.write(pair.now, 0);
        pair.settle();
        assert_eq!(pair.a.outcome(write), None, "{protocol:?}");
        pair.b.wants = GOOD;
        pair.b.answer_held(pair.now);
        pair.settle();
        assert_eq!(pair.a.outcome(write), Some(Outcome::Ok), "{protocol:?}");
    }
}

#[test]
fn a_write_that_its_own_disk_does_not_have_waits_for_the_peers() {
    for lost in [false, true] {
        let mut pair = Pair::with(DiskOptions::default(), of(ReplicationProtocol::A));
        pair.b.wants = HOLD_IO;
        pair.a.wants = FAIL_IO;
        let write = pair.a.write(pair.now, 0);
        pair.settle();
        assert_eq!(pair.a.outcome(write), None, "it was only sent");
        match lost {
            true => pair.break_link(),
            false => {
                pair.b.wants = GOOD;
                pair.b.answer_held(pair.now);
                pair.settle();
            }
        }
        let expected = if lost { Outcome::Error } else { Outcome::Ok };
        assert_eq!(pair.a.outcome(write), Some(expected));
    }
}

#[test]
fn a_disk_that_is_given_up_does_not_count() {
    let mut pair = Pair::new(DiskOptions::default());
    pair.b.wants = HOLD_IO;
    pair.a.wants = HOLD_IO;
    let write = pair.a.write(pair.now, 0);
    pair.settle();
    pair.a.ask(pair.now, DETACH);
    pair.settle();
    assert_eq!(pair.a.state().disk, DiskState::Failed);
    pair.break_link();
    assert_eq!(pair.a.outcome(write), None);
    // The disk has it, but from now on the peer's data count, which do not.
    pair.a.wants = GOOD;
    pair.a.answer_held(pair.now);
    pair.settle();
    assert_eq!(pair.a.outcome(write), Some(Outcome::Error));
}

#[test]
fn no_old_disk_is_used_because_the_peer_has_none_either() {
    let mut pair = diskless(NetOptions::default());
    let write = pair.a.write(pair.now, 0);
    pair.settle();
    assert_eq!(pair.a.outcome(write), Some(Outcome::Ok));
    pair.b.ask(
        pair.now,
        Request::Detach {
            volume: 0,
            force: true,
        },
    );
    pair.settle();
    assert_eq!(pair.a.state().pdsk, DiskState::Diskless);
    let now = pair.now;
    pair.a
        .attach(now, pair::Node::superblock(), DiskOptions::default());
    pair.settle();
    assert_eq!(pair.a.state().role, Role::Primary);
    assert_eq!(pair.a.state().disk, DiskState::Diskless);
}

#[test]
fn a_demotion_does_not_wait_for_suspended_io() {
    let mut pair = Pair::new(DiskOptions::default());
    pair.a.wants = pair::Wants {
        hold_metadata: true,
        ..GOOD
    };
    // It waits for the activity log, and then for the end of the suspension.
    let write = pair.a.write(pair.now, 0);
    pair.settle();
    pair.a.ask(pair.now, Request::SuspendIo { volume: 0 });
    pair.a.ask(pair.now, Request::Secondary { volume: 0 });
    pair.settle();
    let refused = pair
        .a
        .admin
        .and_then(Result::err)
        .map(|refusal| refusal.code);
    assert_eq!(refused, Some(ReturnCode::DEVICE_IN_USE.0));
    pair.a.wants = GOOD;
    pair.a.answer_held(pair.now);
    pair.a.ask(pair.now, Request::ResumeIo { volume: 0 });
    pair.settle();
    assert_eq!(pair.a.outcome(write), Some(Outcome::Ok));
}
