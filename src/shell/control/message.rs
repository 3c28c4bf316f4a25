// SPDX-License-Identifier: GPL-2.0

//! Attributes of replies and events.

use kernel::prelude::*;
use rdb_engine::generation::Generation;
use rdb_engine::netlink::{attr, attribute, Kind};
use rdb_kapi::genl::Message;
use rdb_kapi::net::{IpAddr, SocketAddr};

use crate::shell::settings::OptionSet;

/// Puts a number, as wide as the specification says. A value that its attribute cannot hold becomes the largest that it can.
pub(crate) fn put(msg: &mut Message<'_>, number: u16, value: u64) -> Result {
    match attribute(number).map(|known| known.kind) {
        Some(Kind::U16 { .. }) => msg.put_u16(number, u16::try_from(value).unwrap_or(u16::MAX)),
        Some(Kind::U64 { .. }) => msg.put_u64_pad(number, value, attr::PAD),
        Some(Kind::Flag) if value == 0 => Ok(()),
        Some(Kind::Flag) => msg.put_flag(number),
        Some(_) => msg.put_u32(number, u32::try_from(value).unwrap_or(u32::MAX)),
        None => Err(EINVAL),
    }
}

/// Puts a number that may be negative.
pub(crate) fn put_signed(msg: &mut Message<'_>, number: u16, value: i64) -> Result {
    match (
        attribute(number).map(|known| known.kind),
        i32::try_from(value),
    ) {
        (Some(Kind::S32 { .. }), Ok(value)) => msg.put_s32(number, value),
        _ => put(msg, number, u64::try_from(value).unwrap_or(0)),
    }
}

/// Puts a text that came as bytes; what is not UTF-8 is left out.
pub(crate) fn put_text(msg: &mut Message<'_>, number: u16, text: &[u8]) -> Result {
    match core::str::from_utf8(text) {
        Ok(text) => msg.put_str(number, text),
        Err(_) => Ok(()),
    }
}

/// Puts one end of a connection: address, port, and scope if there is one. `first` is the attribute of the address.
pub(crate) fn put_address(msg: &mut Message<'_>, first: u16, address: &SocketAddr) -> Result {
    let (port, scope) = match first {
        attr::LOCAL_ADDR => (attr::LOCAL_PORT, attr::LOCAL_SCOPE),
        _ => (attr::PEER_PORT, attr::PEER_SCOPE),
    };
    match address.ip() {
        IpAddr::V4(ip) => msg.put_bytes(first, &ip.octets())?,
        IpAddr::V6(ip) => msg.put_bytes(first, &ip.octets())?,
    }
    msg.put_u16(port, address.port())?;
    match address {
        SocketAddr::V6(v6) if v6.scope_id() != 0 => msg.put_u32(scope, v6.scope_id()),
        _ => Ok(()),
    }
}

/// Puts the data generation identifiers.
pub(crate) fn put_generation(msg: &mut Message<'_>, generation: &Generation) -> Result {
    put(msg, attr::CURRENT_UUID, generation.current)?;
    put(msg, attr::BITMAP_UUID, generation.bitmap)?;
    let [younger, older] = generation.history;
    put(msg, attr::HISTORY_UUID_0, younger)?;
    put(msg, attr::HISTORY_UUID_1, older)
}

/// Puts all options of a section, the secret only for those who may see it.
pub(super) fn put_options(msg: &mut Message<'_>, options: &OptionSet) -> Result {
    for (number, value) in options.numbers() {
        put_signed(msg, number, value)?;
    }
    for (number, text) in options.texts() {
        // Everybody may read; whoever changes options knows the secret from the file.
        if number != attr::SHARED_SECRET {
            put_text(msg, number, text)?;
        }
    }
    Ok(())
}
