// SPDX-License-Identifier: GPL-2.0

//! `/proc/rdb`: the lines that programs and people have read for twenty years (administration, section 8).

use core::fmt::{self, Write};

use kernel::prelude::*;
use kernel::sync::Arc;
use rdb_engine::effects::{Millis, VolumeIndex};
use rdb_engine::netlink::attr;
use rdb_engine::wire::{ConnState, DiskState, Role, OWN_VERSIONS};
use rdb_kapi::proc::{ProcFile, ProcShow, SeqWriter};
use rdb_kapi::time;

use super::resource::Resource;
use super::status::{Progress, VolumeStatus};
use super::{control, registry};

/// Characters of the progress bar.
const BAR: u64 = 20;
/// From this many blocks of 4 KiB on (4 GiB), amounts are in MiB.
const BIG_BLOCKS: u64 = 1 << 20;

/// The text of the file.
pub(crate) struct Summary;

/// Makes the file. May sleep.
pub(crate) fn create() -> Result<ProcFile<Summary>> {
    ProcFile::new(c"rdb", Arc::new(Summary, GFP_KERNEL)?)
}

impl ProcShow for Summary {
    fn show(&self, out: &mut SeqWriter<'_>) -> fmt::Result {
        let (low, high) = (OWN_VERSIONS.min, OWN_VERSIONS.max);
        writeln!(
            out,
            "version: {} (api:{}/proto:{low}-{high})",
            control::VERSION,
            control::API
        )?;
        writeln!(out, "rdb, for peers with rdb or drbd 8.4\n")?;
        let now = time::now_ms();
        let mut expected = 0;
        while let Some((minor, resource, index)) = registry::next_minor(expected) {
            if minor > expected {
                writeln!(out)?;
            }
            show(out, now, &resource, index)?;
            expected = minor.saturating_add(1);
        }
        Ok(())
    }
}

/// What the settings add to a volume's lines.
struct Extra {
    protocol: char,
    ordering: char,
}

impl Extra {
    fn of(resource: &Resource, volume: u16) -> Self {
        resource.settings.with(|values| {
            let disk = values.disk(volume).map(|disk| &disk.options);
            Extra {
                protocol: values
                    .connection
                    .as_ref()
                    .map_or(' ', |net| net.options.protocol_letter()),
                ordering: match disk {
                    Some(options) if options.is_on(attr::DISK_FLUSHES) => 'f',
                    Some(options) if options.is_on(attr::DISK_DRAIN) => 'd',
                    _ => 'n',
                },
            }
        })
    }
}

fn show(
    out: &mut SeqWriter<'_>,
    now: Millis,
    resource: &Resource,
    index: VolumeIndex,
) -> fmt::Result {
    let Some(volume) = resource.inspect(|engine| VolumeStatus::take(engine, index, now)) else {
        return Ok(());
    };
    let s = volume.state;
    if s.conn == ConnState::StandAlone && s.disk == DiskState::Diskless && s.role == Role::Secondary
    {
        return writeln!(out, "{:2}: cs:Unconfigured", volume.minor);
    }
    let extra = Extra::of(resource, volume.number);
    let flag = |set: bool, letter: char| if set { letter } else { '-' };
    writeln!(
        out,
        "{:2}: cs:{} ro:{}/{} ds:{}/{} {} {}{}{}{}--",
        volume.minor,
        s.conn.name(),
        s.role.name(),
        s.peer.name(),
        s.disk.name(),
        s.pdsk.name(),
        extra.protocol,
        if s.is_suspended() { 's' } else { 'r' },
        flag(s.aftr_isp, 'a'),
        flag(s.peer_isp, 'p'),
        flag(s.user_isp, 'u'),
    )?;
    let c = &volume.counters;
    writeln!(
        out,
        "    ns:{} nr:{} dw:{} dr:{} al:{} bm:{} lo:{} pe:{} ua:{} ap:{} ep:{} wo:{} oos:{}",
        c.sent / 2,
        c.received / 2,
        c.written / 2,
        c.read / 2,
        c.activity_log,
        c.bitmap,
        c.local_pending,
        c.peer_pending,
        c.unacked,
        c.app_pending,
        1,
        extra.ordering,
        volume.out_of_sync_kib(),
    )?;
    match (s.conn, &volume.progress) {
        (ConnState::SyncSource, Some(progress)) => bar(out, progress, None),
        (ConnState::SyncTarget, Some(progress)) => bar(out, progress, progress.want),
        _ => Ok(()),
    }
}

fn bar(out: &mut SeqWriter<'_>, progress: &Progress, want: Option<u64>) -> fmt::Result {
    let done = progress.done();
    let x = (done / 50).min(BAR);
    out.write_str("\t[")?;
    for _ in 1..x {
        out.write_char('=')?;
    }
    out.write_char('>')?;
    for _ in x..BAR {
        out.write_char('.')?;
    }
    write!(out, "] sync'ed:{:3}.{}% ", done / 10, done % 10)?;
    if progress.total > BIG_BLOCKS {
        write!(out, "({}/{})M", progress.left >> 8, progress.total >> 8)?;
    } else {
        write!(out, "({}/{})K", progress.left << 2, progress.total << 2)?;
    }
    let eta = progress.eta.unwrap_or(0);
    write!(
        out,
        "\n\tfinish: {}:{:02}:{:02}",
        eta / 3600,
        eta / 60 % 60,
        eta % 60
    )?;
    write!(
        out,
        " speed: {} ({})",
        Thousands(progress.rate),
        Thousands(progress.average)
    )?;
    if let Some(want) = want {
        write!(out, " want: {}", Thousands(want))?;
    }
    writeln!(
        out,
        " K/sec{}",
        if progress.stalled { " (stalled)" } else { "" }
    )
}

/// A number with commas between the thousands.
struct Thousands(u64);

impl fmt::Display for Thousands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Groups of three digits, the last one first; 20 digits make 7 groups.
        let mut groups = [0; 7];
        let mut used = 0;
        let mut rest = self.0;
        for group in &mut groups {
            *group = rest % 1000;
            rest /= 1000;
            used += 1;
            if rest == 0 {
                break;
            }
        }
        let mut groups = groups.iter().take(used).rev();
        if let Some(first) = groups.next() {
            write!(f, "{first}")?;
        }
        for group in groups {
            write!(f, ",{group:03}")?;
        }
        Ok(())
    }
}
