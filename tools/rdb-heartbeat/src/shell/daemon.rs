// SPDX-License-Identifier: GPL-2.0

//! The daemon: queue, timer, effects.

use super::control::{Answer, Question};
use super::jobs::{Jobs, realtime};
use super::media::Media;
use super::process::spawn;
use super::scripts::Scripts;
use super::{Options, control, fence, generation, logging, mirror};
use crate::auth;
use crate::config::authkeys::AuthKeys;
use crate::config::diagnostic::Severity;
use crate::config::{self, Config};
use crate::engine::Engine;
use crate::engine::types::{Action, Effect, GroupSettings, Input, Outcome, Settings};
use crate::wire::Packet;
use nix::fcntl::{Flock, FlockArg};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Seek, Write};
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, sync_channel};
use std::time::{Duration, Instant};

/// Events that wait; packets beyond it are lost.
const QUEUE: usize = 4096;

/// The exit code for a configuration error.
pub const EXIT_CONFIGURATION: u8 = 6;
/// The exit code for everything else that keeps the daemon from starting.
pub const EXIT_FAILURE: u8 = 1;

/// Why the daemon did not start.
#[derive(Debug)]
pub struct StartError {
    /// Exit code.
    pub code: u8,
    /// For people.
    pub text: String,
}

fn failure(text: impl std::fmt::Display) -> StartError {
    StartError {
        code: EXIT_FAILURE,
        text: text.to_string(),
    }
}

enum Event {
    Datagram {
        link: String,
        from: SocketAddr,
        bytes: Vec<u8>,
    },
    Input(Input),
    Question(Question, Sender<Answer>),
    Signal(i32),
}

struct Daemon {
    options: Options,
    config: Config,
    scripts: Scripts,
    engine: Engine,
    media: Media,
    keys: AuthKeys,
    generations: BTreeMap<String, u64>,
    jobs: Jobs,
    events: SyncSender<Event>,
    begin: Instant,
    debug: u8,
    watchers: Vec<Sender<Answer>>,
    /// Askers that wait for the end, or for the state machine's reply, by request number.
    stopping: Vec<Sender<Answer>>,
    asking: BTreeMap<u64, Sender<Answer>>,
    next_request: u64,
    shown: String,
    end: Option<bool>,
}

/// Runs the daemon to its end. In the background the caller's process ends as soon as the daemon
/// has started; the configuration has been checked by then. True if all resources were given up.
///
/// # Errors
///
/// What kept it from starting.
pub fn run(options: Options, config: Config, foreground: bool) -> Result<bool, StartError> {
    for directory in [&options.run_dir, &options.state_dir] {
        std::fs::create_dir_all(directory)
            .map_err(|e| failure(format!("{}: {e}", directory.display())))?;
    }
    let mut lock = lock(&options)?;
    let mut generations = generation::load(&options.state_dir)
        .map_err(|e| failure(format!("{}: {e}", options.state_dir.display())))?;
    let own = generation::next(generations.get(&options.node).copied());
    generations.insert(options.node.clone(), own);
    generation::store(&options.state_dir, &generations)
        .map_err(|e| failure(format!("{}: {e}", options.state_dir.display())))?;
    let media = Media::open(&config.ha_cf.media, options.listen).map_err(failure)?;
    if !foreground {
        // Before any thread: only the calling one is in the new process.
        nix::unistd::daemon(false, false).map_err(|e| failure(format!("daemon: {e}")))?;
    }
    write_pid(&mut lock).map_err(|e| failure(format!("pid file: {e}")))?;
    logging::start(
        &logging::Targets::new(&config.ha_cf, foreground),
        &options.node,
    )
    .map_err(failure)?;
    logging::debug(config.ha_cf.debug);
    let result = Daemon::start(options.clone(), config, media, generations, own)
        .map(|(mut daemon, events)| daemon.main_loop(&events))
        .map_err(failure);
    if let Err(error) = &result {
        log::error!("{}", error.text);
    }
    let _ = std::fs::remove_file(options.socket());
    let _ = std::fs::remove_file(options.pid_file());
    log::logger().flush();
    result
}

fn lock(options: &Options) -> Result<Flock<File>, StartError> {
    let path = options.pid_file();
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path);
    let file = file.map_err(|e| failure(format!("{}: {e}", path.display())))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| match error {
        nix::errno::Errno::EAGAIN => failure(format!(
            "rdb-heartbeat runs already ({} is locked)",
            path.display()
        )),
        other => failure(format!("{}: {other}", path.display())),
    })
}

fn write_pid(lock: &mut Flock<File>) -> std::io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    writeln!(lock, "{}", std::process::id())
}

fn settings(config: &Config, own: &str) -> Settings {
    let ha_cf = &config.ha_cf;
    let group = |g: &config::haresources::Group| GroupSettings {
        key: g.key().to_owned(),
        preferred: g.preferred.clone(),
        resources: g.resources.iter().map(|r| r.text.clone()).collect(),
    };
    Settings {
        own: own.to_owned(),
        nodes: ha_cf.nodes.clone(),
        keepalive: ha_cf.keepalive,
        deadtime: ha_cf.deadtime,
        warntime: ha_cf.warntime,
        initdead: ha_cf.initdead,
        auto_failback: ha_cf.auto_failback,
        fencing: ha_cf.fencing.is_some(),
        log_badpack: ha_cf.log_badpack,
        groups: config.groups.iter().map(group).collect(),
    }
}

impl Daemon {
    fn start(
        options: Options,
        config: Config,
        media: Media,
        generations: BTreeMap<String, u64>,
        own_generation: u64,
    ) -> std::io::Result<(Self, Receiver<Event>)> {
        log::info!(
            "Configuration validated. Starting heartbeat {}",
            env!("CARGO_PKG_VERSION")
        );
        for line in media.describe() {
            log::info!("heartbeats on {line}");
        }
        if config.ha_cf.facility.is_some() && !logging::syslog_present() {
            log::warn!("no syslog socket: messages to syslog are lost until there is one");
        }
        let (events, queue) = sync_channel(QUEUE);
        let jobs = Jobs::new()?;
        signals(&events)?;
        let asks = events.clone();
        control::serve(&options.socket(), move |question, back| {
            let _ = asks.send(Event::Question(question, back));
        })?;
        let packets = events.clone();
        let (begin, scripts) = (Instant::now(), Self::scripts(&options, &config));
        let settings = settings(&config, &options.node);
        let engine = Engine::new(settings, own_generation, &generations, Duration::ZERO);
        if config.ha_cf.realtime {
            realtime();
        }
        // After the priority: receivers must be as quick as the sender.
        media.receive(move |link, from, bytes| {
            let (link, bytes) = (link.to_owned(), bytes.to_vec());
            // A flood that fills the queue loses packets, as it would in the kernel.
            let _ = packets.try_send(Event::Datagram { link, from, bytes });
        })?;
        let daemon = Self {
            keys: config.keys.clone(),
            debug: config.ha_cf.debug,
            watchers: Vec::new(),
            stopping: Vec::new(),
            asking: BTreeMap::new(),
            next_request: 0,
            shown: String::new(),
            end: None,
            options,
            config,
            scripts,
            engine,
            media,
            generations,
            jobs,
            events,
            begin,
        };
        Ok((daemon, queue))
    }

    fn scripts(options: &Options, config: &Config) -> Scripts {
        Scripts {
            directories: options.resource_dirs.clone(),
            node: options.node.clone(),
            config_dir: config.directory.clone(),
            limit: config.ha_cf.resource_timeout,
        }
    }

    fn main_loop(&mut self, events: &Receiver<Event>) -> bool {
        self.input(Input::Timer);
        loop {
            if let Some(clean) = self.end {
                return clean;
            }
            let wait = self.engine.wakeup().saturating_sub(self.begin.elapsed());
            match events.recv_timeout(wait) {
                Ok(Event::Datagram { link, from, bytes }) => self.datagram(link, from, &bytes),
                Ok(Event::Input(input)) => self.input(input),
                Ok(Event::Question(question, back)) => self.question(question, back),
                Ok(Event::Signal(signal)) => self.signal(signal),
                Err(RecvTimeoutError::Timeout) => self.input(Input::Timer),
                // Not possible: this thread holds a sender.
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
    }

    fn datagram(&mut self, link: String, from: SocketAddr, bytes: &[u8]) {
        let packet = auth::open(bytes, &self.keys)
            .map_err(|e| e.to_string())
            .and_then(|body| Packet::decode(body).map_err(|e| e.to_string()));
        // The port of the sender says nothing: one line in the log for each address is enough.
        let from = from.ip().to_string();
        self.input(match packet {
            Ok(packet) => Input::Packet { link, from, packet },
            Err(reason) => Input::BadPacket { link, from, reason },
        });
    }

    fn input(&mut self, input: Input) {
        for effect in self.engine.handle(self.begin.elapsed(), input) {
            self.carry_out(effect);
        }
        self.show();
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Send(packet) => {
                let bytes = auth::seal(packet.encode(), &self.keys);
                self.media.send(&bytes);
            }
            Effect::Probe { group } => self.probe(group),
            Effect::Run {
                group,
                resource,
                action,
            } => self.run_script(group, resource, action),
            Effect::CheckReady { group } => {
                let Some(settings) = self.config.groups.get(group).cloned() else {
                    return;
                };
                self.job(move || Input::Readiness {
                    group,
                    mirror: mirror::ready(&settings),
                });
            }
            Effect::Fence { node, attempt } => {
                let Some(device) = self.config.ha_cf.fencing.clone() else {
                    return;
                };
                let events = self.events.clone();
                self.jobs.run(move || {
                    if let Some(result) = fence::reset(&device, &node) {
                        let _ = events.send(Event::Input(Input::Fenced {
                            node,
                            attempt,
                            result,
                        }));
                    }
                });
            }
            Effect::Reply { id, result } => {
                if let Some(back) = self.asking.remove(&id) {
                    let _ = back.send(Answer::from(result));
                }
            }
            Effect::RememberGeneration { node, generation } => {
                self.generations.insert(node, generation);
                let (directory, all) = (self.options.state_dir.clone(), self.generations.clone());
                self.jobs.run(move || {
                    if let Err(error) = generation::store(&directory, &all) {
                        log::error!("{}: {error}", directory.display());
                    }
                });
            }
            Effect::Log { level, text } => logging::message(level, &text),
            Effect::Exit { clean } => self.end = Some(clean),
        }
    }

    /// Runs something slow elsewhere; its result comes back as an input.
    fn job(&self, work: impl FnOnce() -> Input + Send + 'static) {
        let events = self.events.clone();
        self.jobs.run(move || {
            let _ = events.send(Event::Input(work()));
        });
    }

    fn probe(&self, group: usize) {
        let Some(settings) = self.config.groups.get(group).cloned() else {
            return;
        };
        let scripts = self.scripts.clone();
        self.job(move || {
            let mut running = Vec::new();
            for resource in &settings.resources {
                match scripts.act(resource, Action::Status) {
                    Outcome::Running => running.push(resource.text.clone()),
                    Outcome::Failed(text) => log::warn!("{resource} status: {text}"),
                    _ => {}
                }
            }
            Input::Probed { group, running }
        });
    }

    fn run_script(&self, group: usize, resource: usize, action: Action) {
        let settings = self
            .config
            .groups
            .get(group)
            .and_then(|g| g.resources.get(resource));
        let Some(settings) = settings.cloned() else {
            return;
        };
        let scripts = self.scripts.clone();
        self.job(move || Input::ResourceDone {
            group,
            outcome: scripts.act(&settings, action),
        });
    }

    fn signal(&mut self, signal: i32) {
        match signal {
            SIGHUP => drop(self.reload()),
            SIGUSR1 | SIGUSR2 => {
                let up = signal == SIGUSR1;
                self.debug = if up {
                    self.debug.saturating_add(1)
                } else {
                    self.debug.saturating_sub(1)
                };
                logging::debug(self.debug);
                log::info!("debug level is now {}", self.debug);
            }
            _ => {
                log::info!("signal {signal} received");
                self.input(Input::Terminate);
            }
        }
    }

    fn question(&mut self, question: Question, back: Sender<Answer>) {
        let report = || Some(self.engine.report(self.begin.elapsed()));
        match question {
            Question::Status => drop(back.send(Answer {
                report: report(),
                ..Answer::default()
            })),
            Question::Watch => {
                if back
                    .send(Answer {
                        report: report(),
                        ..Answer::default()
                    })
                    .is_ok()
                {
                    self.watchers.push(back);
                }
            }
            Question::Parameter { name } => {
                let value = self.config.ha_cf.parameters.get(&name).cloned();
                let answer = value.ok_or(format!("`{name}` is not set"));
                let _ = back.send(Answer::from(answer));
            }
            Question::Reload => drop(back.send(Answer::from(self.reload()))),
            Question::Stop => {
                let _ = back.send(Answer::from(Ok("giving up all resources".to_owned())));
                // Its end tells the asker that the daemon has ended.
                self.stopping.push(back);
                self.input(Input::Terminate);
            }
            other => match other.request() {
                Ok(Some(request)) => {
                    self.next_request += 1;
                    let id = self.next_request;
                    self.asking.insert(id, back);
                    self.input(Input::Request { id, request });
                }
                Ok(None) => {}
                Err(text) => drop(back.send(Answer::from(Err(text)))),
            },
        }
    }

    /// Reads `ha.cf` and `authkeys` anew. What cannot change while it runs is reported.
    fn reload(&mut self) -> Result<String, String> {
        let (config, problems) = config::load(&self.config.directory, &self.options.node);
        for problem in problems.iter().filter(|p| p.severity > Severity::Note) {
            log::warn!("{problem}");
        }
        let Some(config) = config else {
            let text = "the new configuration has errors: the old one stays in effect";
            log::error!("{text}");
            return Err(text.into());
        };
        let old = &self.config;
        if config.ha_cf.media != old.ha_cf.media || config.groups != old.groups {
            let text = "media and resource groups change only with a restart of rdb-heartbeat";
            log::warn!("{text}");
        }
        let mut new = settings(&config, &self.options.node);
        new.groups = settings(old, &self.options.node).groups;
        self.keys = config.keys.clone();
        self.debug = config.ha_cf.debug;
        logging::debug(self.debug);
        self.config = Config {
            groups: std::mem::take(&mut self.config.groups),
            ..config
        };
        self.scripts = Self::scripts(&self.options, &self.config);
        log::info!("configuration read anew");
        self.input(Input::Reconfigure(new));
        Ok("configuration read anew".into())
    }

    /// Tells the watchers if anything but the passing of time has changed.
    fn show(&mut self) {
        if self.watchers.is_empty() {
            return;
        }
        let report = self.engine.report(self.begin.elapsed());
        let mut timeless = report.clone();
        for peer in &mut timeless.peers {
            peer.heard_ms_ago = None;
        }
        let text = format!("{timeless:?}");
        if text != self.shown {
            self.shown = text;
            let answer = Answer {
                report: Some(report),
                ..Answer::default()
            };
            self.watchers.retain(|w| w.send(answer.clone()).is_ok());
        }
    }
}

fn signals(events: &SyncSender<Event>) -> std::io::Result<()> {
    let list = [SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2];
    let mut signals = signal_hook::iterator::Signals::new(list)?;
    let events = events.clone();
    spawn("signals", move || {
        for signal in signals.forever() {
            if events.send(Event::Signal(signal)).is_err() {
                return;
            }
        }
    })
}
