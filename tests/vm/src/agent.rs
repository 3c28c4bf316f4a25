//! Host's side of a machine's command channel.

use std::{
    collections::HashMap,
    io::{self, Write},
    os::unix::net::UnixStream,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::protocol::{self, CHUNK, Event, Request, Stream};

/// After so long without an answer the host says something that means nothing.
const NUDGE: Duration = Duration::from_secs(10);

/// To a process that there never is.
const NOTHING: Request = Request::Signal {
    id: u32::MAX,
    signal: 0,
};

/// What a program in a guest left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
    /// Exit code, or 128 + signal number.
    pub code: i32,
}

impl Output {
    /// Standard output as text.
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text.
    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Both streams as text, for messages.
    pub fn all(&self) -> String {
        format!("{}{}", self.out(), self.err())
    }
}

type Waiters = Arc<Mutex<HashMap<u32, mpsc::Sender<Event>>>>;

/// Bytes that may be under way to a guest whose line has a window.
struct Window {
    size: usize,
    under_way: Mutex<usize>,
    changed: Condvar,
}

impl Window {
    /// Takes room for up to `wanted` bytes, waiting until there is some. None when the machine is gone.
    fn take(&self, wanted: usize) -> Option<usize> {
        let under_way = lock(&self.under_way);
        let full = |under_way: &mut usize| *under_way == self.size;
        let mut under_way = self
            .changed
            .wait_while(under_way, full)
            .unwrap_or_else(PoisonError::into_inner);
        if *under_way > self.size {
            return None;
        }
        let taken = wanted.min(self.size - *under_way);
        *under_way += taken;
        Some(taken)
    }

    fn give(&self, bytes: usize) {
        let mut under_way = lock(&self.under_way);
        *under_way = under_way.saturating_sub(bytes);
        self.changed.notify_all();
    }

    fn close(&self) {
        *lock(&self.under_way) = usize::MAX;
        self.changed.notify_all();
    }
}

/// Connection to the agent of a running machine.
pub struct Agent {
    to: Mutex<UnixStream>,
    waiters: Waiters,
    window: Option<Arc<Window>>,
    next: AtomicU32,
    kernel: String,
}

/// A program running in a guest. Dropping it kills it.
pub struct Background {
    agent: Arc<Agent>,
    id: u32,
    events: mpsc::Receiver<Event>,
    gathered: Output,
    ended: bool,
    /// Bytes of standard output already given out by [`Background::wait_for_line`].
    read: usize,
}

impl Agent {
    /// Waits until the agent says hello.
    ///
    /// # Errors
    ///
    /// It does not within `limit`, or the machine ends.
    pub fn connect(mut stream: UnixStream, limit: Duration) -> Result<Arc<Self>> {
        stream.set_read_timeout(Some(limit))?;
        let (kernel, window) = match protocol::receive(&mut stream) {
            Ok(Event::Hello { kernel, window }) => (kernel, window),
            Ok(other) => bail!("agent began with {other:?} instead of a hello"),
            Err(error) => return Err(error).context("the guest's agent did not answer"),
        };
        stream.set_read_timeout(None)?;
        let waiters = Waiters::default();
        let window = window.map(|size| {
            Arc::new(Window {
                size: size as usize,
                under_way: Mutex::new(0),
                changed: Condvar::new(),
            })
        });
        let agent = Self {
            window: window.clone(),
            to: Mutex::new(stream.try_clone()?),
            waiters: Arc::clone(&waiters),
            next: AtomicU32::new(1),
            kernel,
        };
        thread::spawn(move || {
            let error = loop {
                match protocol::receive::<Event>(&mut stream) {
                    Ok(Event::Consumed { bytes }) => {
                        if let Some(window) = &window {
                            window.give(bytes as usize);
                        }
                    }
                    Ok(event) => deliver(&waiters, event),
                    Err(error) => break error,
                }
            };
            if error.kind() == io::ErrorKind::InvalidData {
                eprintln!("testbed: {error}");
            }
            // Whoever still waits learns from the closed queue that the machine is gone.
            lock(&waiters).clear();
            if let Some(window) = window {
                window.close();
            }
        });
        Ok(Arc::new(agent))
    }

    /// Kernel release of the guest.
    pub fn kernel(&self) -> &str {
        &self.kernel
    }

    /// Starts a program.
    ///
    /// # Errors
    ///
    /// The machine is gone.
    pub fn spawn(self: &Arc<Self>, argv: &[&str]) -> Result<Background> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, events) = mpsc::channel();
        lock(&self.waiters).insert(id, sender);
        self.tell(&Request::Spawn {
            id,
            argv: argv.iter().map(|a| (*a).to_owned()).collect(),
        })?;
        Ok(Background {
            agent: Arc::clone(self),
            id,
            events,
            gathered: Output {
                stdout: Vec::new(),
                stderr: Vec::new(),
                code: -1,
            },
            ended: false,
            read: 0,
        })
    }

    fn tell(&self, request: &Request) -> Result<()> {
        let frame = protocol::frame(request)?;
        let mut to = lock(&self.to);
        let mut rest = frame.as_slice();
        while !rest.is_empty() {
            let room = match &self.window {
                None => rest.len(),
                Some(window) => window.take(rest.len()).context("the machine is gone")?,
            };
            let (now, later) = rest.split_at(room);
            to.write_all(now).context("the machine is gone")?;
            rest = later;
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn deliver(waiters: &Waiters, event: Event) {
    let mut waiters = lock(waiters);
    let id = match &event {
        Event::Hello { .. } | Event::Consumed { .. } => return,
        Event::Output { id, .. } | Event::Exited { id, .. } | Event::Failed { id, .. } => *id,
    };
    let last = !matches!(event, Event::Output { .. });
    if let Some(waiter) = waiters.get(&id) {
        // Nobody listens any more: the handle was dropped.
        let _ = waiter.send(event);
    }
    if last {
        waiters.remove(&id);
    }
}

impl Background {
    /// Gives the program input.
    ///
    /// # Errors
    ///
    /// The machine is gone.
    pub fn write(&self, data: &[u8]) -> Result<()> {
        for chunk in data.chunks(CHUNK) {
            self.agent.tell(&Request::Stdin {
                id: self.id,
                data: chunk.to_vec(),
            })?;
        }
        Ok(())
    }

    /// Ends the program's input.
    ///
    /// # Errors
    ///
    /// The machine is gone.
    pub fn close_input(&self) -> Result<()> {
        self.agent.tell(&Request::StdinEnd { id: self.id })
    }

    /// Sends a signal to the program's process group.
    ///
    /// # Errors
    ///
    /// The machine is gone.
    pub fn signal(&self, signal: rustix::process::Signal) -> Result<()> {
        self.agent.tell(&Request::Signal {
            id: self.id,
            signal: signal.as_raw(),
        })
    }

    /// What it printed so far, as far as this handle has looked.
    pub fn printed(&self) -> &Output {
        &self.gathered
    }

    /// Takes in events until `deadline` or the program's end. True if something came.
    fn take(&mut self, deadline: Instant) -> Result<bool> {
        if self.ended {
            return Ok(false);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        match self.events.recv_timeout(left.min(NUDGE)) {
            Ok(Event::Output {
                stream: Stream::Out,
                data,
                ..
            }) => self.gathered.stdout.extend(data),
            Ok(Event::Output {
                stream: Stream::Err,
                data,
                ..
            }) => self.gathered.stderr.extend(data),
            Ok(Event::Exited { code, .. }) => {
                self.gathered.code = code;
                self.ended = true;
            }
            Ok(Event::Failed { reason, .. }) => {
                self.ended = true;
                bail!("cannot start in the guest: {reason}");
            }
            Ok(Event::Hello { .. } | Event::Consumed { .. }) => {}
            Err(RecvTimeoutError::Timeout) if left <= NUDGE => return Ok(false),
            // Something for the line's interrupt to bring: should the guest have missed one, it now sees what came before.
            Err(RecvTimeoutError::Timeout) => self.agent.tell(&NOTHING)?,
            Err(RecvTimeoutError::Disconnected) => bail!("the machine is gone"),
        }
        Ok(true)
    }

    /// Takes in what was already printed, without waiting. False once the program has ended or its machine died.
    pub fn look(&mut self) -> bool {
        while let Ok(true) = self.take(Instant::now()) {}
        !self.ended && lock(&self.agent.waiters).contains_key(&self.id)
    }

    /// Next complete line of standard output that `wanted` accepts; lines before it are passed over.
    ///
    /// # Errors
    ///
    /// No such line within `limit`, or the program or machine ends before.
    pub fn wait_for_line(
        &mut self,
        wanted: impl Fn(&str) -> bool,
        limit: Duration,
    ) -> Result<String> {
        let deadline = Instant::now() + limit;
        loop {
            while let Some(line) = self.next_line() {
                if wanted(&line) {
                    return Ok(line);
                }
            }
            if self.ended {
                bail!(
                    "program ended with code {} before the expected line:\n{}",
                    self.gathered.code,
                    self.gathered.all()
                );
            }
            if !self.take(deadline)? && !self.ended {
                bail!(
                    "expected line did not come within {limit:?}; printed was:\n{}",
                    self.gathered.all()
                );
            }
        }
    }

    fn next_line(&mut self) -> Option<String> {
        let rest = self.gathered.stdout.get(self.read..)?;
        let end = rest.iter().position(|b| *b == b'\n')?;
        let line = String::from_utf8_lossy(&rest[..end]).into_owned();
        self.read += end + 1;
        Some(line)
    }

    /// Waits for the end.
    ///
    /// # Errors
    ///
    /// It does not end within `limit` (it is killed then), or its machine dies.
    pub fn wait(&mut self, limit: Duration) -> Result<Output> {
        let deadline = Instant::now() + limit;
        while !self.ended {
            if !self.take(deadline)? {
                bail!(
                    "not done after {limit:?}; printed was:\n{}",
                    self.gathered.all()
                );
            }
        }
        Ok(self.gathered.clone())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if !self.ended && lock(&self.agent.waiters).remove(&self.id).is_some() {
            let _ = self.signal(rustix::process::Signal::KILL);
        }
    }
}
