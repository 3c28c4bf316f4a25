// SPDX-License-Identifier: GPL-2.0

//! Programs that are run and waited for: their output by lines, a time limit, no terminal.

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// A line in the log says that a program still runs, each time this long has passed.
const STILL_RUNNING: Duration = Duration::from_secs(30);
/// How long output is awaited after the end: a daemon that was started may hold the pipe open.
const LAST_OUTPUT: Duration = Duration::from_millis(500);
/// Lines that are kept; more are only logged.
const LINES_MAX: usize = 200;

/// How a program ended.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Exit code; `None` if it was ended by a signal or the time limit.
    pub code: Option<i32>,
    /// The first lines of standard output and error, in the order seen.
    pub lines: Vec<String>,
    /// How it ended, for people; the last line it wrote is part of it.
    pub text: String,
}

impl Finished {
    /// True for exit code 0.
    pub fn success(&self) -> bool {
        self.code == Some(0)
    }
}

/// What to run, with which limits.
pub struct Job<'a> {
    /// The program with its arguments and environment.
    pub command: Command,
    /// Name for the log.
    pub name: &'a str,
    /// Text for its standard input.
    pub input: &'a str,
    /// It is killed with all its children after this time.
    pub limit: Option<Duration>,
    /// Level at which its output is logged.
    pub level: log::Level,
}

/// Starts a thread with a small stack: the memory of the daemon is locked.
///
/// # Errors
///
/// The system has no room for another thread.
pub fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    thread::Builder::new()
        .name(name.to_owned())
        .stack_size(256 * 1024)
        .spawn(run)
        .map(|_| ())
}

/// Runs a program to its end.
///
/// # Errors
///
/// It could not be started.
pub fn run(mut job: Job<'_>) -> std::io::Result<Finished> {
    job.command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    // A group of its own: a time limit ends the children too, and a terminal's ^C does not.
    job.command.process_group(0);
    let mut child = job.command.spawn()?;
    if let Some(mut pipe) = child.stdin.take() {
        // A program that does not read its input is no error.
        let _ = pipe.write_all(job.input.as_bytes());
    }
    let (sender, lines) = channel();
    if let Some(pipe) = child.stdout.take() {
        read_lines(pipe, sender.clone())?;
    }
    if let Some(pipe) = child.stderr.take() {
        read_lines(pipe, sender)?;
    }
    let (status, timed_out, mut kept) = wait(&mut child, &lines, &job)?;
    let end = Instant::now() + LAST_OUTPUT;
    while let Ok(line) = lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
        keep(&mut kept, line, &job);
    }
    let text = describe(
        status,
        timed_out.then_some(job.limit).flatten(),
        kept.last(),
    );
    Ok(Finished {
        code: if timed_out { None } else { status.code() },
        lines: kept,
        text,
    })
}

fn read_lines(pipe: impl Read + Send + 'static, sender: Sender<String>) -> std::io::Result<()> {
    spawn("script output", move || {
        let mut reader = BufReader::new(pipe);
        loop {
            let mut line = Vec::new();
            // A line without an end must not fill the memory.
            let read = reader.by_ref().take(4096).read_until(b'\n', &mut line);
            if !matches!(read, Ok(n) if n > 0) {
                return;
            }
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            if !text.is_empty() && sender.send(text).is_err() {
                return;
            }
        }
    })
}

fn keep(kept: &mut Vec<String>, line: String, job: &Job<'_>) {
    log::log!(job.level, "{}: {line}", job.name);
    if kept.len() < LINES_MAX {
        kept.push(line);
    }
}

/// Waits for the end; true if the time limit ended it.
fn wait(
    child: &mut Child,
    lines: &Receiver<String>,
    job: &Job<'_>,
) -> std::io::Result<(ExitStatus, bool, Vec<String>)> {
    let begin = Instant::now();
    let mut next_note = STILL_RUNNING;
    let mut kept = Vec::new();
    let mut killed = false;
    let mut pause = Duration::from_millis(2);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok((status, killed, kept));
        }
        let age = begin.elapsed();
        if job.limit.is_some_and(|limit| age >= limit) && !killed {
            killed = true;
            log::error!(
                "{}: killed after its time limit of {} s",
                job.name,
                age.as_secs()
            );
            if let Ok(id) = i32::try_from(child.id()) {
                let _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
            }
        }
        if age >= next_note {
            next_note += STILL_RUNNING;
            log::warn!("{}: still running after {} s", job.name, age.as_secs());
        }
        // The end of a child cannot be awaited together with its output: look again soon, and
        // less often the longer it runs.
        pause = (pause * 2).min(Duration::from_millis(100));
        match lines.recv_timeout(pause) {
            Ok(line) => keep(&mut kept, line, job),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => thread::sleep(pause),
        }
    }
}

fn describe(status: ExitStatus, limit: Option<Duration>, last: Option<&String>) -> String {
    let mut text = match (limit, status.code(), status.signal()) {
        (Some(limit), ..) => format!("killed after its time limit of {} s", limit.as_secs()),
        (None, Some(code), _) => format!("exit code {code}"),
        (None, None, Some(signal)) => format!("ended by signal {signal}"),
        (None, None, None) => "ended".to_owned(),
    };
    if let Some(line) = last {
        text.push_str(": ");
        text.push_str(line);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, input: &str, limit: Option<Duration>) -> Finished {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        run(Job {
            command,
            name: "test",
            input,
            limit,
            level: log::Level::Debug,
        })
        .unwrap()
    }

    #[test]
    fn output_and_exit_code_come_back() {
        let done = sh("cat; echo two >&2; exit 3", "one\n", None);
        assert_eq!(done.code, Some(3));
        let mut lines = done.lines.clone();
        lines.sort();
        assert_eq!(lines, ["one", "two"]);
        assert!(done.text.starts_with("exit code 3: "), "{}", done.text);
    }

    #[test]
    fn the_time_limit_ends_children_too() {
        let begin = Instant::now();
        let done = sh(
            "sleep 1000 & sleep 1000",
            "",
            Some(Duration::from_millis(50)),
        );
        assert_eq!(done.code, None);
        assert!(done.text.contains("time limit"), "{}", done.text);
        assert!(begin.elapsed() < Duration::from_secs(100));
    }

    #[test]
    fn a_daemon_that_keeps_the_pipe_open_does_not_keep_us() {
        let begin = Instant::now();
        let done = sh("echo started; sleep 300 & echo $!", "", None);
        assert!(done.success() && begin.elapsed() < Duration::from_secs(100));
        let pid: i32 = done.lines[1].parse().unwrap();
        nix::sys::signal::kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error() {
        let command = Command::new("/nonexistent/program");
        let level = log::Level::Debug;
        assert!(
            run(Job {
                command,
                name: "x",
                input: "",
                limit: None,
                level
            })
            .is_err()
        );
    }
}
