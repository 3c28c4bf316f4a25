// SPDX-License-Identifier: GPL-2.0

//! Lines of the kernel log.

use core::fmt;

use rdb_engine::effects::{Notice, VolumeIndex};
use rdb_engine::wire::State;

use super::resource::Resource;

/// A line of the log at a level, `say!(pr_info: "…", …)`. Takes what `core` can print, unlike the kernel's macros.
macro_rules! say {
    ($level:ident: $($message:tt)+) => {
        kernel::$level!("{}\n", format_args!($($message)+))
    };
}
pub(super) use say;

/// The parts of a state that changed.
struct Difference<'a>(&'a State, &'a State);

impl fmt::Display for Difference<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(old, new) = self;
        let mut part = |name: &str, changed: bool, from: &dyn fmt::Debug, to: &dyn fmt::Debug| {
            if changed {
                write!(f, " {name} {from:?} -> {to:?}")
            } else {
                Ok(())
            }
        };
        part("role", old.role != new.role, &old.role, &new.role)?;
        part("peer", old.peer != new.peer, &old.peer, &new.peer)?;
        part("cstate", old.conn != new.conn, &old.conn, &new.conn)?;
        part("disk", old.disk != new.disk, &old.disk, &new.disk)?;
        part("peer-disk", old.pdsk != new.pdsk, &old.pdsk, &new.pdsk)?;
        part(
            "suspended",
            old.is_suspended() != new.is_suspended(),
            &old.is_suspended(),
            &new.is_suspended(),
        )?;
        part(
            "paused",
            old.is_sync_paused() != new.is_sync_paused(),
            &old.is_sync_paused(),
            &new.is_sync_paused(),
        )
    }
}

/// A state changed.
pub(crate) fn state_changed(resource: &str, vnr: u16, old: &State, new: &State, why: &str) {
    say!(pr_info: "{}/{}:{} ({})", resource, vnr, Difference(old, new), why);
}

/// Something else happened.
pub(crate) fn notice(resource: &Resource, notice: &Notice) {
    let name = resource.name();
    let number = |v: VolumeIndex| {
        resource.inspect(|engine| engine.volume(v).map_or(0, |volume| volume.number))
    };
    match *notice {
        Notice::Handshake { volume, settled } => {
            let (row, why) = (settled.decision.row, settled.decision.meaning);
            let (more, verdict) = (settled.step.text(), settled.verdict.text());
            say!(pr_info: "{}/{}: handshake: rule {} ({}{}): {}", name, number(volume), row, why, more, verdict);
        }
        Notice::SplitBrain {
            volume,
            resolved: true,
        } => {
            say!(pr_warn: "{}/{}: split brain, resolved by policy", name, number(volume));
        }
        Notice::SplitBrain {
            volume,
            resolved: false,
        } => {
            say!(pr_alert: "{}/{}: split brain detected, dropping the connection", name, number(volume));
        }
        Notice::PrimaryLost { volume } => {
            say!(pr_alert: "{}/{}: lost the split brain by policy, but is Primary and in use", name, number(volume));
        }
        Notice::UnrelatedData { volume } => {
            say!(pr_alert: "{}/{}: unrelated data on the peer, dropping the connection", name, number(volume));
        }
        Notice::ConfigMismatch(option) => {
            say!(pr_err: "{}: the peer is configured differently: {}", name, option);
        }
        Notice::SyncStarted {
            volume,
            bits,
            source,
        } => {
            let as_what = if source { "source" } else { "target" };
            let kib = bits.saturating_mul(4);
            say!(pr_info: "{}/{}: resync started as {}, {} KiB to copy", name, number(volume), as_what, kib);
        }
        Notice::SyncDone {
            volume,
            failed,
            took_ms,
            copied,
        } => {
            let (kib, lost) = (copied.saturating_mul(4), failed.saturating_mul(4));
            let vnr = number(volume);
            say!(pr_info: "{}/{}: resync done: {} KiB in {} ms, {} KiB failed", name, vnr, kib, took_ms, lost);
        }
        Notice::DiskFailed { volume, what } => {
            say!(pr_err: "{}/{}: lower disk failed: {}", name, number(volume), what);
        }
        Notice::BadPacket { packet, what } => say!(pr_warn: "{}: {}: {}", name, packet, what),
        Notice::Peer(what) => say!(pr_warn: "{}: {}", name, what),
    }
}
