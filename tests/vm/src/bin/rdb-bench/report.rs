//! The tables, for a terminal and as Markdown.

use std::{fmt::Write, fs, process::Command};

use anyhow::{Context, Result};
use comfy_table::{Attribute, Cell, CellAlignment, Color, ContentArrangement, Table, presets};
use rdb_testbed::Testbed;
use serde::Serialize;

use crate::{
    Results,
    devices::{ALONE, BACKENDS, Backend, Stack},
    limited::{self, Limited},
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
    show(&mut tables(results)?)
}

/// What [`terminal`] says of the limited disks only.
///
/// # Errors
///
/// A measurement is missing.
pub fn limited_terminal(limited: &[Limited]) -> Result<String> {
    show(&mut [limits(limited)?])
}

fn show(tables: &mut [Titled]) -> Result<String> {
    let mut text = String::new();
    for (title, note, table) in tables {
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
    let iops: Vec<String> = arguments.iops.iter().map(u32::to_string).collect();
    let mut text = format!(
        "Command: `rdb-bench --repetitions {} --seconds {} --disk {} --iops {}`. Host: {}, load average {} at the begin, {} at \
         the end.\nGuests: two, QEMU's emulator (TCG), one processor and 768 MiB each, stock kernel {}, {}; rdb of {}, \
         drbd.ko {}.\n",
        arguments.repetitions,
        arguments.seconds,
        arguments.disk,
        iops.join(","),
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
        limits(&results.limited)?,
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
    let limited = results
        .limited
        .iter()
        .map(|limited| (limited.limit, &limited.runs));
    for (limit, runs) in std::iter::once((None, &results.runs)).chain(limited) {
        let local = ratio(runs, targets::LOCAL_LOAD, Backend::RdbAlone, Backend::Raw)?;
        let raw = select(runs, targets::LOCAL_LOAD, Backend::Raw);
        let raw = spread(raw, |run| run.iops)?;
        let disks = match limit {
            None => "disks without a limit".to_owned(),
            Some(_) => format!("disks of {}", limited::name(limit)),
        };
        table.add_row(vec![
            Cell::new(format!(
                "rdb alone of raw, {}, {disks}",
                targets::LOCAL_LOAD
            )),
            number(format!("at least {:.0} %", targets::LOCAL * 100.0)),
            number(percent(&local)),
            match limit {
                // The processor, not the disk, was what limited.
                Some(limit) if raw.median < f64::from(limit) => {
                    Cell::new("says nothing: raw disk below the limit").fg(Color::Yellow)
                }
                _ => verdict(local.median >= targets::LOCAL),
            },
        ]);
    }
    Ok(table)
}

/// Median (least to greatest) of ratios.
fn percent(ratios: &Spread) -> String {
    let [median, least, greatest] =
        [ratios.median, ratios.least, ratios.greatest].map(|ratio| ratio * 100.0);
    format!("{median:.1} % ({least:.1} to {greatest:.1})")
}

fn limits(all: &[Limited]) -> Result<Titled> {
    let mut table = table(&[
        "disks",
        "device",
        "of raw",
        "IOPS",
        "IQR",
        "mean us",
        "p99 us",
        "processor busy",
        "us an operation",
    ]);
    for Limited { limit, runs } in all {
        for backend in ALONE {
            let of =
                |value: fn(&Run) -> f64| spread(select(runs, targets::LOCAL_LOAD, backend), value);
            let iops = of(|run| run.iops)?;
            let raw = ratio(runs, targets::LOCAL_LOAD, backend, Backend::Raw)?;
            table.add_row(vec![
                Cell::new(limited::name(*limit)),
                Cell::new(backend.name()),
                number(percent(&raw)),
                number(short(iops.median)),
                number(format!("{:.1} %", iops.iqr * 100.0)),
                number(short(of(|run| run.mean_us)?.median)),
                number(short(of(|run| run.p99_us)?.median)),
                number(format!("{:.0} %", of(|run| run.busy)?.median * 100.0)),
                number(short(of(|run| run.busy_us)?.median)),
            ]);
        }
    }
    Ok((
        "4k randwrite QD32 beside a slower disk",
        "QEMU held all lower disks of the first node, the raw one too, back to so many requests a second \
         (`block_set_io_throttle`, which lets a tenth of a second's worth through at once). Medians; of raw: IOPS in the same \
         repetition (least to greatest). Processor: the emulated one of the first node from fio's first request to its last, \
         fio's own work with it; a host that is busy with other things adds to it.",
        table,
    ))
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
