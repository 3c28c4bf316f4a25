// SPDX-License-Identifier: GPL-2.0

//! Completion for shells: commands and options from the definition of the command line, resources by their state (admin-tool.md,
//! section 12).

use clap::CommandFactory;
use clap_complete::Shell;
use rdb_netlink::{ConnState, DiskState, Role, VolumeInfo};

use crate::cli::Cli;
use crate::failure::Outcome;
use crate::session::Session;

/// Behind the script for bash: it also offers resources, for which the program is asked.
const BASH_NAMES: &str = r#"
_rdbadm_with_names() {
    _rdbadm "$@"
    local word command=
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        if [[ $word != -* ]]; then
            command=$word
            break
        fi
    done
    if [[ -n $command && $2 != -* ]]; then
        COMPREPLY+=($(compgen -W "$(rdbadm sh-complete "$command" 2>/dev/null)" -- "$2"))
    fi
}

complete -F _rdbadm_with_names -o bashdefault -o default rdbadm
"#;

/// The script for a shell.
pub fn script(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "rdbadm", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    match shell {
        Shell::Bash => script + BASH_NAMES,
        _ => script,
    }
}

/// Whether the command makes sense for a volume in this state; `None` is one that is not configured.
fn fits(command: &str, volume: Option<&VolumeInfo>) -> bool {
    use ConnState as C;
    let disk = volume.map(|volume| volume.disk);
    let connection = volume.map(|volume| volume.replication);
    let role = volume.map(|volume| volume.role);
    match command {
        "primary" => role == Some(Role::Secondary),
        "secondary" => role == Some(Role::Primary),
        "attach" | "apply-al" => matches!(disk, None | Some(DiskState::Diskless)),
        "detach" | "disk-options" => matches!(
            disk,
            Some(DiskState::UpToDate | DiskState::Inconsistent | DiskState::Outdated)
        ),
        "outdate" => disk == Some(DiskState::UpToDate),
        "connect" => matches!(connection, None | Some(C::StandAlone)),
        "disconnect" | "net-options" => matches!(
            connection,
            Some(C::Connected | C::WfConnection | C::VerifyS | C::VerifyT)
        ),
        "invalidate-remote" | "verify" => connection == Some(C::Connected),
        "pause-sync" => matches!(connection, Some(C::SyncSource | C::SyncTarget)),
        "resume-sync" => matches!(connection, Some(C::PausedSyncS | C::PausedSyncT)),
        _ => true,
    }
}

impl Session<'_> {
    /// Prints the resources that a command makes sense for.
    pub fn complete(&self, command: &str) -> Outcome {
        let running = self.world.read(|kernel| kernel.volumes())?;
        let mut names = Vec::new();
        for target in self.targets(&["all".to_owned()])? {
            let state = |minor| running.iter().find(|known| known.minor == minor);
            if target
                .volumes
                .iter()
                .any(|volume| fits(command, state(Self::minor(volume))))
            {
                names.push(target.name().to_owned());
            }
        }
        names.push("all".to_owned());
        self.world.say(&names.join(" "))
    }
}
