// SPDX-License-Identifier: GPL-2.0

//! A module that is not there: it notes requests and answers with what a test prepared.

#![allow(dead_code, reason = "each test uses a part")]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use rdb_config::resolve::Node;
use rdb_netlink::{
    ConnState, DiskState, Error, Event, Kernel, Message, ModuleInfo, Refusal, ResourceInfo, Result,
    Role, Stream, VolumeInfo, attr,
};
use rdbadm::world::World;
use tempfile::TempDir;

/// What the module knows and was asked.
#[derive(Default)]
pub struct State {
    pub loaded: bool,
    pub requests: Vec<Message>,
    pub resources: Vec<ResourceInfo>,
    pub volumes: Vec<VolumeInfo>,
    pub events: VecDeque<Message>,
    /// Refuse this command with this number.
    pub refuse: Option<(u8, i32, String)>,
}

/// The module.
#[derive(Clone)]
pub struct Fake(pub Rc<RefCell<State>>);

impl Kernel for Fake {
    fn change(&self, request: &Message) -> Result<()> {
        let mut state = self.0.borrow_mut();
        state.requests.push(request.clone());
        match &state.refuse {
            Some((command, code, text)) if *command == request.command() => {
                let (code, text) = (Some(*code), text.clone());
                Err(Error::Refused(Refusal {
                    errno: 22,
                    code,
                    text,
                    info: Vec::new(),
                }))
            }
            _ => Ok(()),
        }
    }

    fn module(&self) -> Result<ModuleInfo> {
        Ok(ModuleInfo {
            version: "0.1.0".into(),
            api: 1,
            protocols: (101, 101),
        })
    }

    fn resources(&self) -> Result<Vec<ResourceInfo>> {
        Ok(self.0.borrow().resources.clone())
    }

    fn volumes(&self) -> Result<Vec<VolumeInfo>> {
        Ok(self.0.borrow().volumes.clone())
    }

    fn subscribe(&self) -> Result<Box<dyn Stream>> {
        Ok(Box::new(self.clone()))
    }
}

impl Stream for Fake {
    /// The prepared events; behind them time is over, or the module goes away if there is no limit.
    fn next(&mut self, limit: Option<Duration>) -> Result<Option<Event>> {
        match (self.0.borrow_mut().events.pop_front(), limit) {
            (Some(message), _) => Ok(Event::decode(message)),
            (None, Some(limit)) => {
                std::thread::sleep(limit.min(Duration::from_millis(1100)));
                Ok(None)
            }
            (None, None) => Err(Error::NoModule),
        }
    }
}

/// Output that can be looked at.
#[derive(Clone, Default)]
pub struct Paper(pub Rc<RefCell<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A node with a configuration, disks and a module.
pub struct Bench {
    pub folder: TempDir,
    pub state: Rc<RefCell<State>>,
    pub config: PathBuf,
}

/// What a run gave.
#[derive(Debug)]
pub struct Run {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Bench {
    /// `DISK` in the configuration stands for the folder of the disks.
    pub fn new(config: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let text = config.replace("DISK/", &format!("{}/", folder.path().display()));
        let path = folder.path().join("rdb.conf");
        fs::write(&path, text).expect("write");
        let state = State {
            loaded: true,
            ..State::default()
        };
        Self {
            folder,
            state: Rc::new(RefCell::new(state)),
            config: path,
        }
    }

    /// The usual two nodes with one volume; the disk is there and empty.
    pub fn usual() -> Self {
        let bench = Self::new(USUAL);
        bench.disk("sdb", 4 << 20);
        bench
    }

    /// Makes a disk.
    pub fn disk(&self, name: &str, bytes: u64) -> PathBuf {
        let path = self.folder.path().join(name);
        let file = fs::File::create(&path).expect("a file");
        file.set_len(bytes).expect("its size");
        path
    }

    /// Runs a command.
    pub fn run(&self, line: &str) -> Run {
        self.run_with(line, |_| {})
    }

    /// Runs a command in a changed world.
    pub fn run_with(&self, line: &str, change: impl FnOnce(&mut World)) -> Run {
        let (out, err) = (Paper::default(), Paper::default());
        let node = Node {
            name: "north".into(),
            addresses: Some(vec!["10.0.0.1".parse().expect("an address")]),
        };
        let state = Rc::clone(&self.state);
        let connect = Box::new(move || match state.borrow().loaded {
            true => Ok(Box::new(Fake(Rc::clone(&state))) as Box<dyn Kernel>),
            false => Err(Error::NoModule),
        });
        let mut world = World::fake(node, connect, Box::new(out.clone()), Box::new(err.clone()));
        change(&mut world);
        let config = self.config.to_string_lossy().into_owned();
        let words = ["rdbadm".to_owned(), "-c".into(), config].into_iter();
        let code = rdbadm::app::main(
            words.chain(line.split(' ').map(str::to_owned)).collect(),
            &mut world,
        );
        let text = |paper: &Paper| {
            let text = String::from_utf8(paper.0.borrow().clone()).expect("text");
            text.replace(&*self.folder.path().to_string_lossy(), "DISK")
        };
        Run {
            code,
            out: text(&out),
            err: text(&err),
        }
    }

    /// Names of the requests so far, with minor or resource.
    pub fn requests(&self) -> Vec<String> {
        let state = self.state.borrow();
        let show = |message: &Message| {
            let name = message.get_text(attr::RESOURCE_NAME).unwrap_or_default();
            let minor = message
                .get_u32(attr::MINOR)
                .map(|minor| format!(" {minor}"))
                .unwrap_or_default();
            let name = if name.is_empty() {
                name
            } else {
                format!(" {name}")
            };
            format!("{}{name}{minor}", message.name())
        };
        state.requests.iter().map(show).collect()
    }

    /// The last request of a command.
    pub fn request(&self, command: u8) -> Message {
        let state = self.state.borrow();
        let found = state
            .requests
            .iter()
            .rev()
            .find(|message| message.command() == command);
        found.expect("the request was made").clone()
    }
}

pub const USUAL: &str = "common { protocol C; }
resource r0 {
  on north { device /dev/drbd0; disk DISK/sdb; address 10.0.0.1:7789; meta-disk internal; }
  on south { device /dev/drbd0; disk DISK/sdb; address 10.0.0.2:7789; meta-disk internal; }
}
";

/// A resource that is connected, with the options of [`USUAL`].
pub fn resource(name: &str) -> ResourceInfo {
    let mut options = std::collections::BTreeMap::new();
    options.insert(attr::PROTOCOL, rdb_netlink::OptionValue::Number(3));
    options.insert(attr::TIMEOUT, rdb_netlink::OptionValue::Number(60));
    ResourceInfo {
        name: name.into(),
        role: Role::Primary,
        suspended: 0,
        write_ordering: rdb_engine::netlink::WriteOrdering::Flush,
        connection: ConnState::WfReportParams,
        peer_role: Role::Secondary,
        agreed_protocol: 101,
        congested: false,
        ap_in_flight: 0,
        rs_in_flight: 0,
        local: Some("10.0.0.1:7789".parse().expect("an address")),
        peer: Some("10.0.0.2:7789".parse().expect("an address")),
        options,
    }
}

/// A volume that is connected and in sync.
pub fn volume(resource: &str, volume: u16, minor: u32) -> VolumeInfo {
    let mut options = std::collections::BTreeMap::new();
    options.insert(attr::RESYNC_RATE, rdb_netlink::OptionValue::Number(250));
    options.insert(attr::SIZE, rdb_netlink::OptionValue::Number(0));
    VolumeInfo {
        resource: resource.into(),
        volume,
        minor,
        role: Role::Primary,
        peer_role: Role::Secondary,
        replication: ConnState::Connected,
        disk: DiskState::UpToDate,
        peer_disk: DiskState::UpToDate,
        suspended: 0,
        sync_paused: 0,
        upper_blocked: 0,
        al_suspended: false,
        degraded_before: false,
        capacity: 8000,
        open_count: 1,
        flags: 0x13,
        uuids: Some([0xA5, 0, 0x11, 0]),
        lower_disk: Some("DISK/sdb".into()),
        meta_disk: Some("DISK/sdb".into()),
        meta_index: Some(-3),
        counters: [
            (attr::DISK_READ, 7),
            (attr::DISK_WRITTEN, 9),
            (attr::SENT, 9),
        ]
        .into(),
        sync: None,
        options,
    }
}
