// SPDX-License-Identifier: GPL-2.0

//! The configuration vectors: files with the results of the real tool (`tests/vectors/config/README.md`).

use std::path::{Path, PathBuf};

use rdb_config::dump::Printer;
use rdb_config::resolve::Node;
use rdb_config::{Config, Problems};

/// Goes to the folder of the vectors, because names in messages are relative to it. All tests here do so.
fn enter() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/config");
    std::env::set_current_dir(folder).expect("the vectors are part of the tree");
}

fn load(name: &str) -> Result<Config, Problems> {
    enter();
    rdb_config::load(&PathBuf::from(format!("{name}.conf")))
}

fn node(name: &str) -> Node {
    let host = if name.starts_with("01") {
        "hauptserver"
    } else {
        "north"
    };
    let own = ["10.20.0.1", "fd20:1::1"].map(|address| address.parse().unwrap());
    Node {
        name: host.into(),
        addresses: Some(own.to_vec()),
    }
}

fn dump(config: &Config, node: &Node) -> String {
    let printer = Printer {
        config,
        node,
        expand: false,
    };
    let resources = config
        .resources
        .iter()
        .map(|resource| printer.resource(resource));
    printer.head() + &resources.collect::<String>()
}

/// What the 8.4 tool printed for `dump`, with the names of our devices and without the two lines that nobody set.
fn reference(name: &str) -> String {
    enter();
    let text = std::fs::read_to_string(format!("{name}.expected")).expect("the result is there");
    let text = text.split("== drbdadm(8.4) dump\n").nth(1).expect("a dump");
    let text = text.split("-- stdout\n").nth(1).expect("an output");
    let text = text
        .split("-- stderr\n")
        .next()
        .expect("messages")
        .replace("/dev/drbd", "/dev/rdb");
    let lines = text
        .lines()
        .filter(|line| !["cmd-timeout-medium 600;", "cmd-timeout-long 0;"].contains(&line.trim()));
    lines.map(|line| format!("{line}\n")).collect()
}

fn same_dump(name: &str, adapt: impl Fn(String) -> String) {
    let config = load(name).unwrap_or_else(|problems| panic!("{name}: {problems}"));
    let printed = dump(&config, &node(name));
    assert_eq!(
        printed.trim_end(),
        adapt(reference(name)).trim_end(),
        "{name}"
    );
    // A dump is a configuration again, and says the same.
    let again = rdb_config::parse("dump", Path::new(""), &printed)
        .unwrap_or_else(|problems| panic!("dump of {name}: {problems}"));
    let plain = |text: &str| -> Vec<String> {
        text.lines()
            .filter(|line| !line.starts_with('#'))
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(plain(&dump(&again, &node(name))), plain(&printed), "{name}");
}

#[test]
fn dumps_like_the_reference() {
    for name in [
        "01-seed-83-style",
        "02-legacy-syncer-83",
        "05-include",
        "07-ipv6-and-families",
        "09-floating",
        "10-fencing-handlers",
        "11-not-this-host",
    ] {
        same_dump(name, |text| text);
    }
}

/// The reference loses a global switch and the options of volumes that stand at the resource; the nearest level wins here.
#[test]
fn multi_volume_keeps_what_the_reference_drops() {
    same_dump("03-v84-multi-volume", |text| {
        let text = text.replace(
            "    usage-count no;\n",
            "    usage-count no;\n    udev-always-use-vnr;\n",
        );
        let text = text.replace(
            "                al-extents 127;\n",
            "                al-extents 127;\n                disk-flushes  no;\n",
        );
        let (north, south) = text.split_once("    on south {").expect("two hosts");
        let south = south.replace(
            "        volume 7 {\n",
            "        volume 7 {\n            disk {\n                al-extents 3389;\n                disk-flushes  no;\n            }\n",
        );
        format!("{north}    on south {{{south}")
    });
    let config = load("03-v84-multi-volume").expect("it is valid");
    let texts: Vec<&str> = config
        .warnings
        .iter()
        .map(|warning| warning.text.as_str())
        .collect();
    assert_eq!(
        texts,
        ["al-extents of volume 7 is 3389 here; drbdadm 8.4 would have used 1237"]
    );
}

/// The reference prints a keyword as a bare name, which it cannot read again.
#[test]
fn names_that_are_keywords_stay_quoted() {
    same_dump("06-quoting-comments", |text| {
        text.replace("resource disk {", "resource \"disk\" {")
    });
}

#[test]
fn skip_takes_any_label() {
    let config = load("32-bad-skip-two-words").expect("rdb accepts it");
    assert_eq!(config.resources.len(), 1);
}

/// The heads of the messages, without source lines and notes.
fn errors(name: &str) -> Vec<String> {
    let problems = match load(name) {
        Ok(_) => panic!("{name} must be refused"),
        Err(problems) => problems,
    };
    assert_eq!(problems.exit_code(), 10, "{name}");
    let heads = problems.errors.iter().map(|error| {
        error
            .render(&problems.sources)
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned()
    });
    heads.collect()
}

#[test]
fn errors_name_place_and_expectation() {
    let expected: &[(&str, &[&str])] = &[
        (
            "20-bad-missing-semicolon",
            &["20-bad-missing-semicolon.conf:3:32: expected 'minor' or ';', found 'disk'"],
        ),
        (
            "21-bad-unknown-option",
            &[
                "21-bad-unknown-option.conf:3:21: expected an option of section net, found 'max-bufers'",
            ],
        ),
        (
            "22-bad-range",
            &[
                "22-bad-range.conf:3:29: timeout 601 => 601 x 0.1 s is out of range [1..600]",
                "22-bad-range.conf:3:43: ping-int 0 => 0 s is out of range [1..120]",
                "22-bad-range.conf:5:89: port 70000 is out of range [1..65535]",
            ],
        ),
        (
            "24-bad-missing-statements",
            &[
                "24-bad-missing-statements.conf:3:3: resource r0, 'on north': 'address' is missing",
                "24-bad-missing-statements.conf:3:3: resource r0, 'on north': 'disk' is missing",
                "24-bad-missing-statements.conf:4:3: resource r0, 'on south': 'device' is missing",
            ],
        ),
        (
            "25-bad-unterminated-string",
            &["25-bad-unterminated-string.conf:3:35: unterminated quoted string: \"no end"],
        ),
        (
            "26-bad-protocol",
            &["26-bad-protocol.conf:2:19: unknown protocol 'D'"],
        ),
        (
            "28-bad-include-missing",
            &["28-bad-include-missing.conf:2:9: include file 'no-such-file.res' does not exist"],
        ),
        (
            "30-bad-device-name",
            &[
                "30-bad-device-name.conf:3:21: '/dev/mirror0' is no name of an rdb device",
                "30-bad-device-name.conf:4:21: device name '/dev/drbd0' and minor 4 do not match",
            ],
        ),
        (
            "12-v9-mesh",
            &[
                "12-v9-mesh.conf:11:3: expected a statement of section resource, found 'connection-mesh'",
            ],
        ),
    ];
    for (name, heads) in expected {
        assert_eq!(errors(name), *heads, "{name}");
    }
}

#[test]
fn messages_show_the_source_line_and_advice() {
    let problems = load("21-bad-unknown-option").expect_err("it is invalid");
    assert_eq!(
        problems.to_string(),
        "21-bad-unknown-option.conf:3:21: expected an option of section net, found 'max-bufers'\n \
         3 |   net { protocol C; max-bufers 8000; }\n   \
           |                     ^^^^^^^^^^\n    \
         did you mean 'max-buffers'?\n"
    );
}
