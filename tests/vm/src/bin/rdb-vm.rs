//! Two machines for a developer to play with: `make vm`.
//!
//! The first node's shell is on this terminal. The second node's waits on a socket: `rdb-vm --attach SOCKET` in
//! another window joins it. Ctrl-] leaves; the machines end with the program that started them.

use std::{
    fs,
    io::{self, Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
    thread,
};

use anyhow::{Context, Result};
use clap::Parser;
use crossterm::terminal;
use rdb_testbed::{DiskSpec, Ground, Node, Testbed, cache, rdb};

/// Two connected machines, and a shell on the first.
#[derive(Parser)]
struct Arguments {
    /// What the machines stand on
    #[arg(long, value_enum, default_value = "uml")]
    ground: Ground,
    /// Size of each lower disk in MiB
    #[arg(long, default_value_t = 256)]
    disk: u64,
    /// Memory of each machine in MiB
    #[arg(long, default_value_t = 512)]
    memory: u32,
    /// Leave the module unloaded and nothing configured
    #[arg(long)]
    bare: bool,
    /// Join the shell that waits on this socket, instead of starting machines
    #[arg(long, value_name = "SOCKET")]
    attach: Option<PathBuf>,
}

const LEAVE: u8 = 0x1d;

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let Some(socket) = arguments.attach {
        let stream =
            UnixStream::connect(&socket).with_context(|| format!("{}", socket.display()))?;
        return bridge(stream);
    }
    println!("starting two machines …");
    let bed = Testbed::builder("vm", arguments.ground)
        .disks(&[DiskSpec::mib(arguments.disk)])
        .memory(arguments.memory)
        .with_shell()
        .boot()?;
    if !arguments.bare {
        bed.both(|node| {
            node.write_file("/etc/rdb.conf", rdb::configuration(1))?;
            node.run("modprobe rdb").map(drop)
        })?;
    }
    let socket = cache::cache().join(format!("run/{}-vm.sock", std::process::id()));
    let listener = UnixListener::bind(&socket)?;
    let other = bed.b.shell()?.context("the second node has no terminal")?;
    thread::spawn(move || serve(&listener, &other));

    println!(
        "{} ({}) and {} ({}) run kernel {}.",
        bed.a.name(),
        bed.a.address(),
        bed.b.name(),
        bed.b.address(),
        bed.a.kernel().release
    );
    if !arguments.bare {
        println!(
            "/etc/rdb.conf describes r0 on /dev/sdb; next: rdbadm create-md r0, rdbadm up r0 (on both)."
        );
    }
    println!("Second node: rdb-vm --attach {}", socket.display());
    println!("Logs: {}. Ctrl-] ends it all.", bed.logs().display());
    let result = shell(&bed.a);
    let _ = fs::remove_file(&socket);
    result?;
    bed.finish()
}

fn shell(node: &Node) -> Result<()> {
    let mut stream = node.shell()?.context("the first node has no terminal")?;
    let (columns, rows) = terminal::size()
        .ok()
        .filter(|(columns, _)| *columns > 0)
        .unwrap_or((80, 24));
    stream.write_all(format!("stty rows {rows} cols {columns}; clear\n").as_bytes())?;
    bridge(stream)
}

/// Connects this terminal with a machine's, until Ctrl-] or the end of either.
fn bridge(mut stream: UnixStream) -> Result<()> {
    let interactive = rustix::termios::isatty(io::stdin());
    if interactive {
        terminal::enable_raw_mode()?;
    }
    let mut from = stream.try_clone()?;
    thread::spawn(move || {
        let _ = io::copy(&mut from, &mut Unbuffered);
    });
    let mut buffer = [0; 1024];
    let result = loop {
        match io::stdin().read(&mut buffer) {
            Ok(0) => break Ok(()),
            Ok(length) => {
                let typed = &buffer[..length];
                let end = typed.iter().position(|byte| *byte == LEAVE);
                if let Err(error) = stream.write_all(&typed[..end.unwrap_or(length)]) {
                    break Err(error.into());
                }
                if end.is_some() {
                    break Ok(());
                }
            }
            Err(error) => break Err(error.into()),
        }
    };
    if interactive {
        terminal::disable_raw_mode()?;
        println!();
    }
    result
}

/// Standard output, with each piece shown at once.
struct Unbuffered;

impl Write for Unbuffered {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let length = io::stdout().write(data)?;
        io::stdout().flush()?;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush()
    }
}

/// Lends a node's terminal to one visitor after the other.
fn serve(listener: &UnixListener, terminal: &UnixStream) {
    for visitor in listener.incoming().flatten() {
        let pair = || -> io::Result<_> {
            Ok((
                visitor.try_clone()?,
                terminal.try_clone()?,
                visitor.try_clone()?,
                terminal.try_clone()?,
            ))
        };
        let Ok((mut from_visitor, mut to_terminal, mut to_visitor, mut from_terminal)) = pair()
        else {
            continue;
        };
        thread::spawn(move || io::copy(&mut from_terminal, &mut to_visitor));
        let _ = io::copy(&mut from_visitor, &mut to_terminal);
        let _ = visitor.shutdown(std::net::Shutdown::Both);
    }
}
