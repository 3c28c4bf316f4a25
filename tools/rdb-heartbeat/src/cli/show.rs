// SPDX-License-Identifier: GPL-2.0

//! What people see; colours only on a terminal.

use crate::config::Config;
use crate::config::diagnostic::{Diagnostic, Severity};
use crate::config::values::show;
use crate::engine::report::{GroupReport, Report};
use anstream::{eprintln, println};
use anstyle::{AnsiColor, Style};
use std::time::Duration;

const GOOD: Style = AnsiColor::Green.on_default();
const BUSY: Style = AnsiColor::Yellow.on_default();
const BAD: Style = AnsiColor::Red.on_default();

/// One problem of the configuration.
pub fn problem(problem: &Diagnostic) {
    let style = match problem.severity {
        Severity::Error => BAD,
        Severity::Warning => BUSY,
        Severity::Note => Style::new(),
    };
    eprintln!("{style}{problem}{style:#}");
}

/// What a good configuration means.
pub fn config(config: &Config, own: &str) {
    let ha_cf = &config.ha_cf;
    println!("{}: good for node {own}", config.directory.display());
    println!(
        "nodes {}; keepalive {}, warntime {}, deadtime {}, initdead {}; auto_failback {}",
        ha_cf.nodes.join(", "),
        show(ha_cf.keepalive),
        show(ha_cf.warntime),
        show(ha_cf.deadtime),
        show(ha_cf.initdead),
        if ha_cf.auto_failback { "on" } else { "off" },
    );
    for group in &config.groups {
        let resources: Vec<_> = group.resources.iter().map(|r| r.text.as_str()).collect();
        println!("group of {}: {}", group.preferred, resources.join(" "));
    }
}

/// The state of a node.
pub fn report(report: &Report) {
    let style = if report.status == "active" {
        GOOD
    } else {
        BUSY
    };
    println!(
        "node {} (this one): {style}{}{style:#}, holds {}, auto_failback {}",
        report.node,
        report.status,
        report.holdings,
        if report.auto_failback { "on" } else { "off" }
    );
    for peer in &report.peers {
        let style = match peer.state.as_str() {
            "active" => GOOD,
            "dead" => BAD,
            _ => BUSY,
        };
        let heard = match peer.heard_ms_ago {
            Some(ms) => format!("heard {} ago", show(Duration::from_millis(ms))),
            None => "never heard".to_owned(),
        };
        let links: Vec<_> = peer
            .links
            .iter()
            .map(|l| format!("{} {}", l.name, if l.up { "up" } else { "dead" }))
            .collect();
        print_peer(
            &peer.node,
            &peer.state,
            style,
            &heard,
            &links.join(", "),
            &peer.fencing,
        );
    }
    for g in &report.groups {
        group(report, g);
    }
}

fn print_peer(node: &str, state: &str, style: Style, heard: &str, links: &str, fencing: &str) {
    let fencing = match fencing {
        "not-needed" => String::new(),
        other => format!(", fencing {other}"),
    };
    let links = if links.is_empty() {
        String::new()
    } else {
        format!(", link {links}")
    };
    println!("node {node}: {style}{state}{style:#}, {heard}{links}{fencing}");
}

fn group(report: &Report, group: &GroupReport) {
    let (style, place) = match (group.state.as_str(), &group.holder) {
        ("running", _) => (GOOD, format!("running on {}", report.node)),
        ("stuck", _) => (BAD, format!("cannot be stopped on {}", report.node)),
        ("stopped", Some(holder)) => {
            let state = group.peer_state.as_deref().unwrap_or("held");
            let style = if state == "running" { GOOD } else { BUSY };
            (style, format!("{state} on {holder}"))
        }
        ("stopped", None) => (BAD, "stopped".to_owned()),
        (moving, _) => (BUSY, format!("{moving} on {}", report.node)),
    };
    println!(
        "group {} (prefers {}): {style}{place}{style:#}",
        group.key, group.preferred
    );
    println!("  {}", group.resources.join(" "));
    if let Some(why) = &group.failed {
        println!("  {BAD}failed here{BAD:#}: {why}");
    }
    if let Some(why) = &group.waiting {
        println!("  waits: {why}");
    }
    if group.yielded {
        println!("  given away on request; `rdb-heartbeat takeover` brings it back");
    }
}
