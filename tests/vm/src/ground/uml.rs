//! Machines as user-mode Linux processes.

use std::{ffi::OsString, fs::OpenOptions};

use anyhow::Result;

use super::{AGENT_FD, LINK_FD, Plan, SHELL_FD};
use crate::{cache, launch::Launch};

pub(super) fn launch(plan: Plan<'_>) -> Result<Launch> {
    let folder = plan.folder.to_string_lossy();
    let mut argv: Vec<OsString> = vec![plan.kernel.image.clone().into()];
    let mut add = |word: String| argv.push(word.into());
    add(format!("mem={}M", plan.memory_mib));
    // SMP needs the seccomp way of running user processes, which is the quicker one anyway.
    add("seccomp=on".into());
    add(format!("ncpus={}", plan.processors));
    add(format!("uml_dir={folder}"));
    add("umid=uml".into());
    add(format!("initrd={folder}/initrd"));
    add(format!(
        "ubd0={folder}/root.cow,{}",
        cache::guest_image()?.display()
    ));
    for (index, disk) in plan.disks.iter().enumerate() {
        add(format!("ubd{}={}", index + 1, disk.path.display()));
    }
    add(format!(
        "vec0:transport=fd,fd={LINK_FD},depth=64,mac=52:54:00:00:01:{:02x}",
        11 + plan.index
    ));
    add(format!(
        "ssl=null con=null con0=null,fd:1 ssl0=fd:{AGENT_FD}"
    ));
    let mut fds = vec![(plan.agent, AGENT_FD), (plan.link, LINK_FD)];
    if let Some(shell) = plan.shell {
        add(format!("ssl1=fd:{SHELL_FD}"));
        fds.push((shell, SHELL_FD));
    }
    add("console=tty0 quiet panic=-1 kunit.enable=0".into());
    let argv = argv
        .iter()
        .flat_map(|word| {
            word.to_string_lossy()
                .split(' ')
                .map(OsString::from)
                .collect::<Vec<_>>()
        })
        .collect();
    // UML's console is its standard output. What the process itself has to say comes there too.
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&plan.console)?;
    let env = vec![("TMPDIR".to_owned(), plan.folder.into())];
    Ok(Launch {
        argv,
        env,
        fds,
        log,
    })
}
