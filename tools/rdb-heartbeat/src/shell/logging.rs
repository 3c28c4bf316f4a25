// SPDX-License-Identifier: GPL-2.0

//! Messages to syslog, files and the terminal (specification, section 15).
//!
//! A thread of its own writes them: a full disk or a syslog daemon that hangs must not stop
//! heartbeats. If it falls behind, messages are counted and dropped.

use super::process::spawn;
use crate::config::ha_cf::HaCf;
use crate::engine::types::Level;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::time::Duration;
use syslog::{Facility, Formatter3164};

/// Target of messages that need an operator: the log crate has no level for them.
pub const CRITICAL: &str = "critical";

/// Messages that wait for the writing thread.
const QUEUE: usize = 4096;

enum Item {
    Record {
        level: Level,
        text: String,
        date: String,
    },
    Flush(Sender<()>),
}

/// Where messages go.
#[derive(Clone, Debug, Default)]
pub struct Targets {
    /// Standard error.
    pub terminal: bool,
    /// Syslog with this facility.
    pub facility: Option<String>,
    /// Messages.
    pub logfile: Option<PathBuf>,
    /// Messages and debug messages.
    pub debugfile: Option<PathBuf>,
}

impl Targets {
    /// What `ha.cf` says, and standard error in the foreground.
    pub fn new(ha_cf: &HaCf, foreground: bool) -> Self {
        // Under systemd both would end in the journal.
        let twice = std::env::var_os("JOURNAL_STREAM").is_some() && ha_cf.facility.is_some();
        Self {
            terminal: foreground && !twice,
            facility: ha_cf.facility.clone(),
            logfile: ha_cf.logfile.clone(),
            debugfile: ha_cf.debugfile.clone(),
        }
    }
}

struct Queue {
    sender: SyncSender<Item>,
    lost: AtomicU64,
}

impl log::Log for Queue {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let level = match record.level() {
            log::Level::Error if record.target() == CRITICAL => Level::Critical,
            log::Level::Error => Level::Error,
            log::Level::Warn => Level::Warn,
            log::Level::Info => Level::Info,
            log::Level::Debug | log::Level::Trace => Level::Debug,
        };
        let date = chrono::Local::now().format("%b %d %H:%M:%S").to_string();
        let item = Item::Record {
            level,
            text: record.args().to_string(),
            date,
        };
        if let Err(TrySendError::Full(_)) = self.sender.try_send(item) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let (level, text) = (Level::Warn, format!("{lost} messages were lost"));
            let item = Item::Record {
                level,
                text,
                date: String::new(),
            };
            if self.sender.try_send(item).is_err() {
                self.lost.fetch_add(lost, Ordering::Relaxed);
            }
        }
    }

    fn flush(&self) {
        let (done, wait) = channel();
        if self.sender.send(Item::Flush(done)).is_ok() {
            // At the end of the daemon: a syslog that hangs must not keep it for ever.
            let _ = wait.recv_timeout(Duration::from_secs(2));
        }
    }
}

/// Starts logging for the rest of the process.
///
/// # Errors
///
/// A log file cannot be opened, or logging was started before.
pub fn start(targets: &Targets, node: &str) -> Result<(), String> {
    let open = |path: &PathBuf| {
        let file = OpenOptions::new().create(true).append(true).open(path);
        file.map_err(|e| format!("log file {}: {e}", path.display()))
    };
    let (sender, receiver) = sync_channel(QUEUE);
    let mut writer = Writer {
        terminal: targets.terminal,
        logfile: targets.logfile.as_ref().map(open).transpose()?,
        debugfile: targets.debugfile.as_ref().map(open).transpose()?,
        facility: targets
            .facility
            .as_deref()
            .and_then(|f| Facility::from_str(f).ok()),
        syslog: None,
        node: node.to_owned(),
    };
    spawn("log", move || writer.run(&receiver)).map_err(|e| format!("log thread: {e}"))?;
    log::set_boxed_logger(Box::new(Queue {
        sender,
        lost: AtomicU64::new(0),
    }))
    .map_err(|e| e.to_string())
}

/// Debug messages on or off.
pub fn debug(level: u8) {
    let filter = if level > 0 {
        log::LevelFilter::Debug
    } else {
        log::LevelFilter::Info
    };
    log::set_max_level(filter);
}

/// A message of the state machine.
pub fn message(level: Level, text: &str) {
    match level {
        Level::Debug => log::debug!("{text}"),
        Level::Info => log::info!("{text}"),
        Level::Warn => log::warn!("{text}"),
        Level::Error => log::error!("{text}"),
        Level::Critical => log::error!(target: CRITICAL, "{text}"),
    }
}

struct Writer {
    terminal: bool,
    logfile: Option<File>,
    debugfile: Option<File>,
    facility: Option<Facility>,
    syslog: Option<syslog::Logger<syslog::LoggerBackend, Formatter3164>>,
    node: String,
}

impl Writer {
    fn run(&mut self, items: &Receiver<Item>) {
        while let Ok(item) = items.recv() {
            match item {
                Item::Record { level, text, date } => self.write(level, &text, &date),
                Item::Flush(done) => drop(done.send(())),
            }
        }
    }

    fn write(&mut self, level: Level, text: &str, date: &str) {
        let word = match level {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "WARN",
            Level::Error => "ERROR",
            Level::Critical => "CRIT",
        };
        let pid = std::process::id();
        let line = format!("{date} {} heartbeat: [{pid}]: {word}: {text}\n", self.node);
        if self.terminal {
            let _ = std::io::stderr().write_all(line.as_bytes());
        }
        if level > Level::Debug {
            append(&mut self.logfile, &line);
        }
        append(&mut self.debugfile, &line);
        let message = format!("{word}: {text}");
        // One new try: the syslog daemon may have been restarted.
        if self.facility.is_some() && !self.pass_to_syslog(level, &message) {
            self.syslog = None;
            self.pass_to_syslog(level, &message);
        }
    }

    fn pass_to_syslog(&mut self, level: Level, message: &str) -> bool {
        let (Some(facility), None) = (self.facility, &self.syslog) else {
            return self.send(level, message);
        };
        let formatter = Formatter3164 {
            facility,
            hostname: None,
            process: "heartbeat".into(),
            pid: std::process::id(),
        };
        self.syslog = syslog::unix(formatter).ok();
        self.send(level, message)
    }

    fn send(&mut self, level: Level, message: &str) -> bool {
        let Some(logger) = &mut self.syslog else {
            return false;
        };
        match level {
            Level::Debug => logger.debug(message),
            Level::Info => logger.info(message),
            Level::Warn => logger.warning(message),
            Level::Error => logger.err(message),
            Level::Critical => logger.crit(message),
        }
        .is_ok()
    }
}

fn append(file: &mut Option<File>, line: &str) {
    if let Some(file) = file {
        // There is nowhere left to complain to.
        let _ = file.write_all(line.as_bytes());
    }
}

/// True if somebody listens on the usual sockets of syslog.
pub fn syslog_present() -> bool {
    ["/dev/log", "/var/run/syslog", "/var/run/log"]
        .iter()
        .any(|p| Path::new(p).exists())
}
