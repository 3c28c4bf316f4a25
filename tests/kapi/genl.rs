// SPDX-License-Identifier: GPL-2.0

//! A netlink family with an echo, a refusal, a list and an event; and a file in /proc. `client.c`
//! is the other end.

use crate::this_module;
use core::fmt::Write as _;
use kernel::prelude::*;
use kernel::sync::Arc;
use rdb_kapi::genl::{
    do_op, dump_op, group, table, DoOp, DumpOp, Family, Group, Message, Operation, Policy, Range,
    Registration, Request,
};
use rdb_kapi::proc::{ProcFile, ProcShow, SeqWriter};

const A_NUMBER: u16 = 1;
const A_TEXT: u16 = 2;
const A_FLAG: u16 = 3;
const A_BIG: u16 = 4;
const A_BYTES: u16 = 5;
const A_PAD: u16 = 6;
const A_NEST: u16 = 7;

const ITEMS: u32 = 1000;

static RANGE: Range = Range::new(1, 100_000);
static POLICY: [Policy; 7] = table(&[
    (A_NUMBER, Policy::u32().in_range(&RANGE)),
    (A_TEXT, Policy::string(15)),
    (A_FLAG, Policy::flag()),
    (A_BIG, Policy::u64()),
    (A_BYTES, Policy::binary(64)),
]);
static NOTHING: [Policy; 1] = table(&[]);

/// Gives back what it got.
struct Echo;
impl DoOp for Echo {
    const CMD: u8 = 1;
    const ADMIN: bool = false;
    const POLICY: &'static [Policy] = &POLICY;
    fn run(req: &Request<'_>) -> Result {
        let a = req.attrs();
        req.reply(|msg| {
            if let Some(n) = a.u32(A_NUMBER) {
                msg.put_u32(A_NUMBER, n)?;
            }
            if let Some(s) = a.str(A_TEXT) {
                msg.put_fmt(A_TEXT, fmt!("<{s}>"))?;
            }
            msg.put_flag_if(A_FLAG, a.flag(A_FLAG))?;
            if let Some(n) = a.u64(A_BIG) {
                msg.put_u64_pad(A_BIG, n, A_PAD)?;
            }
            if let Some(bytes) = a.bytes(A_BYTES) {
                msg.nest(A_NEST, |m| m.put_bytes(A_BYTES, bytes))?;
            }
            // What does not fit leaves nothing behind.
            let long = [0u8; 32];
            let _ = msg.nest(A_NEST, |m| {
                for _ in 0..1000 {
                    m.put_bytes(A_BYTES, &long)?;
                }
                Ok(())
            });
            Ok(())
        })
    }
}

/// Says no, in words.
struct Refuse;
impl DoOp for Refuse {
    const CMD: u8 = 2;
    const ADMIN: bool = true;
    const POLICY: &'static [Policy] = &POLICY;
    fn run(req: &Request<'_>) -> Result {
        let n = req.attrs().u32(A_NUMBER).unwrap_or(0);
        Err(req.fail_attr(
            A_NUMBER,
            EBUSY,
            fmt!("(119) r{n}/0: no, because of reasons that are far too long to be said in a short ä{:80}", 1),
        ))
    }
}

/// Counts to `ITEMS`, or to the number asked for.
struct List;
impl DumpOp for List {
    const CMD: u8 = 3;
    const ADMIN: bool = false;
    const POLICY: &'static [Policy] = &POLICY;
    type Cursor = (u32, u32);
    fn start(req: &Request<'_>) -> Result<(u32, u32)> {
        Ok((0, req.attrs().u32(A_NUMBER).unwrap_or(ITEMS)))
    }
    fn next(cursor: &mut (u32, u32), _: &Request<'_>, msg: &mut Message<'_>) -> Result<bool> {
        if cursor.0 == cursor.1 {
            return Ok(false);
        }
        // Advanced too early on purpose: it is put back if the message does not fit.
        cursor.0 += 1;
        msg.put_u32(A_NUMBER, cursor.0)?;
        msg.put_str(A_TEXT, "item")?;
        Ok(true)
    }
}

/// Sends an event to all who listen.
struct Shout;
impl DoOp for Shout {
    const CMD: u8 = 4;
    const ADMIN: bool = true;
    const POLICY: &'static [Policy] = &NOTHING;
    fn run(_: &Request<'_>) -> Result {
        let listeners = u32::from(FAMILY.has_listeners(0));
        FAMILY.multicast(0, 5, |msg| msg.put_u32(A_NUMBER, 4000 + listeners))
    }
}

static OPS: [Operation; 4] = [
    do_op::<Echo>(),
    do_op::<Refuse>(),
    dump_op::<List>(),
    do_op::<Shout>(),
];
static GROUPS: [Group; 1] = [group(c"events")];
static FAMILY: Family = Family::new(c"rdb_kapi_test", 1, &OPS, &GROUPS, this_module());

pub(crate) fn register() -> Result<Registration> {
    let too_early = FAMILY.multicast(0, 5, |_| Ok(()));
    crate::report(
        "genl-unregistered",
        if too_early == Err(ENODEV) {
            Ok(())
        } else {
            Err(EINVAL)
        },
    );
    drop(FAMILY.register()?);
    let registration = FAMILY.register()?;
    let again = FAMILY.register().map(|_| ());
    crate::report(
        "genl-twice",
        if again == Err(EBUSY) {
            Ok(())
        } else {
            Err(EINVAL)
        },
    );
    FAMILY.multicast(0, 5, |_| Ok(()))?;
    let none = FAMILY.multicast(1, 5, |_| Ok(())) == Err(EINVAL) && !FAMILY.has_listeners(1);
    crate::report("genl-no-group", if none { Ok(()) } else { Err(EINVAL) });
    Ok(registration)
}

/// What the file shows: more than a page.
pub(crate) struct Text;

impl ProcShow for Text {
    fn show(&self, out: &mut SeqWriter<'_>) -> core::fmt::Result {
        for i in 0..2000 {
            writeln!(out, "line {i}")?;
        }
        Ok(())
    }
}

pub(crate) fn proc_file() -> Result<ProcFile<Text>> {
    ProcFile::new(c"rdb_kapi_test", Arc::new(Text, GFP_KERNEL)?)
}
