// SPDX-License-Identifier: GPL-2.0

//! From the command line to the commands.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use rdb_config::{Config, Places};
use rdb_netlink::{attr, cmd};

use crate::adjust;
use crate::cli::{Cli, Colour, Command, General, Names};
use crate::completion;
use crate::events::{self, How};
use crate::failure::{Failure, Outcome, exit};
use crate::handler::is_handler;
use crate::order::usual_order;
use crate::session::Session;
use crate::show::{self, State};
use crate::status::{self, Look};
use crate::status_json;
use crate::wait::{self, Goal};
use crate::world::World;

/// Runs the program; gives its exit code.
pub fn main(words: Vec<String>, world: &mut World) -> i32 {
    match try_main(words, world) {
        Ok(()) => 0,
        Err(failure) => {
            world.complain(&failure.text);
            failure.code
        }
    }
}

fn try_main(words: Vec<String>, world: &mut World) -> Outcome {
    let cli = match Cli::try_parse_from(usual_order(words)) {
        Ok(cli) => cli,
        Err(error) => return usage(world, &error),
    };
    let general = cli.general;
    world.dry_run = general.dry_run > 0;
    world.verbose = general.verbose > 0;
    if general.version {
        return version(world);
    }
    if general.stacked {
        return Err(Failure::usage(
            "stacked resources are not supported: rdb replicates between two nodes",
        ));
    }
    let Some(command) = cli.command else {
        let help = Cli::command().render_help().to_string();
        return Err(Failure::usage(help.trim_end().to_owned()));
    };
    run(world, &general, command)
}

fn usage(world: &World, error: &clap::Error) -> Outcome {
    match error.kind() {
        ErrorKind::DisplayHelp => world.print(&error.render().to_string()),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => Err(Failure::usage(
            error.render().to_string().trim_end().to_owned(),
        )),
        _ => Err(Failure::usage(
            error.render().to_string().trim_end().to_owned(),
        )),
    }
}

fn version(world: &World) -> Outcome {
    let version = env!("CARGO_PKG_VERSION");
    let mut code = 0_u32;
    for part in version.split('.') {
        code = code << 8 | part.parse::<u32>().unwrap_or_default();
    }
    world.say(&format!("RDBADM_BUILDTAG={version}"))?;
    world.say(&format!(
        "RDBADM_API_VERSION={}",
        rdb_engine::netlink::FAMILY_VERSION
    ))?;
    let module = world
        .kernel()
        .and_then(|kernel| kernel.module())
        .unwrap_or_default();
    world.say(&format!("RDB_KERNEL_VERSION={}", module.version))?;
    world.say(&format!("RDBADM_VERSION_CODE=0x{code:06x}"))?;
    world.say(&format!("RDBADM_VERSION={version}"))
}

/// Commands that only look; warnings about the configuration would be in the way.
fn is_quiet(command: &Command) -> bool {
    use Command as C;
    matches!(
        command,
        C::Role(_)
            | C::Cstate(_)
            | C::Dstate(_)
            | C::Status { .. }
            | C::Events { .. }
            | C::ShResources
            | C::ShResource(_)
            | C::ShDev(_)
            | C::ShMinor(_)
            | C::ShLlDev(_)
            | C::ShMdDev(_)
            | C::ShMdIdx(_)
            | C::ShIp(_)
            | C::ShUdev(_)
            | C::ShModParms
            | C::ShStatus(_)
            | C::ShComplete { .. }
            | C::GetGi(_)
            | C::ShowGi(_)
            | C::WaitSync { .. }
            | C::WaitConnect { .. }
            | C::Other(_)
    )
}

fn load(general: &General, quiet: bool, world: &World) -> Outcome<Config> {
    let loaded = match general.config.as_deref() {
        None => rdb_config::load_default(&Places::default()),
        Some("-") => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text)?;
            rdb_config::parse("standard input", Path::new(""), &text)
        }
        Some(file) => rdb_config::load(&PathBuf::from(file)),
    };
    let config = loaded
        .map_err(|problems| Failure::new(problems.exit_code(), problems.to_string().trim_end()))?;
    if !quiet {
        for warning in &config.warnings {
            world.complain(warning.render(&config.sources).trim_end());
        }
    }
    if let Some(file) = &general.config_to_test {
        rdb_config::load(&PathBuf::from(file)).map_err(|problems| {
            Failure::new(problems.exit_code(), problems.to_string().trim_end())
        })?;
    }
    Ok(config)
}

fn run(world: &World, general: &General, command: Command) -> Outcome {
    if let Command::Completion { shell } = command {
        return world.print(&completion::script(shell));
    }
    if let Command::Other(words) = &command {
        check_handler(words)?;
    }
    if general.config_to_test.is_some() && !matches!(command, Command::Dump(_) | Command::ShNop) {
        return Err(Failure::usage(
            "--config-to-test works with dump and sh-nop only",
        ));
    }
    let loaded = load(general, is_quiet(&command), world);
    if let Some(result) = showing(world, loaded.as_ref().ok(), &command) {
        return result;
    }
    let config = loaded?;
    let session = Session {
        world,
        config: &config,
        peer: general.peer.as_deref(),
        check_addresses: general.dry_run != 1,
    };
    match bringing(&session, command).or_else(|command| changing(&session, command)) {
        Ok(result) => result,
        Err(command) => looking(&session, command),
    }
}

/// A word that is no command must be a handler.
fn check_handler(words: &[String]) -> Outcome {
    let name = words.first().map_or("", String::as_str);
    if is_handler(name) {
        return Ok(());
    }
    let cli = Cli::command();
    let known = cli.get_subcommands().map(clap::Command::get_name);
    let near = known
        .map(|known| (strsim::damerau_levenshtein(known, name), known))
        .min();
    let near = near.filter(|(distance, _)| *distance <= 2);
    let hint = near.map_or(String::new(), |(_, near)| {
        format!("; did you mean '{near}'?")
    });
    Err(Failure::usage(format!("unknown command '{name}'{hint}")))
}

/// Commands that show what runs, whatever the file says; `None` for any other.
fn showing(world: &World, config: Option<&Config>, command: &Command) -> Option<Outcome> {
    match command {
        Command::Status {
            json,
            statistics,
            color,
            names,
        } => {
            let look = Look {
                verbose: world.verbose,
                statistics: *statistics,
                colour: *color == Colour::Always || *color == Colour::Auto && world.terminal.colour,
                width: if world.terminal.output {
                    world.terminal.width
                } else {
                    usize::MAX
                },
            };
            Some(show_status(world, config, &names.names, *json, &look))
        }
        Command::Events {
            json,
            now,
            statistics,
            timestamps,
            names,
        } => {
            let only = names
                .names
                .iter()
                .filter(|name| *name != "all")
                .cloned()
                .collect();
            let how = How {
                json: *json,
                now: *now,
                statistics: *statistics,
                timestamps: *timestamps,
                only,
            };
            Some(events::follow(world, config, &how))
        }
        _ => None,
    }
}

/// Commands that bring resources up and down, and change options; any other is given back.
fn bringing(session: &Session<'_>, command: Command) -> Result<Outcome, Command> {
    use Command as C;
    Ok(match &command {
        C::Up { create_md, names } => session.up(&names.names, *create_md),
        C::Down(names) => session.down(&names.names),
        C::Adjust(names) => adjust::adjust_all(session, &names.names),
        C::Attach { options, names } => options.settings().and_then(|settings| {
            session.each_volume(&names.names, |target, volume| {
                session.attach(target, volume, &settings)
            })
        }),
        C::Detach { force, names } => {
            let flags: &[_] = if *force {
                &[(attr::FORCE, "force")]
            } else {
                &[]
            };
            session.plain(&names.names, cmd::DETACH, "detach", flags)
        }
        C::Connect {
            discard_my_data,
            tentative,
            options,
            names,
        } => options.settings().and_then(|settings| {
            session.connect(&names.names, *discard_my_data, *tentative, &settings)
        }),
        C::Disconnect { force, names } => session.disconnect(&names.names, *force),
        C::DiskOptions {
            set_defaults,
            options,
            names,
        } => options
            .settings()
            .and_then(|settings| session.disk_options(&names.names, *set_defaults, &settings)),
        C::NetOptions {
            set_defaults,
            options,
            names,
        } => options
            .settings()
            .and_then(|settings| session.net_options(&names.names, *set_defaults, &settings)),
        C::ResourceOptions {
            set_defaults,
            options,
            names,
        } => options
            .settings()
            .and_then(|settings| session.resource_options(&names.names, *set_defaults, &settings)),
        C::NewResource(names) => session
            .resources(&names.names, "new-resource")
            .and_then(|targets| session.each(&targets, |target| session.new_resource(target))),
        C::NewMinor(names) => session.each_volume(&names.names, |target, volume| {
            session.new_minor(target, volume)
        }),
        _ => return Err(command),
    })
}

/// Commands that change roles, data or metadata; any other is given back.
fn changing(session: &Session<'_>, command: Command) -> Result<Outcome, Command> {
    use Command as C;
    let plain = |names: &Names, number, name| session.plain(&names.names, number, name, &[]);
    Ok(match &command {
        C::Primary { force, names } => session.primary(&names.names, *force),
        C::Secondary(names) => plain(names, cmd::SECONDARY, "secondary"),
        C::Invalidate(names) => session.plain_or_meta(&names.names, cmd::INVALIDATE, "invalidate"),
        C::Outdate(names) => session.plain_or_meta(&names.names, cmd::OUTDATE, "outdate"),
        C::InvalidateRemote(names) => plain(names, cmd::INVALIDATE_REMOTE, "invalidate-remote"),
        C::PauseSync(names) => plain(names, cmd::PAUSE_SYNC, "pause-sync"),
        C::ResumeSync(names) => plain(names, cmd::RESUME_SYNC, "resume-sync"),
        C::SuspendIo(names) => plain(names, cmd::SUSPEND_IO, "suspend-io"),
        C::ResumeIo(names) => plain(names, cmd::RESUME_IO, "resume-io"),
        C::Resize {
            size,
            assume_peer_has_space,
            assume_clean,
            names,
        } => {
            let mut flags = Vec::new();
            flags.extend(assume_clean.then_some((attr::ASSUME_CLEAN, "assume-clean")));
            flags.extend(
                assume_peer_has_space
                    .then_some((attr::ASSUME_PEER_HAS_SPACE, "assume-peer-has-space")),
            );
            let numbers = [(attr::SIZE, "size", size.as_deref())];
            session.numbers(&names.names, cmd::RESIZE, "resize", &numbers, &flags)
        }
        C::Verify { start, stop, names } => {
            let numbers = [
                (attr::START_SECTOR, "start", start.as_deref()),
                (attr::STOP_SECTOR, "stop", stop.as_deref()),
            ];
            session.numbers(&names.names, cmd::VERIFY, "verify", &numbers, &[])
        }
        C::NewCurrentUuid {
            clear_bitmap,
            names,
        } => {
            let flags: &[_] = if *clear_bitmap {
                &[(attr::CLEAR_BITMAP, "clear-bitmap")]
            } else {
                &[]
            };
            session.plain(
                &names.names,
                cmd::NEW_CURRENT_UUID,
                "new-current-uuid",
                flags,
            )
        }
        C::CreateMd(args) => session.create_md(args),
        C::WipeMd { force, names } => session.wipe_md(&names.names, *force),
        C::ApplyAl(names) => session.apply_al(&names.names),
        C::ShBPri(names) => session.sh_b_pri(&names.names),
        C::Other(words) => match words.split_first() {
            Some((handler, words)) => session.handler(handler, words),
            None => return Err(command),
        },
        _ => return Err(command),
    })
}

/// Commands that only look.
fn looking(session: &Session<'_>, command: Command) -> Outcome {
    use Command as C;
    match command {
        C::WaitConnect { timeout, names } => {
            wait::wait(session, &names.names, Goal::Connected, timeout)
        }
        C::WaitSync { timeout, names } => wait::wait(session, &names.names, Goal::Synced, timeout),
        C::WaitConInt => wait::wait_at_boot(session),
        C::Role(names) => session.state(&names.names, State::Role),
        C::Cstate(names) => session.state(&names.names, State::Connection),
        C::Dstate(names) => session.state(&names.names, State::Disk),
        C::ShowGi(names) => session.generation(&names.names, true),
        C::GetGi(names) => session.generation(&names.names, false),
        C::DumpMd { force, names } => session.dump_md(&names.names, force),
        C::Dump(names) => session.dump(&names.names),
        C::ShResources => session.sh_resources(),
        C::ShResource(names) => session.facts(&names.names, |target, _| target.name().to_owned()),
        C::ShDev(names) => session.facts(&names.names, |_, volume| {
            format!("/dev/rdb{}", Session::minor(volume))
        }),
        C::ShMinor(names) => {
            session.facts(&names.names, |_, volume| Session::minor(volume).to_string())
        }
        C::ShLlDev(names) => session.facts(&names.names, |_, volume| {
            volume
                .disk
                .as_ref()
                .map_or(String::new(), |disk| disk.0.clone())
        }),
        C::ShMdDev(names) => session.facts(&names.names, |_, volume| show::meta_device(volume)),
        C::ShMdIdx(names) => session.facts(&names.names, |_, volume| show::meta_index(volume)),
        C::ShIp(names) => session.facts(&names.names, |target, _| {
            target
                .local
                .own
                .address
                .as_ref()
                .map_or(String::new(), |address| address.ip.to_string())
        }),
        C::ShUdev(names) => session.sh_udev(&names.names),
        C::ShModParms => session.world.say(&show::module_parameters(session.config)?),
        C::ShComplete { command } => session.complete(&command),
        C::ShStatus(names) => session.sh_status(&names.names),
        _ => Ok(()),
    }
}

fn show_status(
    world: &World,
    config: Option<&Config>,
    words: &[String],
    json: bool,
    look: &Look,
) -> Outcome {
    let resources = world.read(|kernel| kernel.resources())?;
    let volumes = world.read(|kernel| kernel.volumes())?;
    let mut shown = status::collect(&resources, &volumes, config, &world.node);
    let named: Vec<&String> = words.iter().filter(|word| *word != "all").collect();
    if let Some(unknown) = named
        .iter()
        .find(|name| shown.iter().all(|one| one.resource.name != ***name))
    {
        return Err(Failure::new(
            exit::REFUSED,
            format!("{unknown}: No such resource"),
        ));
    }
    shown.retain(|one| named.is_empty() || named.contains(&&one.resource.name));
    if json {
        let text = serde_json::to_string_pretty(&status_json::json(&shown))
            .map_err(|error| Failure::new(exit::CANNOT, error.to_string()))?;
        return world.say(&text);
    }
    if shown.is_empty() {
        world.complain("# no resource is up");
    }
    shown
        .iter()
        .try_for_each(|one| world.print(&status::text(one, look)))
}
