// SPDX-License-Identifier: GPL-2.0

//! Generic netlink: what the administrator asks for, and what everybody may read.
//!
//! `Documentation/netlink/specs/rdb.yaml` defines the family. Everything that arrives is checked here, against the tables made
//! from it, before anything is done: which attributes a request may carry, and what values they may have. Operations run in
//! parallel; requests to one resource take turns there, so that a request which waits for a peer delays no reader.

/// A failure by its name in the specification, with a formatted text.
macro_rules! refused {
    ($code:ident, $($text:tt)*) => {
        $crate::shell::failure::Failure::new(
            ::rdb_engine::netlink::ErrorCode::$code as i32,
            ::core::format_args!($($text)*),
        )
    };
}

mod connection;
mod get;
mod message;
mod request;
mod resource;
mod volume;

use kernel::prelude::*;
use rdb_engine::netlink::{self, cmd, Kind, Use, ATTRS, EVENTS_GROUP, FAMILY_VERSION};
use rdb_kapi::genl::{
    do_op, dump_op, group, table, DoOp, DumpOp, Family, Group, Message, Operation, Policy,
    Registration as FamilyRegistration, Request,
};
use rdb_kapi::mem::NoIo;
use rdb_kapi::proc::ProcFile;

use super::failure::Failure;
use super::{proc, progress, registry};

pub(crate) use get::{put_progress, put_states, write_ordering};
pub(crate) use message::{put, put_address, put_signed, put_text};

/// Version of the module.
pub(crate) const VERSION: &str = "0.1.0";
/// Version of the family.
pub(crate) const API: u32 = FAMILY_VERSION as u32;

/// Highest attribute number, and one.
const ATTRIBUTES: usize = 192;
/// The group of the events, by its place in `GROUPS`.
const EVENTS: u32 = 0;

const fn policy_of(kind: &Kind) -> Policy {
    match kind {
        Kind::Pad | Kind::Flag => Policy::flag(),
        Kind::U16 { .. } => Policy::u16(),
        Kind::U32 { .. } => Policy::u32(),
        Kind::S32 { .. } => Policy::s32(),
        Kind::U64 { .. } => Policy::u64(),
        Kind::Text { max } => Policy::string(*max),
        Kind::Bytes { max } => Policy::binary(*max),
    }
}

const fn policies() -> [(u16, Policy); ATTRS.len()] {
    let mut list = [(0, Policy::flag()); ATTRS.len()];
    let mut i = 0;
    while i < ATTRS.len() {
        list[i] = (ATTRS[i].number, policy_of(&ATTRS[i].kind));
        i += 1;
    }
    list
}

/// Forms of the attributes; which of them a request takes, and what values, is checked by [`request::check`], which says more than
/// the kernel's check would.
static POLICY: [Policy; ATTRIBUTES] = table(&policies());
static GROUPS: [Group; 1] = [group(c"events")];

const _: () = assert!(EVENTS_GROUP.len() == c"events".count_bytes());

/// Declares the operations that change something: type, command, function.
macro_rules! changes {
    ($($name:ident $command:ident $run:path;)*) => {
        $(
            struct $name;

            impl DoOp for $name {
                const CMD: u8 = cmd::$command;
                const ADMIN: bool = true;
                const POLICY: &'static [Policy] = &POLICY;

                fn run(req: &Request<'_>) -> Result {
                    change(req, cmd::$command, $run)
                }
            }
        )*
    };
}

changes! {
    ResourceAdd      RESOURCE_ADD      resource::add;
    ResourceSet      RESOURCE_SET      resource::set;
    ResourceDel      RESOURCE_DEL      resource::delete;
    VolumeAdd        VOLUME_ADD        volume::add;
    VolumeDel        VOLUME_DEL        volume::delete;
    Attach           ATTACH            volume::attach;
    Detach           DETACH            volume::detach;
    DiskSet          DISK_SET          volume::set;
    Connect          CONNECT           connection::connect;
    Disconnect       DISCONNECT        connection::disconnect;
    NetSet           NET_SET           connection::set;
    Down             DOWN              resource::down;
    Primary          PRIMARY           volume::primary;
    Secondary        SECONDARY         volume::secondary;
    Invalidate       INVALIDATE        volume::invalidate;
    InvalidateRemote INVALIDATE_REMOTE volume::invalidate_remote;
    PauseSync        PAUSE_SYNC        volume::pause_sync;
    ResumeSync       RESUME_SYNC       volume::resume_sync;
    SuspendIo        SUSPEND_IO        volume::suspend_io;
    ResumeIo         RESUME_IO         volume::resume_io;
    Outdate          OUTDATE           volume::outdate;
    NewCurrentUuid   NEW_CURRENT_UUID  volume::new_current_uuid;
    Verify           VERIFY            volume::verify;
    Resize           RESIZE            volume::resize;
}

/// Declares the operations that only read: type, command, function.
macro_rules! reads {
    ($($name:ident $command:ident $run:path;)*) => {
        $(
            struct $name;

            impl DoOp for $name {
                const CMD: u8 = cmd::$command;
                const ADMIN: bool = false;
    const POLICY: &'static [Policy] = &POLICY;

                fn run(req: &Request<'_>) -> Result {
                    change(req, cmd::$command, $run)
                }
            }
        )*
    };
}

reads! {
    ResourceGet RESOURCE_GET get::resource;
    VolumeGet   VOLUME_GET   get::volume;
    ModuleGet   MODULE_GET   get::module;
}

impl DumpOp for ResourceGet {
    const CMD: u8 = cmd::RESOURCE_GET;
    const ADMIN: bool = false;
    const POLICY: &'static [Policy] = &POLICY;

    type Cursor = get::Names;

    fn start(_req: &Request<'_>) -> Result<Self::Cursor> {
        get::Names::all()
    }

    fn next(cursor: &mut Self::Cursor, req: &Request<'_>, msg: &mut Message<'_>) -> Result<bool> {
        get::next_resource(cursor, req, msg)
    }
}

impl DumpOp for VolumeGet {
    const CMD: u8 = cmd::VOLUME_GET;
    const ADMIN: bool = false;
    const POLICY: &'static [Policy] = &POLICY;

    /// Lowest minor number that was not shown yet.
    type Cursor = u32;

    fn start(_req: &Request<'_>) -> Result<u32> {
        Ok(0)
    }

    fn next(cursor: &mut u32, _req: &Request<'_>, msg: &mut Message<'_>) -> Result<bool> {
        get::next_volume(cursor, msg)
    }
}

static OPS: [Operation; 29] = [
    do_op::<ResourceAdd>(),
    do_op::<ResourceSet>(),
    do_op::<ResourceDel>(),
    do_op::<VolumeAdd>(),
    do_op::<VolumeDel>(),
    do_op::<Attach>(),
    do_op::<Detach>(),
    do_op::<DiskSet>(),
    do_op::<Connect>(),
    do_op::<Disconnect>(),
    do_op::<NetSet>(),
    do_op::<Down>(),
    do_op::<Primary>(),
    do_op::<Secondary>(),
    do_op::<Invalidate>(),
    do_op::<InvalidateRemote>(),
    do_op::<PauseSync>(),
    do_op::<ResumeSync>(),
    do_op::<SuspendIo>(),
    do_op::<ResumeIo>(),
    do_op::<Outdate>(),
    do_op::<NewCurrentUuid>(),
    do_op::<Verify>(),
    do_op::<Resize>(),
    do_op::<ResourceGet>(),
    dump_op::<ResourceGet>(),
    do_op::<VolumeGet>(),
    dump_op::<VolumeGet>(),
    do_op::<ModuleGet>(),
];

static FAMILY: Family = Family::new(c"rdb", FAMILY_VERSION, &OPS, &GROUPS, crate::module());

/// The family and `/proc/rdb`, while they are there.
///
/// Dropping it waits for requests and readers that are under way. It must go before the registry.
pub(crate) struct Registration {
    _family: FamilyRegistration,
    _proc: ProcFile<proc::Summary>,
    _progress: progress::Reporter,
}

/// Registers both. May sleep.
pub(crate) fn register() -> Result<Registration> {
    let (_progress, _proc) = (progress::Reporter::start()?, proc::create()?);
    Ok(Registration {
        _family: FAMILY.register()?,
        _proc,
        _progress,
    })
}

/// Sends an event to all who listen. May sleep. Nobody listening is not an error, and neither is a listener who cannot keep up:
/// it sees the gap in the sequence numbers.
pub(crate) fn multicast(command: u8, build: impl FnOnce(&mut Message<'_>) -> Result) {
    if FAMILY.has_listeners(EVENTS) {
        if let Err(error) = FAMILY.multicast(EVENTS, command, build) {
            pr_debug!("event {} not sent: {:?}\n", command, error);
        }
    }
}

/// Checks a request, carries it out, and explains a refusal.
fn change(req: &Request<'_>, command: u8, run: fn(&Request<'_>) -> Result<(), Failure>) -> Result {
    let operation = netlink::operation(command).ok_or(EINVAL)?;
    debug_assert!(operation.usage != Use::Event);
    request::check(req, operation)?;
    // The worker waits for locks of this task, and I/O for the worker: no memory may be awaited here that I/O has to free.
    let _noio = NoIo::enter();
    run(req).map_err(|failure| request::refuse(req, operation, &failure))
}

/// The resource that a request names.
fn resource_of(req: &Request<'_>) -> Result<kernel::sync::Arc<super::resource::Resource>, Failure> {
    let name = request::name(req)?;
    registry::find(name).ok_or_else(|| refused!(ResourceNotKnown, "no such resource is up"))
}
