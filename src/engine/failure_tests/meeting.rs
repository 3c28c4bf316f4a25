// SPDX-License-Identifier: GPL-2.0

//! Two nodes, or their disks, meet, and something changes between what a node has told and what it decides.

use super::*;

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
