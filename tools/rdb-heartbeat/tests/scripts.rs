// SPDX-License-Identifier: GPL-2.0

//! The resource scripts: exit codes and texts (specification, section 6). Those that mount or add
//! addresses run in namespaces of their own.

use rdb_heartbeat::shell::scripts::says_running;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn crate_directory(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn text(out: &Output) -> String {
    String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr)
}

/// A mirror whose `rdbadm` is a fake.
struct Mirror(tempfile::TempDir);

impl Mirror {
    fn new(role: &str, refusals: u32) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("role"), role).unwrap();
        std::fs::write(directory.path().join("peer-primary"), refusals.to_string()).unwrap();
        Self(directory)
    }

    /// Exit code and text.
    fn call(&self, script: &str, args: &[&str]) -> (i32, String) {
        let fake = crate_directory("tests/fake");
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", fake.display());
        let out = Command::new(crate_directory("resource.d").join(script))
            .args(args)
            .env("PATH", path)
            .env("RDBADM", fake.join("rdbadm"))
            .env("RDB_ASSUME_LOADED", "1")
            .env("FAKE_DIR", self.0.path())
            .output()
            .unwrap();
        (out.status.code().unwrap(), text(&out))
    }

    fn count(&self, call: &str) -> usize {
        let calls = std::fs::read_to_string(self.0.path().join("calls")).unwrap_or_default();
        calls.lines().filter(|line| *line == call).count()
    }
}

#[test]
fn rdbdisk_promotes_demotes_and_tells() {
    for name in ["rdbdisk", "drbddisk"] {
        let mirror = Mirror::new("Secondary", 0);
        assert_eq!(
            mirror.call(name, &["r0", "status"]),
            (3, "stopped (Secondary)\n".into())
        );
        assert_eq!(mirror.call(name, &["r0", "start"]).0, 0);
        let (code, text) = mirror.call(name, &["r0", "status"]);
        assert_eq!((code, text.as_str()), (0, "running (Primary)\n"));
        assert!(says_running(&text));
        assert_eq!(mirror.call(name, &["r0", "stop"]).0, 0);
        assert!(!says_running(&mirror.call(name, &["r0", "status"]).1));
        // Without a resource all are meant; their status has no one answer.
        assert_eq!(mirror.call(name, &["start"]).0, 0);
        assert_eq!(mirror.count("primary all"), 1);
        assert_eq!(mirror.call(name, &["status"]).0, 10);
        assert_eq!(mirror.call(name, &[]).0, 10);
        assert_eq!(mirror.call(name, &["r0", "restart"]).0, 10);
    }
}

#[test]
fn rdbdisk_waits_for_the_mirror_to_notice_the_death_of_the_peer() {
    let mirror = Mirror::new("Secondary", 5);
    assert_eq!(mirror.call("rdbdisk", &["r0", "start"]).0, 0);
    assert_eq!(mirror.count("primary r0"), 6);
}

#[test]
fn rdbdisk_says_by_its_exit_code_that_the_peer_is_primary() {
    let mirror = Mirror::new("Secondary", 100);
    let (code, text) = mirror.call("rdbdisk", &["r0", "start"]);
    assert_eq!((code, mirror.count("primary r0")), (11, 6));
    assert!(text.contains("r0 cannot be promoted now"), "{text}");
}

#[test]
fn rdbdisk_leaves_alone_what_is_not_configured() {
    let mirror = Mirror::new("Unconfigured", 0);
    assert_eq!(mirror.call("rdbdisk", &["r0", "stop"]).0, 0);
    assert_eq!(mirror.count("secondary r0"), 0);
    let (code, text) = mirror.call("rdbdisk", &["r0", "status"]);
    assert_eq!((code, text.as_str()), (3, "stopped (Unconfigured)\n"));
    // No answer: it may be running, and must count so.
    let mute = Mirror::new("", 0);
    let (code, text) = mute.call("rdbdisk", &["r0", "status"]);
    assert_eq!(code, 4);
    assert!(says_running(&text), "{text}");
}

/// Runs a shell script in new namespaces (mount and network) with the path of the resource script
/// as `$1` and an empty directory as `$2`. Its output lines must be `expected`.
fn in_namespace(script: &str, body: &str, expected: &[&str]) {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new("unshare");
    if !nix::unistd::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    let out = command
        .args(["--mount", "--net", "--", "/bin/sh", "-c", body, "test"])
        .arg(crate_directory("resource.d").join(script))
        .arg(directory.path())
        .output()
        .expect("unshare (util-linux) is needed for this test");
    let all = text(&out).replace(&directory.path().display().to_string(), "DIR");
    let lines: Vec<_> = all.lines().filter(|l| l.starts_with('=')).collect();
    assert_eq!(lines, expected, "{all}");
}

#[test]
fn filesystem_mounts_and_unmounts() {
    in_namespace(
        "Filesystem",
        r#"
fs() { "$script" none "$dir" tmpfs "$@"; }
script=$1 dir=$2/data
fs status; echo "= status before: $?"
fs start; echo "= start: $?"
mountpoint -q "$dir"; echo "= mounted: $?"
fs start; echo "= start again: $?"
fs status | sed "s/^/= /"
mkdir "$dir/inner"; mount -t tmpfs none "$dir/inner"
fs stop; echo "= stop with a mount below: $?"
mountpoint -q "$dir"; echo "= mounted: $?"
fs stop; echo "= stop again: $?"
fs status | sed "s/^/= /"
"#,
        &[
            "= status before: 3",
            "= start: 0",
            "= mounted: 0",
            "= start again: 0",
            "= none is mounted on DIR/data (running)",
            "= stop with a mount below: 0",
            "= mounted: 32",
            "= stop again: 0",
            "= none is unmounted (stopped)",
        ],
    );
}

#[test]
fn filesystem_ends_who_keeps_it_busy() {
    in_namespace(
        "Filesystem",
        r#"
script=$1 dir=$2/data
"$script" none "$dir" tmpfs start
cd "$dir" && sleep 1000 &
polite=$!
# One that does not listen to TERM, and has only a file open.
sh -c 'trap "" TERM; exec sleep 1000' <"$dir" &
rude=$!
until [ "$(readlink /proc/$polite/cwd)" = "$dir" ]; do sleep 0.1; done
until [ "$(tr -d '\0' </proc/$rude/cmdline)" = sleep1000 ]; do sleep 0.1; done
"$script" none "$dir" tmpfs stop; echo "= stop: $?"
mountpoint -q "$dir"; echo "= mounted: $?"
wait $polite; echo "= polite: $?"
wait $rude; echo "= rude: $?"
"#,
        &["= stop: 0", "= mounted: 32", "= polite: 143", "= rude: 137"],
    );
}

#[test]
fn filesystem_refuses_what_cannot_be_mounted() {
    in_namespace(
        "Filesystem",
        r#"
script=$1 dir=$2
say() { sed "s/^/= /"; }
"$script" /dev/nosuchdevice "$dir/data" ext3 start 2>&1 | say
: >"$dir/file"
"$script" "$dir/file" "$dir/data" ext3 start 2>&1 | say
"$script" /dev/null "$dir/data" ext3 start 2>&1 | say
"$script" /dev/nosuchdevice data ext3 start 2>&1 | say
mkdir -p "$dir/outer/inner"; mount -t tmpfs none "$dir/outer/inner"
"$script" none "$dir/outer" tmpfs start 2>&1 | say
"$script" /dev/nosuchdevice "$dir/outer/inner" ext3 start 2>&1 | say
"$script" /dev/nosuchdevice "$dir/data" ext3 stop; echo "= stop: $?"
"$script" one start; echo "= usage: $?"
"#,
        &[
            "= ERROR: there is no device /dev/nosuchdevice",
            "= ERROR: DIR/file is no block device",
            "= ERROR: /dev/null is no block device",
            "= ERROR: data is no directory to mount on: expected an absolute path",
            "= ERROR: cannot mount on DIR/outer: there is a mount below it (DIR/outer/inner )",
            "= ERROR: none is mounted on DIR/outer/inner: expected /dev/nosuchdevice",
            "= stop: 0",
            "= usage: 2",
        ],
    );
}

#[test]
fn ipaddr_adds_and_removes_an_address() {
    in_namespace(
        "IPaddr",
        r#"
script=$1
ip link add v0 type veth peer name v1
ip addr add 192.168.0.11/24 dev v0; ip link set v0 up; ip link set v1 up
show() { ip -o -4 addr show to "$1/32" | sed 's/ *scope.*//; s/^[0-9]*: */= /; s/  */ /g'; }
for address in 192.168.0.20 192.168.0.21/24/v0 192.168.0.22/255.255.255.0/v0:7 \
		192.168.0.23/25/v0/192.168.0.127 10.1.2.3/8/v0; do
	plain=${address%%/*}
	"$script" $address status >/dev/null; before=$?
	"$script" $address start >/dev/null || echo "= start failed"
	"$script" $address start >/dev/null || echo "= second start failed"
	show "$plain"
	"$script" $address status | sed "s/^/= /"
	"$script" $address stop >/dev/null || echo "= stop failed"
	"$script" $address stop >/dev/null || echo "= second stop failed"
	"$script" $address status >/dev/null; after=$?
	echo "= $plain: $before $after"
done
"$script" 172.16.0.1 start 2>&1 | sed "s/^/= /"
"#,
        &[
            "= v0 inet 192.168.0.20/24 brd 192.168.0.255",
            "= running",
            "= 192.168.0.20: 3 3",
            "= v0 inet 192.168.0.21/24 brd 192.168.0.255",
            "= running",
            "= 192.168.0.21: 3 3",
            "= v0 inet 192.168.0.22/24 brd 192.168.0.255",
            "= running",
            "= 192.168.0.22: 3 3",
            "= v0 inet 192.168.0.23/25 brd 192.168.0.127",
            "= running",
            "= 192.168.0.23: 3 3",
            "= v0 inet 10.1.2.3/8 brd 10.255.255.255",
            "= running",
            "= 10.1.2.3: 3 3",
            "= ERROR: no network for 172.16.0.1 here: give mask and interface",
        ],
    );
}

#[test]
fn a_mail_that_cannot_be_sent_does_not_stop_a_group() {
    let script = crate_directory("resource.d/MailTo");
    let call = |args: &[&str]| {
        let mut command = Command::new("/bin/sh");
        command.arg(&script).args(args).env("PATH", "/nonexistent");
        let out = command.output().unwrap();
        (out.status.code().unwrap(), text(&out))
    };
    let (code, text) = call(&["root@example.org", "cluster", "start"]);
    assert_eq!(code, 0);
    assert!(text.contains("no mail to root@example.org"), "{text}");
    let (code, text) = call(&["root@example.org", "status"]);
    assert_eq!((code, says_running(&text)), (0, false));
    assert_eq!(call(&["start"]).0, 2);
}
