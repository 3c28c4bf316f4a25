//! The kernel selftests of `tests/kselftest`, run inside a machine.

use std::fs;

use anyhow::{Context, Result, ensure};
use rdb_testbed::{Ground, Testbed, cache, vm_tests};

vm_tests!(kernel_selftests);

/// What TAP says of tests, those inside of tests ("# ok …") included.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: Vec<String>,
    failed: Vec<String>,
    skipped: Vec<String>,
}

impl Tally {
    fn of(tap: &str) -> Self {
        let mut tally = Self::default();
        for line in tap.lines() {
            let line = line.trim_start_matches(['#', ' ']);
            if line.starts_with("not ok ") || line.starts_with("Bail out!") {
                tally.failed.push(line.to_owned());
            } else if line.starts_with("ok ") {
                let list = if line.contains("# SKIP") {
                    &mut tally.skipped
                } else {
                    &mut tally.passed
                };
                list.push(line.to_owned());
            }
        }
        tally
    }
}

#[test]
fn tap_is_understood() {
    let tally = Tally::of(
        "TAP version 13\n1..2\n# ok 1 a\n# ok 2 b # SKIP no user\n# not ok 3 c\nnot ok 1 x\nok 2 y\n",
    );
    assert_eq!(
        (tally.passed.len(), tally.failed.len(), tally.skipped.len()),
        (2, 2, 1)
    );
    assert_eq!(tally.skipped, ["ok 2 b # SKIP no user"]);
}

fn kernel_selftests(ground: Ground) -> Result<()> {
    let folder = cache::checkout().join("tests/kselftest");
    let makefile = fs::read_to_string(folder.join("Makefile"))?;
    let programs = makefile
        .lines()
        .find_map(|line| line.strip_prefix("TEST_PROGS := "))
        .context("no TEST_PROGS in the Makefile of the kernel selftests")?;
    let bed = Testbed::builder("kselftest", ground).boot()?;
    bed.a.run("mkdir -p /root/kselftest")?;
    for entry in fs::read_dir(&folder)?.flatten() {
        if entry.path().extension().is_some_and(|end| end == "sh") {
            let name = entry.file_name().to_string_lossy().into_owned();
            bed.a
                .copy_in(&entry.path(), &format!("/root/kselftest/{name}"))?;
        }
    }
    // What `make run_tests` runs; the machines have no make.
    let output = bed.a.sh_within(
        &format!("sh /root/kselftest/run.sh {programs}"),
        std::time::Duration::from_secs(900),
    )?;
    let (tap, tally) = (output.out(), Tally::of(&output.out()));
    ensure!(
        tally.failed.is_empty() && output.code == 0,
        "code {}, {:?}\n{tap}",
        output.code,
        tally.failed
    );
    let count = programs.split_whitespace().count();
    ensure!(
        tap.contains(&format!("\n1..{count}\n")),
        "no plan of {count} tests:\n{tap}"
    );
    let whole = tap
        .lines()
        .filter(|line| line.starts_with("ok ") && !line.contains("# SKIP"))
        .count();
    ensure!(
        whole == count,
        "of {count} tests {whole} were run, the others skipped:\n{tap}"
    );
    println!(
        "{ground:?}: {} passed, {} skipped: {:?}",
        tally.passed.len(),
        tally.skipped.len(),
        tally.skipped
    );
    bed.finish()
}
