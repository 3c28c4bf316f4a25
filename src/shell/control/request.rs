// SPDX-License-Identifier: GPL-2.0

//! Checks of what arrives, and refusals.

use core::fmt::{self, Display};

use kernel::prelude::*;
use kernel::sync::Arc;
use rdb_engine::effects::VolumeIndex;
use rdb_engine::netlink::{attr, attribute, Kind, Operation, ATTRS};
use rdb_engine::options::{Form, OPTIONS};
use rdb_kapi::errno;
use rdb_kapi::genl::Request;

use crate::shell::failure::Failure;
use crate::shell::registry;
use crate::shell::resource::Resource;
use crate::shell::settings::OptionSet;

/// Most bytes of the text in an extended acknowledgement.
const ACK_TEXT: usize = 79;

/// Refuses attributes that do not belong to the request, and values out of range.
pub(super) fn check(req: &Request<'_>, operation: &Operation) -> Result {
    let attrs = req.attrs();
    for known in ATTRS
        .iter()
        .filter(|known| attrs.get(known.number).is_some())
    {
        let name = known.name;
        if !operation.request.contains(&known.number) && known.number != attr::PAD {
            let what = operation.name;
            return Err(req.fail_attr(
                known.number,
                EINVAL,
                format_args!("(126) {what} does not take {name}"),
            ));
        }
        let (value, min, max): (Option<i64>, i64, i64) = match known.kind {
            Kind::U16 { min, max } => (
                attrs.u16(known.number).map(i64::from),
                min.into(),
                max.into(),
            ),
            Kind::U32 { min, max } => (
                attrs.u32(known.number).map(i64::from),
                min.into(),
                max.into(),
            ),
            Kind::U64 { min, max } => (
                attrs.u64(known.number).map(narrow),
                narrow(min),
                narrow(max),
            ),
            Kind::S32 { min, max } => (
                signed(req, known.number).map(i64::from),
                min.into(),
                max.into(),
            ),
            Kind::Text { max } => (
                text(req, known.number).map(|text| length(text.as_bytes())),
                0,
                max.into(),
            ),
            Kind::Bytes { max } => (attrs.bytes(known.number).map(length), 0, max.into()),
            Kind::Pad | Kind::Flag => (Some(0), 0, 0),
        };
        match value {
            Some(value) if (min..=max).contains(&value) => (),
            Some(value) => {
                let what = if matches!(known.kind, Kind::Text { .. } | Kind::Bytes { .. }) {
                    " bytes"
                } else {
                    ""
                };
                return Err(req.fail_attr(
                    known.number,
                    EINVAL,
                    format_args!("(126) {name}: {value}{what}, must be {min} to {max}"),
                ));
            }
            None => {
                return Err(req.fail_attr(
                    known.number,
                    EINVAL,
                    format_args!("(126) {name}: the attribute is malformed"),
                ));
            }
        }
    }
    Ok(())
}

/// Values and bounds beyond `i64` are all the same here: no bound lies there but "everything".
fn narrow(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn length(bytes: &[u8]) -> i64 {
    i64::try_from(bytes.len()).unwrap_or(i64::MAX)
}

/// A text attribute without its NUL.
pub(super) fn text<'a>(req: &'a Request<'_>, number: u16) -> Option<&'a str> {
    req.attrs().str(number)
}

/// A signed attribute.
pub(super) fn signed(req: &Request<'_>, number: u16) -> Option<i32> {
    req.attrs().s32(number)
}

/// What to say of an attribute that the request needs and lacks.
pub(super) fn missing(number: u16) -> Failure {
    let name = attribute(number).map_or("an attribute", |known| known.name);
    refused!(MandatoryAttr, "{name} is missing from the request")
}

/// Name of the resource that the request is about.
pub(super) fn name<'a>(req: &'a Request<'_>) -> Result<&'a str, Failure> {
    let name = text(req, attr::RESOURCE_NAME).ok_or_else(|| missing(attr::RESOURCE_NAME))?;
    // Names end up in paths below /dev and in log lines.
    let plain = |c: char| c.is_ascii_graphic() && c != '/';
    if name.is_empty() || !name.chars().all(plain) || matches!(name, "." | ".." | "all") {
        return Err(refused!(
            MandatoryAttr,
            "a resource name has printable ASCII without blanks and '/', and is not 'all'"
        ));
    }
    Ok(name)
}

/// Minor number of the volume that the request is about.
pub(super) fn minor(req: &Request<'_>) -> Result<u32, Failure> {
    req.attrs()
        .u32(attr::MINOR)
        .ok_or_else(|| missing(attr::MINOR))
}

/// The volume that the request is about.
pub(super) fn volume(req: &Request<'_>) -> Result<(Arc<Resource>, VolumeIndex), Failure> {
    let minor = minor(req)?;
    registry::by_minor(minor)
        .ok_or_else(|| refused!(MinorInvalid, "/dev/rdb{minor} is not configured"))
}

/// Puts the options of the request into `set`. With the attribute set-defaults, options that are absent go back to their defaults.
pub(super) fn take_options(req: &Request<'_>, set: &mut OptionSet) -> Result<(), Failure> {
    if req.attrs().flag(attr::SET_DEFAULTS) {
        let size = set.number(attr::SIZE);
        *set = OptionSet::defaults(set.section())?;
        // Not an option of this request: resize changes it.
        set.set_number(attr::SIZE, size);
    }
    let section = set.section();
    for option in OPTIONS
        .iter()
        .filter(|option| option.section == section && option.attr != 0)
    {
        let number = option.attr;
        if req.attrs().get(number).is_none() {
            continue;
        }
        match option.form {
            Form::Text { .. } => {
                set.set_text(number, text(req, number).unwrap_or_default().as_bytes())?
            }
            Form::Volume => set.set_number(number, signed(req, number).unwrap_or(-1).into()),
            Form::Choice { names, .. } => {
                let value = req.attrs().u32(number).unwrap_or_default();
                if !names.iter().any(|known| known.1 == value) {
                    return Err(refused!(
                        MandatoryAttr,
                        "{}: {value} is none of its values",
                        option.name
                    ));
                }
                set.set_number(number, value.into());
            }
            Form::Switch { .. } | Form::Number { .. } => {
                let wide = req.attrs().u64(number).filter(|_| number == attr::SIZE);
                let value =
                    wide.unwrap_or_else(|| req.attrs().u32(number).unwrap_or_default().into());
                set.set_number(number, i64::try_from(value).unwrap_or(i64::MAX));
            }
        }
    }
    Ok(())
}

/// The errno for programs that look no closer.
fn errno(code: i32) -> Error {
    match code {
        127 | 158 => ENOENT,
        124 | 125 | 161 => EEXIST,
        104 | 105 | 107 | 108 => ENODEV,
        118 => EIO,
        119 => errno::error(errno::ENODATA),
        122 | 140 => ENOMEM,
        129 => EINTR,
        152 => EPERM,
        114 | 115 | 130 | 131 | 148 | 149 | 151 | 159 | 160 | 162 => EBUSY,
        0.. => EINVAL,
        _ => EBUSY,
    }
}

/// The object that a request is about, for messages.
struct Object<'a>(&'a Request<'a>);

impl Display for Object<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let req = self.0;
        if let Some(name) = text(req, attr::RESOURCE_NAME) {
            f.write_str(name)?;
            return match req.attrs().u32(attr::VOLUME) {
                Some(number) => write!(f, "/{number}: "),
                None => f.write_str(": "),
            };
        }
        let Some(minor) = req.attrs().u32(attr::MINOR) else {
            return Ok(());
        };
        let known = registry::by_minor(minor).and_then(|(res, index)| {
            Some((
                res.inspect(|engine| engine.volume(index).map(|v| v.number))?,
                res,
            ))
        });
        match known {
            Some((number, res)) => write!(f, "{}/{number}: ", res.name()),
            None => write!(f, "minor {minor}: "),
        }
    }
}

/// Tells the requester, in words, why not; gives the errno of the answer.
pub(super) fn refuse(req: &Request<'_>, operation: &Operation, failure: &Failure) -> Error {
    let code = failure.code();
    let line = Failure::new(code, format_args!("({code}) {}{failure}", Object(req)));
    if line.len() > ACK_TEXT {
        // The acknowledgement will be cut. If this message cannot be sent, the beginning has to do.
        let _ = req.reply(|msg| msg.put_fmt(attr::INFO_TEXT, format_args!("{line}")));
    }
    pr_debug!("{} refused: {}\n", operation.name, format_args!("{line}"));
    req.fail(errno(code), format_args!("{line}"))
}
