// SPDX-License-Identifier: GPL-2.0

//! Requests about the connection of a resource.

use kernel::prelude::*;
use rdb_engine::admin::Request as Admin;
use rdb_engine::link::NetOptions;
use rdb_engine::netlink::{attr, RrConflict};
use rdb_engine::options::Section;
use rdb_engine::wire::{AfterSplitBrain, ConnState, ReplicationProtocol, Role};
use rdb_kapi::genl::Request;
use rdb_kapi::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::request::{self, missing};
use super::resource_of;
use crate::shell::failure::Failure;
use crate::shell::link::{Auth, LinkConfig};
use crate::shell::resource::Resource;
use crate::shell::settings::{Connection, Disk, OptionSet};
use crate::shell::{events, registry, status};

/// State code: there is no connection.
const ALREADY_STANDALONE: i32 = -9;

/// What this connection attempt is asked to do.
#[derive(Clone, Copy, Default)]
struct Attempt {
    discard_my_data: bool,
    tentative: bool,
}

/// Gives a resource its connection and starts to connect.
pub(super) fn connect(req: &Request<'_>) -> Result<(), Failure> {
    let res = resource_of(req)?;
    let attempt = Attempt {
        discard_my_data: req.attrs().flag(attr::DISCARD_MY_DATA),
        tentative: req.attrs().flag(attr::TENTATIVE),
    };
    let local = address(req, attr::LOCAL_ADDR, attr::LOCAL_PORT, attr::LOCAL_SCOPE)?;
    let peer = address(req, attr::PEER_ADDR, attr::PEER_PORT, attr::PEER_SCOPE)?;
    if local.is_ipv4() != peer.is_ipv4() {
        return Err(refused!(
            MandatoryAttr,
            "local-addr and peer-addr are of different families"
        ));
    }
    let _shape = res.settings.shape()?;
    let (conn, role) = res.inspect(|engine| (engine.connection(), status::summary(engine).role));
    if conn != ConnState::StandAlone {
        return Err(refused!(
            NetConfigured,
            "is connected or connecting already ({}): disconnect first",
            conn.name()
        ));
    }
    if attempt.discard_my_data && role == Role::Primary {
        return Err(refused!(
            DiscardImpossible,
            "discard-my-data is for a Secondary: this node is Primary"
        ));
    }
    refuse_used(&res, &local, &peer)?;
    let mut options = OptionSet::defaults(Section::Net)?;
    request::take_options(req, &mut options)?;
    refuse_freezing(&res, &options)?;
    let config = config(local, peer, &options, attempt)?;
    res.settings.with(|values| {
        values.connection = Some(Connection {
            local,
            peer,
            options,
        })
    });
    events::connection_created(&res);
    res.connect(config).inspect_err(|_| forget_settings(&res))
}

/// With protocol A there are acknowledged writes that the peer never got: freezing I/O when it is lost would come too late.
fn refuse_freezing(res: &Resource, options: &OptionSet) -> Result<(), Failure> {
    let freezes = |disk: &Disk| disk.options.freezes();
    let frozen = res.settings.with(|values| values.disks.iter().any(freezes));
    if frozen && options.protocol_letter() == 'A' {
        return Err(refused!(
            StonithAndProtocolA,
            "a disk has fencing resource-and-stonith, which needs protocol B or C"
        ));
    }
    Ok(())
}

/// Ends the connection and forgets it.
pub(super) fn disconnect(req: &Request<'_>) -> Result<(), Failure> {
    let res = resource_of(req)?;
    forget(&res, req.attrs().flag(attr::FORCE))
}

/// Disconnects, if there is a connection, and forgets it.
pub(super) fn forget(res: &Resource, force: bool) -> Result<(), Failure> {
    if res.inspect(|engine| engine.connection()) != ConnState::StandAlone {
        match res.admin(Admin::Disconnect { force }) {
            Err(failure) if failure.code() != ALREADY_STANDALONE => return Err(failure),
            _ => (),
        }
    }
    forget_settings(res);
    Ok(())
}

fn forget_settings(res: &Resource) {
    if res
        .settings
        .with(|values| values.connection.take())
        .is_some()
    {
        events::connection_destroyed(res);
    }
}

/// Changes net options.
pub(super) fn set(req: &Request<'_>) -> Result<(), Failure> {
    let res = resource_of(req)?;
    let none = || {
        refused!(
            InvalidRequest,
            "no connection: its options come with connect"
        )
    };
    let (local, peer, mut options) = res
        .settings
        .with(|values| {
            values.connection.as_ref().map(|known| {
                known
                    .options
                    .try_clone()
                    .map(|options| (known.local, known.peer, options))
            })
        })
        .ok_or_else(none)??;
    request::take_options(req, &mut options)?;
    refuse_freezing(&res, &options)?;
    res.set_net(config(local, peer, &options, Attempt::default())?)?;
    res.settings.with(|values| match &mut values.connection {
        Some(known) => {
            known.options = options;
            Ok(())
        }
        None => Err(none()),
    })
}

/// Refuses an address that another resource uses.
fn refuse_used(res: &Resource, local: &SocketAddr, peer: &SocketAddr) -> Result<(), Failure> {
    let mut last = None;
    while let Some(other) = registry::next_resource(
        last.as_ref()
            .map(|other: &kernel::sync::Arc<Resource>| other.name()),
    ) {
        if other.name() != res.name() {
            let used = other.settings.with(|values| {
                values
                    .connection
                    .as_ref()
                    .map(|known| (known.local == *local, known.peer == *peer))
            });
            let name = other.name();
            match used {
                Some((true, _)) => {
                    return Err(refused!(
                        LocalAddrInUse,
                        "{local} is the own address of {name} already"
                    ));
                }
                Some((_, true)) => {
                    return Err(refused!(
                        PeerAddrInUse,
                        "{peer} is the peer of {name} already"
                    ));
                }
                _ => (),
            }
        }
        last = Some(other);
    }
    Ok(())
}

fn address(req: &Request<'_>, ip: u16, port: u16, scope: u16) -> Result<SocketAddr, Failure> {
    let attrs = req.attrs();
    let bytes = attrs.bytes(ip).ok_or_else(|| missing(ip))?;
    let number = attrs.u16(port).ok_or_else(|| missing(port))?;
    let address = match (<[u8; 4]>::try_from(bytes), <[u8; 16]>::try_from(bytes)) {
        (Ok(v4), _) => SocketAddr::new(IpAddr::V4(Ipv4Addr::from(v4)), number),
        (_, Ok(v6)) => {
            let v6 = core::net::SocketAddrV6::new(
                Ipv6Addr::from(v6),
                number,
                0,
                attrs.u32(scope).unwrap_or(0),
            );
            SocketAddr::V6(v6)
        }
        _ => {
            return Err(refused!(
                MandatoryAttr,
                "an address has 4 or 16 bytes, not {}",
                bytes.len()
            ));
        }
    };
    if address.ip().is_unspecified() || address.ip().is_multicast() {
        return Err(refused!(
            MandatoryAttr,
            "{address} is not the address of one node"
        ));
    }
    Ok(address)
}

/// Puts together what the link and the engine work by.
fn config(
    local: SocketAddr,
    peer: SocketAddr,
    options: &OptionSet,
    attempt: Attempt,
) -> Result<LinkConfig, Failure> {
    let word = |number| core::str::from_utf8(options.text(number)).unwrap_or_default();
    let (algorithm, secret) = (word(attr::CRAM_HMAC_ALG), word(attr::SHARED_SECRET));
    let auth = match (algorithm.is_empty(), secret.is_empty()) {
        (true, _) => None,
        (false, false) => Some(Auth::new(algorithm, secret)?),
        (false, true) => {
            return Err(refused!(
                MandatoryAttr,
                "cram-hmac-alg {algorithm} needs a shared-secret"
            ));
        }
    };
    Ok(LinkConfig {
        local,
        peer,
        net: net_options(options, attempt),
        connect_int_ms: options.unsigned(attr::CONNECT_INT).saturating_mul(1000),
        sock_check_ms: options
            .unsigned(attr::SOCKET_CHECK_TIMEOUT)
            .saturating_mul(100),
        sndbuf: options.unsigned(attr::SNDBUF_SIZE),
        rcvbuf: options.unsigned(attr::RCVBUF_SIZE),
        tcp_cork: options.is_on(attr::TCP_CORK),
        auth,
    })
}

fn net_options(options: &OptionSet, attempt: Attempt) -> NetOptions {
    let tenths = |number| options.unsigned(number).saturating_mul(100);
    let policy = |number| {
        AfterSplitBrain::from_number(options.unsigned(number))
            .unwrap_or(AfterSplitBrain::Disconnect)
    };
    NetOptions {
        protocol: ReplicationProtocol::from_number(options.unsigned(attr::PROTOCOL))
            .unwrap_or(ReplicationProtocol::C),
        after_split_brain: [
            policy(attr::AFTER_SB_0PRI),
            policy(attr::AFTER_SB_1PRI),
            policy(attr::AFTER_SB_2PRI),
        ],
        always_after_split_brain: options.is_on(attr::ALWAYS_ASBP),
        rr_conflict_violently: options.unsigned(attr::RR_CONFLICT) == RrConflict::Violently as u32,
        ping_interval_ms: options.unsigned(attr::PING_INT).saturating_mul(1000),
        ping_timeout_ms: tenths(attr::PING_TIMEOUT),
        timeout_ms: tenths(attr::TIMEOUT),
        ko_count: options.unsigned(attr::KO_COUNT),
        max_epoch_size: options.unsigned(attr::MAX_EPOCH_SIZE),
        use_rle: options.is_on(attr::USE_RLE),
        discard_my_data: attempt.discard_my_data,
        tentative: attempt.tentative,
    }
}
