// SPDX-License-Identifier: GPL-2.0

//! Every file of `tests/vectors/ha`: what heartbeat accepts is accepted, what it refuses is refused,
//! and the message names the place.

use rdb_heartbeat::config::authkeys::{self, AuthKeys, Method};
use rdb_heartbeat::config::diagnostic::{Diagnostics, Severity};
use rdb_heartbeat::config::fencing::FenceDevice;
use rdb_heartbeat::config::ha_cf::{self, HaCf, Medium};
use rdb_heartbeat::config::haresources::{self, Group};
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/ha")
}

fn read(name: &str) -> String {
    std::fs::read_to_string(directory().join(name)).unwrap()
}

/// The result of a parser, with its messages as text.
struct Parsed<T> {
    value: Option<T>,
    messages: Vec<(Severity, String)>,
}

impl<T> Parsed<T> {
    fn new(name: &str, parse: impl FnOnce(&str, &mut Diagnostics) -> Option<T>) -> Self {
        let mut problems = Diagnostics::new(Path::new(name));
        let value = parse(&read(name), &mut problems);
        assert_eq!(value.is_none(), problems.has_errors(), "{name}");
        let messages = problems
            .list()
            .iter()
            .map(|d| (d.severity, d.to_string()))
            .collect();
        Self { value, messages }
    }

    fn good(self) -> T {
        self.value.unwrap_or_else(|| panic!("{:?}", self.messages))
    }

    /// The only error.
    fn error(self) -> String {
        let errors: Vec<_> = self
            .messages
            .iter()
            .filter(|(s, _)| *s == Severity::Error)
            .collect();
        assert_eq!(errors.len(), 1, "{:?}", self.messages);
        errors[0].1.clone()
    }

    fn warnings(&self) -> Vec<&str> {
        let warnings = self
            .messages
            .iter()
            .filter(|(s, _)| *s == Severity::Warning);
        warnings.map(|(_, text)| text.as_str()).collect()
    }
}

fn ha_cf_for(name: &str, own: &str) -> Parsed<HaCf> {
    Parsed::new(name, |text, p| ha_cf::parse(text, own, p))
}

fn ha_cf(name: &str) -> Parsed<HaCf> {
    ha_cf_for(name, "hauptserver")
}

fn keys(name: &str) -> Parsed<AuthKeys> {
    Parsed::new(name, authkeys::parse)
}

fn resources(name: &str) -> Parsed<Vec<Group>> {
    let nodes = ["hauptserver".to_owned(), "ausfallserver".to_owned()];
    Parsed::new(name, |text, p| haresources::parse(text, &nodes, p))
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn the_seed_ha_cf_has_the_defaults() {
    for (own, peer) in [
        ("hauptserver", "192.168.1.12"),
        ("ausfallserver", "192.168.1.11"),
    ] {
        let parsed = ha_cf_for(&format!("seed-ha.cf.{own}"), own);
        assert!(parsed.messages.is_empty(), "{:?}", parsed.messages);
        let ha_cf = parsed.good();
        assert_eq!(ha_cf.nodes, ["hauptserver", "ausfallserver"]);
        assert_eq!(
            (
                ha_cf.keepalive,
                ha_cf.warntime,
                ha_cf.deadtime,
                ha_cf.initdead
            ),
            (seconds(1), seconds(15), seconds(30), seconds(30))
        );
        let medium = Medium::Ucast {
            interface: "eth1".into(),
            peer: peer.into(),
            port: 694,
        };
        assert_eq!(ha_cf.media, [medium]);
        assert!(ha_cf.auto_failback && ha_cf.realtime);
        assert_eq!(ha_cf.facility.as_deref(), Some("local0"));
    }
}

#[test]
fn the_seed_haresources_is_one_group_in_both_forms() {
    let parsed = resources("seed-haresources");
    assert_eq!(
        parsed.warnings(),
        [
            "seed-haresources:1:26: warning: stray backslash ignored: it joins lines only at the \
             end of a line",
            "seed-haresources:1:64: warning: backslash at the end of the last line ignored: no \
             line follows",
        ]
    );
    let one = parsed.good();
    let parsed = resources("seed-haresources.multiline");
    assert_eq!(parsed.warnings().len(), 1);
    let two = parsed.good();
    for groups in [&one, &two] {
        assert_eq!(groups.len(), 1);
        assert_eq!(groups[0].preferred, "hauptserver");
        assert_eq!(groups[0].key(), "drbddisk::r0");
        let all: Vec<_> = groups[0]
            .resources
            .iter()
            .map(|r| (r.script.as_str(), r.arguments.join(" ")))
            .collect();
        assert_eq!(
            all,
            [
                ("drbddisk", "r0".to_owned()),
                ("Filesystem", "/dev/drbd0 /data ext3".to_owned())
            ]
        );
    }
}

#[test]
fn the_seed_authkeys_is_crc_with_a_hint() {
    let parsed = keys("seed-authkeys");
    assert_eq!(parsed.messages.len(), 1);
    assert!(
        parsed.messages[0]
            .1
            .contains("protects against damage only")
    );
    let keys = parsed.good();
    assert_eq!((keys.sending, keys.keys[&1].method), (1, Method::Crc));
}

#[test]
fn ha_cf_full() {
    let parsed = ha_cf("ha.cf-full.ok");
    let ha_cf = parsed.good();
    assert_eq!(ha_cf.keepalive, Duration::from_millis(500));
    assert_eq!(ha_cf.initdead, seconds(60));
    let port = |m: &Medium| match m {
        Medium::Ucast { port, .. } | Medium::Bcast { port, .. } | Medium::Mcast { port, .. } => {
            *port
        }
    };
    assert_eq!(
        ha_cf.media.iter().map(port).collect::<Vec<_>>(),
        [700, 700, 700, 694]
    );
    assert!(!ha_cf.auto_failback);
    let Some(FenceDevice::External { name, parameters }) = ha_cf.fencing else {
        panic!()
    };
    assert_eq!(name, "ipmi");
    assert_eq!(
        parameters,
        ["ausfallserver", "192.168.0.112", "admin", "secret", "lan"]
    );
}

#[test]
fn ha_cf_same_on_both_folds_names() {
    let ha_cf = ha_cf("ha.cf-same-on-both.ok").good();
    assert_eq!(ha_cf.nodes, ["hauptserver", "ausfallserver"]);
    assert_eq!(ha_cf.media.len(), 2);
}

#[test]
fn ha_cf_without_failback_line_warns() {
    let parsed = ha_cf("ha.cf-no-failback-line.warn");
    assert_eq!(
        parsed.warnings(),
        ["ha.cf-no-failback-line.warn: warning: no `auto_failback` line: treated as `on`"]
    );
    assert!(parsed.good().auto_failback);
}

#[test]
fn ha_cf_errors_name_line_column_and_expectation() {
    for (name, place, text) in [
        ("ha.cf-no-media.bad", ": ", "no medium for heartbeats"),
        (
            "ha.cf-unknown-directive.bad",
            ":3:1: ",
            "unknown directive `dedtime` (did you mean `deadtime`?)",
        ),
        (
            "ha.cf-deadtime.bad",
            ":3:10: ",
            "deadtime 4 s must be more than twice keepalive 2 s",
        ),
        (
            "ha.cf-initdead.bad",
            ":3:10: ",
            "initdead 20 s must not be below deadtime 30 s",
        ),
        (
            "ha.cf-not-me.bad",
            ": ",
            "this node `hauptserver` is not among the `node` lines (one, two)",
        ),
        (
            "ha.cf-ucast-no-address.bad",
            ":2:1: ",
            "`ucast eth1` lacks the address of the peer",
        ),
        (
            "ha.cf-unit.bad",
            ":2:11: ",
            "unknown unit `min` in time `2min`: expected a time such as `2`, `1.5` (seconds), \
             `500ms`, `250us` or `250usec`",
        ),
    ] {
        // A line that is no medium leaves the file without one: that is said as well.
        let parsed = ha_cf(name);
        let all = parsed
            .messages
            .iter()
            .filter(|(s, _)| *s == Severity::Error);
        let first = all.map(|(_, t)| t).next().expect(name);
        assert!(
            first.starts_with(&format!("{name}{place}error: {text}")),
            "{first}"
        );
    }
}

#[test]
fn haresources_two_groups() {
    let groups = resources("haresources-two-groups.ok").good();
    let keys: Vec<_> = groups.iter().map(Group::key).collect();
    assert_eq!(
        keys,
        ["192.168.0.20/24/eth0", "IPaddr2::192.168.0.21/24/eth0:0"]
    );
    let scripts = |g: &Group| {
        g.resources
            .iter()
            .map(|r| r.script.clone())
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(scripts(&groups[0]), "IPaddr drbddisk Filesystem MailTo");
    assert_eq!(
        scripts(&groups[1]),
        "IPaddr2 drbddisk Filesystem nfs-kernel-server"
    );
    assert_eq!(groups[0].preferred, "hauptserver");
    assert_eq!(
        groups[0].resources[2].arguments,
        ["/dev/drbd0", "/data", "ext3", "noatime"]
    );
    assert!(groups[1].resources[3].arguments.is_empty());
}

#[test]
fn haresources_comment_and_nothing() {
    let groups = resources("haresources-comment-in-line.ok").good();
    assert_eq!((groups.len(), groups[0].resources.len()), (1, 1));
    assert!(resources("haresources-empty.ok").good().is_empty());
}

#[test]
fn haresources_unknown_node() {
    let error = resources("haresources-unknown-node.bad").error();
    let text = "haresources-unknown-node.bad:1:1: error: `server` is no node of this cluster";
    assert!(error.starts_with(text), "{error}");
    assert!(
        error.contains("one of hauptserver, ausfallserver"),
        "{error}"
    );
}

#[test]
fn good_authkeys() {
    let two = keys("authkeys-two-keys.ok").good();
    assert_eq!(two.sending, 2);
    assert_eq!(two.keys[&1].method, Method::Crc);
    assert_eq!(two.keys[&2].method, Method::Sha1);
    assert_eq!(two.keys[&2].secret, b"ein-langes-geheimnis");
    let md5 = keys("authkeys-md5.ok").good();
    assert_eq!((md5.sending, md5.keys[&3].method), (3, Method::Md5));
}

#[test]
fn bad_authkeys_name_line_column_and_expectation() {
    for (name, text) in [
        (
            "authkeys-no-key.bad",
            ":2:3: error: method `sha1` needs a secret",
        ),
        (
            "authkeys-crc-with-key.bad",
            ":2:7: error: method `crc` takes no secret",
        ),
        (
            "authkeys-wrong-number.bad",
            ":1:1: error: `auth 2`, but no key 2 after it",
        ),
        (
            "authkeys-unknown-method.bad",
            ":2:3: error: unknown method `sha512`: expected crc, md5, sha1 or sha256",
        ),
        (
            "authkeys-auth-last.bad",
            ":1:1: error: key 1 comes before the `auth` line",
        ),
    ] {
        let error = keys(name).error();
        assert!(error.starts_with(&format!("{name}{text}")), "{error}");
    }
    let parsed = keys("authkeys-no-auth.bad");
    assert!(parsed.value.is_none());
    assert!(
        parsed
            .messages
            .iter()
            .any(|(_, text)| text.contains("no `auth N` line"))
    );
}

#[test]
fn every_vector_is_tested() {
    let source =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors.rs"));
    let source = source.unwrap();
    let names: BTreeSet<_> = std::fs::read_dir(directory())
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .filter(|n| !matches!(n.as_str(), "README.md" | "seed-hosts"))
        .filter(|n| !n.starts_with("seed-ha.cf."))
        .collect();
    assert!(names.len() > 15);
    for name in names {
        assert!(
            source.contains(&format!("\"{name}\"")),
            "{name} is in no test"
        );
    }
}

/// The three seed files as a directory, `authkeys` with this mode.
fn seed_directory(mode: u32) -> tempfile::TempDir {
    let target = tempfile::tempdir().unwrap();
    for (from, to) in [
        ("seed-ha.cf.hauptserver", "ha.cf"),
        ("seed-haresources", "haresources"),
        ("seed-authkeys", "authkeys"),
    ] {
        std::fs::copy(directory().join(from), target.path().join(to)).unwrap();
    }
    let keys = target.path().join("authkeys");
    std::fs::set_permissions(keys, PermissionsExt::from_mode(mode)).unwrap();
    target
}

#[test]
fn the_mode_of_authkeys_counts() {
    for (mode, good) in [(0o600, true), (0o400, true), (0o640, false), (0o644, false)] {
        let target = seed_directory(mode);
        let (config, problems) = rdb_heartbeat::config::load(target.path(), "hauptserver");
        assert_eq!(config.is_some(), good, "{mode:o}: {problems:?}");
        let said = problems
            .iter()
            .any(|p| p.to_string().contains("expected 0600"));
        assert_eq!(said, !good);
    }
}

#[test]
fn one_medium_without_fencing_is_worth_a_warning() {
    let target = seed_directory(0o600);
    let (_, problems) = rdb_heartbeat::config::load(target.path(), "hauptserver");
    let text = "one medium and no fencing device";
    assert!(
        problems.iter().any(|p| p.text.contains(text)),
        "{problems:?}"
    );
}

#[test]
fn a_missing_file_is_named() {
    let target = seed_directory(0o600);
    std::fs::remove_file(target.path().join("authkeys")).unwrap();
    let (config, problems) = rdb_heartbeat::config::load(target.path(), "hauptserver");
    assert!(config.is_none());
    assert!(
        problems
            .iter()
            .any(|p| p.to_string().contains("authkeys: error: cannot be read"))
    );
}

#[test]
fn the_samples_are_good() {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples");
    let target = tempfile::tempdir().unwrap();
    for name in ["ha.cf", "haresources", "authkeys"] {
        let text = std::fs::read_to_string(samples.join(name)).unwrap();
        // With what is only an example switched on, too.
        for text in [
            text.clone(),
            text.replace("\n#hauptserver", "\nhauptserver")
                .replace("\n#\t", "\n\t"),
        ] {
            std::fs::write(target.path().join(name), text).unwrap();
        }
        let mode = PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(target.path().join(name), mode).unwrap();
    }
    for own in ["hauptserver", "ausfallserver"] {
        let (config, problems) = rdb_heartbeat::config::load(target.path(), own);
        let config = config.unwrap_or_else(|| panic!("{problems:?}"));
        assert_eq!(config.groups.len(), 1);
        assert_eq!(config.groups[0].resources.len(), 2);
    }
}
