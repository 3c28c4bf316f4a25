// SPDX-License-Identifier: GPL-2.0

//! Generic netlink: a family with operations, dumps and events.
//!
//! Everything is made from constants, so that the module which has the operations can put the
//! family into a static:
//!
//! ```ignore
//! static POLICY: [Policy; 3] = table(&[(1, Policy::u32()), (2, Policy::string(63))]);
//! static OPS: [Operation; 2] = [do_op::<Attach>(), dump_op::<List>()];
//! static GROUPS: [Group; 1] = [group(c"events")];
//! static FAMILY: Family = Family::new(c"rdb", 1, &OPS, &GROUPS, this_module::<Rdb>());
//! ```
//!
//! Attributes are checked against the operation's policy before it runs, strictly: unknown ones are
//! refused.

mod attrs;
mod message;
mod policy;

pub use attrs::{Attr, Attrs, Request};
pub use message::Message;
pub use policy::{table, Policy, Range, SignedRange};

use crate::bindings;
use kernel::error::{from_result, to_result};
use kernel::prelude::*;
use kernel::sync::atomic::{ordering, Atomic};
use kernel::sync::rcu;
use kernel::types::Opaque;
use kernel::ThisModule;
use message::Skb;

/// An operation that answers one request.
pub trait DoOp: 'static {
    /// Number of the command.
    const CMD: u8;
    /// Whether CAP_NET_ADMIN is needed.
    const ADMIN: bool;
    /// What attributes the request may have; the index is the attribute's number.
    const POLICY: &'static [Policy];

    /// Carry out the request. Sleeps; runs in the process that asks. Operations of a family run in
    /// parallel.
    ///
    /// An error becomes the errno of the acknowledgement; [`Request::fail`] puts a text beside it.
    fn run(req: &Request<'_>) -> Result;
}

/// An operation that answers with a list of messages.
pub trait DumpOp: 'static {
    /// Number of the command, also that of the messages.
    const CMD: u8;
    /// Whether CAP_NET_ADMIN is needed.
    const ADMIN: bool;
    /// What attributes the request may have; the index is the attribute's number.
    const POLICY: &'static [Policy];
    /// Position in the list, kept between messages. It should stay meaningful when the list
    /// changes.
    type Cursor: Clone + Send + 'static;

    /// The position in front of the first message. Sleeps; runs in the process that asks.
    fn start(req: &Request<'_>) -> Result<Self::Cursor>;

    /// Write the message at the cursor into `msg`, advance the cursor, and return `true`; or return
    /// `false` at the end.
    ///
    /// Pass on the error of `msg` when it is full: the same message is asked for again then, with
    /// the cursor put back, for the next packet. Sleeps.
    fn next(cursor: &mut Self::Cursor, req: &Request<'_>, msg: &mut Message<'_>) -> Result<bool>;
}

/// An entry of a family's table of operations: `genl_split_ops`.
#[repr(transparent)]
pub struct Operation(bindings::genl_split_ops);

// SAFETY: Never written to; its pointers are to functions and statics.
unsafe impl Sync for Operation {}

const fn operation(cmd: u8, admin: bool, capability: u32, policy: &'static [Policy]) -> Operation {
    let mut raw: bindings::genl_split_ops = pin_init::zeroed();
    raw.cmd = cmd;
    raw.flags = capability as u8
        | if admin {
            bindings::GENL_ADMIN_PERM as u8
        } else {
            0
        };
    if policy.len() > 1 {
        raw.policy = policy.as_ptr().cast();
        raw.maxattr = (policy.len() - 1) as c_uint;
    }
    Operation(raw)
}

/// The entry for `T`. In the table commands ascend, and a command's `do` comes before its `dump`;
/// both need the same `ADMIN`.
pub const fn do_op<T: DoOp>() -> Operation {
    let mut op = operation(T::CMD, T::ADMIN, bindings::GENL_CMD_CAP_DO, T::POLICY);
    op.0.__bindgen_anon_1 = bindings::genl_split_ops__bindgen_ty_1 {
        __bindgen_anon_1: bindings::genl_split_ops__bindgen_ty_1__bindgen_ty_1 {
            pre_doit: None,
            doit: Some(doit::<T>),
            post_doit: None,
        },
    };
    op
}

/// The entry for `T`. See [`do_op`] for the order.
pub const fn dump_op<T: DumpOp>() -> Operation {
    let mut op = operation(T::CMD, T::ADMIN, bindings::GENL_CMD_CAP_DUMP, T::POLICY);
    op.0.__bindgen_anon_1 = bindings::genl_split_ops__bindgen_ty_1 {
        __bindgen_anon_2: bindings::genl_split_ops__bindgen_ty_1__bindgen_ty_2 {
            start: Some(dump_start::<T>),
            dumpit: Some(dump_next::<T>),
            done: Some(dump_done::<T>),
        },
    };
    op
}

/// # Safety
///
/// Called by generic netlink for the command of `T`.
unsafe extern "C" fn doit<T: DoOp>(
    _skb: *mut bindings::sk_buff,
    info: *mut bindings::genl_info,
) -> c_int {
    // SAFETY: `info` is valid during the call; its attributes were parsed by this policy.
    let req = unsafe { Request::new(info, T::POLICY, T::CMD) };
    from_result(|| T::run(&req).map(|()| 0))
}

/// What a dump keeps between its calls.
struct Dump<C> {
    cursor: C,
    finished: bool,
}

/// # Safety
///
/// Called by generic netlink for the dump of `T`.
unsafe extern "C" fn dump_start<T: DumpOp>(cb: *mut bindings::netlink_callback) -> c_int {
    // SAFETY: `cb` is that of a running dump; its attributes were parsed by this policy. The slot
    // is ours.
    unsafe {
        let info = bindings::genl_dump_info(cb);
        let req = Request::new(info.cast_mut(), T::POLICY, T::CMD);
        from_result(|| {
            let dump = Dump {
                cursor: T::start(&req)?,
                finished: false,
            };
            let dump = KBox::into_raw(KBox::new(dump, GFP_KERNEL)?);
            bindings::genl_dump_slot(cb).write(dump.cast());
            Ok(0)
        })
    }
}

/// # Safety
///
/// Called by generic netlink for the dump of `T`, after `dump_start` succeeded, by one thread at a
/// time.
unsafe extern "C" fn dump_next<T: DumpOp>(
    skb: *mut bindings::sk_buff,
    cb: *mut bindings::netlink_callback,
) -> c_int {
    // SAFETY: `dump_start` put the box there; nobody else accesses it during the call.
    let (req, dump) = unsafe {
        let info = bindings::genl_dump_info(cb);
        (
            Request::new(info.cast_mut(), T::POLICY, T::CMD),
            &mut *(*bindings::genl_dump_slot(cb)).cast::<Dump<T::Cursor>>(),
        )
    };
    from_result(|| {
        while !dump.finished {
            let before = dump.cursor.clone();
            // SAFETY: `skb` and `cb` are those of the running dump.
            let result = unsafe {
                message::append(skb, cb, &req, |msg| T::next(&mut dump.cursor, &req, msg))
            };
            match result {
                Ok(more) => dump.finished = !more,
                Err(e) => {
                    dump.cursor = before;
                    // SAFETY: As above.
                    let len = unsafe { bindings::skb_len(skb) };
                    // Full: go on in the next packet. If it was empty, the message can never fit.
                    if e == EMSGSIZE && len > 0 {
                        return c_int::try_from(len).map_err(|_| EMSGSIZE);
                    }
                    return Err(e);
                }
            }
        }
        Ok(0)
    })
}

/// # Safety
///
/// Called by generic netlink once at the end of a dump for which `dump_start` succeeded.
unsafe extern "C" fn dump_done<T: DumpOp>(cb: *mut bindings::netlink_callback) -> c_int {
    // SAFETY: `dump_start` put the box there.
    drop(unsafe { KBox::from_raw((*bindings::genl_dump_slot(cb)).cast::<Dump<T::Cursor>>()) });
    0
}

/// A multicast group.
#[repr(transparent)]
pub struct Group(bindings::genl_multicast_group);

// SAFETY: Never written to.
unsafe impl Sync for Group {}

/// A group called `name`, at most 15 bytes.
pub const fn group(name: &CStr) -> Group {
    let mut raw: bindings::genl_multicast_group = pin_init::zeroed();
    raw.name = short_name(name);
    Group(raw)
}

const fn short_name(name: &CStr) -> [c_char; 16] {
    let bytes = name.to_bytes();
    assert!(
        bytes.len() < 16,
        "names of netlink families and groups have at most 15 bytes"
    );
    let mut out = [0; 16];
    let mut i = 0;
    while i < bytes.len() {
        out[i] = bytes[i];
        i += 1;
    }
    out
}

/// A generic netlink family, to be put into a static.
///
/// # Invariants
///
/// `raw` is registered if and only if `state` is [`LIVE`], or in the middle of [`Family::register`]
/// and of the drop of its [`Registration`], whose callers alone write it.
pub struct Family {
    raw: Opaque<bindings::genl_family>,
    groups: u32,
    state: Atomic<i32>,
}

/// Not registered.
const IDLE: i32 = 0;
/// Being registered or unregistered.
const CHANGING: i32 = 1;
/// Registered.
const LIVE: i32 = 2;

// SAFETY: Only register and unregister write to it, one at a time.
unsafe impl Sync for Family {}

impl Family {
    /// A family called `name`, at most 15 bytes, whose operations and groups belong to `module`.
    pub const fn new<const O: usize, const G: usize>(
        name: &CStr,
        version: u8,
        ops: &'static [Operation; O],
        groups: &'static [Group; G],
        module: &'static ThisModule,
    ) -> Self {
        assert!(O < 256 && G < 256);
        let mut raw: bindings::genl_family = pin_init::zeroed();
        raw.name = short_name(name);
        raw.version = version as c_uint;
        raw.split_ops = ops.as_ptr().cast();
        raw.n_split_ops = O as u8;
        raw.mcgrps = groups.as_ptr().cast();
        raw.n_mcgrps = G as u8;
        raw.module = module.as_ptr();
        Family {
            raw: Opaque::new(raw),
            groups: G as u32,
            state: Atomic::new(IDLE),
        }
    }

    /// Make the family known. Sleeps. From now on its operations run, until the registration is
    /// dropped.
    ///
    /// `EBUSY`: it is registered already; `EEXIST`: another one has its name; `EINVAL`: operations
    /// out of order.
    pub fn register(&'static self) -> Result<Registration> {
        self.state
            .cmpxchg(IDLE, CHANGING, ordering::Full)
            .map_err(|_| EBUSY)?;
        // SAFETY: CHANGING gives us the right to write to it, and it is a static.
        let result = unsafe {
            bindings::genl_set_parallel(self.raw.get());
            to_result(bindings::genl_register_family(self.raw.get()))
        };
        let state = if result.is_ok() { LIVE } else { IDLE };
        self.state.store(state, ordering::Release);
        result.map(|()| Registration(self))
    }

    fn is_live(&self) -> bool {
        self.state.load(ordering::Acquire) == LIVE
    }

    /// Send a message with command `cmd`, filled by `build`, to all who listen to the group with
    /// this index. Sleeps.
    ///
    /// `Ok` also if nobody listens. `EINVAL`: there is no such group; `ENODEV`: the family is not
    /// registered; `EMSGSIZE`: too much; `ENOBUFS`, `ENOMEM`.
    pub fn multicast(
        &'static self,
        group: u32,
        cmd: u8,
        build: impl FnOnce(&mut Message<'_>) -> Result,
    ) -> Result {
        if group >= self.groups {
            return Err(EINVAL);
        }
        if !self.is_live() {
            return Err(ENODEV);
        }
        let mut skb = Skb::new()?;
        // SAFETY: The family is a static. Its number, which goes into the header, stays there when
        // it is unregistered meanwhile; then the message is not sent.
        unsafe { skb.message(0, 0, self.raw.get(), cmd, build)? };
        let _rcu = rcu::read_lock();
        if !self.is_live() {
            return Err(ENODEV);
        }
        // SAFETY: The family is registered, and dropping its registration waits for this RCU
        // section. The skb is given away.
        match to_result(unsafe { bindings::genl_multicast(self.raw.get(), skb.into_raw(), group) })
        {
            Err(e) if e == ESRCH => Ok(()),
            result => result,
        }
    }

    /// Whether somebody listens to the group with this index, to spare building a message. Does not
    /// sleep.
    pub fn has_listeners(&'static self, group: u32) -> bool {
        let _rcu = rcu::read_lock();
        if group >= self.groups || !self.is_live() {
            return false;
        }
        // SAFETY: As in `multicast`.
        unsafe { bindings::genl_has_listeners(self.raw.get(), group) }
    }
}

/// A registered family. Dropping it unregisters, waits for operations that are running, and sleeps.
#[must_use = "the family is unregistered at once when this is not kept"]
pub struct Registration(&'static Family);

impl Drop for Registration {
    fn drop(&mut self) {
        let family = self.0;
        family.state.store(CHANGING, ordering::Release);
        // SAFETY: Registered by `register`; after the grace period no `multicast` is using it.
        unsafe {
            bindings::synchronize_rcu();
            bindings::genl_unregister_family(family.raw.get());
        }
        family.state.store(IDLE, ordering::Release);
    }
}
