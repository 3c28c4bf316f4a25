//! Runs inside a test machine and starts programs for the host: `rdb-guest-agent DEVICE`.
//!
//! One thread reads requests from the command channel; each started program has a thread per stream and one
//! that waits for its end.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::{self, BufReader, Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::process::{CommandExt, ExitStatusExt},
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
};

use rdb_testbed::protocol::{self, CHUNK, Event, Request, Stream};
use rustix::{
    event::{PollFd, PollFlags, poll},
    process::{Pid, Signal, kill_process_group},
    termios,
};

type Channel = Arc<Mutex<File>>;

struct Process {
    group: Pid,
    /// Nothing more can be said to the program once this is gone.
    stdin: Option<mpsc::Sender<Vec<u8>>>,
}

type Processes = Arc<Mutex<HashMap<u32, Process>>>;

fn main() -> ExitCode {
    let Some(device) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: rdb-guest-agent DEVICE");
        return ExitCode::FAILURE;
    };
    match serve(&device) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rdb-guest-agent: {}: {error}", device.display());
            ExitCode::FAILURE
        }
    }
}

fn serve(device: &Path) -> io::Result<()> {
    let from = OpenOptions::new().read(true).write(true).open(device)?;
    // Less than a terminal's buffer of 4096 bytes, of which it keeps 128 back.
    let window = termios::isatty(&from).then_some(3 << 10);
    if window.is_some() {
        let mut mode = termios::tcgetattr(&from)?;
        mode.make_raw();
        termios::tcsetattr(&from, termios::OptionalActions::Flush, &mode)?;
    }
    let to: Channel = Arc::new(Mutex::new(from.try_clone()?));
    let processes = Processes::default();
    let kernel = rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned();
    tell(&to, &Event::Hello { kernel, window });
    let mut from = BufReader::new(Line {
        from,
        report: window.map(|_| Arc::clone(&to)),
    });
    loop {
        match protocol::receive(&mut from)? {
            Request::Spawn { id, argv } => {
                if let Err(error) = spawn(id, &argv, &to, &processes) {
                    let reason = format!("{}: {error}", argv.join(" "));
                    tell(&to, &Event::Failed { id, reason });
                }
            }
            Request::Stdin { id, data } => {
                if let Some(Process {
                    stdin: Some(stdin), ..
                }) = lock(&processes).get(&id)
                {
                    // The program may have closed its input: that is its affair.
                    let _ = stdin.send(data);
                }
            }
            Request::StdinEnd { id } => {
                if let Some(process) = lock(&processes).get_mut(&id) {
                    process.stdin = None;
                }
            }
            Request::Signal { id, signal } => {
                if let (Some(process), Some(signal)) =
                    (lock(&processes).get(&id), Signal::from_named_raw(signal))
                {
                    let _ = kill_process_group(process.group, signal);
                }
            }
        }
    }
}

/// The command channel, which reports what was taken off it.
struct Line {
    from: File,
    report: Option<Channel>,
}

impl Read for Line {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.from.read(buffer)?;
        if let Some(to) = &self.report {
            tell(
                to,
                &Event::Consumed {
                    bytes: u32::try_from(length).unwrap_or(u32::MAX),
                },
            );
        }
        Ok(length)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A channel that does not take our words is the end of the agent: there is nobody to serve any more.
fn tell(to: &Channel, event: &Event) {
    if let Err(error) = protocol::send(&mut *lock(to), event) {
        eprintln!("rdb-guest-agent: command channel: {error}");
        std::process::exit(1);
    }
}

fn spawn(id: u32, argv: &[String], to: &Channel, processes: &Processes) -> io::Result<()> {
    let (program, arguments) = argv
        .split_first()
        .ok_or_else(|| io::Error::other("empty command"))?;
    let mut child = Command::new(program)
        .args(arguments)
        .current_dir("/root")
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let (stdin, input) = mpsc::channel();
    let group = Pid::from_child(&child);
    lock(processes).insert(
        id,
        Process {
            group,
            stdin: Some(stdin),
        },
    );
    if let Some(mut pipe) = child.stdin.take() {
        thread::spawn(move || {
            for data in input {
                if pipe.write_all(&data).is_err() {
                    break;
                }
            }
        });
    }
    let (to, processes) = (Arc::clone(to), Arc::clone(processes));
    thread::spawn(move || attend(id, child, &to, &processes));
    Ok(())
}

/// Carries output to the host until the program ends, then reports its end.
fn attend(id: u32, mut child: Child, to: &Channel, processes: &Processes) {
    let result = (|| {
        let mut readers = Vec::new();
        // A reader stops when all writers closed the pipe, or when the program itself has ended and the pipe
        // is empty: something it left in the background may hold the pipe open for ever.
        let mut ended = Vec::new();
        let out = child.stdout.take().map(|p| (Stream::Out, OwnedFd::from(p)));
        let err = child.stderr.take().map(|p| (Stream::Err, OwnedFd::from(p)));
        for (stream, pipe) in out.into_iter().chain(err) {
            let (watch, end) = rustix::pipe::pipe()?;
            ended.push(end);
            let to = Arc::clone(to);
            readers.push(thread::spawn(move || carry(id, stream, pipe, &watch, &to)));
        }
        let status = child.wait()?;
        drop(ended);
        for reader in readers {
            let _ = reader.join();
        }
        Ok::<_, io::Error>(status)
    })();
    lock(processes).remove(&id);
    let event = match result {
        Ok(status) => {
            let signal = status.signal().map_or(-1, |s| 128 + s);
            Event::Exited {
                id,
                code: status.code().unwrap_or(signal),
            }
        }
        Err(error) => Event::Failed {
            id,
            reason: error.to_string(),
        },
    };
    tell(to, &event);
}

fn carry(id: u32, stream: Stream, pipe: OwnedFd, ended: &OwnedFd, to: &Channel) {
    let mut pipe = File::from(pipe);
    let mut buffer = vec![0; CHUNK];
    loop {
        let mut fds = [
            PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(ended.as_fd(), PollFlags::IN),
        ];
        match poll(&mut fds, None) {
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => return,
            Ok(_) => {}
        }
        if fds[0].revents().is_empty() {
            return;
        }
        match pipe.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(n) => tell(
                to,
                &Event::Output {
                    id,
                    stream,
                    data: buffer[..n].to_vec(),
                },
            ),
        }
    }
}
