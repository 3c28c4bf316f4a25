// SPDX-License-Identifier: GPL-2.0

//! The configuration printed in its normal form (admin-tool.md, section 4.11).

use std::fmt::Write as _;

use crate::model::{
    Config, Handler, Host, Meta, Promote, Resource, Sections, Setting, Startup, Value, Volume,
};
use crate::parse;
use crate::resolve::{self, Node};

/// Column in which values begin, if the name leaves room.
const VALUE_COLUMN: usize = 24;

/// Order of the options in section global.
const GLOBAL: &[&str] = &[
    "dialog-refresh",
    "minor-count",
    "disable-ip-verification",
    "usage-count",
    "udev-always-use-vnr",
    "cmd-timeout-short",
    "cmd-timeout-medium",
    "cmd-timeout-long",
];

/// Prints whole configurations. `expand` merges inherited settings in.
#[derive(Clone, Copy, Debug)]
pub struct Printer<'a> {
    /// What to print.
    pub config: &'a Config,
    /// For whom.
    pub node: &'a Node,
    /// Print inherited settings, too.
    pub expand: bool,
}

impl Printer<'_> {
    /// Everything that stands outside of resources.
    pub fn head(&self) -> String {
        let mut out = Text::default();
        out.line(0, &format!("# {}", self.config.main_file()));
        if !self.config.global.is_empty() {
            out.line(0, "global {");
            for name in GLOBAL {
                for setting in self
                    .config
                    .global
                    .iter()
                    .filter(|set| set.option.name == *name)
                {
                    match setting.value {
                        Value::Switch(true) => out.line(4, &format!("{name};")),
                        Value::Switch(false) => {}
                        _ => out.line(4, &format!("{name} {};", setting.text)),
                    }
                }
            }
            out.line(0, "}");
            out.line(0, "");
        }
        if let Some(common) = &self.config.common {
            out.line(0, "common {");
            sections(&mut out, common);
            out.line(0, "}");
            out.line(0, "");
        }
        out.0
    }

    /// One resource.
    pub fn resource(&self, resource: &Resource) -> String {
        let mut out = Text::default();
        let ignored = match resolve::local(self.config, resource, self.node) {
            Ok(Some(_)) => "not ignored",
            _ => "ignored",
        };
        let place = self.config.sources.file_line(resource.span);
        out.line(
            0,
            &format!(
                "# resource {} on {}: {ignored}, not stacked",
                resource.name, self.node.name
            ),
        );
        out.line(0, &format!("# defined at {place}"));
        out.line(0, &format!("resource {} {{", quote_name(&resource.name)));
        for section in &resource.hosts {
            host(&mut out, section);
        }
        match self.expand {
            false => sections(&mut out, &resource.sections),
            true => sections(&mut out, &self.expanded(resource)),
        }
        out.line(0, "}");
        out.line(0, "");
        out.0
    }

    fn expanded(&self, resource: &Resource) -> Sections {
        let common = self.config.common.clone().unwrap_or_default();
        let disk = Volume {
            options: Vec::new(),
            ..empty()
        };
        Sections {
            net: resolve::net(self.config, resource),
            disk: resolve::disk(self.config, resource, &disk),
            options: resolve::options(self.config, resource),
            startup: Startup {
                settings: resolve::startup(self.config, resource),
                become_primary_on: resource
                    .sections
                    .startup
                    .become_primary_on
                    .clone()
                    .or(common.startup.become_primary_on),
            },
            handlers: resolve::handlers(self.config, resource),
        }
    }
}

fn empty() -> Volume {
    Volume {
        number: 0,
        explicit: false,
        device: None,
        disk: None,
        meta: None,
        options: Vec::new(),
        span: crate::source::Span::default(),
    }
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn line(&mut self, indent: usize, text: &str) {
        // Writing into a string cannot fail.
        let _ = match text {
            "" => writeln!(self.0),
            _ => writeln!(self.0, "{:indent$}{text}", ""),
        };
    }

    /// `name value;` with the value in its column.
    fn pair(&mut self, indent: usize, name: &str, value: &str) {
        let width = VALUE_COLUMN.saturating_sub(indent);
        self.line(indent, &format!("{name:<width$} {value:>3};"));
    }
}

fn host(out: &mut Text, host: &Host) {
    let address = host
        .address
        .as_ref()
        .map(ToString::to_string)
        .unwrap_or_default();
    match host.names.is_empty() {
        true => out.line(4, &format!("floating {address} {{")),
        false => {
            let names: Vec<String> = host.names.iter().map(|name| quote_name(name)).collect();
            out.line(4, &format!("on {} {{", names.join(" ")));
        }
    }
    for volume in &host.volumes {
        match volume.explicit {
            true => {
                out.line(8, &format!("volume {} {{", volume.number));
                volume_body(out, 12, volume);
                out.line(8, "}");
            }
            false => volume_body(out, 8, volume),
        }
    }
    if !host.names.is_empty() {
        out.pair(8, "address", &address);
    }
    out.line(4, "}");
}

fn volume_body(out: &mut Text, indent: usize, volume: &Volume) {
    settings(out, indent, "disk", &volume.options);
    if let Some(device) = &volume.device {
        let text = match device.named {
            true => format!("/dev/rdb{0} minor {0}", device.minor),
            false => format!("minor {}", device.minor),
        };
        out.pair(indent, "device", &text);
    }
    if let Some((disk, _)) = &volume.disk {
        out.pair(indent, "disk", &quote(disk));
    }
    match &volume.meta {
        Some((Meta::Internal, _)) => out.pair(indent, "meta-disk", "internal"),
        Some((Meta::Flexible(device), _)) => {
            // A device of the name "internal" must not turn into the keyword.
            let device = if device == "internal" {
                "\"internal\"".into()
            } else {
                quote(device)
            };
            out.line(indent, &format!("{:<16} {device};", "meta-disk"));
        }
        Some((Meta::Indexed(device, index), _)) => {
            out.line(
                indent,
                &format!("{:<16} {} [{index}];", "meta-disk", quote(device)),
            );
        }
        None => {}
    }
}

fn sections(out: &mut Text, sections: &Sections) {
    settings(out, 4, "options", &sections.options);
    settings(out, 4, "net", &sections.net);
    settings(out, 4, "disk", &sections.disk);
    startup(out, &sections.startup);
    handlers(out, &sections.handlers);
}

fn settings(out: &mut Text, indent: usize, name: &str, settings: &[Setting]) {
    if settings.is_empty() {
        return;
    }
    out.line(indent, &format!("{name} {{"));
    for setting in settings {
        out.pair(indent + 4, setting.option.name, &value(setting));
    }
    out.line(indent, "}");
}

fn value(setting: &Setting) -> String {
    match setting.value {
        // yes and no are keywords that must stay bare here, and names of choices may be.
        Value::Switch(_) | Value::Choice(_) | Value::DiscardNode(_) => setting.text.clone(),
        _ => quote(&setting.text),
    }
}

fn startup(out: &mut Text, startup: &Startup) {
    if startup.settings.is_empty() && startup.become_primary_on.is_none() {
        return;
    }
    out.line(4, "startup {");
    for setting in &startup.settings {
        out.pair(8, setting.option.name, &value(setting));
    }
    match &startup.become_primary_on {
        Some((Promote::Both, _)) => out.pair(8, "become-primary-on", "both"),
        Some((Promote::Hosts(hosts), _)) => {
            let hosts: Vec<String> = hosts.iter().map(|host| quote_name(host)).collect();
            out.pair(8, "become-primary-on", &hosts.join(" "));
        }
        None => {}
    }
    out.line(4, "}");
}

fn handlers(out: &mut Text, handlers: &[Handler]) {
    if handlers.is_empty() {
        return;
    }
    out.line(4, "handlers {");
    for handler in handlers {
        out.pair(8, &handler.name, &quote(&handler.command));
    }
    out.line(4, "}");
}

/// A value as it must be written: in quotes unless it is a bare word.
fn quote(text: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
    if !text.is_empty() && text.len() <= 128 && text.bytes().all(bare) && !parse::is_keyword(text) {
        return text.to_owned();
    }
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A name as it must be written: a bare integer is no name.
fn quote_name(name: &str) -> String {
    match name.bytes().all(|byte| byte.is_ascii_digit()) {
        true => format!("\"{name}\""),
        false => quote(name),
    }
}
