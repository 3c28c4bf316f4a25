// SPDX-License-Identifier: GPL-2.0

//! The UDP sockets on which heartbeats travel.
//!
//! One socket receives for each interface and port, whatever the media that use it: two sockets on
//! the same port would take packets from each other.

use super::process::spawn;
use crate::config::ha_cf::Medium;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::if_nametoindex;
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockAddr, Socket, Type};
use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, ToSocketAddrs, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

/// Longest datagram that is read; a longer one is cut, and then its signature does not fit.
const DATAGRAM_MAX: usize = 64 * 1024;

/// One socket and where it sends to.
#[derive(Debug)]
struct Link {
    name: String,
    port: u16,
    socket: Arc<Socket>,
    targets: Vec<Target>,
}

#[derive(Debug)]
struct Target {
    address: SockAddr,
    text: String,
    /// The last attempt failed: said once.
    failing: bool,
}

/// All links of this node.
#[derive(Debug)]
pub struct Media {
    links: Vec<Link>,
}

impl Media {
    /// Opens what the `media` lines say. With `listen` the sockets are bound to that address
    /// instead of the interfaces.
    ///
    /// # Errors
    ///
    /// The text names the line's medium and what is wrong with it.
    pub fn open(media: &[Medium], listen: Option<Ipv4Addr>) -> Result<Self, String> {
        let own = own_addresses().map_err(|e| format!("addresses of the interfaces: {e}"))?;
        let mut result = Self { links: Vec::new() };
        for medium in media {
            result
                .add(medium, listen, &own)
                .map_err(|e| format!("{}: {e}", name(medium)))?;
        }
        result.links.retain(|link| !link.targets.is_empty());
        if result.links.is_empty() {
            return Err(
                "every `ucast` line names an address of this node: expected one with the \
                        address of the other"
                    .into(),
            );
        }
        Ok(result)
    }

    fn add(
        &mut self,
        medium: &Medium,
        listen: Option<Ipv4Addr>,
        own: &[(String, Ipv4Addr)],
    ) -> Result<(), String> {
        match medium {
            Medium::Ucast {
                interface,
                peer,
                port,
            } => {
                let address = resolve(peer, *port)?;
                let is_own = match listen {
                    Some(listen) => *address.ip() == listen,
                    None => own.iter().any(|(_, a)| a == address.ip()),
                };
                // One file may serve both nodes.
                if is_own {
                    return Ok(());
                }
                let link = self.link(interface, *port, listen)?;
                link.target(address);
            }
            Medium::Bcast { interface, port } => {
                let broadcast = broadcast_address(interface)?;
                let link = self.link(interface, *port, listen)?;
                link.socket.set_broadcast(true).map_err(|e| e.to_string())?;
                link.target(SocketAddrV4::new(broadcast, *port));
            }
            Medium::Mcast {
                interface,
                group,
                port,
                ttl,
                loopback,
            } => {
                let index = if_nametoindex(interface.as_str())
                    .map_err(|_| format!("no interface `{interface}`"))?;
                let link = self.link(interface, *port, listen)?;
                let socket = &link.socket;
                let address = own
                    .iter()
                    .find(|(name, _)| name == interface)
                    .map(|(_, a)| *a);
                let address = address.ok_or(format!("`{interface}` has no IPv4 address"))?;
                socket
                    .join_multicast_v4_n(group, &InterfaceIndexOrAddress::Index(index))
                    .and_then(|()| socket.set_multicast_if_v4(&address))
                    .and_then(|()| socket.set_multicast_ttl_v4(u32::from(*ttl)))
                    .and_then(|()| socket.set_multicast_loop_v4(*loopback))
                    .map_err(|e| e.to_string())?;
                link.target(SocketAddrV4::new(*group, *port));
            }
        }
        Ok(())
    }

    /// The link of an interface and port, opened if it is new.
    fn link(
        &mut self,
        interface: &str,
        port: u16,
        listen: Option<Ipv4Addr>,
    ) -> Result<&mut Link, String> {
        let known = self
            .links
            .iter()
            .position(|l| l.name == interface && l.port == port);
        let at = match known {
            Some(at) => at,
            None => {
                let socket = bind(interface, port, listen)?;
                let (name, targets) = (interface.to_owned(), Vec::new());
                self.links.push(Link {
                    name,
                    port,
                    socket: Arc::new(socket),
                    targets,
                });
                self.links.len() - 1
            }
        };
        Ok(&mut self.links[at])
    }

    /// Sends on every link. It never waits: a packet that finds no room is lost, the next one
    /// carries the same.
    pub fn send(&mut self, bytes: &[u8]) {
        for link in &mut self.links {
            for target in &mut link.targets {
                let flags = nix::libc::MSG_DONTWAIT;
                let result = link
                    .socket
                    .send_to_with_flags(bytes, &target.address, flags);
                match result {
                    Ok(_) if target.failing => {
                        target.failing = false;
                        log::info!("heartbeats to {} on {} leave again", target.text, link.name);
                    }
                    Err(error) if !target.failing => {
                        target.failing = true;
                        log::error!("cannot send to {} on {}: {error}", target.text, link.name);
                    }
                    _ => {}
                }
            }
        }
    }

    /// Starts a thread for each link, which hands every datagram to `deliver` with the name of the
    /// link and the address of the sender.
    ///
    /// # Errors
    ///
    /// The system has no room for another thread.
    pub fn receive(
        &self,
        deliver: impl Fn(&str, SocketAddr, &[u8]) + Clone + Send + 'static,
    ) -> io::Result<()> {
        for link in &self.links {
            let (name, deliver) = (link.name.clone(), deliver.clone());
            let socket: UdpSocket = link.socket.try_clone()?.into();
            spawn("receiver", move || {
                let mut buffer = vec![0; DATAGRAM_MAX];
                loop {
                    match socket.recv_from(&mut buffer) {
                        Ok((length, from)) => deliver(&name, from, &buffer[..length]),
                        // An interface that goes down ends the wait; it may come back.
                        Err(_) => std::thread::sleep(Duration::from_secs(1)),
                    }
                }
            })?;
        }
        Ok(())
    }

    /// Name, port and targets of each link, for the log.
    pub fn describe(&self) -> Vec<String> {
        let targets = |l: &Link| {
            let texts: Vec<_> = l.targets.iter().map(|t| t.text.as_str()).collect();
            texts.join(", ")
        };
        self.links
            .iter()
            .map(|l| format!("{} port {} to {}", l.name, l.port, targets(l)))
            .collect()
    }
}

impl Link {
    fn target(&mut self, address: SocketAddrV4) {
        let text = address.to_string();
        if self.targets.iter().all(|t| t.text != text) {
            self.targets.push(Target {
                address: address.into(),
                text,
                failing: false,
            });
        }
    }
}

fn name(medium: &Medium) -> String {
    match medium {
        Medium::Ucast {
            interface, peer, ..
        } => format!("ucast {interface} {peer}"),
        Medium::Bcast { interface, .. } => format!("bcast {interface}"),
        Medium::Mcast {
            interface, group, ..
        } => format!("mcast {interface} {group}"),
    }
}

fn bind(interface: &str, port: u16, listen: Option<Ipv4Addr>) -> Result<Socket, String> {
    if if_nametoindex(interface).is_err() {
        return Err(format!("no interface `{interface}`"));
    }
    let open = || -> io::Result<Socket> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        if listen.is_none() {
            // Only what comes in on this interface is heard.
            socket.bind_device(Some(interface.as_bytes()))?;
        }
        let address = SocketAddrV4::new(listen.unwrap_or(Ipv4Addr::UNSPECIFIED), port);
        socket.bind(&address.into())?;
        Ok(socket)
    };
    open().map_err(|e| format!("UDP port {port} on {interface}: {e}"))
}

fn resolve(peer: &str, port: u16) -> Result<SocketAddrV4, String> {
    let found = (peer, port)
        .to_socket_addrs()
        .map_err(|e| format!("address `{peer}`: {e}"))?;
    let v4 = |a: SocketAddr| match a {
        SocketAddr::V4(a) => Some(a),
        SocketAddr::V6(_) => None,
    };
    found
        .into_iter()
        .find_map(v4)
        .ok_or(format!("`{peer}` has no IPv4 address"))
}

fn own_addresses() -> nix::Result<Vec<(String, Ipv4Addr)>> {
    let all = getifaddrs()?;
    Ok(all
        .filter_map(|a| Some((a.interface_name, a.address?.as_sockaddr_in()?.ip())))
        .collect())
}

fn broadcast_address(interface: &str) -> Result<Ipv4Addr, String> {
    let mut all = getifaddrs().map_err(|e| e.to_string())?;
    all.find_map(|a| {
        (a.interface_name == interface).then_some(())?;
        Some(a.broadcast?.as_sockaddr_in()?.ip())
    })
    .ok_or(format!(
        "`{interface}` is missing or has no IPv4 broadcast address"
    ))
}

/// Interfaces of `media` that do not exist here.
pub fn missing_interfaces(media: &[Medium]) -> BTreeSet<String> {
    let interface = |m: &Medium| match m {
        Medium::Ucast { interface, .. }
        | Medium::Bcast { interface, .. }
        | Medium::Mcast { interface, .. } => interface.clone(),
    };
    media
        .iter()
        .map(interface)
        .filter(|name| if_nametoindex(name.as_str()).is_err())
        .collect()
}
