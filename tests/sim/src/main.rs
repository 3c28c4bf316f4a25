// SPDX-License-Identifier: GPL-2.0

//! Runs the simulator: many seeds, or one with a readable trace.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use rdb_sim::exhaustive::{explore, retrace};
use rdb_sim::run::{Failure, Recipe, play, shrink};
use rdb_sim::{Tally, Trace, summary};

/// Simulates two rdb nodes and everything that can happen to them.
#[derive(Parser)]
#[command(name = "rdb-sim", version)]
struct Arguments {
    /// Play one seed, with a trace.
    #[arg(long, value_name = "SEED", conflicts_with_all = ["seeds", "minutes"])]
    seed: Option<u64>,
    /// Steps with faults, with --seed (default: as the seed says).
    #[arg(long, value_name = "N", requires = "seed")]
    steps: Option<u64>,
    /// Faults and commands to carry out, with --seed (default: all; `none`: none).
    #[arg(long, value_name = "NUMBERS", requires = "seed")]
    keep: Option<String>,
    /// Lines of the trace to print, from its end; 0 for all.
    #[arg(long, value_name = "N", default_value_t = 400)]
    lines: usize,
    /// Play this many seeds.
    #[arg(long, value_name = "N", conflicts_with = "minutes")]
    seeds: Option<u64>,
    /// Play seeds for this long.
    #[arg(long, value_name = "M")]
    minutes: Option<f64>,
    /// Go on after a failure, and list all of them.
    #[arg(long)]
    keep_going: bool,
    /// The first seed.
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    first: u64,
    /// Switch deliberate faults of the engine on, one after the other, until each is caught; --seeds bounds the search.
    #[cfg(feature = "mutations")]
    #[arg(long)]
    mutations: bool,
    /// Only these of them, with --mutations.
    #[cfg(feature = "mutations")]
    #[arg(
        long,
        value_name = "NUMBERS",
        value_delimiter = ',',
        requires = "mutations"
    )]
    only: Vec<u32>,
    /// Try every sequence of up to this many operations, with a crash at each point.
    #[arg(long, value_name = "LENGTH", conflicts_with_all = ["seed", "seeds", "minutes"])]
    exhaustive: Option<usize>,
    /// Threads (default: one for each processor).
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // A failed run is reported once, at the end.
    std::panic::set_hook(Box::new(|_| ()));
    #[cfg(feature = "mutations")]
    if arguments.mutations {
        return mutations(&arguments);
    }
    if let Some(longest) = arguments.exhaustive {
        return exhaustive(longest, &arguments);
    }
    match arguments.seed {
        Some(seed) => replay(seed, &arguments),
        None => many(&arguments),
    }
}

/// Numbers separated by commas.
fn numbers(text: &str) -> Result<BTreeSet<u64>, String> {
    if text == "none" {
        return Ok(BTreeSet::new());
    }
    text.split(',')
        .map(|number| {
            number
                .trim()
                .parse()
                .map_err(|_| format!("--keep: '{number}' is not a number"))
        })
        .collect()
}

fn replay(seed: u64, arguments: &Arguments) -> ExitCode {
    let keep = match arguments.keep.as_deref().map(numbers).transpose() {
        Ok(keep) => keep,
        Err(text) => {
            eprintln!("{text}");
            return ExitCode::from(2);
        }
    };
    let recipe = Recipe {
        seed,
        steps: arguments.steps,
        keep,
    };
    let trace = Trace::new(true);
    let (tally, result) = play(&recipe, &trace);
    let lines = match arguments.lines {
        0 => usize::MAX,
        lines => lines,
    };
    println!("{}\n", trace.tail(lines));
    match result {
        Ok(()) => {
            println!("{}", summary::print(&tally));
            ExitCode::SUCCESS
        }
        Err(failure) => {
            println!("VIOLATION in step {}: {}", failure.steps, failure.what);
            ExitCode::FAILURE
        }
    }
}

/// Runs seeds in all threads until enough are played or one fails.
fn many(arguments: &Arguments) -> ExitCode {
    let jobs = jobs(arguments);
    let begun = Instant::now();
    let end = arguments
        .minutes
        .map(|minutes| begun + Duration::from_secs_f64(minutes * 60.0));
    let last = match (arguments.seeds, end) {
        (Some(seeds), _) => arguments.first.saturating_add(seeds),
        (None, Some(_)) => u64::MAX,
        (None, None) => arguments.first.saturating_add(1000),
    };
    let bar = progress_bar(arguments, last);
    let (next, stop) = (AtomicU64::new(arguments.first), AtomicBool::new(false));
    let total = Mutex::new(Tally::default());
    let failed: Mutex<Vec<(Recipe, Failure)>> = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                let quiet = Trace::new(false);
                while !stop.load(Ordering::Relaxed) && end.is_none_or(|end| Instant::now() < end) {
                    let recipe = Recipe::of(next.fetch_add(1, Ordering::Relaxed));
                    if recipe.seed >= last {
                        break;
                    }
                    let (tally, result) = play(&recipe, &quiet);
                    if let (Err(failure), Ok(mut failed)) = (result, failed.lock()) {
                        stop.store(!arguments.keep_going, Ordering::Relaxed);
                        if arguments.keep_going {
                            let what = failure.what.lines().next().unwrap_or_default();
                            let (seed, steps) = (recipe.seed, failure.steps);
                            bar.suspend(|| println!("seed {seed} step {steps}: {what}"));
                        }
                        failed.push((recipe, failure));
                    }
                    if let Ok(mut total) = total.lock() {
                        total.add(&tally);
                        show_progress(&bar, &total, begun, arguments.minutes.is_some());
                    }
                }
            });
        }
    });
    bar.finish_and_clear();
    let total = total.into_inner().unwrap_or_default();
    println!("{}", summary::print(&total));
    println!("{:.0} s on {jobs} threads", begun.elapsed().as_secs_f64());
    let mut failed = failed.into_inner().unwrap_or_default();
    println!("{} violations", failed.len());
    match failed.pop() {
        None => return ExitCode::SUCCESS,
        Some((recipe, failure)) if !arguments.keep_going => report(&recipe, failure),
        Some(_) => (),
    }
    ExitCode::FAILURE
}

/// Every short sequence.
fn exhaustive(longest: usize, arguments: &Arguments) -> ExitCode {
    let begun = Instant::now();
    let bar = ProgressBar::new_spinner();
    let (extent, failed) = explore(longest, jobs(arguments), &|extent, failed| {
        bar.set_message(format!("{extent:?}, {failed} violations"));
        bar.tick();
    });
    bar.finish_and_clear();
    if let Some(broken) = failed.first() {
        println!("{}\n", retrace(broken, 200));
    }
    for broken in &failed {
        let what = broken.what.lines().next().unwrap_or_default();
        println!(
            "VIOLATION: {:?}, crash {:?}: {what}",
            broken.sequence, broken.crash
        );
    }
    println!(
        "{} sequences of up to {longest} operations, {} runs with a crash at each point, {:.0} s, {} violations",
        extent.sequences,
        extent.runs,
        begun.elapsed().as_secs_f64(),
        failed.len()
    );
    ExitCode::from(u8::from(!failed.is_empty()))
}

/// How many threads to use.
fn jobs(arguments: &Arguments) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    arguments.jobs.unwrap_or_else(cores).max(1)
}

fn progress_bar(arguments: &Arguments, last: u64) -> ProgressBar {
    let length = match arguments.minutes {
        Some(minutes) => (minutes * 60.0) as u64,
        None => last - arguments.first,
    };
    let bar = ProgressBar::new(length);
    let style = ProgressStyle::with_template("{bar:32} {percent:>3} % {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

fn show_progress(bar: &ProgressBar, total: &Tally, begun: Instant, by_time: bool) {
    bar.set_position(match by_time {
        true => begun.elapsed().as_secs(),
        false => total.runs,
    });
    bar.set_message(format!(
        "{} runs, {} writes, {} crashes",
        total.runs, total.submitted, total.crashes
    ));
}

/// Shrinks a failing run and says how to see it.
fn report(recipe: &Recipe, failure: Failure) {
    println!("VIOLATION with seed {}: {}", recipe.seed, failure.what);
    println!("shrinking …");
    let (small, failure) = shrink(recipe, failure, 400);
    let numbers: Vec<String> = small.keep.iter().flatten().map(u64::to_string).collect();
    let keep = match numbers.is_empty() {
        true => "none".to_owned(),
        false => numbers.join(","),
    };
    let steps = small.steps.map_or(String::new(), |n| format!(" STEPS={n}"));
    println!("smallest: {}", failure.what);
    println!(
        "replay with: make sim SEED={}{steps} KEEP={keep}",
        small.seed
    );
}

/// Shows that the simulator can fail: a fault is caught by a seed that passes without it.
#[cfg(feature = "mutations")]
fn mutations(arguments: &Arguments) -> ExitCode {
    use rdb_engine::mutants::{MUTANTS, activate};
    let quiet = Trace::new(false);
    let last = arguments.first + arguments.seeds.unwrap_or(300);
    let passes = |seed: u64| play(&Recipe::of(seed), &quiet).1;
    let mut good: std::collections::BTreeMap<u64, bool> = std::collections::BTreeMap::new();
    let mut missed = 0;
    println!("| row | mutation | seed | caught by |\n| --- | --- | --- | --- |");
    let wanted = |number: &u32| arguments.only.is_empty() || arguments.only.contains(number);
    let mutants = || MUTANTS.iter().filter(|(number, ..)| wanted(number));
    for (number, row, what) in mutants() {
        let mut caught = None;
        for seed in arguments.first..last {
            activate(0);
            if !*good.entry(seed).or_insert_with(|| passes(seed).is_ok()) {
                continue;
            }
            activate(*number);
            if let Err(failure) = passes(seed) {
                caught = Some((seed, failure));
                break;
            }
        }
        match caught {
            Some((seed, failure)) => {
                let line = failure.what.lines().next().unwrap_or_default();
                let short: String = line.chars().take(110).collect();
                println!("| {row} | {what} | {seed} | {short} |");
            }
            None => {
                missed += 1;
                println!("| {row} | {what} | - | NOT CAUGHT |");
            }
        }
    }
    activate(0);
    println!("{} mutations, {missed} not caught", mutants().count());
    ExitCode::from(u8::from(missed > 0))
}
