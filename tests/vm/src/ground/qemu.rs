//! Machines under QEMU.

use std::{ffi::OsString, path::Path, process::Command};

use anyhow::{Context, Result, bail};

use super::{AGENT_FD, Ground, LINK_FD, Plan, QMP_FD, SHELL_FD};
use crate::{cache, launch::Launch};

/// A program of the build root, which has a current QEMU; of this machine if there is no build root.
fn program(name: &str) -> Vec<OsString> {
    let root = cache::cache().join("root/trixie");
    let in_root = cache::checkout().join("scripts/in-root");
    if rustix::process::geteuid().is_root() && root.join("usr/bin").join(name).exists() {
        vec![in_root.into(), name.into()]
    } else {
        vec![name.into()]
    }
}

/// For the debug kernel: no test suites of the kernel itself, no banner because of raw pointers, all of KASAN's reports
/// instead of the first only, and without the slab allocator's own checks, which KASAN makes better.
const DEBUG: &str = "kunit.enable=0 hash_pointers=always kasan_multi_shot slab_debug=-";

/// The processor to emulate. The debug kernel gets one without five-level page tables: an interrupt that comes while
/// `identify_boot_cpu()` has the feature bits cleared makes KASAN reckon with four levels, and report wild accesses
/// (7.3.4, in one of the first four boots).
fn processor(ground: Ground) -> &'static str {
    match ground {
        Ground::Debug => "max,la57=off",
        Ground::Uml | Ground::Qemu => "max",
    }
}

pub(super) fn prepare_root(folder: &Path) -> Result<()> {
    let argv = program("qemu-img");
    let output = Command::new(&argv[0])
        .args(&argv[1..])
        .args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"])
        .arg(cache::guest_image()?)
        .arg(folder.join("root.qcow2"))
        .output()
        .context("qemu-img")?;
    if !output.status.success() {
        bail!("qemu-img: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

pub(super) fn launch(plan: Plan<'_>) -> Result<Launch> {
    let mut argv = program("qemu-system-x86_64");
    let mut add = |words: &[&str]| argv.extend(words.iter().map(OsString::from));
    let path = |name: &str| plan.folder.join(name).to_string_lossy().replace(',', ",,");
    add(&[
        "-name",
        plan.name,
        "-M",
        "q35",
        "-accel",
        "tcg,thread=multi",
        "-cpu",
        processor(plan.ground),
    ]);
    add(&[
        "-smp",
        &plan.processors.to_string(),
        "-m",
        &plan.memory_mib.to_string(),
    ]);
    add(&["-nodefaults", "-display", "none", "-no-reboot"]);
    add(&[
        "-kernel",
        &plan.kernel.image.to_string_lossy(),
        "-initrd",
        &path("initrd"),
    ]);
    let debug = match plan.ground {
        Ground::Debug => DEBUG,
        Ground::Uml | Ground::Qemu => "",
    };
    // kmemleak makes programs start four times slower.
    let leaks = if plan.leaks { "" } else { "kmemleak=off" };
    add(&[
        "-append",
        &format!("console=ttyS0 quiet panic=-1 net.ifnames=0 {debug} {leaks}"),
    ]);
    add(&[
        "-chardev",
        &format!("file,id=console,append=on,path={}", plan.console.display()),
    ]);
    add(&["-serial", "chardev:console"]);
    add(&[
        "-chardev",
        &format!("socket,id=qmp,fd={QMP_FD}"),
        "-mon",
        "chardev=qmp,mode=control",
    ]);
    add(&[
        "-device",
        "virtio-serial-pci",
        "-chardev",
        &format!("socket,id=agent,fd={AGENT_FD}"),
    ]);
    add(&["-device", "virtserialport,chardev=agent,name=rdb.agent"]);
    add(&[
        "-netdev",
        &format!("dgram,id=link,local.type=fd,local.str={LINK_FD}"),
    ]);
    let mac = format!("52:54:00:00:01:{:02x}", 11 + plan.index);
    add(&[
        "-device",
        &format!("virtio-net-pci,netdev=link,romfile=,mac={mac}"),
    ]);
    // cache=unsafe: writes reach the host's page cache at once and survive the machine's death; only flushes are
    // not carried on to the host's disk, which no test outlives.
    let drive = "if=none,cache=unsafe,discard=unmap";
    // The image below is shared, and read only. UML locks all of it, in which QEMU would see a writer.
    let shared = "backing.file.locking=off";
    let file = path("root.qcow2");
    add(&[
        "-drive",
        &format!("{drive},id=root,format=qcow2,{shared},file={file}"),
    ]);
    add(&["-device", "virtio-blk-pci,drive=root"]);
    for (index, disk) in plan.disks.iter().enumerate() {
        let (file, block) = (
            disk.path.to_string_lossy().replace(',', ",,"),
            disk.spec.block,
        );
        let source = if disk.spec.volatile {
            let socket = disk.socket().to_string_lossy().replace(',', ",,");
            format!(
                "if=none,cache=writeback,file.driver=nbd,file.server.type=unix,file.server.path={socket}"
            )
        } else {
            format!("{drive},file={file}")
        };
        add(&["-drive", &format!("{source},id=lower{index},format=raw")]);
        let blocks = format!(
            "logical_block_size={block},physical_block_size={}",
            block.max(512)
        );
        add(&[
            "-device",
            &format!(
                "virtio-blk-pci,drive=lower{index},id=lower{index}-device,serial=lower{index},{blocks}"
            ),
        ]);
    }
    let mut fds = vec![
        (plan.agent, AGENT_FD),
        (plan.qmp, QMP_FD),
        (plan.link, LINK_FD),
    ];
    if let Some(shell) = plan.shell {
        add(&[
            "-chardev",
            &format!("socket,id=shell,fd={SHELL_FD}"),
            "-serial",
            "chardev:shell",
        ]);
        fds.push((shell, SHELL_FD));
    }
    Ok(Launch {
        argv,
        env: Vec::new(),
        fds,
        log: plan.log,
    })
}
