// SPDX-License-Identifier: GPL-2.0

//! The command line (specification, section 14).

mod compat;
mod show;

use crate::config::diagnostic::{Diagnostic, Place, Severity};
use crate::config::{self, Config};
use crate::engine::report::{GroupReport, Report};
use crate::shell::control::{Answer, Question, Selection, ask};
use crate::shell::daemon::{self, EXIT_CONFIGURATION, EXIT_FAILURE};
use crate::shell::media::missing_interfaces;
use crate::shell::scripts::Scripts;
use crate::shell::{Options, RESOURCE_DIRECTORIES};
use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Watches the other node of a two-node cluster and takes over its resources.
///
/// Without a command it starts the daemon in the background.
#[derive(Debug, Parser)]
#[command(name = "rdb-heartbeat", version, disable_version_flag = true)]
struct Cli {
    /// Start in the foreground, with messages on standard error
    #[arg(short = 'f', long)]
    foreground: bool,
    /// Stop the daemon: it gives up its resources, the other node takes them
    #[arg(short = 'k', long = "kill", conflicts_with_all = ["foreground", "status", "reload"])]
    kill: bool,
    /// Say whether the daemon runs: exit code 0, or 3 if not
    #[arg(short = 's', long, conflicts_with_all = ["foreground", "reload"])]
    status: bool,
    /// Read ha.cf and authkeys again
    #[arg(short = 'r', long, conflicts_with = "foreground")]
    reload: bool,
    /// Log debug messages
    #[arg(short = 'd', long, action = clap::ArgAction::Count)]
    debug: u8,
    /// Print the version
    #[arg(short = 'V', long, action = clap::ArgAction::Version)]
    version: Option<bool>,
    #[command(flatten)]
    places: Places,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Clone, Debug, Args)]
struct Places {
    /// Directory of ha.cf, authkeys and haresources [default: /etc/rdb-ha.d, else /etc/ha.d]
    #[arg(long, global = true, value_name = "DIR", env = "RDB_HA_CONFIG_DIR")]
    config_dir: Option<PathBuf>,
    /// Directory of the control socket and the pid file
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        default_value = "/run/rdb-heartbeat",
        env = "RDB_HA_RUN_DIR"
    )]
    run_dir: PathBuf,
    /// Directory of what is kept over restarts
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        default_value = "/var/lib/rdb-heartbeat",
        env = "RDB_HA_STATE_DIR"
    )]
    state_dir: PathBuf,
    /// Directory of resource scripts; may be repeated, the first one that has a script wins
    #[arg(long, global = true, value_name = "DIR")]
    resource_dir: Vec<PathBuf>,
    /// Name of this node [default: the host name]
    #[arg(long, global = true, value_name = "NAME")]
    node: Option<String>,
    /// Listen on this address instead of the interfaces (several daemons on one machine)
    #[arg(long, global = true, value_name = "ADDRESS")]
    listen: Option<Ipv4Addr>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the daemon (in the background unless -f)
    Start,
    /// Stop the daemon and wait for its end
    Stop,
    /// Show nodes, links and resource groups
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
        /// Again after each change, until interrupted
        #[arg(long)]
        follow: bool,
    },
    /// Give resource groups to the other node
    Standby(Move),
    /// Take resource groups from the other node
    Takeover(Move),
    /// Forget that resource groups failed here, so that they may start here again
    Cleanup(Move),
    /// Say that a dead node is switched off or was reset by hand
    Confirm {
        /// The dead node
        node: String,
    },
    /// Read ha.cf and authkeys again
    Reload,
    /// Check the three files and the resource scripts
    Check {
        /// Say only what is wrong
        #[arg(short, long)]
        quiet: bool,
    },
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

#[derive(Clone, Debug, Args)]
struct Move {
    /// Which groups, seen from this node
    #[arg(value_parser = ["all", "local", "foreign", "failback"])]
    set: Option<String>,
    /// One group, by its first resource
    #[arg(long, value_name = "KEY", conflicts_with = "set")]
    group: Option<String>,
    /// Wait until the groups run on the other node (standby) or here (takeover)
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true,
          default_missing_value = "3600")]
    wait: Option<u64>,
}

impl Move {
    fn selection(&self) -> Selection {
        Selection {
            set: self.set.clone(),
            group: self.group.clone(),
        }
    }
}

/// Runs the program; a call by one of heartbeat's names does what that program did.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let args: Vec<_> = args.collect();
    let name = args
        .first()
        .map(|a| Path::new(a).file_name().unwrap_or_default().to_owned());
    let name = name.and_then(|n| n.into_string().ok()).unwrap_or_default();
    if let Some(code) = compat::run(&name, &args) {
        return ExitCode::from(code);
    }
    match Cli::try_parse_from(&args) {
        Ok(cli) => ExitCode::from(dispatch(cli)),
        Err(error) => {
            let _ = error.print();
            ExitCode::from(if error.use_stderr() { 1 } else { 0 })
        }
    }
}

fn host_name() -> String {
    let name = nix::unistd::gethostname().unwrap_or_default();
    name.to_string_lossy().to_lowercase()
}

fn options(places: Places) -> Options {
    let own = RESOURCE_DIRECTORIES.iter().map(PathBuf::from).collect();
    Options {
        node: places.node.map_or_else(host_name, |n| n.to_lowercase()),
        config_dir: places.config_dir.unwrap_or_else(config::default_directory),
        run_dir: places.run_dir,
        state_dir: places.state_dir,
        resource_dirs: if places.resource_dir.is_empty() {
            own
        } else {
            places.resource_dir
        },
        listen: places.listen,
    }
}

fn dispatch(cli: Cli) -> u8 {
    let options = options(cli.places);
    match cli.command {
        _ if cli.kill => stop(&options),
        _ if cli.status => compat::daemon_status(&options),
        _ if cli.reload => simple(&options, &Question::Reload),
        None | Some(Command::Start) => start(options, cli.foreground, cli.debug),
        Some(Command::Stop) => stop(&options),
        Some(Command::Status { json, follow }) => status(&options, json, follow),
        Some(Command::Standby(m)) => {
            let other = |r: &Report, holder: Option<&str>| holder.is_some_and(|h| h != r.node);
            moves(&options, &Question::Standby(m.selection()), &m, other)
        }
        Some(Command::Takeover(m)) => {
            let own = |r: &Report, holder: Option<&str>| holder == Some(r.node.as_str());
            moves(&options, &Question::Takeover(m.selection()), &m, own)
        }
        Some(Command::Cleanup(m)) => simple(&options, &Question::Cleanup(m.selection())),
        Some(Command::Confirm { node }) => simple(&options, &Question::Confirm { node }),
        Some(Command::Reload) => simple(&options, &Question::Reload),
        Some(Command::Check { quiet }) => check(&options, quiet),
        Some(Command::Completions { shell }) => {
            clap_complete::generate(
                shell,
                &mut Cli::command(),
                "rdb-heartbeat",
                &mut std::io::stdout(),
            );
            0
        }
    }
}

/// Reads the configuration; scripts and interfaces are checked too.
fn load(options: &Options) -> (Option<Config>, Vec<Diagnostic>) {
    let (config, mut problems) = config::load(&options.config_dir, &options.node);
    let Some(config) = config else {
        return (None, problems);
    };
    let scripts = Scripts {
        directories: options.resource_dirs.clone(),
        node: options.node.clone(),
        config_dir: config.directory.clone(),
        limit: None,
    };
    let mut good = true;
    for (resource, text) in scripts.missing(&config.groups) {
        good = false;
        problems.push(Diagnostic {
            file: config.directory.join("haresources"),
            place: resource.place,
            severity: Severity::Error,
            text,
        });
    }
    for interface in missing_interfaces(&config.ha_cf.media) {
        good = false;
        problems.push(Diagnostic {
            file: config.directory.join("ha.cf"),
            place: Place::default(),
            severity: Severity::Error,
            text: format!("there is no network interface `{interface}` here"),
        });
    }
    (good.then_some(config), problems)
}

fn start(options: Options, foreground: bool, debug: u8) -> u8 {
    let (config, problems) = load(&options);
    for problem in problems.iter().filter(|p| p.severity > Severity::Note) {
        show::problem(problem);
    }
    let Some(mut config) = config else {
        eprintln!("Configuration error, heartbeat not started");
        return EXIT_CONFIGURATION;
    };
    config.ha_cf.debug = config.ha_cf.debug.saturating_add(debug);
    match daemon::run(options, config, foreground) {
        Ok(true) => 0,
        Ok(false) => EXIT_FAILURE,
        Err(error) => {
            eprintln!("rdb-heartbeat: {}", error.text);
            error.code
        }
    }
}

fn check(options: &Options, quiet: bool) -> u8 {
    let (config, problems) = load(options);
    for problem in problems
        .iter()
        .filter(|p| !quiet || p.severity > Severity::Note)
    {
        show::problem(problem);
    }
    match config {
        None => {
            eprintln!("{}: not usable", options.config_dir.display());
            EXIT_CONFIGURATION
        }
        Some(config) => {
            if !quiet {
                show::config(&config, &options.node);
            }
            0
        }
    }
}

/// Says why the daemon could not be asked.
fn not_asked(options: &Options, error: &std::io::Error) -> u8 {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
            eprintln!(
                "rdb-heartbeat does not run on {} ({})",
                options.node,
                options.socket().display()
            );
        }
        ErrorKind::PermissionDenied => eprintln!("only root may ask rdb-heartbeat"),
        _ => eprintln!("rdb-heartbeat cannot be asked: {error}"),
    }
    EXIT_FAILURE
}

/// The first answer to a question.
fn one(options: &Options, question: &Question) -> std::io::Result<Answer> {
    ask(&options.socket(), question, None)?
        .next()
        .unwrap_or_else(|| Err(std::io::Error::other("it has ended without an answer")))
}

fn simple(options: &Options, question: &Question) -> u8 {
    match one(options, question) {
        Err(error) => not_asked(options, &error),
        Ok(Answer {
            error: Some(text), ..
        }) => {
            eprintln!("refused: {text}");
            EXIT_FAILURE
        }
        Ok(answer) => {
            println!("{}", answer.text.unwrap_or_default());
            0
        }
    }
}

fn stop(options: &Options) -> u8 {
    match ask(&options.socket(), &Question::Stop, None) {
        // Stopped already: that is what was asked for.
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::NotFound | ErrorKind::ConnectionRefused
            ) =>
        {
            println!("rdb-heartbeat does not run");
            0
        }
        Err(error) => not_asked(options, &error),
        Ok(answers) => {
            for text in answers.filter_map(|a| a.ok()?.text) {
                println!("{text}");
            }
            println!("rdb-heartbeat has ended");
            0
        }
    }
}

fn status(options: &Options, json: bool, follow: bool) -> u8 {
    let question = if follow {
        Question::Watch
    } else {
        Question::Status
    };
    let answers = match ask(&options.socket(), &question, None) {
        Ok(answers) => answers,
        Err(error) => return not_asked(options, &error),
    };
    for answer in answers {
        match answer {
            Ok(Answer {
                report: Some(report),
                ..
            }) if json => {
                let text = match follow {
                    true => serde_json::to_string(&report),
                    false => serde_json::to_string_pretty(&report),
                };
                println!("{}", text.unwrap_or_default());
            }
            Ok(Answer {
                report: Some(report),
                ..
            }) => show::report(&report),
            Ok(_) => {}
            Err(error) => return not_asked(options, &error),
        }
    }
    0
}

/// Asks for a move and, if wanted, waits until every group of the selection is where `there` says.
fn moves(
    options: &Options,
    question: &Question,
    wanted: &Move,
    there: impl Fn(&Report, Option<&str>) -> bool,
) -> u8 {
    let code = simple(options, question);
    let Some(seconds) = wanted.wait.filter(|_| code == 0) else {
        return code;
    };
    let end = Instant::now() + Duration::from_secs(seconds);
    let selected = |r: &Report, g: &GroupReport| match (&wanted.group, wanted.set.as_deref()) {
        (Some(key), _) => g.key == *key,
        (None, Some("local")) => g.preferred == r.node,
        (None, Some("foreign" | "failback")) => g.preferred != r.node,
        (None, _) => true,
    };
    let limit = Some(Duration::from_secs(seconds.max(1)));
    let answers = match ask(&options.socket(), &Question::Watch, limit) {
        Ok(answers) => answers,
        Err(error) => return not_asked(options, &error),
    };
    for answer in answers {
        let Ok(Answer {
            report: Some(report),
            ..
        }) = answer
        else {
            break;
        };
        let groups: Vec<_> = report
            .groups
            .iter()
            .filter(|g| selected(&report, g))
            .collect();
        let settled = groups.iter().all(|g| g.settled());
        if settled && groups.iter().all(|g| there(&report, g.holder.as_deref())) {
            println!("done");
            return 0;
        }
        if settled || Instant::now() >= end {
            break;
        }
    }
    eprintln!("the groups did not move, or not all of them; see `rdb-heartbeat status`");
    EXIT_FAILURE
}
