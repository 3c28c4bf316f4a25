// SPDX-License-Identifier: GPL-2.0

//! The program as it is called: exit codes, messages, help.

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use predicates::prelude::*;
use predicates::str::contains;

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/config")
}

fn rdbadm(node: &str, line: &str) -> Command {
    let mut command = Command::cargo_bin("rdbadm").expect("the program is built");
    command
        .current_dir(vectors())
        .env("__RDB_NODE__", node)
        .args(line.split(' '));
    command
}

/// The calls of `-d up all` are those of the reference, option by option.
#[test]
fn dry_run_makes_the_calls_of_the_reference() {
    for (file, node) in [
        ("01-seed-83-style", "hauptserver"),
        ("02-legacy-syncer-83", "north"),
        ("05-include", "north"),
        ("06-quoting-comments", "north"),
        ("07-ipv6-and-families", "north"),
        ("10-fencing-handlers", "north"),
    ] {
        let output = rdbadm(node, &format!("-c {file}.conf -d up all"))
            .assert()
            .success();
        let found = String::from_utf8(output.get_output().stdout.clone()).expect("text");
        let expected =
            std::fs::read_to_string(vectors().join(format!("{file}.expected"))).expect("text");
        let expected = expected
            .split("== drbdadm(8.4) -d up all\n")
            .nth(1)
            .expect("the calls");
        let expected = expected
            .split("-- stdout\n")
            .nth(1)
            .and_then(|text| text.split("-- stderr\n").next());
        let expected = expected
            .expect("the calls")
            .replace("drbdsetup", "rdbsetup")
            .replace("drbdmeta", "rdbmeta");
        assert_eq!(found, expected, "{file}");
    }
}

/// Nearer levels win where the reference does not see it; and the order of options differs with it.
#[test]
fn dry_run_with_volume_options() {
    rdbadm("north", "-c 03-v84-multi-volume.conf -d up all").assert().success().stdout(contains(
        "rdbsetup attach 17 /dev/nvme0n1p3 /dev/vg1/datameta flexible --resync-rate=20M --al-extents=127 --disk-flushes=no\n",
    ));
    rdbadm("south", "-c 03-v84-multi-volume.conf -d up all")
        .assert()
        .success()
        .stdout(contains("--al-extents=3389"));
}

#[test]
fn bad_files_end_with_10_and_name_the_place() {
    for (file, place) in [
        ("20-bad-missing-semicolon", ":3:32: "),
        ("21-bad-unknown-option", ":3:21: "),
        ("22-bad-range", ":3:29: "),
        ("24-bad-missing-statements", ":3:3: "),
        ("25-bad-unterminated-string", ":3:35: "),
        ("26-bad-protocol", ":2:19: "),
        ("28-bad-include-missing", ":2:9: "),
        ("30-bad-device-name", ":3:21: "),
        ("12-v9-mesh", ":11:3: "),
    ] {
        rdbadm("north", &format!("-c {file}.conf dump"))
            .assert()
            .code(10)
            .stdout("")
            .stderr(contains(format!("{file}.conf{place}")));
    }
}

#[test]
fn hosts_without_resources() {
    rdbadm("north", "-c 11-not-this-host.conf dump")
        .assert()
        .success()
        .stdout(contains(": ignored, not stacked"));
    rdbadm("north", "-c 11-not-this-host.conf up all")
        .assert()
        .code(1)
        .stderr(contains("(north)"));
    rdbadm("north", "-c no-such-file up all")
        .assert()
        .code(10)
        .stderr(contains("cannot open no-such-file"));
}

#[test]
fn standard_input_is_a_file() {
    rdbadm("north", "-c - dump")
        .write_stdin("common { protocol a; }")
        .assert()
        .success()
        .stdout(contains("protocol           A;"));
    rdbadm("north", "-c - dump")
        .write_stdin("resource {")
        .assert()
        .code(10)
        .stderr(contains("standard input:1:10: "));
}

#[test]
fn usage() {
    rdbadm("north", "--help")
        .assert()
        .success()
        .stdout(contains("wait-sync"));
    rdbadm("north", "help primary")
        .assert()
        .success()
        .stdout(contains("--force"));
    rdbadm("north", "frobnicate")
        .assert()
        .code(1)
        .stderr(contains("unknown command 'frobnicate'"));
    rdbadm("north", "primary --frobnicate r0")
        .assert()
        .code(1)
        .stderr(contains("--frobnicate"));
    rdbadm("north", "--version")
        .assert()
        .success()
        .stdout(contains("RDBADM_VERSION="));
    rdbadm("north", "-c 01-seed-83-style.conf attach --help")
        .assert()
        .success()
        .stdout(contains("--resync-rate"));
}

#[test]
fn completion_scripts() {
    for shell in ["bash", "zsh", "fish"] {
        rdbadm("north", &format!("completion {shell}"))
            .assert()
            .success()
            .stdout(contains("wait-sync").and(contains("create-md")));
    }
}
