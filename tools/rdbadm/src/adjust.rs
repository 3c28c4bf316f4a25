// SPDX-License-Identifier: GPL-2.0

//! adjust: the least steps that make what runs equal to the configuration (admin-tool.md, section 4.9).

use std::collections::BTreeMap;
use std::net::SocketAddr;

use rdb_config::model::{Address, Setting, Value, Volume};
use rdb_engine::options::{OPTIONS, Opt, Section, default_number};
use rdb_netlink::{ConnState, DiskState, OptionValue, ResourceInfo, VolumeInfo, attr, cmd};

use crate::action::{Action, Step, Subject, minor_of};
use crate::failure::{Failure, Outcome, exit};
use crate::select::Target;
use crate::session::Session;

/// Adjusts one resource. Roles are never changed.
pub fn adjust(session: &Session<'_>, target: &Target<'_>) -> Outcome {
    let resources = session.world.read(|kernel| kernel.resources())?;
    let volumes = session.world.read(|kernel| kernel.volumes())?;
    let running = resources.iter().find(|known| known.name == target.name());
    let own: Vec<&VolumeInfo> = volumes
        .iter()
        .filter(|known| known.resource == target.name())
        .collect();
    for action in plan(session, target, running, &own)? {
        session.run(&action)?;
    }
    Ok(())
}

/// Adjusts all targets; any failed step makes exit code 1.
pub fn adjust_all(session: &Session<'_>, words: &[String]) -> Outcome {
    let targets = session.resources(words, "adjust")?;
    for target in &targets {
        session.check_address(target)?;
    }
    if !session.world.dry_run {
        session
            .world
            .kernel_or_load()
            .map_err(|error| Failure::new(exit::CANNOT, error.to_string()))?;
    }
    let result = session.each(&targets, |target| adjust(session, target));
    result.map_err(|failure| match failure.code {
        exit::CANNOT => failure,
        _ => Failure::new(exit::USAGE, failure.text),
    })
}

fn plan(
    session: &Session<'_>,
    target: &Target<'_>,
    running: Option<&ResourceInfo>,
    volumes: &[&VolumeInfo],
) -> Outcome<Vec<Action>> {
    let name = target.name();
    let resource = || Subject::Resource(name.to_owned());
    let mut steps = Vec::new();
    let options = target.local.options();
    match running {
        None => steps.push(Action::new(
            name,
            Step::NewResource(name.to_owned(), options),
        )),
        Some(known) if differ(session, &known.options, Section::Options, &options) => {
            let step = Step::Options(
                cmd::RESOURCE_SET,
                "resource-options",
                resource(),
                true,
                options,
            );
            steps.push(Action::new(name, step));
        }
        Some(_) => {}
    }
    for known in volumes {
        let wanted = target.local.volume(known.volume);
        if !wanted.is_some_and(|wanted| same_volume(wanted, known)) {
            steps.extend(remove(known));
        }
    }
    for volume in &target.volumes {
        let kept = volumes
            .iter()
            .find(|known| known.volume == volume.number && same_volume(volume, known));
        volume_steps(session, target, volume, kept.copied(), &mut steps)?;
    }
    // A resource with one host has nobody to connect to.
    if !matches!(
        target.local.peer(session.peer),
        Err(rdb_config::resolve::PeerError::Missing)
    ) {
        connection_steps(session, target, running, &mut steps)?;
    }
    Ok(steps)
}

/// Whether a volume can stay: same minor, and the same lower disk or none.
fn same_volume(wanted: &Volume, known: &VolumeInfo) -> bool {
    let disk = wanted.disk.as_ref().map(|disk| disk.0.as_str());
    Session::minor(wanted) == known.minor
        && (known.lower_disk.is_none() || known.lower_disk.as_deref() == disk)
}

fn remove(known: &VolumeInfo) -> Vec<Action> {
    let object = format!("{}/{}", known.resource, known.volume);
    let plain = |command, name| {
        Action::new(
            &object,
            Step::Plain(command, name, Subject::Minor(known.minor), Vec::new()),
        )
    };
    let mut steps = Vec::new();
    if known.disk != DiskState::Diskless {
        steps.push(plain(cmd::DETACH, "detach"));
    }
    steps.push(plain(cmd::VOLUME_DEL, "del-minor"));
    steps
}

fn volume_steps(
    session: &Session<'_>,
    target: &Target<'_>,
    volume: &Volume,
    known: Option<&VolumeInfo>,
    steps: &mut Vec<Action>,
) -> Outcome {
    let object = target.object(volume);
    let minor = Session::minor(volume);
    if known.is_none() {
        let step = Step::NewMinor(target.name().to_owned(), minor, volume.number);
        steps.push(Action::new(&object, step));
    }
    let options = target.local.disk(volume);
    let Some(known) = known.filter(|known| known.disk != DiskState::Diskless) else {
        let place = Session::place(target, volume)?;
        steps.push(Action::new(&object, Step::ApplyLog(minor, place.clone())));
        steps.push(Action::new(&object, Step::Attach(minor, place, options)));
        return Ok(());
    };
    let (size, rest): (Vec<Setting>, Vec<Setting>) = options
        .into_iter()
        .partition(|setting| setting.option.attr == attr::SIZE);
    let running: BTreeMap<u16, OptionValue> = known
        .options
        .iter()
        .filter(|(number, _)| **number != attr::SIZE)
        .map(|(number, value)| (*number, value.clone()))
        .collect();
    if differ(session, &running, Section::Disk, &rest) {
        let step = Step::Options(
            cmd::DISK_SET,
            "disk-options",
            Subject::Minor(minor),
            true,
            rest,
        );
        steps.push(Action::new(&object, step));
    }
    let wanted = size.first().map_or(0, |setting| match setting.value {
        Value::Number(number) => number,
        _ => 0,
    });
    let running = known.options.get(&attr::SIZE);
    if running.is_some_and(|value| *value != number(wanted)) {
        let step = Step::Numbers(
            cmd::RESIZE,
            "resize",
            minor,
            vec![(attr::SIZE, "size", wanted)],
            Vec::new(),
        );
        steps.push(Action::new(&object, step));
    }
    Ok(())
}

fn connection_steps(
    session: &Session<'_>,
    target: &Target<'_>,
    running: Option<&ResourceInfo>,
    steps: &mut Vec<Action>,
) -> Outcome {
    let name = target.name();
    let connect = session.connect_step(target, &[])?;
    let configured =
        running.filter(|known| known.local.is_some() && known.connection != ConnState::StandAlone);
    let Some(known) = configured else {
        steps.push(Action::new(name, Step::Connect(Box::new(connect))));
        return Ok(());
    };
    let same =
        known.local == Some(socket(&connect.local)) && known.peer == Some(socket(&connect.peer));
    let subject = || Subject::Resource(name.to_owned());
    if !same {
        let step = Step::Plain(cmd::DISCONNECT, "disconnect", subject(), Vec::new());
        steps.push(Action::new(name, step));
        steps.push(Action::new(name, Step::Connect(Box::new(connect))));
    } else if differ(session, &known.options, Section::Net, &connect.options) {
        let step = Step::Options(
            cmd::NET_SET,
            "net-options",
            subject(),
            true,
            connect.options,
        );
        steps.push(Action::new(name, step));
    }
    Ok(())
}

fn socket(address: &Address) -> SocketAddr {
    SocketAddr::new(address.ip, address.port)
}

fn number(value: u64) -> OptionValue {
    OptionValue::Number(i64::try_from(value).unwrap_or(i64::MAX))
}

/// Whether an option of the section that the module reports has another value than the configuration or the default.
fn differ(
    session: &Session<'_>,
    running: &BTreeMap<u16, OptionValue>,
    section: Section,
    settings: &[Setting],
) -> bool {
    let reported = OPTIONS
        .iter()
        .filter(|option| option.section == section && option.attr != 0);
    reported
        .filter_map(|option| Some((option, running.get(&option.attr)?)))
        .any(|(option, value)| *value != wanted(session, option, settings))
}

fn wanted(session: &Session<'_>, option: &Opt, settings: &[Setting]) -> OptionValue {
    let setting = settings
        .iter()
        .find(|setting| setting.option.name == option.name);
    match setting.map(|setting| &setting.value) {
        Some(Value::Number(value)) => number(*value),
        Some(Value::Switch(on)) => OptionValue::Number((*on).into()),
        Some(Value::Choice(choice)) => OptionValue::Number((*choice).into()),
        Some(Value::Text(text)) => OptionValue::Text(text.clone()),
        Some(Value::Volume(resource, volume)) => {
            let minor = minor_of(session.config, &session.world.node, resource, *volume);
            OptionValue::Number(minor.unwrap_or(-1).into())
        }
        Some(Value::DiscardNode(_)) | None => match default_number(option.attr) {
            Some(default) => OptionValue::Number(default),
            None => OptionValue::Text(String::new()),
        },
    }
}
