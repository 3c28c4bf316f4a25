// SPDX-License-Identifier: GPL-2.0

//! Checks over whole configurations, lookup of the files, and what a node makes of its section.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use rdb_config::model::Value;
use rdb_config::resolve::{self, Node, PeerError};
use rdb_config::{Config, Places};

fn parse(text: &str) -> Result<Config, Vec<String>> {
    rdb_config::parse("f", Path::new(""), text).map_err(|problems| {
        problems
            .errors
            .iter()
            .map(|error| error.render(&problems.sources))
            .collect()
    })
}

fn heads(text: &str) -> Vec<String> {
    let errors = parse(text).expect_err("it must be refused");
    errors
        .iter()
        .map(|error| error.lines().next().unwrap_or_default().to_owned())
        .collect()
}

fn resource(name: &str, minor: u32, port: u16, more: &str) -> String {
    format!(
        "resource {name} {{ {more}\n on a {{ device minor {minor}; disk /dev/{name}; address 10.0.0.1:{port}; }}\n on b {{ device minor {minor}; disk /dev/{name}; address 10.0.0.2:{port}; }} }}\n"
    )
}

#[test]
fn all_conflicts_are_reported_with_both_places() {
    let text = resource("one", 1, 7001, "") + &resource("two", 1, 7001, "");
    let errors = parse(&text).expect_err("it must be refused");
    assert_eq!(errors.len(), 4, "{errors:?}");
    assert!(errors[0].starts_with("f:5:9: resource two, volume 0: minor 1 is taken on host a\n"));
    assert!(errors[0].contains("f:2:9: by resource one, volume 0"));
    assert!(
        errors[2].starts_with("f:5:48: resource two: address ipv4 10.0.0.1:7001 is used twice\n")
    );
}

#[test]
fn loopback_addresses_conflict_on_one_host_only() {
    let one = "resource r { on a { device minor 1; disk /dev/x; address 127.0.0.1:7001; } on b { device minor 1; disk /dev/x; address 127.0.0.1:7001; } }";
    assert!(parse(one).is_ok());
}

#[test]
fn second_resource_and_section() {
    let text = resource("r", 1, 7001, "net { } net { }") + &resource("r", 2, 7002, "");
    assert_eq!(
        heads(&text),
        [
            "f:1:22: a second section net",
            "f:4:1: a second resource 'r'"
        ]
    );
}

#[test]
fn mixed_volumes_and_differing_sets() {
    let mixed = "resource r { device minor 1; on a { volume 1 { device minor 2; disk /dev/x; } address 10.0.0.1:1; } }";
    assert!(heads(mixed)[0].contains("use one form for all"));
    let sets = "resource r { on a { volume 0 { device minor 1; disk /dev/x; } volume 1 { device minor 2; disk /dev/y; } address 10.0.0.1:1; } on b { volume 0 { device minor 1; disk /dev/x; } address 10.0.0.2:1; } }";
    assert_eq!(
        heads(sets),
        ["f:1:127: resource r, 'on b': volume 1 is missing, other hosts have it"]
    );
}

#[test]
fn rules_across_options() {
    let both = resource("r", 1, 7001, "startup { become-primary-on both; }");
    assert!(heads(&both)[0].contains("needs allow-two-primaries yes"));
    let host = resource("r", 1, 7001, "startup { become-primary-on c; }");
    assert!(heads(&host)[0].contains("which has no section 'on c'"));
    let node = resource("r", 1, 7001, "net { after-sb-0pri discard-node-c; }");
    assert!(heads(&node)[0].contains("names no host of this resource"));
    let after = resource("r", 1, 7001, "disk { resync-after q; }");
    assert_eq!(
        heads(&after),
        ["f:1:21: resync-after names q/0, which is no volume of this configuration"]
    );
    let cycle = resource("r", 1, 7001, "disk { resync-after q; }")
        + &resource("q", 2, 7002, "disk { resync-after r; }");
    assert!(heads(&cycle)[0].contains("resync-after makes a cycle"));
}

#[test]
fn syncer_takes_only_its_own_options() {
    let text = resource("r", 1, 7001, "syncer { rate 10M; timeout 5; }");
    assert_eq!(
        heads(&text),
        ["f:1:33: expected an option of section syncer, found 'timeout'"]
    );
}

#[test]
fn bad_numbers_have_their_own_exit_code() {
    let text = resource("r", 1, 7001, "disk { resync-rate 10MB; }");
    let problems = rdb_config::parse("f", Path::new(""), &text).expect_err("it must be refused");
    assert_eq!(problems.exit_code(), 20);
}

#[test]
fn several_syntax_errors_and_no_followers() {
    let text =
        "resource r {\n net { timeout; ping-int 5; foo 1; }\n on a { device minor 1 disk /x; }\n";
    assert_eq!(
        heads(text),
        [
            "f:2:15: expected a number, found ';'",
            "f:2:29: expected an option of section net, found 'foo'",
            "f:3:24: expected ';', found 'disk'",
            "f:4:1: missing '}' (section opened at line 1)",
        ]
    );
}

#[test]
fn extra_brace_and_address_forms() {
    assert!(heads("}")[0].contains("found '}'"));
    let host = "resource r { on a { device minor 1; disk /dev/x; address nodeb:7000; } }";
    assert!(heads(host)[0].contains("expected an IPv4 address, found 'nodeb'"));
    let six = "resource r { on a { device minor 1; disk /dev/x; address ipv6 [zz]:7000; } }";
    assert!(heads(six)[0].contains("expected an IPv6 address, found 'zz'"));
}

#[test]
fn last_setting_wins_with_a_warning() {
    let config = parse(&resource("r", 1, 7001, "net { timeout 50; timeout 70; }")).expect("valid");
    assert_eq!(config.warnings.len(), 1);
    let net = resolve::net(&config, &config.resources[0]);
    assert_eq!(net[0].value, Value::Number(70));
}

#[test]
fn views_of_a_node() {
    let text = "common { net { protocol B; timeout 70; } handlers { pri-lost x; fence-peer y; } startup { wfc-timeout 10; degr-wfc-timeout 20; } }\n".to_owned()
        + &resource("r", 1, 7001, "net { timeout 80; after-sb-0pri discard-node-b; } handlers { fence-peer z; }");
    let config = parse(&text).expect("valid");
    let node = Node {
        name: "a".into(),
        addresses: None,
    };
    let local = resolve::local(&config, &config.resources[0], &node)
        .expect("one section")
        .expect("ours");
    let net: Vec<(&str, String)> = local
        .net()
        .iter()
        .map(|setting| (setting.option.name, setting.text.clone()))
        .collect();
    assert_eq!(
        net,
        [
            ("protocol", "B".to_owned()),
            ("timeout", "80".into()),
            ("after-sb-0pri", "discard-remote".into())
        ]
    );
    let handlers: Vec<String> = local
        .handlers()
        .iter()
        .map(|handler| handler.command.clone())
        .collect();
    assert_eq!(handlers, ["z", "x"]);
    let (timeouts, lowered) = resolve::timeouts(&config, local.resource);
    assert_eq!(
        (timeouts.wfc, timeouts.degraded, timeouts.outdated),
        (10, 10, 10)
    );
    assert_eq!(lowered.len(), 1);
    assert_eq!(local.peer(None).map(|host| host.label()), Ok("b".into()));
    assert_eq!(
        local.peer(Some("c")).map(|host| host.label()),
        Err(PeerError::Unknown("c".into()))
    );
    let stranger = Node {
        name: "c".into(),
        addresses: None,
    };
    assert!(
        resolve::local(&config, &config.resources[0], &stranger)
            .expect("no clash")
            .is_none()
    );
}

#[test]
fn files_of_the_system() {
    let root = tempfile::tempdir().expect("a folder");
    let places = Places {
        main: root.path().join("rdb.conf"),
        folder: root.path().join("rdb.d"),
        fallback: root.path().join("drbd.conf"),
    };
    let names = |places: &Places| -> Vec<String> {
        let config = rdb_config::load_default(places).expect("valid");
        config
            .resources
            .into_iter()
            .map(|resource| resource.name)
            .collect()
    };
    let problems = rdb_config::load_default(&places).expect_err("there is nothing");
    assert!(problems.to_string().contains("drbd.conf"), "{problems}");
    fs::write(&places.fallback, resource("old", 9, 7009, "")).expect("write");
    assert_eq!(names(&places), ["old"]);
    fs::create_dir(&places.folder).expect("folder");
    fs::write(places.folder.join("b.res"), resource("b", 2, 7002, "")).expect("write");
    fs::write(places.folder.join("a.res"), resource("a", 1, 7001, "")).expect("write");
    fs::write(
        places.folder.join("global_common.conf"),
        "common { protocol A; }",
    )
    .expect("write");
    assert_eq!(names(&places), ["a", "b"]);
    let main = "include \"rdb.d/b.res\";\n".to_owned() + &resource("c", 3, 7003, "");
    fs::write(&places.main, main).expect("write");
    assert_eq!(names(&places), ["b", "c", "a"]);
}

#[test]
fn endless_includes_stop() {
    let root = tempfile::tempdir().expect("a folder");
    for number in 0..12 {
        let text = format!("include \"{}.conf\";", number + 1);
        fs::write(root.path().join(format!("{number}.conf")), text).expect("write");
    }
    fs::write(
        root.path().join("self.conf"),
        "include self.conf; include \"*.conf\";",
    )
    .expect("write");
    let problems = rdb_config::load(&root.path().join("0.conf")).expect_err("too deep");
    assert!(
        problems.to_string().contains("nested deeper than 10"),
        "{problems}"
    );
}

proptest! {
    /// Whatever is fed in, there is an answer, and each error points into the text.
    #[test]
    fn any_text_gets_an_answer(text in "([ \n]|resource|on|net|disk|volume|device|minor|address|ipv6|skip|include|syncer|[{};:\\[\\]\"#\\\\]|[a-z0-9./-]{1,4}|\\PC){0,60}") {
        if let Err(problems) = rdb_config::parse("f", Path::new("/nonexistent"), &text) {
            for error in &problems.errors {
                let shown = error.render(&problems.sources);
                prop_assert!(error.span.is_none_or(|span| span.end <= text.len()));
                prop_assert!(!shown.is_empty());
            }
        }
    }

    /// Numbers survive a dump.
    #[test]
    fn settings_survive_a_dump(timeout in 1_u64..=600, rate in 1_u64..=4_194_304, secret in "[ -~]{1,60}") {
        let quoted = secret.replace('\\', "\\\\").replace('"', "\\\"");
        let more = format!("net {{ timeout {timeout}; shared-secret \"{quoted}\"; }} disk {{ resync-rate {rate}; }}");
        let config = parse(&resource("r", 1, 7001, &more)).expect("valid");
        let node = Node { name: "a".into(), addresses: None };
        let printer = rdb_config::dump::Printer { config: &config, node: &node, expand: false };
        let again = parse(&(printer.head() + &printer.resource(&config.resources[0]))).expect("valid again");
        let values = |config: &Config| -> Vec<Value> {
            let resource = &config.resources[0];
            resource.sections.net.iter().chain(&resource.sections.disk).map(|set| set.value.clone()).collect()
        };
        prop_assert_eq!(values(&config), values(&again));
    }
}
