// SPDX-License-Identifier: GPL-2.0

//! From connected streams to Connected or a resync, and every later exchange of states (wire protocol, sections 3.8 to 3.11, 7.4,
//! 7.6 and 8.4).

use crate::decision::{Meeting, Verdict};
use crate::effects::{Act, Effects, Notice, VolumeIndex};
use crate::generation::{Correction, Generation, PeerGeneration};
use crate::handler::Handler;
use crate::link::LinkFailure;
use crate::meeting::{settle, Encounter, Settlement, Step};
use crate::memory::Memory;
use crate::resource::Resource;
use crate::split_brain::demotes;
use crate::state::{check, is_source, Context};
use crate::volume::{Announcement, Volume};
use crate::wire::{ConnState as C, DiskState as D, Features, Role, Sizes, State, UuidFlags, Uuids};

/// Result of the meeting of two nodes' data (section 8.4).
enum Outcome {
    /// Go on in this connection state.
    Conn(C),
    /// The two do not fit together.
    Drop,
}

impl<M: Memory> Resource<M> {
    /// `P_SIZES` (section 3.8).
    pub(crate) fn sizes_received(&mut self, v: VolumeIndex, sizes: &Sizes, fx: &mut dyn Effects) {
        let Some(volume) = self.vol_mut(v) else {
            return;
        };
        volume.peer_max_bio = sizes.max_bio_size;
        let (capacity, state) = (volume.capacity, volume.state);
        let before = volume.disk_size();
        let new = match volume.disk.is_some() && state.disk >= D::Negotiating {
            true => {
                if state.conn == C::WFReportParams {
                    volume.user_size = smaller_set(volume.user_size, sizes.user_sectors);
                } else {
                    volume.user_size = sizes.user_sectors;
                }
                agreed_size(volume, sizes)
            }
            false => [
                sizes.current_sectors,
                sizes.user_sectors,
                sizes.disk_sectors,
            ]
            .into_iter()
            .find(|size| *size != 0)
            .filter(|_| capacity == 0 || sizes.disk_sectors != 0)
            .unwrap_or(capacity),
        };
        let shrinks = new < capacity;
        let protected = match volume.disk.is_some() {
            true => {
                state.disk >= D::Outdated
                    && (state.conn < C::Connected || state.pdsk == D::Diskless)
            }
            false => state.role == Role::Primary,
        };
        if shrinks && protected {
            fx.act(Act::Notice(Notice::ConfigMismatch(
                "the peer's disk is too small",
            )));
            return self.drop_link(fx);
        }
        if new != capacity && new != 0 {
            self.set_capacity(v, new, fx);
        }
        let now = self.vol(v).map_or(0, |volume| volume.capacity);
        let resized =
            state.conn > C::WFReportParams && (sizes.current_sectors != now || before == 0);
        if resized && sizes.current_sectors != now {
            self.announce(v, Announcement::Sizes, fx);
        }
    }

    /// Gives the volume a new size, in sectors.
    pub(crate) fn set_capacity(&mut self, v: VolumeIndex, sectors: u64, fx: &mut dyn Effects) {
        if let Some(volume) = self.vol_mut(v) {
            volume.capacity = sectors;
            if let Some(disk) = &mut volume.disk {
                disk.bitmap.resize(sectors);
            }
            fx.act(Act::SetCapacity { volume: v, sectors });
            self.superblock_changed(v, fx);
        }
    }

    /// `P_UUIDS` (section 3.9).
    pub(crate) fn uuids_received(&mut self, v: VolumeIndex, uuids: &Uuids, fx: &mut dyn Effects) {
        let Some(volume) = self.vol_mut(v) else {
            return;
        };
        let peer = PeerGeneration {
            uuids: Generation {
                current: uuids.current,
                bitmap: uuids.bitmap,
                history: uuids.history,
            },
            dirty_bits: uuids.dirty_bits,
            discard_my_data: uuids.flags.contains(UuidFlags::DISCARD_MY_DATA),
            crashed_primary: uuids.flags.contains(UuidFlags::CRASHED_PRIMARY),
            would_be_inconsistent: uuids.flags.contains(UuidFlags::INCONSISTENT),
            skip_initial_sync: uuids.flags.contains(UuidFlags::SKIP_INITIAL_SYNC),
        };
        volume.peer_generation = Some(peer);
        volume.is_answered = true;
        let state = volume.state;
        let lost_data = state.role == Role::Primary
            && state.disk < D::Inconsistent
            && (state.conn < C::Connected || state.pdsk == D::Diskless)
            && volume.exposed != 0
            && volume.exposed & !1 != uuids.current & !1;
        if lost_data {
            fx.act(Act::Notice(Notice::Peer(
                "the peer's data are not those that this diskless Primary has used",
            )));
            return self.drop_link(fx);
        }
        let skip = peer.skip_initial_sync
            && state.disk >= D::Inconsistent
            && state.conn == C::Connected
            && volume.generation.current & !1 == Generation::JUST_CREATED.current;
        if skip {
            let primary = volume.primary();
            volume.generation.set_current(uuids.current, primary);
            volume.generation.bitmap = 0;
            if let Some(disk) = &mut volume.disk {
                disk.bitmap.clear_all();
            }
            self.superblock_changed(v, fx);
            self.force_write_bitmap(v, fx);
            let new = State {
                disk: D::UpToDate,
                pdsk: D::UpToDate,
                ..state
            };
            self.change(v, new, "the initial resync is skipped", fx);
            // The state of the handshake may be told only now; this one is to be the last word.
            return self.announce(v, Announcement::State(new), fx);
        }
        if state.disk < D::Negotiating
            && (state.role == Role::Primary || state.conn >= C::Connected)
        {
            volume.exposed = uuids.current;
        }
    }

    /// `P_STATE` (section 7.4).
    pub(crate) fn state_received(&mut self, v: VolumeIndex, ps: &State, fx: &mut dyn Effects) {
        if self.waits_for_introduction(v, ps) {
            return;
        }
        let Some(volume) = self.vol(v) else { return };
        let os = volume.state;
        let mut peer_disk = ps.disk;
        if ps.disk == D::Negotiating {
            peer_disk = match &volume.peer_generation {
                None => return self.fail_link(LinkFailure::ProtocolError, fx),
                Some(peer) if peer.would_be_inconsistent => D::Inconsistent,
                Some(_) => D::Consistent,
            };
        }
        if os.conn <= C::TearDown {
            return;
        }
        let source_view = matches!(os.pdsk, D::Inconsistent | D::Consistent)
            && peer_disk == D::UpToDate
            && os.conn > C::Connected
            && os.disk == D::UpToDate;
        if source_view {
            if (C::StartingSyncS..=C::WFSyncUUID).contains(&ps.conn) {
                peer_disk = D::Inconsistent;
            } else if os.conn >= C::SyncSource && ps.conn == C::Connected {
                return self.peer_finished_resync(v, fx);
            }
        }
        if os.pdsk == D::UpToDate
            && peer_disk == D::Inconsistent
            && os.conn == C::Connected
            && ps.conn > C::SyncSource
        {
            peer_disk = D::UpToDate;
        }
        // The target has come to the end with blocks that could not be copied, and stays Inconsistent.
        let incomplete = is_source(os.conn)
            && ps.conn == C::Connected
            && peer_disk == D::Inconsistent
            && volume.resync.failed > 0;
        let mut ns = os;
        if incomplete {
            ns.conn = C::Connected;
        }
        if os.conn == C::WFReportParams {
            ns.conn = C::Connected;
        }
        if ps.conn == C::Ahead {
            ns.conn = C::Behind;
        }
        let mut refused = false;
        if self.considers_resync(v, &os, ps) {
            if self.breaks_its_word(v, fx) {
                return;
            }
            if os.conn >= C::Connected && os.disk == D::UpToDate && ps.disk == D::Negotiating {
                self.mint_before_handshake(v, fx);
            }
            match self.meet(v, ps, peer_disk, fx) {
                Outcome::Conn(conn) => ns.conn = conn,
                Outcome::Drop if os.disk == D::Negotiating => {
                    ns.disk = D::Failed;
                    ns.conn = C::Connected;
                }
                Outcome::Drop if ps.disk == D::Negotiating => {
                    peer_disk = D::Diskless;
                    ns.conn = C::Connected;
                    refused = true;
                }
                Outcome::Drop if self.link.peer_tentative => {
                    return self.fail_link(LinkFailure::ProtocolError, fx);
                }
                Outcome::Drop if os.conn == C::WFReportParams => return self.part(fx),
                Outcome::Drop => return self.drop_link(fx),
            }
        }
        // The handshake may have cost this node its role.
        ns.role = self.vol(v).map_or(os.role, |volume| volume.state.role);
        ns.peer = ps.role;
        ns.pdsk = peer_disk;
        ns.peer_isp = ps.aftr_isp || ps.user_isp;
        self.adopt_state(v, &os, ns, ps, fx);
        if let (true, Some(state)) = (refused, self.vol(v).map(|volume| volume.state)) {
            // The peer's disk does not appear, so nothing else tells the peer to decide, too: it would negotiate for ever.
            let pdsk = D::Negotiating;
            self.announce(v, Announcement::Uuids, fx);
            self.announce(v, Announcement::State(State { pdsk, ..state }), fx);
        }
    }

    fn adopt_state(
        &mut self,
        v: VolumeIndex,
        os: &State,
        mut ns: State,
        ps: &State,
        fx: &mut dyn Effects,
    ) {
        let elsewhere = self.peer_primary_elsewhere(v);
        let Some(volume) = self.vol_mut(v) else {
            return;
        };
        volume.consider_resync = false;
        volume.discard_my_data = false;
        if is_unaware(os, ps, volume) {
            // What it says of this disk is still to come.
        } else if matches!(ns.conn, C::Connected | C::WFBitMapS) && ns.disk == D::Negotiating {
            // A peer without a disk cannot say whether this one is good enough for a Primary that has gone on without it.
            ns.disk = match ns.pdsk < D::Negotiating {
                true => volume.state_without_peer(),
                false => volume.after_attach,
            };
        } else if ns.conn > C::Connected && ns.disk == D::Negotiating {
            ns.disk = volume.after_attach.min(D::Outdated).max(D::Inconsistent);
        }
        if os.conn < C::Connected && ns.conn >= C::Connected {
            let wanted = crate::state::implied(ns, volume.after_attach);
            let context = Context {
                two_primaries: false,
                peer_primary_elsewhere: elsewhere,
                open: false,
            };
            if let Err(code) = check(os, &wanted, &context) {
                fx.act(Act::Notice(Notice::Peer(code.text())));
                return self.drop_link(fx);
            }
        }
        // The peer has not decided to sync yet. It must know before it gets the bitmap, or it waits for another one for ever.
        let unaware =
            os.conn > C::WFReportParams && ps.conn <= C::Connected && ps.disk != D::Negotiating;
        if let Some(volume) = self.vol_mut(v) {
            volume.tell_of_resync = unaware;
        }
        self.change(v, ns, "the peer's state", fx);
        if let Some(volume) = self.vol_mut(v) {
            volume.tell_of_resync = false;
        }
        self.forget_discard();
    }

    /// The permission to discard the own data is for one attempt: once all volumes have met their peers, the next split brain is
    /// another one.
    fn forget_discard(&mut self) {
        if self.volumes.iter().flatten().all(Self::is_connected) {
            if let Some(net) = &mut self.net {
                net.discard_my_data = false;
            }
        }
    }

    fn considers_resync(&self, v: VolumeIndex, os: &State, ps: &State) -> bool {
        let Some(volume) = self.vol(v) else {
            return false;
        };
        if is_unaware(os, ps, volume) {
            return false;
        }
        let negotiating = ps.disk == D::Negotiating || os.disk == D::Negotiating;
        volume.peer_generation.is_some()
            && ps.disk >= D::Negotiating
            && os.disk >= D::Negotiating
            && (os.conn < C::Connected
                || (os.conn == C::Connected && negotiating)
                || volume.consider_resync
                || (os.conn == C::Connected
                    && (C::StartingSyncS..=C::WFBitMapT).contains(&ps.conn)))
    }

    /// The sync handshake (section 8.4).
    fn meet(&mut self, v: VolumeIndex, ps: &State, peer_disk: D, fx: &mut dyn Effects) -> Outcome {
        let peer_role = ps.role;
        let (net, resolve) = (self.net.unwrap_or_default(), self.link.resolve);
        let wsame = self.link.agreed.features.contains(Features::WSAME);
        let Some(volume) = self.vol_mut(v) else {
            return Outcome::Drop;
        };
        let (own, os) = (volume.side_in_meeting(), volume.state);
        let Some(peer) = &mut volume.peer_generation else {
            return Outcome::Drop;
        };
        let settled = settle(&Encounter {
            meeting: Meeting {
                own: own.generation,
                peer: peer.uuids,
                own_crashed: own.crashed_primary,
                peer_crashed: peer.crashed_primary,
                own_primary: own.role == Role::Primary,
                peer_primary: peer_role == Role::Primary,
                resolve,
                feature_wsame: wsame,
            },
            own_disk: own.disk,
            peer_disk,
            own_dirty: own.dirty,
            peer_dirty: peer.dirty_bits,
            discard_own: own.discard_my_data,
            discard_peer: peer.discard_my_data,
            policies: net.after_split_brain,
            always: net.always_after_split_brain,
        });
        let settled = answered(settled, &os, ps);
        let correction = settled.decision.correction;
        // Until the resync begins, the old bitmap UUID is what says that the bits mean something.
        volume.missed_end = correction == Some(Correction::OwnMissedEnd);
        let corrected = correction
            .filter(|correction| *correction != Correction::OwnMissedEnd)
            .is_some_and(|correction| correction.apply(&mut volume.generation, &mut peer.uuids));
        fx.act(Act::Notice(Notice::Handshake { volume: v, settled }));
        let verdict = settled.verdict;
        if matches!(verdict, Verdict::Unrelated | Verdict::NeedsFeature(_)) {
            fx.act(Act::Notice(Notice::UnrelatedData { volume: v }));
            return Outcome::Drop;
        }
        if corrected {
            self.superblock_changed(v, fx);
        }
        if settled.is_split_brain() {
            let resolved = !matches!(verdict, Verdict::SplitBrain { .. });
            self.call_handler(v, Handler::InitialSplitBrain, fx);
            fx.act(Act::Notice(Notice::SplitBrain {
                volume: v,
                resolved,
            }));
            if !resolved {
                self.call_handler(v, Handler::SplitBrain, fx);
                return Outcome::Drop;
            }
            if !self.yields_to_policy(v, &settled, peer_role, fx) {
                return Outcome::Drop;
            }
        }
        self.act_on_verdict(v, verdict, own.disk, fx)
    }

    /// A Primary that loses its data gives up its role first, if the policy says so. False if it cannot.
    fn yields_to_policy(
        &mut self,
        v: VolumeIndex,
        settled: &Settlement,
        peer_role: Role,
        fx: &mut dyn Effects,
    ) -> bool {
        let loses =
            settled.step == Step::Policy && matches!(settled.verdict, Verdict::Target { .. });
        let policies = self.net.unwrap_or_default().after_split_brain;
        let Some(volume) = self.vol(v).filter(|volume| loses && volume.primary()) else {
            return true;
        };
        if !demotes(&policies, peer_role == Role::Primary) {
            return true;
        }
        let busy = volume.readers + volume.writers > 0
            || self.app.iter().any(|(_, request)| request.volume == v);
        if busy {
            fx.act(Act::Notice(Notice::PrimaryLost { volume: v }));
            self.call_handler(v, Handler::PrimaryLostAfterSplitBrain, fx);
            return false;
        }
        let role = Role::Secondary;
        let state = State {
            role,
            ..volume.state
        };
        self.change(
            v,
            state,
            "the other node's data survive the split brain",
            fx,
        );
        true
    }

    fn act_on_verdict(
        &mut self,
        v: VolumeIndex,
        verdict: Verdict,
        my_disk: D,
        fx: &mut dyn Effects,
    ) -> Outcome {
        let net = self.net.unwrap_or_default();
        let primary = self.vol(v).is_some_and(Volume::primary);
        // A disk that a Primary attaches again is not in use yet: it may be brought up to date.
        let usable = self
            .vol(v)
            .is_some_and(|volume| volume.state.disk >= D::Consistent);
        let tentative = net.tentative || self.link.peer_tentative;
        let (conn, full) = match verdict {
            Verdict::Source { .. } if my_disk <= D::Inconsistent => {
                fx.act(Act::Notice(Notice::Peer(
                    "this node should be sync source, but its disk is Inconsistent",
                )));
                return Outcome::Drop;
            }
            Verdict::Target { .. } if primary && usable && !net.rr_conflict_violently => {
                fx.act(Act::Notice(Notice::Peer(
                    "this node should be sync target, but it is Primary",
                )));
                return Outcome::Drop;
            }
            Verdict::Source { full } => (C::WFBitMapS, full),
            Verdict::Target { full } => (C::WFBitMapT, full),
            _ => (C::Connected, false),
        };
        if tentative {
            let what = match conn {
                C::WFBitMapS => "dry run: this node would be sync source",
                C::WFBitMapT => "dry run: this node would be sync target",
                _ => "dry run: no resync would be needed",
            };
            fx.act(Act::Notice(Notice::Peer(what)));
            return Outcome::Drop;
        }
        let forgets = (conn == C::WFBitMapS && crate::mutants::is_active(9))
            || (conn == C::Connected && crate::mutants::is_active(10));
        if let (true, Some(disk)) = (forgets, self.vol_mut(v).and_then(|v| v.disk.as_mut())) {
            disk.bitmap.clear_all();
        }
        if full {
            self.set_all_bits(v, fx);
        }
        Outcome::Conn(conn)
    }
}

/// The peer said this before it knew that a disk was attached here: with a disk of its own it answers an attach with its identifiers of
/// then. One that is losing its disk may have said so before, too; it says more when the disk is gone.
fn is_unaware<M: Memory>(os: &State, ps: &State, volume: &Volume<M>) -> bool {
    let silent = ps.disk >= D::Failed && !volume.is_answered;
    os.disk == D::Negotiating && os.conn == C::Connected && (ps.pdsk <= D::Failed || silent)
}

/// What a peer decided that has met the disk first that is attached here. It has corrected its identifiers before it told them: what it
/// has decided counts.
fn answered(settled: Settlement, os: &State, ps: &State) -> Settlement {
    let full = matches!(
        settled.verdict,
        Verdict::Source { full: true } | Verdict::Target { full: true }
    );
    let verdict = match ps.conn {
        _ if os.disk != D::Negotiating || settled.verdict == Verdict::Unrelated => return settled,
        C::WFBitMapS => Verdict::Target { full },
        C::WFBitMapT => Verdict::Source { full },
        _ => return settled,
    };
    match verdict == settled.verdict {
        true => settled,
        false => Settlement {
            verdict,
            step: Step::Answer,
            ..settled
        },
    }
}

fn smaller_set(a: u64, b: u64) -> u64 {
    match (a, b) {
        (0, size) | (size, 0) => size,
        _ => a.min(b),
    }
}

/// Size that both nodes can offer (section 3.8).
fn agreed_size<M: Memory>(volume: &Volume<M>, peer: &Sizes) -> u64 {
    let (mine, theirs) = (volume.disk_size(), peer.disk_sectors);
    let last = volume
        .disk
        .as_ref()
        .map_or(0, |disk| disk.superblock.la_size);
    let new = match (mine, theirs) {
        (m, p) if m != 0 && p != 0 => m.min(p),
        (m, p) if last != 0 => [m, p]
            .into_iter()
            .filter(|size| *size != 0)
            .fold(last, u64::min),
        (m, p) => m.max(p),
    };
    match volume.user_size {
        0 => new,
        user => user.min(new),
    }
}
