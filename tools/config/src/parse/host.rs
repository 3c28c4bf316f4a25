// SPDX-License-Identifier: GPL-2.0

//! Resources, hosts, volumes, devices and addresses (configuration.md, sections 3 and 4).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rdb_engine::options::Section;

use super::{Parser, Step};
use crate::lex::Kind;
use crate::model::{Address, Device, Host, Meta, Resource, Sections, Volume};
use crate::source::{Diagnostic, Span};

/// Highest volume number.
const MAX_VOLUME: u64 = 65535;
/// Highest minor number.
const MAX_MINOR: u64 = 0x000F_FFFF;

/// A resource while it is read.
struct Context {
    resource: Resource,
    seen: Vec<(String, Span)>,
}

impl Parser {
    pub(super) fn resource(&mut self) -> Step<()> {
        let span = self.advance().span;
        let (name, place) = self.name("a resource name")?;
        if matches!(name.as_str(), "all" | "help") || name.contains('/') {
            self.error(place, format!("'{name}' cannot be the name of a resource: the command line could not address it"));
        }
        if name.len() > 127 {
            self.error(
                place,
                "the name of a resource has at most 127 bytes".to_owned(),
            );
        }
        if let Some(first) = self.config.resource(&name).map(|resource| resource.span) {
            self.conflict(span, &format!("a second resource '{name}'"), first);
        }
        let resource = Resource {
            name,
            span,
            sections: Sections::default(),
            volumes: Vec::new(),
            hosts: Vec::new(),
        };
        let mut context = Context {
            resource,
            seen: Vec::new(),
        };
        let result = self.body(&mut context, Self::resource_statement);
        self.config.resources.push(context.resource);
        result
    }

    fn resource_statement(&mut self, context: &mut Context) -> Step<()> {
        let resource = &mut context.resource;
        match self.bare() {
            Some("on") => return self.on(&mut resource.hosts),
            Some("floating") => return self.floating(&mut resource.hosts),
            Some("ignore-on") => {
                let span = self.advance().span;
                self.name("a host name")?;
                self.expect(';')?;
                self.warn(span, "ignore-on is ignored");
                return Ok(());
            }
            Some(word @ "stacked-on-top-of") => {
                let text = format!("'{word}' is not supported: rdb replicates between two nodes");
                let span = self.peek().span;
                return Err(self.fail(Diagnostic::error(span, text)));
            }
            _ => {}
        }
        if self.volume_statement(&mut resource.volumes)? {
            return Ok(());
        }
        if self.shared_statement(&mut resource.sections, &mut context.seen)? {
            return Ok(());
        }
        let problem = self.unexpected(&["a statement of section resource"]);
        let advice = "on, floating, volume, device, disk, meta-disk, net, disk { }, options, startup, handlers, syncer, protocol";
        let problem = match self.bare() {
            Some("resource" | "common" | "global") => {
                problem.note(format!("is a '}}' missing in resource {}?", resource.name))
            }
            Some("address") => {
                problem.note("address belongs into the section of a host: on HOST { … }")
            }
            _ => problem.note(format!("known are: {advice}")),
        };
        Err(self.fail(problem))
    }

    fn on(&mut self, hosts: &mut Vec<Host>) -> Step<()> {
        let span = self.advance().span;
        let mut names = vec![self.name("a host name")?.0];
        while self.peek().kind != Kind::Punct('{') {
            names.push(self.name("a host name or '{'")?.0);
        }
        let mut host = Host {
            names,
            address: None,
            volumes: Vec::new(),
            span,
        };
        let result = self.body(&mut host, Self::host_statement);
        hosts.push(host);
        result
    }

    fn floating(&mut self, hosts: &mut Vec<Host>) -> Step<()> {
        let span = self.advance().span;
        let address = self.address()?;
        let mut host = Host {
            names: Vec::new(),
            address: Some(address),
            volumes: Vec::new(),
            span,
        };
        let result = match self.eat(';') {
            true => Ok(()),
            false => self.body(&mut host, Self::host_statement),
        };
        hosts.push(host);
        result
    }

    fn host_statement(&mut self, host: &mut Host) -> Step<()> {
        let span = self.peek().span;
        match self.bare() {
            Some("address") => {
                self.advance();
                let address = self.address()?;
                self.expect(';')?;
                match &host.address {
                    Some(first) => {
                        let text = format!("a second address in section {}", host.section());
                        let first = first.span;
                        self.conflict(span, &text, first);
                    }
                    None => host.address = Some(address),
                }
                return Ok(());
            }
            Some("alternate-link-address") => {
                let text = "alternate-link-address is not supported";
                return Err(self.fail(Diagnostic::error(span, text)));
            }
            // Files for version 9 have it; with two nodes it says nothing new.
            Some("node-id") => {
                self.advance();
                self.integer("a node id", 0, 31)?;
                return self.expect(';');
            }
            Some("options") if self.block_follows() => {
                self.advance();
                self.settings_body(Section::Options, &mut Vec::new())?;
                self.warn(
                    span,
                    "options in the section of a host are ignored; write them into the resource",
                );
                return Ok(());
            }
            Some("proxy") => {
                self.shared_statement(&mut Sections::default(), &mut Vec::new())?;
                return Ok(());
            }
            _ => {}
        }
        if self.volume_statement(&mut host.volumes)? {
            return Ok(());
        }
        let problem = self.unexpected(&[
            "device",
            "disk",
            "meta-disk",
            "address",
            "volume",
            "flexible-meta-disk",
        ]);
        Err(self.fail(problem))
    }

    /// `volume N { … }` or a statement of the implicit volume 0; false if it is neither.
    fn volume_statement(&mut self, volumes: &mut Vec<Volume>) -> Step<bool> {
        let span = self.peek().span;
        match self.bare() {
            Some("volume") => {
                self.advance();
                let number = self.integer("volume number", 0, MAX_VOLUME)?;
                let number = u16::try_from(number).unwrap_or_default();
                let mut volume = match volumes
                    .iter()
                    .position(|known| known.number == number && known.explicit)
                {
                    Some(index) => {
                        let first = volumes[index].span;
                        self.conflict(span, &format!("a second section volume {number}"), first);
                        volumes.remove(index)
                    }
                    None => empty_volume(number, true, span),
                };
                let result = self.body(&mut volume, Self::volume_body);
                volumes.push(volume);
                volumes.sort_by_key(|volume| volume.number);
                result?;
                Ok(true)
            }
            Some("device" | "meta-disk" | "flexible-meta-disk") => self.implicit(volumes, span),
            // `disk { … }` of a resource holds for all of its volumes and is a section of its own.
            Some("disk") if !self.block_follows() => self.implicit(volumes, span),
            _ => Ok(false),
        }
    }

    fn implicit(&mut self, volumes: &mut Vec<Volume>, span: Span) -> Step<bool> {
        let index = volumes.iter().position(|volume| !volume.explicit);
        let index = index.unwrap_or_else(|| {
            volumes.insert(0, empty_volume(0, false, span));
            0
        });
        let mut volume = volumes[index].clone();
        let result = self.volume_body(&mut volume);
        volumes[index] = volume;
        result?;
        Ok(true)
    }

    fn volume_body(&mut self, volume: &mut Volume) -> Step<()> {
        let span = self.peek().span;
        match self.bare() {
            Some("device") => {
                self.advance();
                let device = self.device(span)?;
                self.expect(';')?;
                let first = volume.device.as_ref().map(|first| first.span);
                self.once(span, "device", first);
                volume.device = Some(device);
            }
            Some("disk") if self.block_follows() => {
                self.advance();
                self.settings_body(Section::Disk, &mut volume.options)?;
            }
            Some("disk") => {
                self.advance();
                let (disk, _) = self.text("a block device")?;
                self.expect(';')?;
                self.once(span, "disk", volume.disk.as_ref().map(|first| first.1));
                volume.disk = Some((disk, span));
            }
            Some("meta-disk" | "flexible-meta-disk") => {
                let indexed = self.bare() == Some("meta-disk");
                self.advance();
                let meta = self.meta(indexed)?;
                self.expect(';')?;
                self.once(span, "meta-disk", volume.meta.as_ref().map(|first| first.1));
                volume.meta = Some((meta, span));
            }
            _ => {
                let problem =
                    self.unexpected(&["disk", "device", "meta-disk", "flexible-meta-disk"]);
                return Err(self.fail(problem));
            }
        }
        Ok(())
    }

    fn once(&mut self, span: Span, what: &str, first: Option<Span>) {
        if let Some(first) = first {
            self.conflict(
                span,
                &format!("a second '{what}' for the same volume"),
                first,
            );
        }
    }

    fn device(&mut self, start: Span) -> Step<Device> {
        if self.eat_word("minor") {
            let minor = self.integer("minor number", 0, MAX_MINOR)?;
            return Ok(Device {
                named: false,
                minor: u32::try_from(minor).unwrap_or_default(),
                span: start,
            });
        }
        let (name, span) = self.text("a device name or 'minor'")?;
        let short = name.strip_prefix("/dev/").unwrap_or(&name);
        let tail = short
            .strip_prefix("rdb")
            .or_else(|| short.strip_prefix("drbd"));
        let given = match self.eat_word("minor") {
            true => u32::try_from(self.integer("minor number", 0, MAX_MINOR)?).ok(),
            false if self.peek().kind != Kind::Punct(';') => {
                let problem = self.unexpected(&["minor", ";"]);
                return Err(self.fail(problem));
            }
            false => None,
        };
        let Some(tail) = tail else {
            let problem = Diagnostic::error(span, format!("'{name}' is no name of an rdb device"));
            self.errors
                .push(problem.note(
                    "write /dev/rdbN or minor N; /dev/drbdN of older files is accepted, too",
                ));
            return Ok(Device {
                named: true,
                minor: given.unwrap_or_default(),
                span: start,
            });
        };
        let minor = self.minor_of_name(&name, tail, given, span);
        Ok(Device {
            named: true,
            minor,
            span: start,
        })
    }

    /// Minor number of a device with a name that ends in `tail` behind the prefix; 0 if there is an error.
    fn minor_of_name(&mut self, name: &str, tail: &str, given: Option<u32>, span: Span) -> u32 {
        let numbered = !tail.is_empty() && tail.bytes().all(|byte| byte.is_ascii_digit());
        match (numbered.then(|| tail.parse::<u32>().ok()).flatten(), given) {
            (Some(number), _) if u64::from(number) > MAX_MINOR => {
                self.error(
                    span,
                    format!("minor number {number} is out of range [0..{MAX_MINOR}]"),
                );
                0
            }
            (Some(number), Some(minor)) if number != minor => {
                let text = format!("device name '{name}' and minor {minor} do not match");
                let problem = Diagnostic::error(span, text);
                self.errors.push(problem.note(format!(
                    "write \"device /dev/rdb{minor};\" or \"device minor {minor};\""
                )));
                minor
            }
            (Some(number), _) => number,
            (None, Some(minor)) => {
                self.warn(
                    span,
                    format!("no node of the name '{name}' is made; the device is /dev/rdb{minor}"),
                );
                minor
            }
            (None, None) => {
                let problem =
                    Diagnostic::error(span, format!("device '{name}' has no minor number"));
                self.errors
                    .push(problem.note("write /dev/rdbN, or add minor N"));
                0
            }
        }
    }

    fn meta(&mut self, indexed: bool) -> Step<Meta> {
        let quoted = matches!(self.peek().kind, Kind::Quoted(_));
        let (device, _) = self.text("internal or a block device")?;
        if device == "internal" && !quoted && indexed {
            return Ok(Meta::Internal);
        }
        if !indexed || !self.eat('[') {
            return Ok(Meta::Flexible(device));
        }
        let index = self.integer("index of the metadata", 0, 255)?;
        self.expect(']')?;
        Ok(Meta::Indexed(
            device,
            u32::try_from(index).unwrap_or_default(),
        ))
    }

    fn address(&mut self) -> Step<Address> {
        let start = self.peek().span;
        if let Some(family @ ("sdp" | "ssocks" | "sci")) = self.bare() {
            let text = format!("address family '{family}' is not supported; ipv4 and ipv6 are");
            return Err(self.fail(Diagnostic::error(start, text)));
        }
        let (ip, scope) = if self.eat_word("ipv6") {
            self.expect('[')?;
            self.ipv6()?
        } else {
            self.eat_word("ipv4");
            (self.ipv4()?, None)
        };
        self.expect(':')?;
        let (text, span) = self.text("a port")?;
        let port = match text.parse::<u64>() {
            Ok(port @ 1..=65535) => u16::try_from(port).unwrap_or_default(),
            Ok(_) => {
                self.error(span, format!("port {text} is out of range [1..65535]"));
                1
            }
            Err(_) => {
                let text = format!("expected a port from 1 to 65535, found '{text}'");
                return Err(self.fail(Diagnostic::error(span, text)));
            }
        };
        Ok(Address {
            ip,
            scope,
            port,
            span: Span {
                end: span.end,
                ..start
            },
        })
    }

    fn ipv4(&mut self) -> Step<IpAddr> {
        let found = self.bare().and_then(|word| word.parse::<Ipv4Addr>().ok());
        match found {
            Some(ip) => {
                self.advance();
                Ok(IpAddr::V4(ip))
            }
            None => {
                let problem = self.unexpected(&["an IPv4 address"]);
                let advice =
                    "host names are not allowed; an IPv6 address is written ipv6 [ADDRESS]:PORT";
                Err(self.fail(problem.note(advice)))
            }
        }
    }

    fn ipv6(&mut self) -> Step<(IpAddr, Option<String>)> {
        let token = self.advance();
        let parsed = match &token.kind {
            Kind::Ipv6(text) => {
                let (ip, scope) = match text.split_once('%') {
                    Some((ip, scope)) => (ip, Some(scope.to_owned())),
                    None => (text.as_str(), None),
                };
                ip.parse::<Ipv6Addr>()
                    .ok()
                    .map(|ip| (IpAddr::V6(ip), scope))
            }
            _ => None,
        };
        let Some(parsed) = parsed else {
            let text = format!("expected an IPv6 address, found {}", token.show());
            return Err(self.fail(Diagnostic::error(token.span, text)));
        };
        self.expect(']')?;
        Ok(parsed)
    }
}

fn empty_volume(number: u16, explicit: bool, span: Span) -> Volume {
    Volume {
        number,
        explicit,
        device: None,
        disk: None,
        meta: None,
        options: Vec::new(),
        span,
    }
}
