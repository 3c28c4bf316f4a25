// SPDX-License-Identifier: GPL-2.0

//! A resource: what the shell holds under one lock, and feeds with inputs.
//!
//! The inputs are spread over the modules by subject (`request`, `peer_request`, `link`, `resync`, `metadata`, `admin`); this one
//! has the data and what all of them need: sending packets, changing states, and what follows from a change.
//!
//! Every input takes the current time; all of them return at once.

use crate::admin::{Pending, Refusal};
use crate::admission::Resuming;
use crate::effects::{Act, Effects, Millis, Notice, Payload, VolumeIndex, PACKET_MAX};
use crate::epoch::{Epoch, ReceiveEpoch, SendEpochs};
use crate::fencing::Fence;
use crate::link::{Link, LinkFailure, NetOptions};
use crate::memory::Memory;
use crate::meta::MetaFlags;
use crate::peer_request::PeerRequest;
use crate::request::AppRequest;
use crate::slots::{Entry, Slots};
use crate::state::{implied, is_source, is_syncing, is_target};
use crate::volume::{Announcement, Volume};
use crate::wire::{
    ConnState, DiskState, Features, Packet, QueueLimits, ResizeFlags, ReturnCode, Role, Sizes,
    Socket, State, UuidFlags, Uuids, MAX_REQUEST_BYTES,
};

/// Memory for the tables of a resource, filled with default values.
pub struct Tables<M: Memory> {
    /// Requests of the application, those that wait for a barrier acknowledgement included.
    pub app: M::Table<Entry<AppRequest>>,
    /// Requests of the peer, and own resync requests.
    pub peer: M::Table<Entry<PeerRequest>>,
    /// Write epochs that the peer has not acknowledged; as many as `app`.
    pub epochs: M::Table<Epoch>,
    /// Volumes.
    pub volumes: M::Table<Option<Volume<M>>>,
}

/// A resource.
pub struct Resource<M: Memory> {
    pub(crate) volumes: M::Table<Option<Volume<M>>>,
    pub(crate) app: Slots<AppRequest, M::Table<Entry<AppRequest>>>,
    pub(crate) peer: Slots<PeerRequest, M::Table<Entry<PeerRequest>>>,
    pub(crate) sending: SendEpochs<M>,
    pub(crate) receiving: ReceiveEpoch,
    pub(crate) link: Link,
    pub(crate) net: Option<NetOptions>,
    pub(crate) admin: Option<Pending>,
    pub(crate) resuming: Resuming,
    pub(crate) fence: Fence,
    /// Requests that find no data wait.
    pub(crate) no_data_suspends: bool,
    pub(crate) now: Millis,
}

impl<M: Memory> Resource<M> {
    /// A resource without volumes and without a connection.
    pub fn new(tables: Tables<M>) -> Self {
        Self {
            volumes: tables.volumes,
            app: Slots::new(tables.app),
            peer: Slots::new(tables.peer),
            sending: SendEpochs::new(tables.epochs),
            receiving: ReceiveEpoch::default(),
            link: Link::default(),
            net: None,
            admin: None,
            resuming: Resuming::No,
            fence: Fence::default(),
            no_data_suspends: false,
            now: 0,
        }
    }

    /// Adds a diskless volume.
    ///
    /// # Errors
    ///
    /// The number is taken, or there is no room.
    pub fn add_volume(
        &mut self,
        number: u16,
        minor: u32,
        fx: &mut dyn Effects,
    ) -> Result<VolumeIndex, Refusal> {
        if self.volume_by_number(number).is_some() {
            return Err(Refusal::new(161, "the volume exists already"));
        }
        let conn = self.link.conn;
        let Some((index, place)) = self
            .volumes
            .iter_mut()
            .enumerate()
            .find(|(_, place)| place.is_none())
        else {
            return Err(Refusal::new(
                122,
                "no room for another volume in this resource",
            ));
        };
        let mut volume = Volume::new(number, minor);
        volume.state.conn = conn;
        *place = Some(volume);
        if self.link.conn == ConnState::WFReportParams {
            self.introduce_volume(index, fx);
        }
        Ok(index)
    }

    /// Removes a volume.
    ///
    /// # Errors
    ///
    /// It has a disk, is open, is Primary, or is known to a connected peer.
    pub fn remove_volume(&mut self, v: VolumeIndex) -> Result<(), Refusal> {
        let Some(volume) = self.vol(v) else {
            return Ok(());
        };
        if volume.disk.is_some() || volume.state.disk != DiskState::Diskless {
            return Err(Refusal::new(124, "the volume has a disk: detach it first"));
        }
        if volume.readers + volume.writers > 0 || volume.primary() {
            return Err(ReturnCode::DEVICE_IN_USE.into());
        }
        if volume.state.conn > ConnState::WFReportParams {
            return Err(Refusal::new(
                161,
                "the volume is connected: disconnect first",
            ));
        }
        if let Some(place) = self.volumes.get_mut(v) {
            *place = None;
        }
        Ok(())
    }

    /// A volume by index.
    pub fn volume(&self, v: VolumeIndex) -> Option<&Volume<M>> {
        self.vol(v)
    }

    /// The index of the volume with this number.
    pub fn volume_by_number(&self, number: u16) -> Option<VolumeIndex> {
        self.volumes.iter().position(|volume| {
            volume
                .as_ref()
                .is_some_and(|volume| volume.number == number)
        })
    }

    /// Indices of all volumes.
    pub fn volumes(&self) -> impl Iterator<Item = VolumeIndex> + '_ {
        self.volumes
            .iter()
            .enumerate()
            .filter_map(|(i, volume)| volume.as_ref().map(|_| i))
    }

    /// State of the connection as a whole.
    pub fn connection(&self) -> ConnState {
        self.link.conn
    }

    /// Options of the connection, if one is configured.
    pub fn net_options(&self) -> Option<&NetOptions> {
        self.net.as_ref()
    }

    /// Tells how often the device is open.
    pub fn set_open(&mut self, v: VolumeIndex, readers: u32, writers: u32) {
        if let Some(volume) = self.vol_mut(v) {
            volume.readers = readers;
            volume.writers = writers;
        }
    }

    pub(crate) fn vol(&self, v: VolumeIndex) -> Option<&Volume<M>> {
        self.volumes.get(v)?.as_ref()
    }

    pub(crate) fn vol_mut(&mut self, v: VolumeIndex) -> Option<&mut Volume<M>> {
        self.volumes.get_mut(v)?.as_mut()
    }

    /// Calls `f` for every volume index; volumes may change meanwhile.
    pub(crate) fn for_each_volume(&mut self, mut f: impl FnMut(&mut Self, VolumeIndex)) {
        for v in 0..self.volumes.len() {
            if self.vol(v).is_some() {
                f(self, v);
            }
        }
    }

    /// Sends a packet of a volume (`None`: of the connection) on its socket.
    pub(crate) fn send(
        &mut self,
        v: Option<VolumeIndex>,
        socket: Socket,
        packet: &Packet<'_>,
        payload: Payload,
        fx: &mut dyn Effects,
    ) {
        if !self.link.can_send() {
            return;
        }
        let number = v
            .and_then(|v| self.vol(v))
            .map_or(0, |volume| volume.number);
        let mut bytes = [0; PACKET_MAX];
        match packet.encode(self.link.agreed.header_format(), number, &mut bytes) {
            Ok(len) => fx.send(socket, bytes.get(..len).unwrap_or_default(), payload),
            Err(_) => {
                fx.act(Act::Notice(Notice::Peer("a packet could not be encoded")));
                self.fail_link(LinkFailure::ProtocolError, fx);
            }
        }
    }

    /// Tells the peer something about a volume, as soon as the metadata behind it are durable.
    pub(crate) fn announce(&mut self, v: VolumeIndex, what: Announcement, fx: &mut dyn Effects) {
        if !self.link.can_send() {
            return;
        }
        let Some(volume) = self.vol_mut(v) else {
            return;
        };
        if volume.must_not_tell() || !volume.announcements.is_empty() {
            if !volume.announcements.push(what) {
                fx.act(Act::Notice(Notice::Peer(
                    "too many state changes while the metadata are written",
                )));
                self.fail_link(LinkFailure::NetworkFailure, fx);
            }
            return;
        }
        self.tell(v, what, fx);
    }

    /// Sends what had to wait for the metadata of a volume.
    pub(crate) fn tell_waiting(&mut self, v: VolumeIndex, fx: &mut dyn Effects) {
        while let Some(volume) = self.vol_mut(v) {
            if volume.must_not_tell() {
                break;
            }
            match volume.announcements.pop() {
                Some(what) => self.tell(v, what, fx),
                None => break,
            }
        }
        self.meet_early_state(v, fx);
        self.tell_before_parting(fx);
    }

    fn tell(&mut self, v: VolumeIndex, what: Announcement, fx: &mut dyn Effects) {
        let Some(volume) = self.vol_mut(v) else {
            return;
        };
        let packet = match what {
            Announcement::Sizes => {
                let mut sizes = sizes_of(volume);
                // The limits belong to the packet exactly if the feature is agreed (section 3.3).
                if !self.link.agreed.features.contains(Features::WSAME) {
                    sizes.limits = None;
                }
                Packet::Sizes(sizes)
            }
            Announcement::Uuids => match volume.state.disk >= DiskState::Negotiating {
                true => {
                    volume.tells_uuids();
                    Packet::Uuids(uuids_of(volume))
                }
                false => return,
            },
            Announcement::State(state) => {
                volume.tells_state(&state);
                Packet::State(state)
            }
            Announcement::Introduction => {
                let state = volume.introduction();
                volume.tells_state(&state);
                Packet::State(state)
            }
            // The superblock with it could not be written, and the resync is over before it began: on the target's disk it would
            // be a generation that no other disk knows.
            Announcement::SyncUuid(uuid)
                if !is_source(volume.state.conn) || volume.generation.bitmap != uuid =>
            {
                return
            }
            Announcement::SyncUuid(uuid) => Packet::SyncUuid(uuid),
            Announcement::Request(change) => Packet::StateChangeRequest(change),
            Announcement::Reply(code) => {
                let packet = Packet::StateChangeReply(code);
                return self.send(Some(v), Socket::Meta, &packet, Payload::None, fx);
            }
            Announcement::Bitmap => {
                if self.start_sending_bitmap(v) {
                    fx.send(Socket::Data, &[], Payload::Bitmap { volume: v });
                }
                return;
            }
        };
        self.send(Some(v), Socket::Data, &packet, Payload::None, fx);
    }

    /// Changes the state of a volume to `new` and what that implies.
    pub(crate) fn change(
        &mut self,
        v: VolumeIndex,
        new: State,
        why: &'static str,
        fx: &mut dyn Effects,
    ) {
        let Some(volume) = self.vol(v) else {
            return;
        };
        let old = volume.state;
        let new = self.hold_or_thaw(&old, implied(new, volume.state_without_peer()));
        if old == new {
            return;
        }
        if let Some(volume) = self.vol_mut(v) {
            volume.state = new;
            let settled = old.disk == DiskState::Negotiating && new.disk > DiskState::Negotiating;
            volume.remote_only &= !(settled && new.conn >= ConnState::Connected);
            if new.disk == DiskState::Failed && old.disk != new.disk {
                volume.announcements.drop_unfounded();
            }
        }
        self.watch_peer(&old, &new);
        fx.act(Act::StateChanged {
            volume: v,
            old,
            new,
            why,
        });
        fx.act(Act::Wake);
        self.update_generation(v, &old, &new, fx);
        self.update_flags(v, fx);
        self.announce_change(v, &old, &new, fx);
        self.start_what_follows(v, &old, &new, fx);
        self.call_if_degraded(v, &old, &new, fx);
        self.call_after_resync(v, &old, &new, fx);
        self.met_before_mint(v, fx);
        self.thaw(v, &old, fx);
        self.lower_after_error(v, "an I/O error on the lower disk was passed on", fx);
    }

    /// Mints a new current UUID where data may diverge from now on (section 8.2).
    fn update_generation(
        &mut self,
        v: VolumeIndex,
        old: &State,
        new: &State,
        fx: &mut dyn Effects,
    ) {
        let Some(volume) = self.vol_mut(v) else {
            return;
        };
        let before = volume.generation.current;
        if old.role != new.role {
            volume
                .generation
                .set_current(before, new.role == Role::Primary);
        }
        let involved = new.role == Role::Primary || new.peer == Role::Primary;
        let had = matches!(
            old.pdsk,
            DiskState::Inconsistent | DiskState::Consistent | DiskState::UpToDate
        );
        let has_not = matches!(
            new.pdsk,
            DiskState::Diskless
                | DiskState::Attaching
                | DiskState::Failed
                | DiskState::Negotiating
                | DiskState::DUnknown
                | DiskState::Outdated
        );
        let unknown_to_none = old.pdsk == DiskState::DUnknown
            && matches!(
                new.pdsk,
                DiskState::Diskless | DiskState::Failed | DiskState::Outdated
            );
        let peer_lost = involved && ((had && has_not) || unknown_to_none);
        // A Primary without a disk goes on with the data of this one.
        let diskless_peer_promoted = new.pdsk < DiskState::Inconsistent
            && new.peer == Role::Primary
            && (old.peer != Role::Primary || old.disk != DiskState::UpToDate);
        if volume.generation.bitmap == 0
            && new.disk == DiskState::UpToDate
            && (peer_lost || diskless_peer_promoted)
        {
            // A Primary whose I/O is suspended has no new data yet. What a Secondary has got it has.
            if new.is_suspended() && new.role == Role::Primary {
                volume.trouble.mint = true;
                return;
            }
            self.mint_after(v, before, fx);
            if new.conn >= ConnState::Connected {
                self.announce(v, Announcement::Uuids, fx);
            }
        }
    }

    /// Gives the volume a new current UUID.
    pub(crate) fn mint(&mut self, v: VolumeIndex, fx: &mut dyn Effects) {
        if let Some(before) = self.vol(v).map(|volume| volume.generation.current) {
            self.mint_after(v, before, fx);
        }
    }

    /// Gives the volume a new current UUID. `before` is the old one, with the role that this node had when the generations parted:
    /// who was promoted later is the younger Primary (section 8.1).
    pub(crate) fn mint_after(&mut self, v: VolumeIndex, before: u64, fx: &mut dyn Effects) {
        let random = fx.random();
        if let Some(volume) = self.vol_mut(v) {
            let primary = volume.primary();
            volume.generation.mint(random, primary);
            volume.generation.bitmap = before;
            self.superblock_changed(v, fx);
        }
    }

    /// What the peer is told of a change (section 7.3).
    fn announce_change(&mut self, v: VolumeIndex, old: &State, new: &State, fx: &mut dyn Effects) {
        let state = Announcement::State(*new);
        let connected = new.conn >= ConnState::Connected;
        if connected && old.conn < ConnState::Connected {
            self.announce(v, state, fx);
        }
        let begins = new.conn > ConnState::Connected && new.conn != old.conn;
        if begins && self.vol(v).is_some_and(|volume| volume.tell_of_resync) {
            self.announce(v, Announcement::Uuids, fx);
            self.announce(v, state, fx);
        }
        if is_source(new.conn) && !is_source(old.conn) {
            self.announce_sync_uuid(v, fx);
        }
        let told_all = connected && old.conn < ConnState::Connected;
        if connected
            && old.pdsk == DiskState::Diskless
            && new.pdsk > DiskState::Diskless
            && new.pdsk != DiskState::DUnknown
            && !told_all
        {
            self.announce(v, Announcement::Uuids, fx);
            self.announce(v, state, fx);
        }
        if old.disk == DiskState::Attaching && new.disk == DiskState::Negotiating {
            self.announce(v, Announcement::Sizes, fx);
            self.announce(v, Announcement::Uuids, fx);
            self.announce(v, state, fx);
        }
        let paused = (old.user_isp, old.aftr_isp) != (new.user_isp, new.aftr_isp);
        let lost_disk =
            old.disk != new.disk && matches!(new.disk, DiskState::Failed | DiskState::Diskless);
        let tolerated = old.disk > DiskState::Inconsistent
            && new.disk == DiskState::Inconsistent
            && !is_target(new.conn)
            && new.conn == ConnState::Connected;
        let target_done = old.disk < DiskState::UpToDate
            && old.conn >= ConnState::SyncSource
            && new.conn == ConnState::Connected;
        if connected && !told_all && (paused || lost_disk || tolerated || target_done) {
            self.announce(v, state, fx);
        }
    }

    /// Work that a new state brings with it.
    fn start_what_follows(
        &mut self,
        v: VolumeIndex,
        old: &State,
        new: &State,
        fx: &mut dyn Effects,
    ) {
        let up_to_date = |s: &State| s.disk == DiskState::UpToDate && s.pdsk == DiskState::UpToDate;
        if up_to_date(new) && !up_to_date(old) {
            if let Some(volume) = self.vol_mut(v) {
                volume.crashed_primary = false;
                if let Some(peer) = &mut volume.peer_generation {
                    peer.crashed_primary = false;
                }
            }
            self.update_flags(v, fx);
        }
        if old.conn != new.conn {
            match new.conn {
                ConnState::WFBitMapS => self.announce(v, Announcement::Bitmap, fx),
                // What came before belongs to a resync that was given up.
                ConnState::WFBitMapT => {
                    if let Some(volume) = self.vol_mut(v) {
                        volume.early_sync_uuid = None;
                    }
                }
                ConnState::WFSyncUUID => {
                    let early = self
                        .vol_mut(v)
                        .and_then(|volume| volume.early_sync_uuid.take());
                    if let Some(uuid) = early {
                        return self.sync_uuid_received(v, uuid, fx);
                    }
                }
                ConnState::StartingSyncS | ConnState::StartingSyncT => self.start_full_sync(v, fx),
                _ => (),
            }
            if is_syncing(new.conn) && !is_syncing(old.conn) {
                self.resync_begins(v, fx);
            } else if is_syncing(old.conn) && !is_syncing(new.conn) {
                self.resync_ends(v, fx);
            } else if is_target(new.conn) {
                self.resync_fill(v, fx);
            }
        }
        if old.disk != new.disk && new.disk == DiskState::Failed {
            self.drain_disk(v, fx);
        }
        if old.pdsk >= DiskState::Inconsistent && new.pdsk <= DiskState::Failed {
            self.mark_unacknowledged(v);
        }
        if old.pdsk == DiskState::UpToDate && new.pdsk != old.pdsk {
            self.end_refused(v, fx);
        }
        if old.disk != new.disk && new.disk == DiskState::Diskless {
            // Requests that waited for metadata of this disk need not wait any more.
            self.settle_all(fx);
        }
    }

    /// Brings the flags of the superblock in line with the state (metadata, section 2.3).
    pub(crate) fn update_flags(&mut self, v: VolumeIndex, fx: &mut dyn Effects) {
        let Some(volume) = self.vol_mut(v) else {
            return;
        };
        let (state, crashed) = (volume.state, volume.crashed_primary);
        let flags = volume.flags().after_change(&state, crashed);
        match &mut volume.disk {
            Some(disk) if state.disk >= DiskState::Inconsistent && disk.flags != flags => {
                let was_in_use = disk.flags.contains(MetaFlags::PRIMARY_IND);
                let in_use = flags.contains(MetaFlags::PRIMARY_IND);
                let unwritten = disk.bitmap.is_changed() || disk.bitmap_writing;
                disk.hold_primary_ind &= !in_use;
                disk.hold_primary_ind |= was_in_use && !in_use && unwritten;
                let write_bitmap = disk.hold_primary_ind;
                disk.flags = flags;
                if write_bitmap {
                    self.force_write_bitmap(v, fx);
                }
                self.superblock_changed(v, fx);
            }
            _ => (),
        }
    }
}

/// What a node says of its sizes (section 3.8).
pub(crate) fn sizes_of<M: Memory>(volume: &Volume<M>) -> Sizes {
    let limits = volume.disk.as_ref().map_or(
        QueueLimits {
            physical_block_size: 512,
            logical_block_size: 512,
            alignment_offset: 0,
            io_min: 512,
            io_opt: 0,
            discard_enabled: false,
        },
        |disk| disk.limits,
    );
    Sizes {
        disk_sectors: volume.disk_size(),
        user_sectors: volume.user_size,
        current_sectors: volume.capacity,
        max_bio_size: MAX_REQUEST_BYTES,
        flags: ResizeFlags::NONE,
        limits: Some(limits),
    }
}

/// What a node says of its data generations (section 3.9).
pub(crate) fn uuids_of<M: Memory>(volume: &Volume<M>) -> Uuids {
    let negotiating = volume.state.disk == DiskState::Negotiating;
    Uuids {
        current: volume.generation.current,
        bitmap: volume.generation.bitmap,
        history: volume.generation.history,
        dirty_bits: volume.out_of_sync(),
        flags: UuidFlags::NONE
            .with(UuidFlags::DISCARD_MY_DATA, volume.discard_my_data)
            .with(UuidFlags::CRASHED_PRIMARY, volume.crashed_primary)
            .with(
                UuidFlags::INCONSISTENT,
                negotiating && volume.after_attach == DiskState::Inconsistent,
            ),
    }
}
