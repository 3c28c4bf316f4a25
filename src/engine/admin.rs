// SPDX-License-Identifier: GPL-2.0

//! Requests of the administrator (administration, section 4; wire protocol, sections 7.5 to 7.9 and 8.2).
//!
//! At most one request is under way in a resource. It ends at once, or by `Act::AdminDone` when the peer has answered and the
//! metadata are durable.

mod requests;

use core::fmt;

use crate::effects::{Act, Effects, Millis, VolumeIndex};
use crate::link::NetOptions;
use crate::memory::Memory;
use crate::resource::Resource;
use crate::volume::{DiskOptions, Volume};
use crate::wire::{ConnState as C, DiskState as D, ReturnCode, State, StateChange};

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Positive: a number of the administration interface (administration, section 5); negative or zero: a return code of a
    /// state change (wire protocol, section 7.2).
    pub code: i32,
    /// In words.
    pub text: &'static str,
}

impl Refusal {
    /// A refusal with a number of the administration interface.
    pub const fn new(code: i32, text: &'static str) -> Self {
        Self { code, text }
    }
}

impl From<ReturnCode> for Refusal {
    fn from(code: ReturnCode) -> Self {
        Self {
            code: code.0,
            text: code.text(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({}) {}", self.code, self.text)
    }
}

/// A request of the administrator.
#[derive(Clone, Copy, Debug)]
pub enum Request {
    /// Look for the peer, with these options.
    Connect(NetOptions),
    /// Leave the peer, ending in StandAlone.
    Disconnect {
        /// Without asking the peer.
        force: bool,
    },
    /// Become Primary.
    Primary {
        /// The volume.
        volume: VolumeIndex,
        /// Declare the own data to be the good ones.
        force: bool,
    },
    /// Become Secondary.
    Secondary {
        /// The volume.
        volume: VolumeIndex,
    },
    /// Give the lower disk up.
    Detach {
        /// The volume.
        volume: VolumeIndex,
        /// Even if the peer objects.
        force: bool,
    },
    /// Copy everything from the peer.
    Invalidate {
        /// The volume.
        volume: VolumeIndex,
    },
    /// Copy everything to the peer.
    InvalidateRemote {
        /// The volume.
        volume: VolumeIndex,
    },
    /// Mark the own data as outdated.
    Outdate {
        /// The volume.
        volume: VolumeIndex,
    },
    /// Hold a resync.
    PauseSync {
        /// The volume.
        volume: VolumeIndex,
    },
    /// Go on with a resync.
    ResumeSync {
        /// The volume.
        volume: VolumeIndex,
    },
    /// Hold the requests of the application.
    SuspendIo {
        /// The volume.
        volume: VolumeIndex,
    },
    /// Go on with them.
    ResumeIo {
        /// The volume.
        volume: VolumeIndex,
    },
    /// Mint a new current UUID.
    NewCurrentUuid {
        /// The volume.
        volume: VolumeIndex,
        /// Declare both disks equal: no initial resync.
        clear_bitmap: bool,
    },
    /// Change options of the connection.
    SetNet(NetOptions),
    /// Change options of a disk.
    SetDisk {
        /// The volume.
        volume: VolumeIndex,
        /// New options; `size` is ignored.
        options: DiskOptions,
    },
}

/// How a request begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// It is finished.
    Done(Result<(), Refusal>),
    /// `Act::AdminDone` follows.
    Pending,
}

/// What a pending request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    /// The answer to this ping.
    Ping(u32),
    /// The peer's answer to a state change.
    Reply,
    /// The connection to be closed.
    LinkClosed,
    /// The fence-peer handler to end.
    Fence,
    /// Until this time, then again.
    Retry(Millis),
    /// Until this time, as often as the peer must still be told what happened before the request; then it begins.
    Announcing(Millis),
    /// The disk to be closed.
    DiskClosed,
    /// The superblocks to be written; then this is the result.
    Metadata(Result<(), Refusal>),
}

/// The request that is under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pending {
    pub(crate) request: Request,
    wait: Wait,
    tries: u32,
}

type Step = Result<Option<Wait>, Refusal>;

const RETRY_MS: Millis = 100;
const TRANSIENT_TRIES: u32 = 50;

impl<M: Memory> Resource<M> {
    /// Begins a request; the shell makes sure that none is under way.
    pub fn admin(&mut self, now: Millis, request: Request, fx: &mut dyn Effects) -> Start {
        self.now = now;
        self.fence.answer = None;
        if self.admin.is_some() {
            return Start::Done(Err(ReturnCode::CONCURRENT_CHANGE.into()));
        }
        let step = match self.admin_must_announce(&request) {
            true => Ok(Some(Wait::Announcing(now + RETRY_MS))),
            false => self.admin_begin(&request, 0, fx),
        };
        self.resume_parked(fx);
        match step {
            Err(refusal) => Start::Done(Err(refusal)),
            Ok(None) if !self.any_metadata_pending() => Start::Done(Ok(())),
            Ok(wait) => {
                let wait = wait.unwrap_or(Wait::Metadata(Ok(())));
                self.admin = Some(Pending {
                    request,
                    wait,
                    tries: 0,
                });
                fx.act(Act::Rearm);
                Start::Pending
            }
        }
    }

    /// Gives up waiting for the request under way; what it began goes on.
    pub fn admin_abort(&mut self) {
        self.admin = None;
    }

    /// What a request says to the peer goes out at once. An announcement that still waits for metadata would come after it, and
    /// tell of a state that is no more.
    fn admin_must_announce(&self, request: &Request) -> bool {
        let volume = match *request {
            Request::Primary { volume, .. }
            | Request::Secondary { volume }
            | Request::Detach {
                volume,
                force: false,
            }
            | Request::Invalidate { volume }
            | Request::InvalidateRemote { volume }
            | Request::Outdate { volume }
            | Request::NewCurrentUuid { volume, .. } => volume,
            _ => return false,
        };
        let waiting = |volume: &Volume<M>| !volume.announcements.is_empty();
        self.link.can_send() && self.vol(volume).is_some_and(waiting)
    }

    fn admin_begin(&mut self, request: &Request, tries: u32, fx: &mut dyn Effects) -> Step {
        match *request {
            Request::Connect(net) => self.admin_connect(net, fx),
            Request::Disconnect { force } => self.admin_disconnect(force, fx),
            Request::Primary { volume, force } => self.admin_primary(volume, force, tries, fx),
            Request::Secondary { volume } => self.admin_secondary(volume, fx),
            Request::Detach { volume, force } => self.admin_detach(volume, force, fx),
            Request::Invalidate { volume } => {
                self.admin_invalidate(volume, StateChange::INVALIDATE, fx)
            }
            Request::InvalidateRemote { volume } => {
                self.admin_invalidate(volume, StateChange::INVALIDATE_REMOTE, fx)
            }
            Request::Outdate { volume } => self.admin_local(volume, fx, |s| State {
                disk: D::Outdated,
                ..s
            }),
            Request::PauseSync { volume } => {
                self.admin_flag(volume, true, 134, "the resync is paused already", fx)
            }
            Request::ResumeSync { volume } => {
                self.admin_flag(volume, false, 135, "the resync is not paused", fx)
            }
            Request::SuspendIo { volume } => self.admin_suspend(volume, fx),
            Request::ResumeIo { volume } => self.admin_local(volume, fx, |s| State {
                susp: false,
                susp_nod: false,
                susp_fen: false,
                ..s
            }),
            Request::NewCurrentUuid {
                volume,
                clear_bitmap,
            } => self.admin_new_uuid(volume, clear_bitmap, fx),
            Request::SetNet(net) => {
                let kept = self
                    .net
                    .as_mut()
                    .ok_or(Refusal::from(ReturnCode::NO_NET_CONFIG))?;
                *kept = NetOptions {
                    protocol: kept.protocol,
                    ..net
                };
                fx.act(Act::Rearm);
                Ok(None)
            }
            Request::SetDisk { volume, options } => {
                let disk = self.admin_volume_mut(volume)?.disk.as_mut();
                let disk = disk.ok_or(Refusal::new(138, "the volume has no disk"))?;
                disk.options = DiskOptions {
                    size: disk.options.size,
                    ..options
                };
                self.choose_write_order();
                self.tell_sync_param(volume, fx);
                fx.act(Act::Rearm);
                Ok(None)
            }
        }
    }

    fn admin_volume(&self, v: VolumeIndex) -> Result<&Volume<M>, Refusal> {
        self.vol(v).ok_or(Refusal::new(127, "no such volume"))
    }

    fn admin_volume_mut(&mut self, v: VolumeIndex) -> Result<&mut Volume<M>, Refusal> {
        self.vol_mut(v).ok_or(Refusal::new(127, "no such volume"))
    }

    /// Whether the peer is being asked for its consent.
    pub(crate) fn admin_awaits_reply(&self) -> bool {
        self.admin
            .as_ref()
            .is_some_and(|pending| pending.wait == Wait::Reply)
    }

    /// The peer's answer. `v` is `None` for changes of the whole connection.
    pub(crate) fn admin_reply(
        &mut self,
        v: Option<VolumeIndex>,
        code: ReturnCode,
        fx: &mut dyn Effects,
    ) {
        let Some(pending) = self.admin.filter(|pending| pending.wait == Wait::Reply) else {
            return;
        };
        let asked = match pending.request {
            Request::Disconnect { .. } => None,
            Request::Primary { volume, .. }
            | Request::Detach { volume, .. }
            | Request::Invalidate { volume }
            | Request::InvalidateRemote { volume } => Some(volume),
            _ => return,
        };
        if asked != v {
            return;
        }
        let transient = matches!(
            code,
            ReturnCode::IN_TRANSIENT_STATE | ReturnCode::CONCURRENT_CHANGE
        );
        if transient && pending.tries < TRANSIENT_TRIES {
            return self.admin_wait(Wait::Retry(self.now + RETRY_MS), fx);
        }
        if code == ReturnCode::PRIMARY_NOP && self.admin_disconnect_refused(&pending.request, fx) {
            return;
        }
        if code.0 < 1 {
            return self.admin_finish(Err(code.into()), fx);
        }
        let applied = self.admin_apply(&pending.request, fx);
        match applied {
            Ok(Some(wait)) => self.admin_wait(wait, fx),
            Ok(None) => self.admin_finish(Ok(()), fx),
            Err(refusal) => self.admin_finish(Err(refusal), fx),
        }
    }

    /// Makes the change that the peer has agreed to.
    fn admin_apply(&mut self, request: &Request, fx: &mut dyn Effects) -> Step {
        match *request {
            Request::Disconnect { .. } => {
                if let Some(change) = self.fence.asked {
                    self.note_outdated(&change);
                }
                self.end_link(C::Disconnecting, false, fx);
                Ok(Some(Wait::LinkClosed))
            }
            Request::Primary { volume, force } => self.promote(volume, force, fx).map(|()| None),
            Request::Detach { volume, .. } => {
                let old = self.admin_volume(volume)?.state;
                self.change(
                    volume,
                    State {
                        disk: D::Failed,
                        ..old
                    },
                    "detached by the administrator",
                    fx,
                );
                Ok(Some(Wait::DiskClosed))
            }
            Request::Invalidate { volume } | Request::InvalidateRemote { volume } => {
                let old = self.admin_volume(volume)?.state;
                let change = match request {
                    Request::Invalidate { .. } => StateChange::INVALIDATE,
                    _ => StateChange::INVALIDATE_REMOTE,
                };
                self.change(
                    volume,
                    change.apply(old),
                    "invalidated by the administrator",
                    fx,
                );
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    fn admin_wait(&mut self, wait: Wait, fx: &mut dyn Effects) {
        if let Some(pending) = &mut self.admin {
            pending.wait = wait;
            fx.act(Act::Rearm);
        }
    }

    /// Ends the request once the superblocks are written.
    fn admin_finish(&mut self, result: Result<(), Refusal>, fx: &mut dyn Effects) {
        if self.any_metadata_pending() {
            self.admin_wait(Wait::Metadata(result), fx);
        } else if self.admin.take().is_some() {
            fx.act(Act::AdminDone(result));
        }
    }

    fn any_metadata_pending(&self) -> bool {
        self.volumes
            .iter()
            .flatten()
            .any(Volume::waits_for_metadata)
    }

    fn admin_again(&mut self, fx: &mut dyn Effects) {
        let Some(pending) = &mut self.admin else {
            return;
        };
        let begun = !matches!(pending.wait, Wait::Announcing(_));
        pending.tries += u32::from(begun);
        let (request, tries) = (pending.request, pending.tries);
        if !begun && self.admin_must_announce(&request) {
            return self.admin_wait(Wait::Announcing(self.now + RETRY_MS), fx);
        }
        match self.admin_begin(&request, tries, fx) {
            Ok(Some(wait)) => self.admin_wait(wait, fx),
            Ok(None) => self.admin_finish(Ok(()), fx),
            Err(refusal) => self.admin_finish(Err(refusal), fx),
        }
    }

    pub(crate) fn admin_ping_answered(&mut self, fx: &mut dyn Effects) {
        if let Some(Wait::Ping(ping)) = self.admin.map(|pending| pending.wait) {
            if self.ping_answered(ping) {
                self.admin_again(fx);
            }
        }
    }

    /// The fence-peer handler has ended: decide with its answer.
    pub(crate) fn admin_fenced(&mut self, fx: &mut dyn Effects) {
        if self
            .admin
            .is_some_and(|pending| pending.wait == Wait::Fence)
        {
            self.admin_again(fx);
        }
    }

    pub(crate) fn admin_metadata_written(&mut self, fx: &mut dyn Effects) {
        if let Some(Wait::Metadata(result)) = self.admin.map(|pending| pending.wait) {
            self.admin_finish(result, fx);
        }
    }

    pub(crate) fn admin_disk_closed(&mut self, v: VolumeIndex, fx: &mut dyn Effects) {
        let Some(pending) = self.admin else { return };
        match pending.request {
            Request::Detach { volume, .. } if volume == v && pending.wait == Wait::DiskClosed => {
                self.admin_finish(Ok(()), fx);
            }
            _ => self.admin_metadata_written(fx),
        }
    }

    pub(crate) fn admin_link_closed(&mut self, fx: &mut dyn Effects) {
        let Some(pending) = self.admin else { return };
        match (pending.request, pending.wait) {
            (Request::Disconnect { .. }, Wait::Reply | Wait::LinkClosed | Wait::Retry(_)) => {
                self.admin_finish(Ok(()), fx)
            }
            // The peer will not answer any more: decide again, without it.
            (_, Wait::Reply | Wait::Ping(_)) => self.admin_again(fx),
            _ => (),
        }
    }

    pub(crate) fn admin_deadline(&self) -> Option<Millis> {
        match self.admin?.wait {
            Wait::Retry(time) | Wait::Announcing(time) => Some(time),
            _ => None,
        }
    }

    pub(crate) fn admin_tick(&mut self, fx: &mut dyn Effects) {
        if self.admin_deadline().is_some_and(|time| self.now >= time) {
            self.admin_again(fx);
        }
    }

    /// A request of the application ended; a demotion may be waiting for the last one.
    pub(crate) fn idle_check(&mut self, fx: &mut dyn Effects) {
        let waits = match self.admin.map(|pending| pending.request) {
            Some(Request::Secondary { .. }) => self.app.used() > 0,
            Some(Request::SuspendIo { volume }) => self.app_in_flight(volume),
            _ => return,
        };
        if !waits && self.admin_deadline().is_some() {
            self.admin_again(fx);
        }
    }

    /// Whether the device may be opened now (administration, section 4.4).
    ///
    /// # Errors
    ///
    /// A Secondary cannot be opened: not at all for reading, and not for writing either.
    pub fn may_open(&self, v: VolumeIndex, write: bool) -> Result<(), OpenRefusal> {
        match self.vol(v) {
            Some(volume) if volume.primary() => Ok(()),
            Some(_) if write => Err(OpenRefusal::ReadOnly),
            Some(_) => Err(OpenRefusal::NoMedium),
            None => Err(OpenRefusal::NoDevice),
        }
    }
}

/// Why a device cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenRefusal {
    /// For writing, on a Secondary (`EROFS`).
    ReadOnly,
    /// For reading, on a Secondary (`EMEDIUMTYPE`).
    NoMedium,
    /// The volume is gone (`ENODEV`).
    NoDevice,
}
