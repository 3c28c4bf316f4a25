// SPDX-License-Identifier: GPL-2.0

//! State words and state changes (sections 7.1, 7.2 and 7.6).

use std::string::ToString;

use super::super::*;

fn state(role: Role, peer: Role, conn: ConnState, disk: DiskState, pdsk: DiskState) -> State {
    State {
        role,
        peer,
        conn,
        disk,
        pdsk,
        ..State::INITIAL
    }
}

#[test]
fn words_of_the_specification() {
    use ConnState::{Ahead, Connected, PausedSyncT, SyncTarget, WFBitMapT, WFConnection};
    use DiskState::{Consistent, DUnknown, Inconsistent, UpToDate};
    use Role::{Primary, Secondary, Unknown};
    let paused = State {
        user_isp: true,
        ..state(Secondary, Primary, PausedSyncT, Inconsistent, UpToDate)
    };
    let rows = [
        (
            state(Secondary, Unknown, WFConnection, Inconsistent, DUnknown),
            0x0000_C882,
        ),
        (
            state(Secondary, Secondary, Connected, Inconsistent, Inconsistent),
            0x0000_88AA,
        ),
        (
            state(Primary, Secondary, Connected, UpToDate, Inconsistent),
            0x0000_90A9,
        ),
        (
            state(Secondary, Primary, WFBitMapT, Inconsistent, UpToDate),
            0x0001_08E6,
        ),
        (
            state(Secondary, Primary, SyncTarget, Inconsistent, UpToDate),
            0x0001_0916,
        ),
        (paused, 0x0011_0956),
        (
            state(Secondary, Primary, Connected, UpToDate, UpToDate),
            0x0001_10A6,
        ),
        (
            state(Primary, Secondary, Connected, UpToDate, UpToDate),
            0x0001_10A9,
        ),
        (
            state(Primary, Secondary, Ahead, UpToDate, Consistent),
            0x0000_F169,
        ),
    ];
    for (state, word) in rows {
        assert_eq!(state.to_word(), word, "{state:?}");
        assert_eq!(State::from_word(word), Ok(state), "{word:#x}");
    }
}

#[test]
fn flags_have_their_bits() {
    type Flag = (u32, fn(&State) -> bool);
    let bits: [Flag; 6] = [
        (17, |state| state.susp),
        (18, |state| state.aftr_isp),
        (19, |state| state.peer_isp),
        (20, |state| state.user_isp),
        (21, |state| state.susp_nod),
        (22, |state| state.susp_fen),
    ];
    for (bit, flag) in bits {
        let state = State::from_word(1 << bit).unwrap();
        assert_eq!(bits.iter().filter(|(_, flag)| flag(&state)).count(), 1);
        assert!(flag(&state), "{bit}");
        assert_eq!(state.to_word(), 1 << bit);
    }
    assert_eq!(
        State::from_word(0xFF80_0000).map(|state| state.to_word()),
        Ok(0)
    );
}

#[test]
fn numbers_without_a_name() {
    let cases = [
        (3, "role"),
        (3 << 2, "peer"),
        (24 << 4, "conn"),
        (31 << 4, "conn"),
        (9 << 9, "disk"),
        (15 << 13, "pdsk"),
    ];
    for (word, field) in cases {
        assert_eq!(
            State::from_word(word).unwrap_err().field,
            field,
            "{word:#x}"
        );
    }
}

#[test]
fn names_and_order() {
    assert_eq!(ConnState::WFBitMapS.to_string(), "WFBitMapS");
    assert_eq!(ConnState::ALL.len(), 24);
    assert_eq!(DiskState::ALL.len(), 9);
    assert!(ConnState::Behind > ConnState::Connected);
    assert!(
        DiskState::DUnknown > DiskState::Outdated && DiskState::DUnknown < DiskState::Consistent
    );
    for (number, conn) in (0..).zip(ConnState::ALL) {
        assert_eq!(conn.number(), number);
        assert_eq!(ConnState::from_name(conn.name()), Some(*conn));
    }
}

#[test]
fn changes_of_the_specification() {
    let rows = [
        (StateChange::PROMOTE, 0x3, 0x1),
        (StateChange::PROMOTE_FORCED, 0x1E03, 0x1001),
        (StateChange::DETACH, 0x1E00, 0x400),
        (StateChange::INVALIDATE, 0x1F0, 0xC0),
        (StateChange::INVALIDATE_REMOTE, 0x1F0, 0xB0),
        (StateChange::VERIFY, 0x1F0, 0x120),
        (StateChange::DISCONNECT, 0x1F0, 0x10),
        (StateChange::DISCONNECT_OUTDATE_PEER, 0x1_E1F0, 0xA010),
        (StateChange::DISCONNECT_OUTDATE_SELF, 0x1FF0, 0xA10),
    ];
    for (change, mask, val) in rows {
        assert_eq!(change.to_words(), (mask, val), "{change:?}");
        assert_eq!(
            StateChange::from_words(mask, val),
            Ok(change),
            "{mask:#x} {val:#x}"
        );
    }
}

#[test]
fn changes_in_the_peers_view() {
    use ConnState::{
        Connected, Disconnecting, StartingSyncS, StartingSyncT, TearDown, VerifyS, VerifyT,
        WFReportParams,
    };
    let conn = |conn| StateChange {
        conn: Some(conn),
        ..StateChange::NONE
    };
    let rows = [
        (WFReportParams, WFReportParams),
        (Connected, Connected),
        (StartingSyncS, StartingSyncT),
        (StartingSyncT, StartingSyncS),
        (Disconnecting, TearDown),
        (VerifyS, VerifyT),
    ];
    for (asked, seen) in rows {
        assert_eq!(conn(asked).from_peer(), Ok(conn(seen)), "{asked}");
    }
    for &other in ConnState::ALL {
        let convertible = rows.iter().any(|(asked, _)| *asked == other);
        assert_eq!(conn(other).from_peer().is_ok(), convertible, "{other}");
    }
    let promoted = StateChange::PROMOTE_FORCED.from_peer().unwrap();
    let expected = StateChange {
        peer: Some(Role::Primary),
        pdsk: Some(DiskState::UpToDate),
        ..StateChange::NONE
    };
    assert_eq!(promoted, expected);
    let before = state(
        Role::Secondary,
        Role::Secondary,
        Connected,
        DiskState::Inconsistent,
        DiskState::Inconsistent,
    );
    let after = promoted.apply(before);
    assert_eq!(
        (after.peer, after.pdsk),
        (Role::Primary, DiskState::UpToDate)
    );
    assert_eq!((after.role, after.disk), (before.role, before.disk));
}

#[test]
fn changes_that_are_refused() {
    let cases = [
        (1 << 17, 0, "mask"),
        (0x1, 0x1, "mask"),
        (0x3, 0x5, "val"),
        (0x3, 0x3, "role"),
        (0x1E00, 0xF << 9, "disk"),
        (0x1F0, 8 << 4, "conn"),
        (0x1F0, 31 << 4, "conn"),
    ];
    for (mask, val, field) in cases {
        assert_eq!(
            StateChange::from_words(mask, val).unwrap_err().field,
            field,
            "{mask:#x} {val:#x}"
        );
    }
}

#[test]
fn return_codes() {
    assert!(ReturnCode::SUCCESS.is_success() && ReturnCode(7).is_success());
    assert!(!ReturnCode::UNKNOWN_ERROR.is_success() && !ReturnCode::TWO_PRIMARIES.is_success());
    assert_eq!(
        ReturnCode::DEVICE_IN_USE.to_string(),
        "the device is held open (-12)"
    );
    assert_eq!(
        ReturnCode(-3).to_string(),
        "refused for an unknown reason (-3)"
    );
}
