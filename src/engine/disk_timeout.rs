// SPDX-License-Identifier: GPL-2.0

//! `disk-timeout`: a lower disk that does not answer is given up (metadata, section 5.8).
//!
//! The ages of what the disk has to do are looked at a few times within the limit. Metadata have no slot of their own: their age
//! is the time during which nothing of them was finished although something is being written.

use crate::activity_log::ActivityLog;
use crate::effects::{Effects, Millis, VolumeIndex};
use crate::memory::Memory;
use crate::request::Part;
use crate::resource::Resource;
use crate::volume::Volume;
use crate::wire::DiskState;

/// How many times within the limit the disk is looked at.
const LOOKS: Millis = 8;

/// Bounds of the time between two looks, in milliseconds.
const PAUSE_MS: (Millis, Millis) = (25, 1000);

fn limit<M: Memory>(volume: &Volume<M>) -> Option<Millis> {
    let disk = volume.disk.as_ref()?;
    let on = disk.options.disk_timeout_ms > 0
        && volume.state.disk > DiskState::Attaching
        && !volume.trouble.abandoned;
    on.then(|| Millis::from(disk.options.disk_timeout_ms))
}

/// A number that changes whenever a write of metadata ends; `None` if none is under way.
fn metadata_mark<M: Memory>(volume: &Volume<M>) -> Option<u64> {
    let disk = volume.disk.as_ref()?;
    let logging = disk.log.as_ref().is_some_and(ActivityLog::is_writing);
    let busy = disk.write.running || disk.bitmap_writing || logging;
    let finished = disk
        .write
        .done
        .wrapping_add(volume.trouble.metadata_steps)
        .wrapping_add(volume.counters.bitmap)
        .wrapping_add(volume.counters.activity_log);
    busy.then_some(finished)
}

impl<M: Memory> Resource<M> {
    /// When the disks want to be looked at.
    pub(crate) fn disk_timeout_deadline(&self) -> Option<Millis> {
        self.volumes
            .iter()
            .flatten()
            .filter_map(|volume| Some(volume.trouble.checked.saturating_add(pause(limit(volume)?))))
            .min()
    }

    /// Gives up the disks that have not answered within their limit.
    pub(crate) fn disk_timeout_tick(&mut self, v: VolumeIndex, fx: &mut dyn Effects) {
        let now = self.now;
        let Some(volume) = self.vol_mut(v) else {
            return;
        };
        let Some(limit) = limit(volume) else {
            volume.trouble.metadata = None;
            return;
        };
        if now < volume.trouble.checked.saturating_add(pause(limit)) {
            return;
        }
        volume.trouble.checked = now;
        volume.trouble.metadata = match (metadata_mark(volume), volume.trouble.metadata) {
            (None, _) => None,
            (Some(mark), Some((seen, since))) if mark == seen => Some((mark, since)),
            (Some(mark), _) => Some((mark, now)),
        };
        let metadata = volume.trouble.metadata.map(|(_, since)| since);
        let (flushing, attached) = (volume.trouble.flushing, volume.trouble.attached);
        let app = self.app.iter().filter_map(|(_, request)| {
            (request.volume == v && request.local == Part::Pending).then_some(request.local_since)
        });
        let peer = self.peer.iter().filter_map(|(_, request)| {
            (request.volume == v && request.is_on_disk()).then_some(request.since)
        });
        let oldest = app.chain(peer).chain(metadata).chain(flushing).min();
        if oldest.is_some_and(|oldest| now >= oldest.max(attached).saturating_add(limit)) {
            self.abandon_disk(v, "the lower disk did not answer within disk-timeout", fx);
        }
    }
}

fn pause(limit: Millis) -> Millis {
    let (least, most) = PAUSE_MS;
    (limit / LOOKS).clamp(least, most)
}
