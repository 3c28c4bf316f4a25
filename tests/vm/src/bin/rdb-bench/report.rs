//! The tables, for a terminal and as Markdown.

use std::{fmt::Write, fs, process::Command};

use anyhow::{Context, Result};
use comfy_table::{Attribute, Cell, CellAlignment, Color, ContentArrangement, Table, presets};
use rdb_testbed::Testbed;
use serde::Serialize;

use crate::{
    Results,
    devices::{BACKENDS, Backend, Stack},
    load::{Counts, Run, WORKLOADS},
    statistics::Spread,
    targets,
};

/// Where and when the measurements were made.
#[derive(Debug, Clone, Serialize)]
pub struct Conditions {
    kernel: String,
    rdb: String,
    drbd: String,
    fio: String,
    processor: String,
    load_at_begin: String,
    load_at_end: String,
}

impl Conditions {
    /// Looks at host and guest before the measurements.
    ///
    /// # Errors
    ///
    /// Something cannot be read.
    pub fn at_begin(bed: &Testbed) -> Result<Self> {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo")?;
        let model = cpuinfo
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
            .map_or("unknown", |(_, model)| model);
        let count = std::thread::available_parallelism()?;
        Ok(Self {
            kernel: bed.a.run("uname -r")?,
            rdb: source_revision(),
            drbd: bed.a.run("modinfo -F version drbd")?,
            fio: bed.a.run("fio --version")?,
            processor: format!("{count} processors ({model})"),
            load_at_begin: load_average()?,
            load_at_end: String::new(),
        })
    }

    /// Looks at the host again after them.
    ///
    /// # Errors
    ///
    /// Something cannot be read.
    pub fn at_end(&mut self) -> Result<()> {
        self.load_at_end = load_average()?;
        Ok(())
    }
}

fn load_average() -> Result<String> {
    let text = fs::read_to_string("/proc/loadavg")?;
    let words: Vec<&str> = text.split_whitespace().take(3).collect();
    Ok(words.join(" "))
}

/// Commit of the source tree, if it is one of git's.
fn source_revision() -> String {
    let output = Command::new("git")
        .arg("-C")
        .arg(rdb_testbed::cache::checkout())
        .args([
            "describe",
            "--always",
            "--dirty= with changes",
            "--exclude=*",
        ])
        .output();
    match output {
        Ok(output) if output.status.success() => {
            format!("commit {}", String::from_utf8_lossy(&output.stdout).trim())
        }
        _ => "revision unknown".to_owned(),
    }
}

/// The report for standard output; coloured if that is a terminal.
///
/// # Errors
///
/// A measurement is missing.
pub fn terminal(results: &Results) -> Result<String> {
    let mut text = String::new();
    for (title, note, table) in &mut tables(results)? {
        table.load_preset(presets::UTF8_FULL_CONDENSED);
        if std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) {
            table.force_no_tty();
        }
        write!(text, "\n{title}\n{table}\n{note}\n")?;
    }
    Ok(text)
}

/// The report as Markdown, with the conditions it was made under.
///
/// # Errors
///
/// A measurement is missing.
pub fn markdown(results: &Results) -> Result<String> {
    let (arguments, at) = (&results.arguments, &results.conditions);
    let mut text = format!(
        "Command: `rdb-bench --repetitions {} --seconds {} --disk {}`. Host: {}, load average {} at the begin, {} at \
         the end.\nGuests: two, QEMU's emulator (TCG), one processor and 768 MiB each, stock kernel {}, {}; rdb of {}, \
         drbd.ko {}.\n",
        arguments.repetitions,
        arguments.seconds,
        arguments.disk,
        at.processor,
        at.load_at_begin,
        at.load_at_end,
        at.kernel,
        at.fio,
        at.rdb,
        at.drbd,
    );
    for (title, note, table) in &mut tables(results)? {
        table.load_preset(presets::ASCII_MARKDOWN).force_no_tty();
        write!(text, "\n### {title}\n\n{table}\n\n{note}\n")?;
    }
    Ok(text)
}

type Titled = (&'static str, &'static str, Table);

fn tables(results: &Results) -> Result<Vec<Titled>> {
    Ok(vec![
        (
            "Targets",
            "Metadata writes: what the lower disk was given to write beyond fio's data, log and bitmap. rdb alone of \
             raw: IOPS in the same repetition, median (least to greatest).",
            goals(results)?,
        ),
        (
            "rdb against drbd",
            "IOPS of rdb over IOPS of drbd in the same repetition: median (least to greatest). Above 1, rdb is faster.",
            ratios(&results.runs)?,
        ),
        (
            "First sync of a whole device",
            "From `primary --force` to both disks up to date, one line a device.",
            syncs(results),
        ),
        (
            "What one operation costs",
            "Medians per operation. Switches: context switches of the whole machine, fio's own and its start with them. \
             Writes and flushes: requests at the lower disk; a flush counts as a write, too. First/second: the node that is written on, its peer.",
            costs(&results.runs)?,
        ),
        (
            "fio",
            "Medians; IQR: distance of the quartiles over the median. Of raw: median of the ratios within each \
             repetition. Latencies are completion latencies. All but the ratios is the emulator's.",
            speeds(&results.runs)?,
        ),
    ])
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.set_content_arrangement(ContentArrangement::Disabled);
    let cells = header
        .iter()
        .map(|name| Cell::new(name).add_attribute(Attribute::Bold));
    table.set_header(cells);
    table
}

fn number(text: impl ToString) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

/// Three significant digits or so.
fn short(value: f64) -> String {
    match value {
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

fn select<'a>(
    runs: &'a [Run],
    workload: &'a str,
    backend: Backend,
) -> impl Iterator<Item = &'a Run> {
    runs.iter()
        .filter(move |run| run.workload == workload && run.backend == backend)
}

fn spread<'a>(runs: impl Iterator<Item = &'a Run>, value: impl Fn(&Run) -> f64) -> Result<Spread> {
    Spread::of(&runs.map(value).collect::<Vec<_>>()).context("nothing was measured")
}

/// Ratios of IOPS of two backends within each repetition.
fn ratio(runs: &[Run], workload: &str, over: Backend, under: Backend) -> Result<Spread> {
    let pairs = select(runs, workload, over).filter_map(|upper| {
        let lower = select(runs, workload, under).find(|run| run.repetition == upper.repetition)?;
        Some(upper.iops / lower.iops)
    });
    Spread::of(&pairs.collect::<Vec<_>>()).context("nothing was measured")
}

/// Metadata writes for a data write, and what they were.
pub fn cold(cold: &targets::Cold) -> String {
    format!(
        "{:.4} ({} for {} writes: {} log transactions, {} of the bitmap; {} flushes)",
        cold.cost(),
        cold.metadata(),
        cold.writes,
        cold.log,
        cold.metadata().saturating_sub(cold.log),
        cold.flushes
    )
}

fn goals(results: &Results) -> Result<Table> {
    let mut table = table(&["what", "target", "measured", ""]);
    let verdict = |met: bool| match met {
        true => Cell::new("met").fg(Color::Green),
        false => Cell::new("NOT MET").fg(Color::Red),
    };
    let cold = &results.cold;
    table.add_row(vec![
        Cell::new(format!(
            "metadata writes a data write, {} GiB cold, QD64",
            cold.gib
        )),
        number(format!("at most {:.4}", targets::LOG_COST)),
        number(self::cold(cold)),
        verdict(cold.cost() <= targets::LOG_COST),
    ]);
    let local = ratio(
        &results.runs,
        targets::LOCAL_LOAD,
        Backend::RdbAlone,
        Backend::Raw,
    )?;
    table.add_row(vec![
        Cell::new(format!("rdb alone of raw, {}", targets::LOCAL_LOAD)),
        number(format!("at least {:.0} %", targets::LOCAL * 100.0)),
        number(format!(
            "{:.0} % ({:.0} to {:.0})",
            local.median * 100.0,
            local.least * 100.0,
            local.greatest * 100.0
        )),
        verdict(local.median >= targets::LOCAL),
    ]);
    Ok(table)
}

fn ratios(runs: &[Run]) -> Result<Table> {
    let mut table = table(&["load", "connected, protocol C", "alone"]);
    for workload in WORKLOADS {
        let cell = |over, under| -> Result<Cell> {
            let spread = ratio(runs, workload.name, over, under)?;
            let colour = match spread.median {
                median if median >= 1.0 => Color::Green,
                median if median >= 0.5 => Color::Yellow,
                _ => Color::Red,
            };
            let text = format!(
                "{} ({} to {})",
                short(spread.median),
                short(spread.least),
                short(spread.greatest)
            );
            Ok(number(text).fg(colour))
        };
        table.add_row(vec![
            Cell::new(workload.name),
            cell(Backend::RdbC, Backend::DrbdC)?,
            cell(Backend::RdbAlone, Backend::DrbdAlone)?,
        ]);
    }
    Ok(table)
}

fn syncs(results: &Results) -> Table {
    let mut table = table(&["", "MiB", "seconds", "MiB/s"]);
    for stack in Stack::BOTH {
        for sync in results.syncs.iter().filter(|sync| sync.stack == stack) {
            table.add_row(vec![
                Cell::new(stack.name()),
                number(sync.mib),
                number(short(sync.seconds)),
                number(short(f64::from(sync.mib) / sync.seconds)),
            ]);
        }
    }
    table
}

fn costs(runs: &[Run]) -> Result<Table> {
    let mut table = table(&[
        "load",
        "device",
        "frames there",
        "frames back",
        "switches first",
        "second",
        "writes first",
        "second",
        "flushes first",
        "second",
    ]);
    for workload in WORKLOADS {
        for backend in BACKENDS {
            let of = |value: &dyn Fn(&Run) -> f64| {
                spread(select(runs, workload.name, backend), value).map(|s| number(short(s.median)))
            };
            let mut row = vec![Cell::new(workload.name), Cell::new(backend.name())];
            for way in 0..2 {
                row.push(if backend.connected() {
                    of(&|run| run.frames[way])?
                } else {
                    number("")
                });
            }
            let columns: [fn(&Counts) -> f64; 3] =
                [|c| c.switches, |c| c.disk_writes, |c| c.disk_flushes];
            for column in columns {
                row.push(of(&|run| column(&run.first))?);
                row.push(if backend.connected() {
                    of(&|run| run.second.as_ref().map_or(0.0, column))?
                } else {
                    number("")
                });
            }
            table.add_row(row);
        }
    }
    Ok(table)
}

fn speeds(runs: &[Run]) -> Result<Table> {
    let mut table = table(&[
        "load", "device", "of raw", "IOPS", "IQR", "MiB/s", "mean us", "p99 us",
    ]);
    for workload in WORKLOADS {
        for backend in BACKENDS {
            let of = |value: fn(&Run) -> f64| spread(select(runs, workload.name, backend), value);
            let iops = of(|run| run.iops)?;
            let raw = ratio(runs, workload.name, backend, Backend::Raw)?;
            table.add_row(vec![
                Cell::new(workload.name),
                Cell::new(backend.name()),
                number(format!("{:.1} %", raw.median * 100.0)),
                number(short(iops.median)),
                number(format!("{:.0} %", iops.iqr * 100.0)),
                number(short(of(|run| run.mib_per_second)?.median)),
                number(short(of(|run| run.mean_us)?.median)),
                number(short(of(|run| run.p99_us)?.median)),
            ]);
        }
    }
    Ok(table)
}
