// SPDX-License-Identifier: GPL-2.0

//! Two real daemons on loopback addresses, with resource scripts that only make files. Nothing here
//! depends on how long anything takes: each step waits for the event, at most [`LIMIT`].

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rdb_heartbeat::engine::report::Report;
use rdb_heartbeat::shell::control::{Question, ask};
use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Only a daemon that hangs needs this long.
const LIMIT: Duration = Duration::from_secs(120);

const H: (&str, &str) = ("hauptserver", "127.0.0.1");
const A: (&str, &str) = ("ausfallserver", "127.0.0.2");

/// Configuration, state and fake resources of a cluster.
struct Cluster {
    directory: tempfile::TempDir,
    port: u16,
}

/// One running daemon.
struct Node {
    name: &'static str,
    home: PathBuf,
    child: Child,
    log: Receiver<String>,
    seen: Vec<String>,
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_rdb-heartbeat"))
}

impl Cluster {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        // Free on both addresses, as far as anybody can tell beforehand.
        let port = (0..50)
            .find_map(|_| {
                let one = UdpSocket::bind((H.1, 0)).ok()?;
                let port = one.local_addr().ok()?.port();
                UdpSocket::bind((A.1, port)).ok()?;
                Some(port)
            })
            .expect("no UDP port is free on both loopback addresses");
        let cluster = Self { directory, port };
        for (node, peer) in [(H, A), (A, H)] {
            cluster.configure(node, peer, "1 sha1 geheim");
        }
        cluster
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn home(&self, node: (&str, &str)) -> PathBuf {
        self.path().join(node.0)
    }

    fn configure(&self, node: (&str, &str), peer: (&str, &str), key: &str) {
        let home = self.home(node);
        std::fs::create_dir_all(&home).unwrap();
        let ha_cf = format!(
            "logfacility none\nudpport {}\nkeepalive 500ms\ndeadtime 5\ninitdead 60\nrealtime off\n\
             ucast lo {}\nauto_failback on\nnode {} {}\n",
            self.port, peer.1, H.0, A.0
        );
        std::fs::write(home.join("ha.cf"), ha_cf).unwrap();
        std::fs::write(
            home.join("haresources"),
            "hauptserver fakedisk::r0 fakefs::/data\n",
        )
        .unwrap();
        let keys = home.join("authkeys");
        std::fs::write(&keys, format!("auth 1\n{key}\n")).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(keys, mode).unwrap();
    }

    /// The options that make a daemon belong to this cluster.
    fn command(&self, node: (&str, &str)) -> Command {
        let home = self.home(node);
        let fake = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fake");
        let mut command = program();
        command
            .env("FAKE_DIR", self.path())
            .args(["--node", node.0, "--listen", node.1])
            .arg("--config-dir")
            .arg(&home)
            .arg("--run-dir")
            .arg(home.join("run"))
            .arg("--state-dir")
            .arg(home.join("state"))
            .arg("--resource-dir")
            .arg(fake);
        command
    }

    fn run(&self, node: (&str, &str), args: &[&str]) -> Output {
        self.command(node).args(args).output().unwrap()
    }

    fn start(&self, node: (&'static str, &str)) -> Node {
        let mut command = self.command(node);
        command.arg("-f").stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (sender, log) = channel();
        let pipe = child.stderr.take().unwrap();
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let (name, home) = (node.0, self.home(node));
        let mut node = Node {
            name,
            home,
            child,
            log,
            seen: Vec::new(),
        };
        node.wait_for_log("Configuration validated. Starting heartbeat");
        node
    }

    fn active(&self, node: (&str, &str), script: &str) -> bool {
        self.path()
            .join(format!("active-{}-{script}", node.0))
            .exists()
    }

    /// The machine is gone, and with it what ran there.
    fn forget(&self, node: (&str, &str)) {
        for script in ["fakedisk", "fakefs"] {
            let _ = std::fs::remove_file(self.path().join(format!("active-{}-{script}", node.0)));
        }
    }

    /// The script calls since the last question.
    fn take_calls(&self) -> Vec<String> {
        let path = self.path().join("calls");
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let _ = std::fs::remove_file(path);
        text.lines().map(String::from).collect()
    }
}

impl Node {
    /// Reads the log until a line has `text`, or finds it among the lines already read.
    fn wait_for_log(&mut self, text: &str) {
        let end = Instant::now() + LIMIT;
        while !self.seen.iter().any(|line| line.contains(text)) {
            let rest = end.saturating_duration_since(Instant::now());
            match self.log.recv_timeout(rest) {
                Ok(line) => self.seen.push(line),
                Err(_) => panic!(
                    "{}: no `{text}` in the log:\n{}",
                    self.name,
                    self.seen.join("\n")
                ),
            }
        }
    }

    /// Waits for a state, which the daemon reports whenever it changes.
    fn wait_for(&mut self, what: &str, done: impl Fn(&Report) -> bool) -> Report {
        let socket = self.home.join("run/control");
        let end = Instant::now() + LIMIT;
        let mut last = None;
        // The socket is there a moment after the first log line.
        while Instant::now() < end {
            let Ok(answers) = ask(&socket, &Question::Watch, Some(LIMIT)) else {
                std::thread::sleep(Duration::from_millis(20));
                continue;
            };
            for report in answers.map_while(Result::ok).filter_map(|a| a.report) {
                if done(&report) {
                    return report;
                }
                last = Some(report);
                if Instant::now() >= end {
                    break;
                }
            }
        }
        self.seen.extend(self.log.try_iter());
        panic!(
            "{}: never {what}: {last:#?}\n{}",
            self.name,
            self.seen.join("\n")
        );
    }

    fn wait_until_running(&mut self) {
        self.wait_for("running", |r| r.groups[0].state == "running");
    }

    fn wait_until_dead_free(&mut self) {
        self.wait_for("stopped", |r| r.groups[0].state == "stopped");
    }

    fn signal(&self, signal: Signal) {
        kill(
            Pid::from_raw(i32::try_from(self.child.id()).unwrap()),
            signal,
        )
        .unwrap();
    }

    fn end(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

fn lines(words: &[&str]) -> Vec<String> {
    words.iter().map(|w| (*w).to_owned()).collect()
}

#[test]
fn takeover_failback_and_clean_handover() {
    let cluster = Cluster::new();
    let mut a = cluster.start(A);
    let mut h = cluster.start(H);
    h.wait_until_running();
    assert_eq!(
        cluster.take_calls(),
        lines(&["hauptserver fakedisk start", "hauptserver fakefs start"])
    );

    // The main server dies without a word.
    h.signal(Signal::SIGKILL);
    h.end();
    cluster.forget(H);
    a.wait_until_running();
    assert_eq!(
        cluster.take_calls(),
        lines(&["ausfallserver fakedisk start", "ausfallserver fakefs start"])
    );
    for text in [
        "node hauptserver: is dead",
        "Resources being acquired from hauptserver",
        "fakedisk r0 start",
        "mach_down takeover complete",
    ] {
        a.wait_for_log(text);
    }

    // It comes back: auto_failback.
    let mut h = cluster.start(H);
    h.wait_until_running();
    let back = [
        "ausfallserver fakefs stop",
        "ausfallserver fakedisk stop",
        "hauptserver fakedisk start",
        "hauptserver fakefs start",
    ];
    assert_eq!(cluster.take_calls(), lines(&back));
    a.wait_for_log("auto_failback: its preferred node hauptserver is back");

    // It is stopped: the other takes over because it was told, not because of a silence.
    h.signal(Signal::SIGTERM);
    a.wait_until_running();
    assert!(h.end().success());
    let handover = [
        "hauptserver fakefs stop",
        "hauptserver fakedisk stop",
        "ausfallserver fakedisk start",
        "ausfallserver fakefs start",
    ];
    assert_eq!(cluster.take_calls(), lines(&handover));
    a.wait_for_log("node hauptserver: has stopped its rdb-heartbeat cleanly");
    assert!(cluster.active(A, "fakefs") && !cluster.active(H, "fakedisk"));

    // Both are stopped.
    a.signal(Signal::SIGTERM);
    assert!(a.end().success());
    assert!(!cluster.active(A, "fakefs") && !cluster.active(A, "fakedisk"));
}

#[test]
fn operators_move_groups_and_see_where_they_are() {
    let cluster = Cluster::new();
    let mut h = cluster.start(H);
    let mut a = cluster.start(A);
    h.wait_until_running();
    a.wait_for("sees it", |r| {
        r.groups[0].peer_state.as_deref() == Some("running")
    });

    let out = cluster.run(H, &["standby", "--wait"]);
    assert!(out.status.success(), "{out:?}");
    a.wait_until_running();
    let out = cluster.run(A, &["status", "--json"]);
    let report: Report = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(
        (report.node.as_str(), report.holdings.as_str()),
        ("ausfallserver", "all")
    );
    assert_eq!(report.peers[0].state, "active");
    assert!(report.peers[0].links.iter().any(|l| l.name == "lo" && l.up));
    let out = cluster.run(H, &["status"]);
    let text = String::from_utf8(out.stdout).unwrap();
    assert!(text.contains("running on ausfallserver"), "{text}");
    assert!(text.contains("given away on request"), "{text}");

    let out = cluster.run(H, &["takeover", "local", "--wait"]);
    assert!(out.status.success(), "{out:?}");
    h.wait_until_running();
    a.wait_until_dead_free();

    let out = cluster.run(H, &["standby", "--group", "nothing"]);
    assert_eq!(out.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&out.stderr).contains("no resource group `nothing`"));

    // heartbeat's own commands
    let link = cluster.path().join("cl_status");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_rdb-heartbeat"), &link).unwrap();
    let cl_status = |words: &[&str]| {
        let mut command = Command::new(&link);
        command
            .env("RDB_HA_RUN_DIR", cluster.home(H).join("run"))
            .args(words);
        let out = command.output().unwrap();
        (
            out.status.code().unwrap(),
            String::from_utf8(out.stdout).unwrap(),
        )
    };
    assert_eq!(
        cl_status(&["hbstatus"]),
        (0, "Heartbeat is running on this machine.\n".into())
    );
    assert_eq!(cl_status(&["rscstatus"]), (0, "local\n".into()));
    assert_eq!(
        cl_status(&["rscstatus", "-m"]).1,
        "This node is holding local resources.\n"
    );
    assert_eq!(cl_status(&["listnodes"]).1, "hauptserver\nausfallserver\n");
    assert_eq!(
        cl_status(&["nodestatus", "ausfallserver"]),
        (0, "active\n".into())
    );
    assert_eq!(cl_status(&["nodestatus", "fremder"]).0, 11);
    assert_eq!(
        cl_status(&["hblinkstatus", "ausfallserver", "lo"]),
        (0, "up\n".into())
    );
    assert_eq!(
        cl_status(&["hbparameter", "-p", "deadtime"]),
        (0, "5\n".into())
    );
    assert_eq!(cl_status(&["hbparameter", "-p", "baud"]).0, 1);

    let out = cluster.run(H, &["-s"]);
    let text = String::from_utf8(out.stdout).unwrap();
    assert!(text.starts_with("heartbeat OK [pid ") && text.contains("running on hauptserver"));
    let out = cluster.run(H, &["-k"]);
    assert!(out.status.success() && h.end().success());
    let out = cluster.run(H, &["-s"]);
    assert_eq!(out.status.code(), Some(3));
    assert_eq!(cl_status(&["rscstatus"]).0, 1);
    a.wait_until_running();
}

#[test]
fn a_failing_start_goes_to_the_other_node() {
    let cluster = Cluster::new();
    std::fs::write(cluster.path().join("fail-hauptserver-fakefs-start"), "").unwrap();
    let mut h = cluster.start(H);
    let mut a = cluster.start(A);
    a.wait_until_running();
    h.wait_for_log("start of fakefs::/data failed on hauptserver: exit code 1: told to fail");
    let report = h.wait_for("failed", |r| r.groups[0].failed.is_some());
    assert!(
        report.groups[0]
            .failed
            .as_deref()
            .unwrap()
            .contains("told to fail")
    );
    assert!(!cluster.active(H, "fakedisk"));
    // Repaired.
    std::fs::remove_file(cluster.path().join("fail-hauptserver-fakefs-start")).unwrap();
    assert!(cluster.run(H, &["cleanup"]).status.success());
    h.wait_until_running();
}

#[test]
fn another_key_is_noticed_by_the_address_of_its_sender() {
    let cluster = Cluster::new();
    cluster.configure(A, H, "1 sha1 anders");
    let mut h = cluster.start(H);
    let mut a = cluster.start(A);
    h.wait_for_log("packet from 127.0.0.2 on lo dropped: signature with key 1 is wrong");
    a.wait_for_log("packet from 127.0.0.1 on lo dropped: signature with key 1 is wrong");
    // The key is corrected without a stop.
    cluster.configure(A, H, "1 sha1 geheim");
    a.signal(Signal::SIGHUP);
    a.wait_for_log("configuration read anew");
    h.wait_until_running();
    assert!(!cluster.active(A, "fakefs"));
}

#[test]
fn in_the_background_it_starts_and_stops() {
    let cluster = Cluster::new();
    let out = cluster.run(H, &[]);
    assert!(out.status.success(), "{out:?}");
    let pid = |text: String| text.trim().parse::<i32>().unwrap();
    let path = cluster.home(H).join("run/pid");
    let end = Instant::now() + LIMIT;
    while !cluster.run(H, &["-s"]).status.success() {
        assert!(Instant::now() < end, "the daemon does not answer");
        std::thread::sleep(Duration::from_millis(50));
    }
    let pid = pid(std::fs::read_to_string(path).unwrap());
    assert!(kill(Pid::from_raw(pid), None).is_ok());
    let out = cluster.run(H, &["start"]);
    assert_eq!(out.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&out.stderr).contains("runs already"),
        "{out:?}"
    );
    let out = cluster.run(H, &["stop"]);
    assert!(out.status.success(), "{out:?}");
    assert_eq!(cluster.run(H, &["-s"]).status.code(), Some(3));
}

#[test]
fn configuration_errors_end_with_exit_code_6() {
    let cluster = Cluster::new();
    let good = cluster.run(H, &["check"]);
    assert!(good.status.success(), "{good:?}");
    let home = cluster.home(H);
    let bad = "hauptserver fakedisk::r0 nosuchscript::x\n";
    std::fs::write(home.join("haresources"), bad).unwrap();
    for args in [&["check"][..], &["-f"], &[]] {
        let out = cluster.run(H, args);
        assert_eq!(out.status.code(), Some(6), "{out:?}");
        let text = String::from_utf8(out.stderr).unwrap();
        assert!(
            text.contains("haresources:1:26: error: no script `nosuchscript`"),
            "{text}"
        );
    }
    std::fs::remove_file(home.join("authkeys")).unwrap();
    let out = cluster.run(H, &["check"]);
    assert_eq!(out.status.code(), Some(6));
    assert!(String::from_utf8_lossy(&out.stderr).contains("authkeys: error: cannot be read"));
}
