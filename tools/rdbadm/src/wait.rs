// SPDX-License-Identifier: GPL-2.0

//! wait-connect, wait-sync, wait-con-int: by event, never by asking again and again (admin-tool.md, section 4.8).

use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use rdb_config::resolve::{self, Timeouts};
use rdb_netlink::{
    ConnState, DiskState, Error, Event, EventKind, Kernel, Object, SyncInfo, attr, names,
};

use crate::failure::{Failure, Outcome, exit};
use crate::session::Session;

/// Bytes of a block of the bitmap.
const BLOCK: u64 = 4096;
/// A resync begins a moment after the states have become different; after this time it does not begin any more.
const SETTLE: Duration = Duration::from_secs(5);

/// What to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// At least connected.
    Connected,
    /// Connected, and no resync.
    Synced,
}

/// A volume that is waited for.
struct Watched {
    resource: String,
    object: String,
    minor: u32,
    timeouts: Timeouts,
    /// Given on the command line.
    limit: Option<u64>,
    connection: ConnState,
    replication: ConnState,
    disk: DiskState,
    peer_disk: DiskState,
    degraded: bool,
    sync: Option<SyncInfo>,
    /// Since when the disks differ without a resync.
    unsettled: Option<Instant>,
    bar: Option<ProgressBar>,
}

impl Watched {
    fn stand_alone(&self) -> bool {
        self.connection == ConnState::StandAlone && !self.timeouts.wait_after_sb
    }

    /// One disk is good and the other is not: a resync is about to begin.
    fn differs(&self) -> bool {
        let good = |state| state == DiskState::UpToDate;
        let worse = |state| matches!(state, DiskState::Inconsistent | DiskState::Outdated);
        good(self.disk) && worse(self.peer_disk) || worse(self.disk) && good(self.peer_disk)
    }

    fn reached(&self, goal: Goal) -> bool {
        match goal {
            Goal::Connected => self.replication >= ConnState::Connected || self.stand_alone(),
            Goal::Synced if self.stand_alone() => true,
            Goal::Synced => {
                self.replication == ConnState::Connected
                    && self.unsettled.is_none_or(|since| since.elapsed() >= SETTLE)
            }
        }
    }

    /// Seconds to wait, 0 for ever. The timeouts of the configuration are for the connection; a resync takes its time.
    fn limit(&self) -> u64 {
        if let Some(limit) = self.limit {
            return limit;
        }
        match self.peer_disk {
            _ if self.replication >= ConnState::Connected => 0,
            DiskState::Outdated => self.timeouts.outdated,
            _ if self.degraded => self.timeouts.degraded,
            _ => self.timeouts.wfc,
        }
    }

    fn settle(&mut self) {
        let open = self.replication == ConnState::Connected && self.differs();
        self.unsettled = open.then(|| self.unsettled.unwrap_or_else(Instant::now));
    }

    fn state(&self) -> String {
        format!(
            "{} {}/{}",
            names::conn(self.replication),
            names::disk(self.disk),
            names::disk(self.peer_disk)
        )
    }
}

/// Waits for all volumes of the targets. `limit` replaces the timeouts of the configuration.
pub fn wait(session: &Session<'_>, words: &[String], goal: Goal, limit: Option<u64>) -> Outcome {
    let cannot = |error: Error| Failure::new(exit::CANNOT, error.to_string());
    let mut watched = watch_list(session, words, limit)?;
    if session.world.dry_run {
        let name = if goal == Goal::Connected {
            "wait-connect"
        } else {
            "wait-sync"
        };
        return watched
            .iter()
            .try_for_each(|one| session.world.say(&format!("rdbsetup {name} {}", one.minor)));
    }
    let kernel = session.world.kernel().map_err(cannot)?;
    let mut stream = kernel.subscribe().map_err(cannot)?;
    refresh(kernel, &mut watched)?;
    let bars = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
    let start = Instant::now();
    loop {
        for one in &mut watched {
            one.settle();
            draw(&bars, one, goal);
        }
        if watched.iter().all(|one| one.reached(goal)) {
            return finish(session, &watched, goal);
        }
        match stream.next(time_left(&watched, start, goal)) {
            Ok(Some(event)) => apply(&event, &mut watched)?,
            Ok(None) => out_of_time(&watched, start, goal)?,
            Err(Error::Lost) => refresh(kernel, &mut watched)?,
            Err(error) => return Err(cannot(error)),
        }
    }
}

fn watch_list(
    session: &Session<'_>,
    words: &[String],
    limit: Option<u64>,
) -> Outcome<Vec<Watched>> {
    let mut watched = Vec::new();
    for target in session.targets(words)? {
        let (timeouts, _) = resolve::timeouts(session.config, target.local.resource);
        for volume in &target.volumes {
            watched.push(Watched {
                resource: target.name().to_owned(),
                object: target.object(volume),
                minor: Session::minor(volume),
                timeouts,
                limit,
                connection: ConnState::StandAlone,
                replication: ConnState::StandAlone,
                disk: DiskState::Diskless,
                peer_disk: DiskState::DUnknown,
                degraded: false,
                sync: None,
                unsettled: None,
                bar: None,
            });
        }
    }
    Ok(watched)
}

/// Takes the present state over.
fn refresh(kernel: &dyn Kernel, watched: &mut [Watched]) -> Outcome {
    let cannot = |error: Error| Failure::new(exit::CANNOT, error.to_string());
    let resources = kernel.resources().map_err(cannot)?;
    let volumes = kernel.volumes().map_err(cannot)?;
    for one in watched {
        let resource = resources
            .iter()
            .find(|resource| resource.name == one.resource);
        let volume = volumes.iter().find(|volume| volume.minor == one.minor);
        let (Some(resource), Some(volume)) = (resource, volume) else {
            return Err(gone(one));
        };
        one.connection = resource.connection;
        one.replication = volume.replication;
        one.disk = volume.disk;
        one.peer_disk = volume.peer_disk;
        one.degraded = volume.degraded_before;
        one.sync = volume.sync;
    }
    Ok(())
}

fn gone(one: &Watched) -> Failure {
    let text = format!(
        "{}: it is not up; run: rdbadm up {}",
        one.object, one.resource
    );
    Failure::new(exit::CANNOT, text)
}

fn apply(event: &Event, watched: &mut [Watched]) -> Outcome {
    let from = &event.attributes;
    for one in watched {
        let mine = match event.object {
            Object::Volume | Object::Sync => from.get_u32(attr::MINOR) == Some(one.minor),
            Object::Resource | Object::Connection => event.resource == one.resource,
            Object::Helper => false,
        };
        if !mine {
            continue;
        }
        match (event.object, event.kind) {
            (Object::Volume | Object::Resource, EventKind::Destroy) => return Err(gone(one)),
            (Object::Connection, EventKind::Destroy) => {
                one.connection = ConnState::StandAlone;
                one.replication = ConnState::StandAlone;
            }
            (Object::Connection, _) => {
                one.connection = from
                    .get_enum(attr::CONNECTION_STATE)
                    .unwrap_or(one.connection);
            }
            (Object::Volume, _) => {
                one.replication = from
                    .get_enum(attr::REPLICATION_STATE)
                    .unwrap_or(one.replication);
                one.disk = from.get_enum(attr::DISK_STATE).unwrap_or(one.disk);
                one.peer_disk = from
                    .get_enum(attr::PEER_DISK_STATE)
                    .unwrap_or(one.peer_disk);
                // The event of the connection may still be on its way.
                if one.replication > ConnState::StandAlone
                    && one.connection == ConnState::StandAlone
                {
                    one.connection = one.replication.min(ConnState::WfReportParams);
                }
            }
            (Object::Sync, _) => one.sync = SyncInfo::decode(from).or(one.sync),
            _ => {}
        }
    }
    Ok(())
}

/// Time to the next moment at which something is to be decided; `None` if nothing but an event can bring it.
fn time_left(watched: &[Watched], start: Instant, goal: Goal) -> Option<Duration> {
    let ends = watched
        .iter()
        .filter(|one| !one.reached(goal))
        .filter_map(|one| {
            let limit = Duration::from_secs(one.limit());
            let timeout = (!limit.is_zero()).then(|| limit.saturating_sub(start.elapsed()));
            let settled = one
                .unsettled
                .map(|since| SETTLE.saturating_sub(since.elapsed()));
            timeout.into_iter().chain(settled).min()
        });
    ends.min()
}

fn out_of_time(watched: &[Watched], start: Instant, goal: Goal) -> Outcome {
    let late = watched.iter().find(|one| {
        let limit = Duration::from_secs(one.limit());
        !one.reached(goal) && !limit.is_zero() && start.elapsed() >= limit
    });
    match late {
        Some(one) => {
            let text = format!(
                "{}: still {} after {} seconds",
                one.object,
                one.state(),
                one.limit()
            );
            Err(Failure::new(exit::TIMEOUT, text))
        }
        None => Ok(()),
    }
}

fn finish(session: &Session<'_>, watched: &[Watched], goal: Goal) -> Outcome {
    for one in watched {
        if let Some(bar) = &one.bar {
            if one.replication == ConnState::Connected {
                bar.set_position(bar.length().unwrap_or_default());
            }
            bar.finish();
        }
        if one.stand_alone() {
            let text = format!(
                "{}: the connection is StandAlone; connect with: rdbadm connect {}",
                one.object, one.resource
            );
            session.world.complain(&text);
        } else if goal == Goal::Synced && one.differs() {
            session.world.complain(&format!(
                "{}: no resync runs, but the disks are {}",
                one.object,
                one.state()
            ));
        }
    }
    Ok(())
}

/// Shows the progress of a volume.
fn draw(bars: &MultiProgress, one: &mut Watched, goal: Goal) {
    let Some(sync) = one
        .sync
        .filter(|_| goal == Goal::Synced && one.replication > ConnState::Connected)
    else {
        return;
    };
    let total = sync.total.saturating_mul(BLOCK);
    let bar = one.bar.get_or_insert_with(|| {
        let style = ProgressStyle::with_template(
            "{prefix} [{bar:40}] {percent:>3}% {bytes}/{total_bytes} {msg}",
        );
        let bar = bars.add(ProgressBar::new(total));
        bar.set_prefix(one.object.clone());
        bar.with_style(
            style
                .unwrap_or_else(|_| ProgressStyle::default_bar())
                .progress_chars("=>."),
        )
    });
    bar.set_length(total);
    bar.set_position(total.saturating_sub(sync.left.saturating_mul(BLOCK)));
    let rest = match sync.eta {
        Some(seconds) => format!(", {} to go", crate::status::clock(seconds)),
        None => String::new(),
    };
    let limit = match sync.limit {
        Some(limit) => format!(", limited by {}", rdb_netlink::names::sync_limit(limit)),
        None => String::new(),
    };
    bar.set_message(format!("{} KiB/s{rest}{limit}", sync.rate));
}

/// Waits for the peers of all resources at boot. Somebody at the terminal can end it; the exit code is always 0.
pub fn wait_at_boot(session: &Session<'_>) -> Outcome {
    if session.world.terminal.input {
        std::thread::spawn(|| {
            std::thread::sleep(Duration::from_secs(10));
            eprint!("Waiting for the peers of all resources. Type 'yes' to stop waiting: ");
            let mut answer = String::new();
            while std::io::stdin()
                .read_line(&mut answer)
                .is_ok_and(|length| length > 0)
            {
                if answer.trim() == "yes" {
                    std::process::exit(0);
                }
                answer.clear();
            }
        });
    }
    if let Err(failure) = wait(session, &["all".to_owned()], Goal::Connected, None) {
        session.world.complain(&failure.text);
    }
    Ok(())
}
