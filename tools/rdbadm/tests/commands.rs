// SPDX-License-Identifier: GPL-2.0

//! Commands that change something, against a module that is not there.

mod common;

use common::{Bench, resource, volume};
use rdb_netlink::{ConnState, DiskState, OptionValue, attr, cmd};

#[test]
fn up_does_all_creations_then_all_attaches_then_all_connects() {
    let bench = Bench::new(
        "resource a { disk { resync-after b/1; } on north { device minor 1; disk DISK/a; address 10.0.0.1:1; } on south { device minor 1; disk DISK/a; address 10.0.0.2:1; } }
         resource b { on north { volume 1 { device minor 3; disk DISK/b; disk { al-extents 257; } } address 10.0.0.1:2; } on south { volume 1 { device minor 3; disk DISK/b; } address 10.0.0.2:2; } net { shared-secret x; } }",
    );
    bench.disk("a", 4 << 20);
    bench.disk("b", 4 << 20);
    let run = bench.run("up --create-md all");
    assert_eq!((run.code, run.out.as_str()), (0, ""), "{run:?}");
    assert_eq!(
        run.err,
        "a/0: new metadata on DISK/a\nb/1: new metadata on DISK/b\n"
    );
    assert_eq!(
        bench.requests(),
        [
            "resource-add a",
            "volume-add a 1",
            "resource-add b",
            "volume-add b 3",
            "attach 1",
            "attach 3",
            "connect a",
            "connect b"
        ]
    );
    let state = bench.state.borrow();
    let attach = &state.requests[4];
    assert_eq!(attach.get_s32(attr::RESYNC_AFTER), Some(3));
    assert_eq!(attach.get_s32(attr::META_INDEX), Some(-3));
    assert_eq!(
        attach.get_text(attr::LOWER_DISK),
        attach.get_text(attr::META_DISK)
    );
    assert_eq!(state.requests[5].get_u32(attr::AL_EXTENTS), Some(257));
    let connect = &state.requests[7];
    assert_eq!(connect.get(attr::LOCAL_ADDR), Some(&[10, 0, 0, 1][..]));
    assert_eq!(connect.get_u16(attr::PEER_PORT), Some(2));
    assert_eq!(connect.get_text(attr::SHARED_SECRET).as_deref(), Some("x"));
    assert_eq!(connect.get(attr::LOCAL_SCOPE), None);
}

#[test]
fn up_without_metadata_says_what_to_do() {
    let bench = Bench::usual();
    let run = bench.run("up r0");
    assert_eq!(run.code, 1);
    assert!(
        run.err
            .starts_with("r0/0: no metadata on DISK/sdb; run: rdbadm create-md r0\n"),
        "{run:?}"
    );
    assert_eq!(bench.requests(), ["resource-add r0", "volume-add r0 0"]);
    // On a terminal it asks; no means no.
    let run = bench.run_with("up r0", |world| world.terminal.input = true);
    assert_eq!(run.code, 1);
    // Yes means yes.
    let run = bench.run_with("up r0", |world| {
        world.terminal.input = true;
        world.ask = Box::new(|question| question.starts_with("r0/0: there is no metadata on "));
    });
    assert_eq!(run.code, 0, "{run:?}");
}

#[test]
fn up_does_not_make_metadata_over_data() {
    let bench = Bench::usual();
    let disk = bench.folder.path().join("sdb");
    let mut content = vec![0; 4 << 20];
    content[5000] = 7;
    std::fs::write(&disk, &content).expect("write");
    let run = bench.run("up --create-md r0");
    assert_eq!(run.code, 1);
    assert!(
        run.err.contains("r0/0: DISK/sdb holds unknown data"),
        "{run:?}"
    );
    assert!(std::fs::read(&disk).expect("read") == content);
}

#[test]
fn a_failed_step_leaves_out_the_further_ones_of_its_resource() {
    let bench = Bench::usual();
    assert_eq!(bench.run("create-md r0").code, 0);
    bench.state.borrow_mut().refuse = Some((cmd::ATTACH, 114, "r0/0: DISK/sdb is mounted".into()));
    let run = bench.run("up r0");
    assert_eq!(run.code, 1);
    assert!(
        run.err.contains("r0/0: Failure: (114) DISK/sdb is mounted"),
        "{run:?}"
    );
    assert!(run.err.contains(
        "Command 'rdbsetup attach 0 DISK/sdb DISK/sdb internal' terminated with exit code 10"
    ));
    assert!(!bench.requests().contains(&"connect r0".to_owned()));
}

#[test]
fn up_of_what_is_up_adjusts_and_is_quiet() {
    let bench = Bench::usual();
    assert_eq!(bench.run("create-md r0").code, 0);
    let mut known = volume("r0", 0, 0);
    known.lower_disk = Some(
        bench
            .folder
            .path()
            .join("sdb")
            .to_string_lossy()
            .into_owned(),
    );
    bench.state.borrow_mut().resources = vec![resource("r0")];
    bench.state.borrow_mut().volumes = vec![known];
    let run = bench.run("up r0");
    assert_eq!((run.code, run.out.as_str(), run.err.as_str()), (0, "", ""));
    assert_eq!(bench.requests(), [] as [&str; 0]);
}

#[test]
fn own_address_must_exist() {
    let bench = Bench::usual();
    let run = bench.run_with("up r0", |world| world.node.addresses = Some(Vec::new()));
    assert_eq!(run.code, 10);
    assert!(
        run.err
            .contains("address 10.0.0.1 is on no interface of this host"),
        "{run:?}"
    );
    let dry = bench.run_with("-d up r0", |world| world.node.addresses = Some(Vec::new()));
    assert_eq!(dry.code, 0);
    assert!(
        dry.out
            .contains("rdbsetup connect r0 ipv4:10.0.0.1:7789 ipv4:10.0.0.2:7789 --protocol=C\n")
    );
    assert_eq!(bench.requests(), [] as [&str; 0]);
}

#[test]
fn without_the_module() {
    let bench = Bench::usual();
    bench.state.borrow_mut().loaded = false;
    assert_eq!(bench.run("down r0").code, 0);
    assert_eq!(bench.run("role r0").out, "Unconfigured\n");
    assert_eq!(bench.run("dstate r0").out, "Unconfigured\n");
    let run = bench.run("primary r0");
    assert_eq!(run.code, 20);
    assert!(run.err.contains("modprobe rdb"), "{run:?}");
    assert_eq!(bench.run("create-md r0").code, 0);
    assert_eq!(bench.run("dstate r0").out, "Inconsistent/DUnknown\n");
    assert_eq!(
        bench.run("get-gi r0").out,
        "0000000000000004:0000000000000000:0000000000000000:0000000000000000:0:0:0:0:0:0:0\n"
    );
    assert_eq!(bench.run("outdate r0").code, 5);
    // up loads it.
    let run = bench.run_with("up r0", |world| {
        let state = std::rc::Rc::clone(&bench.state);
        world.load_module = Box::new(move || {
            state.borrow_mut().loaded = true;
            true
        });
    });
    assert_eq!(run.code, 0, "{run:?}");
}

#[test]
fn down_takes_what_the_file_does_not_know_any_more() {
    let bench = Bench::usual();
    bench.state.borrow_mut().resources = vec![resource("old")];
    assert_eq!(bench.run("down old").code, 0);
    assert_eq!(bench.requests(), ["down old"]);
    let run = bench.run("down odl");
    assert_eq!(run.code, 1);
    assert!(run.err.contains("'odl' is not defined in"), "{run:?}");
}

#[test]
fn primary_in_all_its_spellings() {
    for line in [
        "primary --force r0",
        "-- --overwrite-data-of-peer primary r0",
        "primary r0 --force",
        "primary --overwrite-data-of-peer minor-0",
        "primary --force /dev/drbd0",
        "primary --force /dev/rdb/by-res/r0",
        "primary --force r0/0",
    ] {
        let bench = Bench::usual();
        let run = bench.run(line);
        assert_eq!(run.code, 0, "{line}: {run:?}");
        assert!(bench.request(cmd::PRIMARY).has(attr::FORCE), "{line}");
    }
    let bench = Bench::usual();
    assert_eq!(bench.run("primary r0").code, 0);
    assert!(!bench.request(cmd::PRIMARY).has(attr::FORCE));
}

#[test]
fn refusals_have_form_number_advice_and_exit_code() {
    let bench = Bench::usual();
    bench.state.borrow_mut().refuse = Some((
        cmd::PRIMARY,
        -2,
        "r0/0: need access to UpToDate data".into(),
    ));
    let run = bench.run("primary r0");
    assert_eq!(run.code, 17);
    assert_eq!(
        run.err,
        "r0/0: State change failed: (-2) need access to UpToDate data\n    there is no UpToDate data; connect to a node that has it, or, for the first sync of new disks, declare the data here good: rdbadm primary --force r0\nCommand 'rdbsetup primary 0' terminated with exit code 17\n"
    );
    bench.state.borrow_mut().refuse = Some((cmd::PRIMARY, -1, "r0/0: two primaries".into()));
    let run = bench.run("primary r0");
    assert_eq!(run.code, 11);
    assert!(
        run.err
            .contains("\n    the primary is south (ipv4 10.0.0.2:7789)\n"),
        "{run:?}"
    );
    bench.state.borrow_mut().refuse =
        Some((cmd::SECONDARY, -12, "r0/0: device is held open".into()));
    assert_eq!(bench.run("secondary r0").code, 11);
}

#[test]
fn connect_and_disconnect() {
    let bench = Bench::usual();
    assert_eq!(
        bench.run("connect --discard-my-data --timeout=70 r0").code,
        0
    );
    let connect = bench.request(cmd::CONNECT);
    assert!(connect.has(attr::DISCARD_MY_DATA) && !connect.has(attr::TENTATIVE));
    assert_eq!(connect.get_u32(attr::TIMEOUT), Some(70));
    assert_eq!(bench.run("-- --dry-run connect r0").code, 0);
    assert!(bench.request(cmd::CONNECT).has(attr::TENTATIVE));
    assert_eq!(bench.run("disconnect --force r0").code, 0);
    assert!(bench.request(cmd::DISCONNECT).has(attr::FORCE));
    let run = bench.run("connect --timeout=601 r0");
    assert_eq!(run.code, 10);
    assert_eq!(
        run.err,
        "--timeout: timeout 601 => 601 x 0.1 s is out of range [1..600]\n"
    );
    assert_eq!(bench.run("connect --timeout=6X r0").code, 20);
}

#[test]
fn options_at_run_time() {
    let bench = Bench::usual();
    assert_eq!(
        bench
            .run("disk-options --c-max-rate=10M --rate 1M --disk-flushes=no r0")
            .code,
        0
    );
    let request = bench.request(cmd::DISK_SET);
    assert_eq!(request.get_u32(attr::C_MAX_RATE), Some(10240));
    assert_eq!(request.get_u32(attr::RESYNC_RATE), Some(1024));
    assert_eq!(request.get_u32(attr::DISK_FLUSHES), Some(0));
    assert!(!request.has(attr::SET_DEFAULTS));
    assert_eq!(bench.run("net-options --set-defaults --use-rle r0").code, 0);
    let request = bench.request(cmd::NET_SET);
    assert_eq!(request.get_u32(attr::USE_RLE), Some(1));
    assert!(request.has(attr::SET_DEFAULTS));
    assert_eq!(bench.run("disk-options --size=1G r0").code, 1);
    assert_eq!(bench.run("disk-options --timeout=5 r0").code, 1);
}

#[test]
fn resize_and_verify() {
    let bench = Bench::usual();
    assert_eq!(bench.run("-- --size=10G resize r0").code, 0);
    assert_eq!(
        bench.request(cmd::RESIZE).get_u64(attr::SIZE),
        Some(20_971_520)
    );
    assert_eq!(bench.run("-- --assume-clean resize r0").code, 0);
    assert!(bench.request(cmd::RESIZE).has(attr::ASSUME_CLEAN));
    assert_eq!(bench.run("verify --start=8K r0").code, 0);
    assert_eq!(
        bench.request(cmd::VERIFY).get_u64(attr::START_SECTOR),
        Some(16)
    );
    assert_eq!(bench.run("-- --clear-bitmap new-current-uuid r0/0").code, 0);
    assert!(bench.request(cmd::NEW_CURRENT_UUID).has(attr::CLEAR_BITMAP));
}

/// A node on which everything runs as configured.
fn running() -> Bench {
    let bench = Bench::usual();
    assert_eq!(bench.run("create-md r0").code, 0);
    let mut known = volume("r0", 0, 0);
    known.lower_disk = Some(
        bench
            .folder
            .path()
            .join("sdb")
            .to_string_lossy()
            .into_owned(),
    );
    bench.state.borrow_mut().resources = vec![resource("r0")];
    bench.state.borrow_mut().volumes = vec![known];
    bench
}

#[test]
fn adjust_does_the_least() {
    let bench = running();
    assert_eq!(bench.run("adjust r0").code, 0);
    assert_eq!(bench.requests(), [] as [&str; 0]);
    // An option that vanished from the file goes back to its default.
    bench.state.borrow_mut().resources[0]
        .options
        .insert(attr::TIMEOUT, OptionValue::Number(70));
    assert_eq!(bench.run("adjust r0").code, 0);
    assert_eq!(bench.requests(), ["net-set r0"]);
    assert!(bench.request(cmd::NET_SET).has(attr::SET_DEFAULTS));
    assert_eq!(
        bench.run("-d adjust r0").out,
        "rdbsetup net-options r0 --set-defaults --protocol=C\n"
    );
}

#[test]
fn adjust_connects_attaches_and_removes() {
    let bench = running();
    bench.state.borrow_mut().resources[0].connection = ConnState::StandAlone;
    bench.state.borrow_mut().volumes[0].disk = DiskState::Diskless;
    bench.state.borrow_mut().volumes[0].lower_disk = None;
    bench.state.borrow_mut().volumes.push(volume("r0", 4, 9));
    assert_eq!(bench.run("adjust r0").code, 0);
    assert_eq!(
        bench.requests(),
        ["detach 9", "volume-del 9", "attach 0", "connect r0"]
    );
    let bench = running();
    bench.state.borrow_mut().resources[0].peer = Some("10.0.0.9:1".parse().expect("an address"));
    assert_eq!(bench.run("adjust r0").code, 0);
    assert_eq!(bench.requests(), ["disconnect r0", "connect r0"]);
    let bench = running();
    bench.state.borrow_mut().volumes[0]
        .options
        .insert(attr::SIZE, OptionValue::Number(100));
    assert_eq!(bench.run("adjust r0").code, 0);
    assert_eq!(bench.requests(), ["resize 0"]);
}

#[test]
fn metadata_of_an_attached_disk_are_left_alone() {
    let bench = running();
    for line in [
        "create-md --force r0",
        "wipe-md --force r0",
        "apply-al r0",
        "dump-md r0",
    ] {
        let run = bench.run(line);
        assert_eq!(run.code, 20, "{line}");
        assert!(
            run.err.contains("the disk is attached (/dev/rdb0)"),
            "{run:?}"
        );
    }
    let flags =
        "00000000000000A5:0000000000000000:0000000000000011:0000000000000000:1:1:1:0:0:0:0\n";
    assert_eq!(bench.run("get-gi r0").out, flags);
}

#[test]
fn attach_of_an_attached_disk_is_left_to_the_module() {
    let bench = running();
    bench.state.borrow_mut().refuse =
        Some((cmd::ATTACH, 124, "r0/0: a disk is attached already".into()));
    let run = bench.run("attach r0");
    assert_eq!(run.code, 10);
    assert!(
        run.err
            .starts_with("r0/0: Failure: (124) a disk is attached already\n"),
        "{run:?}"
    );
}

#[test]
fn metadata_commands_on_a_free_disk() {
    let bench = Bench::usual();
    let run = bench.run("create-md r0");
    assert_eq!(
        (run.code, run.err.as_str()),
        (0, "r0/0: new metadata on DISK/sdb\n")
    );
    let run = bench.run("create-md r0");
    assert_eq!(run.code, 1);
    assert!(
        run.err
            .contains("DISK/sdb has metadata (v08) that were never used"),
        "{run:?}"
    );
    assert_eq!(bench.run("create-md --force r0").code, 0);
    assert_eq!(bench.run("-- --force create-md r0").code, 0);
    assert!(bench.run("dump-md r0").out.contains("version \"v08\";"));
    assert_eq!(bench.run("apply-al r0").code, 0);
    assert_eq!(bench.run("wipe-md --force r0").code, 0);
    assert_eq!(bench.run("get-gi r0").code, 1);
    assert_eq!(
        bench
            .run("create-md --al-stripes=1 --al-stripe-size-kB=4 r0")
            .code,
        10
    );
}

#[test]
fn handlers_run_with_their_environment() {
    let bench = Bench::new(&common::USUAL.replace(
        "resource r0 {",
        "resource r0 { handlers { outdate-peer \"test $DRBD_RESOURCE/$RDB_MINOR/$DRBD_PEER/$RDB_PEER_ADDRESS = r0/0/south/10.0.0.2 && exit 4\"; out-of-sync \"test $DRBD_VOLUME:$RDB_LL_DISK = 0:DISK/sdb\"; }",
    ));
    assert_eq!(bench.run("fence-peer r0").code, 4);
    assert_eq!(bench.run("out-of-sync minor-0").code, 0);
    assert_eq!(bench.run("split-brain minor-0").code, 0);
    assert_eq!(bench.run("unknown-handler minor-0").code, 1);
}

#[test]
fn words_that_name_nothing() {
    let bench = Bench::usual();
    for (line, text) in [
        ("primary", "name a resource, or all"),
        (
            "primary r1",
            "'r1' is not defined in DISK/rdb.conf; did you mean 'r0'?",
        ),
        ("primary r0/3", "resource r0 has no volume 3"),
        (
            "primary minor-7",
            "no volume of this host has minor number 7",
        ),
        (
            "prmary r0",
            "unknown command 'prmary'; did you mean 'primary'?",
        ),
        (
            "-t other up r0",
            "--config-to-test works with dump and sh-nop only",
        ),
        (
            "-S up r0",
            "stacked resources are not supported: rdb replicates between two nodes",
        ),
    ] {
        let run = bench.run(line);
        assert_eq!((run.code, run.err.trim_end()), (1, text), "{line}");
    }
}
