//! What a person may do wrong is refused by name: the line, the disk, the peer.

use anyhow::{Context, Result, ensure};
use rdb_testbed::{
    DiskSpec, Ground, Testbed,
    rdb::{self, SETTLE},
    vm_tests,
};

vm_tests!(
    configuration_errors,
    disks_that_will_not_do,
    roles_that_will_not_do
);

/// Wrong line; where the error is, and a word that the message must have.
const WRONG: &[(&str, &str, &str)] = &[
    ("resource r0 {\n  protocl C;\n}\n", ":2:3", "protocl"),
    ("resource r0 {\n  net { protocol C }\n}\n", ":2:", ";"),
    ("resource r0 {\n  net { protocol X; }\n}\n", ":2:", "X"),
    (
        "resource r0 {\n  net { ping-int 0; }\n}\n",
        ":2:",
        "ping-int",
    ),
    (
        "resource r0 {\n  on hauptserver { device /dev/rdb0; disk \"/dev/sdb; }\n}\n",
        ":2:",
        "string",
    ),
    ("resource r0 {\n  net { protocol C; }\n", ":3:", "}"),
    (
        "resource r0 {\n  on hauptserver { device /dev/rdb0; disk /dev/sdb; meta-disk internal; address 192.168.1.300:7789; }\n}\n",
        ":2:",
        "192.168.1.300",
    ),
];

fn configuration_errors(ground: Ground) -> Result<()> {
    let bed = Testbed::builder("configuration_errors", ground).boot()?;
    for (text, place, word) in WRONG {
        bed.a.write_file("/etc/rdb.conf", text)?;
        for command in ["rdbadm dump all", "rdbadm up all"] {
            let said = bed.a.run_fails(command)?;
            ensure!(
                said.contains(&format!("/etc/rdb.conf{place}")),
                "{command} with\n{text}\nsaid\n{said}"
            );
            ensure!(
                said.contains(word),
                "{command} with\n{text}\nsaid nothing of {word}:\n{said}"
            );
        }
    }
    bed.finish()
}

fn disks_that_will_not_do(ground: Ground) -> Result<()> {
    let bed = Testbed::builder("disks", ground)
        .disks(&[DiskSpec::mib(32), DiskSpec::mib(32)])
        .boot()?;
    let node = &bed.a;
    let configure = |disk: &str| {
        node.write_file(
            "/etc/rdb.conf",
            rdb::configuration(1).replace("/dev/sdb", disk),
        )
    };
    let refused = |command: &str, name: &str| -> Result<()> {
        let said = node
            .run_fails(command)
            .with_context(|| format!("with {name}"))?;
        ensure!(
            said.contains(name),
            "{command} does not name {name}:\n{said}"
        );
        Ok(())
    };
    node.run("modprobe rdb")?;

    configure("/dev/not-there")?;
    refused("rdbadm create-md --force r0", "/dev/not-there")?;
    refused("rdbadm up r0", "/dev/not-there")?;
    node.run("rdbadm down r0")?;

    node.run("truncate -s 64k /root/tiny && losetup /dev/loop7 /root/tiny")?;
    configure("/dev/loop7")?;
    refused("rdbadm create-md --force r0", "/dev/loop7")?;
    node.run("losetup -d /dev/loop7")?;

    configure("/dev/sdb")?;
    refused("rdbadm up r0 </dev/null", "/dev/sdb")?;
    node.run("rdbadm down r0; rdbadm create-md r0")?;

    // In use by a file system; by another resource's name; by the device mapper.
    node.run("mkfs.ext4 -qF /dev/sdc && mount /dev/sdc /mnt")?;
    configure("/dev/sdc")?;
    refused("rdbadm create-md --force r0", "/dev/sdc")?;
    refused("rdbadm up r0", "/dev/sdc")?;
    node.run("rdbadm down r0; umount /mnt")?;
    // A file system in the way of the metadata is not overwritten without a word.
    refused("rdbadm create-md r0 </dev/null", "/dev/sdc")?;
    node.run("e2fsck -fn /dev/sdc")?;

    // Metadata of a release that rdb does not read, made by its own tool.
    node.run("wipefs -qa /dev/sdc && drbdmeta --force 0 v09 /dev/sdc internal create-md 1")?;
    refused("rdbadm up r0", "/dev/sdc")?;
    node.run("rdbadm down r0")?;
    refused("rdbadm create-md r0 </dev/null", "/dev/sdc")?;

    // After all that the right disk comes up.
    configure("/dev/sdb")?;
    node.run("rdbadm up r0")?;
    rdb::wait_volume(node, 0, SETTLE, |v| v.disks.0 == "Inconsistent")?;
    // The lower disk belongs to rdb now.
    node.run_fails("mount /dev/sdb /mnt")?;
    node.run_fails("mkfs.ext4 -qF /dev/sdb")?;
    node.run("rdbadm down r0 && rmmod rdb")?;
    bed.finish()
}

fn roles_that_will_not_do(ground: Ground) -> Result<()> {
    let bed = Testbed::builder("roles", ground).boot()?;
    rdb::bring_up(&bed, &rdb::configuration(1))?;
    rdb::wait_volume(&bed.b, 0, SETTLE, |v| v.connection == "Connected")?;
    // Nobody has good data yet.
    bed.b.run_fails("rdbadm primary r0")?;
    rdb::first_sync(&bed, 1)?;
    let said = bed.b.run_fails("rdbadm primary r0")?;
    ensure!(
        said.contains("hauptserver") || said.contains("192.168.1.11"),
        "the peer is not named:\n{said}"
    );
    bed.b.run_fails("rdbadm primary --force r0")?;
    // A secondary's device is closed to everybody.
    bed.b
        .run_fails("dd if=/dev/rdb0 of=/dev/null count=1 status=none")?;
    bed.b.run_fails("mount /dev/rdb0 /mnt")?;
    bed.b
        .run_fails("dd if=/dev/zero of=/dev/rdb0 count=1 conv=notrunc status=none")?;
    // An open device keeps its role.
    let holder = bed
        .a
        .spawn("exec 3<>/dev/rdb0; echo open; exec sleep 100000")?;
    bed.a
        .wait_until("fuser -s /dev/rdb0", |output| output.code == 0, SETTLE)?;
    bed.a.run_fails("rdbadm secondary r0")?;
    drop(holder);
    bed.a
        .wait_until("rdbadm secondary r0", |output| output.code == 0, SETTLE)?;
    bed.b.run("rdbadm primary r0")?;
    rdb::assert_one_truth(&bed)?;
    bed.finish()
}
