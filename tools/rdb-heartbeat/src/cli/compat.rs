// SPDX-License-Identifier: GPL-2.0

//! Heartbeat's own commands, for scripts that call them: links `cl_status`, `hb_standby`,
//! `hb_takeover` and `heartbeat` to this program.

use super::{Places, one, options, simple};
use crate::engine::report::Report;
use crate::shell::Options;
use crate::shell::control::{Question, Selection};
use std::ffi::OsString;
use std::path::PathBuf;

const BAD_PARAMETER: u8 = 11;

/// Runs the old command `name`; `None` if it is none, or one with our own options.
pub fn run(name: &str, args: &[OsString]) -> Option<u8> {
    let words: Vec<String> = args
        .iter()
        .skip(1)
        .map(|a| a.to_string_lossy().into_owned())
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match name {
        "hb_standby" => Some(moves(&words, "standby")),
        "hb_takeover" => Some(moves(&words, "takeover")),
        "cl_status" => Some(cl_status(&words)),
        _ => None,
    }
}

fn default_options() -> Options {
    let directory = |name: &str, default: &str| {
        PathBuf::from(std::env::var_os(name).unwrap_or_else(|| default.into()))
    };
    options(Places {
        config_dir: std::env::var_os("RDB_HA_CONFIG_DIR").map(PathBuf::from),
        run_dir: directory("RDB_HA_RUN_DIR", "/run/rdb-heartbeat"),
        state_dir: directory("RDB_HA_STATE_DIR", "/var/lib/rdb-heartbeat"),
        resource_dir: Vec::new(),
        node: None,
        listen: None,
    })
}

fn moves(words: &[&str], what: &str) -> u8 {
    let set = match words {
        [] => "all",
        [word @ ("all" | "local" | "foreign" | "failback")] => word,
        _ => {
            eprintln!("usage: hb_{what} [all|local|foreign|failback]");
            return 1;
        }
    };
    let selection = Selection {
        set: Some(set.to_owned()),
        group: None,
    };
    simple(
        &default_options(),
        &match what {
            "standby" => Question::Standby(selection),
            _ => Question::Takeover(selection),
        },
    )
}

/// `rdb-heartbeat -s`.
pub fn daemon_status(options: &Options) -> u8 {
    match one(options, &Question::Status) {
        Ok(answer) => {
            let node = answer.report.map_or(options.node.clone(), |r| r.node);
            let pid = std::fs::read_to_string(options.pid_file()).unwrap_or_default();
            println!(
                "heartbeat OK [pid {} et al] is running on {node} [{node}]...",
                pid.trim()
            );
            0
        }
        Err(_) if options.pid_file().exists() => {
            println!(
                "heartbeat is stopped. Stale pid file {}",
                options.pid_file().display()
            );
            1
        }
        Err(_) => {
            println!("heartbeat is stopped. No process");
            3
        }
    }
}

fn cl_status(words: &[&str]) -> u8 {
    let sentences = words.contains(&"-m");
    let words: Vec<_> = words.iter().copied().filter(|w| *w != "-m").collect();
    let options = default_options();
    let report = one(&options, &Question::Status).ok().and_then(|a| a.report);
    if let ["hbstatus", ..] = words[..] {
        let runs = report.is_some();
        println!(
            "Heartbeat is {} on this machine.",
            if runs { "running" } else { "stopped" }
        );
        return u8::from(!runs);
    }
    let Some(report) = report.filter(|r| r.status == "active") else {
        eprintln!("Cannot signon with heartbeat");
        return 1;
    };
    let state = |node: &str| -> Option<String> {
        if node.eq_ignore_ascii_case(&report.node) {
            return Some(report.status.clone());
        }
        let peer = report
            .peers
            .iter()
            .find(|p| p.node.eq_ignore_ascii_case(node))?;
        Some(peer.state.clone())
    };
    match words[..] {
        ["listnodes"] | ["listnodes", "-n"] => list_nodes(&report),
        ["listnodes", "-p"] => 0,
        ["nodestatus", node] => match state(node) {
            Some(state) => {
                println!("{state}");
                u8::from(!matches!(state.as_str(), "active" | "up"))
            }
            None => unknown(node),
        },
        ["nodetype", node] => answer(state(node).map(|_| "normal".into()), node),
        ["nodeweight", node] => answer(state(node).map(|_| "100".into()), node),
        ["nodesite", node] => answer(state(node).map(|_| String::new()), node),
        ["listhblinks", node] => links(&report, node),
        ["hblinkstatus", node, link] => link_status(&report, node, link),
        ["rscstatus"] if sentences => {
            println!("This node is holding {} resources.", report.holdings);
            0
        }
        ["rscstatus"] => {
            println!("{}", report.holdings);
            0
        }
        ["hbparameter", "-p", name] => {
            let question = Question::Parameter {
                name: name.to_owned(),
            };
            match one(&options, &question).ok().and_then(|a| a.text) {
                Some(value) => {
                    println!("{value}");
                    0
                }
                None => 1,
            }
        }
        _ => {
            eprintln!(
                "usage: cl_status [-m] hbstatus | listnodes [-n|-p] | nodestatus NODE | nodetype \
                 NODE | nodeweight NODE | nodesite NODE | listhblinks NODE | hblinkstatus NODE LINK \
                 | rscstatus | hbparameter -p NAME"
            );
            BAD_PARAMETER
        }
    }
}

fn unknown(node: &str) -> u8 {
    eprintln!("unknown node {node}");
    BAD_PARAMETER
}

fn answer(text: Option<String>, node: &str) -> u8 {
    match text {
        Some(text) => {
            println!("{text}");
            0
        }
        None => unknown(node),
    }
}

fn list_nodes(report: &Report) -> u8 {
    println!("{}", report.node);
    for peer in &report.peers {
        println!("{}", peer.node);
    }
    0
}

fn links(report: &Report, node: &str) -> u8 {
    let Some(peer) = report
        .peers
        .iter()
        .find(|p| p.node.eq_ignore_ascii_case(node))
    else {
        return if node.eq_ignore_ascii_case(&report.node) {
            0
        } else {
            unknown(node)
        };
    };
    for link in &peer.links {
        println!("\t{}", link.name);
    }
    0
}

fn link_status(report: &Report, node: &str, link: &str) -> u8 {
    let peer = report
        .peers
        .iter()
        .find(|p| p.node.eq_ignore_ascii_case(node));
    match peer.map(|p| p.links.iter().find(|l| l.name == link)) {
        None => unknown(node),
        Some(None) => {
            eprintln!("unknown link {link}");
            BAD_PARAMETER
        }
        Some(Some(link)) => {
            println!("{}", if link.up { "up" } else { "dead" });
            u8::from(!link.up)
        }
    }
}
