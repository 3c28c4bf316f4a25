// SPDX-License-Identifier: GPL-2.0

//! The world around two engines: network, scripts, clock, and an observer who knows what runs where.

use crate::engine::Engine;
use crate::engine::types::{
    Action, Effect, GroupSettings, Input, Level, Mirror, Outcome, Request, Settings,
};
use crate::wire::{GroupState, Packet};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub const NAMES: [&str; 2] = ["hauptserver", "ausfallserver"];
/// Indices of the nodes.
pub const H: usize = 0;
pub const A: usize = 1;

pub fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Something that will happen.
#[derive(Clone, Debug)]
enum Event {
    Deliver {
        to: usize,
        link: String,
        bytes: Vec<u8>,
        birth: u64,
    },
    Input {
        node: usize,
        birth: u64,
        input: Input,
        effect: Option<(String, bool)>,
    },
}

/// What the world does to packets and scripts.
#[derive(Clone, Debug)]
pub struct Faults {
    /// Packets of this direction (from node) are lost.
    pub cut: [bool; 2],
    /// One packet in this many is lost; 0 for none.
    pub lose_one_in: u64,
    /// Packets take up to this many milliseconds.
    pub delay_ms: u64,
    /// `NODE SCRIPT ACTION` of scripts that fail.
    pub failing: BTreeSet<String>,
    /// `NODE SCRIPT` of scripts whose start is blocked.
    pub blocked: BTreeSet<String>,
    /// What the mirror of a node says, if it is not ready.
    pub mirror: BTreeMap<usize, Mirror>,
    /// Answer of the fencing device: `None` does not answer.
    pub fence: Option<Result<(), String>>,
    /// Scripts take this long.
    pub script_ms: u64,
}

pub struct World {
    pub now: Duration,
    pub engines: [Option<Engine>; 2],
    pub settings: [Settings; 2],
    pub faults: Faults,
    /// Resources that are active, by node.
    pub active: [BTreeSet<String>; 2],
    /// `h: drbddisk::r0 start`, with the time.
    pub calls: Vec<(Duration, String)>,
    pub logs: Vec<(Duration, usize, Level, String)>,
    pub replies: BTreeMap<u64, Result<String, String>>,
    pub exits: [Option<bool>; 2],
    /// Nodes that have been fenced.
    pub fenced: Vec<String>,
    /// Instants at which a group was seen on both nodes.
    pub double: Vec<Duration>,
    pub packets: u64,
    births: [u64; 2],
    generation: u64,
    events: BTreeMap<(Duration, u64), Event>,
    counter: u64,
    random: u64,
    ids: u64,
}

/// The seed's group, which prefers hauptserver.
pub fn seed_groups() -> Vec<GroupSettings> {
    vec![GroupSettings {
        key: "drbddisk::r0".into(),
        preferred: NAMES[H].into(),
        resources: vec![
            "drbddisk::r0".into(),
            "Filesystem::/dev/drbd0::/data::ext3".into(),
        ],
    }]
}

pub fn settings(node: usize, auto_failback: bool, groups: Vec<GroupSettings>) -> Settings {
    Settings {
        own: NAMES[node].into(),
        nodes: NAMES.map(String::from).to_vec(),
        keepalive: seconds(1),
        deadtime: seconds(6),
        warntime: seconds(3),
        initdead: seconds(12),
        auto_failback,
        fencing: false,
        log_badpack: true,
        groups,
    }
}

impl World {
    pub fn new(auto_failback: bool) -> Self {
        Self::with(auto_failback, seed_groups())
    }

    pub fn with(auto_failback: bool, groups: Vec<GroupSettings>) -> Self {
        Self {
            now: Duration::ZERO,
            engines: [None, None],
            settings: [H, A].map(|n| settings(n, auto_failback, groups.clone())),
            faults: Faults {
                cut: [false, false],
                lose_one_in: 0,
                delay_ms: 1,
                failing: BTreeSet::new(),
                blocked: BTreeSet::new(),
                mirror: BTreeMap::new(),
                fence: Some(Ok(())),
                script_ms: 50,
            },
            active: [BTreeSet::new(), BTreeSet::new()],
            calls: Vec::new(),
            logs: Vec::new(),
            replies: BTreeMap::new(),
            exits: [None, None],
            fenced: Vec::new(),
            double: Vec::new(),
            packets: 0,
            births: [0, 0],
            generation: 0,
            events: BTreeMap::new(),
            counter: 0,
            random: 0x9e37_79b9_7f4a_7c15,
            ids: 0,
        }
    }

    pub fn seed(&mut self, seed: u64) {
        self.random ^= seed.wrapping_mul(0xbf58_476d_1ce4_e5b9) | 1;
    }

    fn dice(&mut self, sides: u64) -> u64 {
        // Xorshift: repeatable, and good enough to shuffle packets.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % sides.max(1)
    }

    /// Boots the daemon of a node, with whatever still runs there.
    pub fn start(&mut self, node: usize) {
        self.generation += 1;
        self.births[node] += 1;
        self.exits[node] = None;
        let settings = self.settings[node].clone();
        let engine = Engine::new(settings, self.generation, &BTreeMap::new(), self.now);
        self.engines[node] = Some(engine);
        self.input(node, Input::Timer);
    }

    /// Power off: daemon and resources are gone.
    pub fn crash(&mut self, node: usize) {
        self.kill_daemon(node);
        self.active[node].clear();
    }

    /// The daemon is gone, its resources run on.
    pub fn kill_daemon(&mut self, node: usize) {
        self.engines[node] = None;
        self.births[node] += 1;
    }

    pub fn request(&mut self, node: usize, request: Request) -> Result<String, String> {
        self.ids += 1;
        let id = self.ids;
        self.input(node, Input::Request { id, request });
        self.replies
            .remove(&id)
            .expect("a request is answered at once")
    }

    pub fn input(&mut self, node: usize, input: Input) {
        let Some(engine) = &mut self.engines[node] else {
            return;
        };
        let effects = engine.handle(self.now, input);
        for effect in effects {
            self.carry_out(node, effect);
        }
        let on = |n: usize| !self.active[n].is_empty();
        if on(H)
            && on(A)
            && self.active[H]
                .intersection(&self.active[A])
                .next()
                .is_some()
        {
            self.double.push(self.now);
        }
    }

    fn later(&mut self, ms: u64, event: Event) {
        self.counter += 1;
        self.events
            .insert((self.now + Duration::from_millis(ms), self.counter), event);
    }

    fn answer(&mut self, node: usize, ms: u64, input: Input, effect: Option<(String, bool)>) {
        let birth = self.births[node];
        self.later(
            ms,
            Event::Input {
                node,
                birth,
                input,
                effect,
            },
        );
    }

    fn carry_out(&mut self, node: usize, effect: Effect) {
        match effect {
            Effect::Send(packet) => self.send(node, &packet),
            Effect::Probe { group } => {
                let resources = &self.settings[node].groups[group].resources;
                let active = &self.active[node];
                let running = resources
                    .iter()
                    .filter(|r| active.contains(*r))
                    .cloned()
                    .collect();
                self.answer(node, 5, Input::Probed { group, running }, None);
            }
            Effect::Run {
                group,
                resource,
                action,
            } => self.run(node, group, resource, action),
            Effect::CheckReady { group } => {
                let mirror = self
                    .faults
                    .mirror
                    .get(&node)
                    .cloned()
                    .unwrap_or(Mirror::Ready);
                self.answer(node, 20, Input::Readiness { group, mirror }, None);
            }
            Effect::Fence {
                node: victim,
                attempt,
            } => {
                if let Some(result) = self.faults.fence.clone() {
                    if result.is_ok() {
                        self.fenced.push(victim.clone());
                        if let Some(at) = NAMES.iter().position(|n| *n == victim) {
                            self.crash(at);
                        }
                    }
                    self.answer(
                        node,
                        100,
                        Input::Fenced {
                            node: victim,
                            attempt,
                            result,
                        },
                        None,
                    );
                }
            }
            Effect::Reply { id, result } => {
                self.replies.insert(id, result);
            }
            Effect::RememberGeneration { .. } => {}
            Effect::Log { level, text } => self.logs.push((self.now, node, level, text)),
            Effect::Exit { clean } => {
                self.exits[node] = Some(clean);
                self.kill_daemon(node);
            }
        }
    }

    fn send(&mut self, from: usize, packet: &Packet) {
        self.packets += 1;
        let lost = self.faults.lose_one_in > 0 && {
            let sides = self.faults.lose_one_in;
            self.dice(sides) == 0
        };
        if self.faults.cut[from] || lost {
            return;
        }
        let ms = 1 + self.dice(self.faults.delay_ms.max(1));
        let to = 1 - from;
        let birth = self.births[to];
        self.later(
            ms,
            Event::Deliver {
                to,
                link: "eth1".into(),
                bytes: packet.encode(),
                birth,
            },
        );
    }

    fn run(&mut self, node: usize, group: usize, resource: usize, action: Action) {
        let name = self.settings[node].groups[group].resources[resource].clone();
        let short = ["h", "a"][node];
        let script = name.split("::").next().unwrap_or_default().to_owned();
        let fails = self
            .faults
            .failing
            .contains(&format!("{short} {script} {}", action.name()));
        let blocked = self.faults.blocked.contains(&format!("{short} {script}"));
        if action != Action::Status {
            let letter = if script == "Filesystem" {
                "F"
            } else {
                script.get(..1).unwrap_or("")
            };
            self.calls
                .push((self.now, format!("{short}: {letter} {}", action.name())));
        }
        let (outcome, active) = match action {
            Action::Status if self.active[node].contains(&name) => (Outcome::Running, None),
            Action::Status => (Outcome::Done, None),
            Action::Start if blocked => (Outcome::Blocked("the peer is Primary".into()), None),
            _ if fails => (Outcome::Failed("exit code 1".into()), None),
            Action::Start => (Outcome::Done, Some((name, true))),
            Action::Stop => (Outcome::Done, Some((name, false))),
        };
        // A script that starts something has done so before it ends.
        if let Some((name, true)) = &active {
            self.active[node].insert(name.clone());
        }
        let ms = self.faults.script_ms;
        self.answer(node, ms, Input::ResourceDone { group, outcome }, active);
    }

    /// Runs the world for this long.
    pub fn run_for(&mut self, time: Duration) {
        self.run_until(time, |_| false);
    }

    /// Runs until `done`, at most for `time`; true if it came to that.
    pub fn run_until(&mut self, time: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + time;
        while !done(self) {
            let event = self.events.keys().next().map(|(at, _)| *at);
            let timer = self.engines.iter().flatten().map(Engine::wakeup).min();
            let next = [event, timer]
                .into_iter()
                .flatten()
                .min()
                .map_or(end, |t| t.max(self.now));
            if next >= end {
                self.now = end;
                return done(self);
            }
            self.now = next;
            if event == Some(next) {
                if let Some((_, event)) = self.events.pop_first() {
                    self.happen(event);
                }
            } else {
                for node in [H, A] {
                    if self.engines[node]
                        .as_ref()
                        .is_some_and(|e| e.wakeup() <= next)
                    {
                        self.input(node, Input::Timer);
                    }
                }
            }
        }
        true
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Deliver {
                to,
                link,
                bytes,
                birth,
            } if self.births[to] == birth => {
                let packet = Packet::decode(&bytes).expect("engines send good packets");
                let from = "192.168.1.1:694".to_owned();
                self.input(to, Input::Packet { link, from, packet });
            }
            Event::Input {
                node,
                birth,
                input,
                effect,
            } if self.births[node] == birth => {
                if let Some((name, false)) = effect {
                    self.active[node].remove(&name);
                }
                self.input(node, input);
            }
            _ => {}
        }
    }

    pub fn state(&self, node: usize, group: usize) -> Option<GroupState> {
        self.engines[node].as_ref()?.group_state(group)
    }

    pub fn runs(&self, node: usize) -> bool {
        self.state(node, 0) == Some(GroupState::Running)
    }

    pub fn holdings(&self, node: usize) -> String {
        self.engines[node]
            .as_ref()
            .map_or("-".into(), |e| e.report(self.now).holdings)
    }

    /// The script calls since the last question.
    pub fn take_calls(&mut self) -> Vec<String> {
        std::mem::take(&mut self.calls)
            .into_iter()
            .map(|(_, call)| call)
            .collect()
    }

    pub fn logged(&self, node: usize, text: &str) -> bool {
        self.logs
            .iter()
            .any(|(_, n, _, line)| *n == node && line.contains(text))
    }

    /// Both nodes started, the group on hauptserver.
    pub fn settled(auto_failback: bool) -> Self {
        let mut world = Self::new(auto_failback);
        world.start(H);
        world.run_for(seconds(1));
        world.start(A);
        assert!(
            world.run_until(seconds(30), |w| w.runs(H)),
            "{:?}",
            world.logs
        );
        world.run_for(seconds(3));
        assert_eq!(world.take_calls(), ["h: d start", "h: F start"]);
        world
    }
}
