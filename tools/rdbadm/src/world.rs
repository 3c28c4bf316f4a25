// SPDX-License-Identifier: GPL-2.0

//! Everything outside of the program: the module, the terminal, this node. Tests put their own in its place.

use std::cell::{OnceCell, RefCell};
use std::io::{self, IsTerminal, Write};
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Command;

use rdb_config::resolve::Node;
use rdb_netlink::{Client, Error, Kernel, Message, Result};

use crate::failure::{Failure, Outcome, exit};

/// The terminal, if there is one.
#[derive(Clone, Copy, Debug)]
pub struct Terminal {
    /// Questions can be asked.
    pub input: bool,
    /// Somebody looks at the output.
    pub output: bool,
    /// Colour is welcome there.
    pub colour: bool,
    /// Columns of the output.
    pub width: usize,
}

/// A way to connect to the module.
pub type Connect = Box<dyn Fn() -> Result<Box<dyn Kernel>>>;

/// Everything outside of the program.
pub struct World {
    /// This node.
    pub node: Node,
    /// The terminal.
    pub terminal: Terminal,
    /// Connects to the module.
    pub connect: Connect,
    /// Tries to load the module; true if that worked.
    pub load_module: Box<dyn Fn() -> bool>,
    /// Asks a question that needs the word yes.
    pub ask: Box<dyn Fn(&str) -> bool>,
    /// Accept regular files as devices.
    pub files: bool,
    /// Where the output goes.
    pub out: RefCell<Box<dyn Write>>,
    /// Where messages go.
    pub err: RefCell<Box<dyn Write>>,
    /// Print calls instead of making them.
    pub dry_run: bool,
    /// Print calls and make them.
    pub verbose: bool,
    kernel: OnceCell<Box<dyn Kernel>>,
}

impl World {
    /// The world as it is.
    pub fn real() -> Self {
        let output = io::stdout().is_terminal();
        let width = rustix::termios::tcgetwinsize(io::stdout()).map_or(80, |size| size.ws_col);
        Self {
            node: Node {
                name: host_name(),
                addresses: Some(local_addresses()),
            },
            terminal: Terminal {
                input: io::stdin().is_terminal(),
                output,
                // Whoever sets it wants no colour: https://no-color.org
                colour: output && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
                width: if width == 0 { 80 } else { width.into() },
            },
            connect: Box::new(|| Ok(Box::new(Client::connect()?) as Box<dyn Kernel>)),
            load_module: Box::new(modprobe),
            ask: Box::new(ask),
            files: false,
            out: RefCell::new(Box::new(io::stdout())),
            err: RefCell::new(Box::new(io::stderr())),
            dry_run: false,
            verbose: false,
            kernel: OnceCell::new(),
        }
    }

    /// A world for tests: output goes into `out` and `err`, nobody answers questions.
    pub fn fake(node: Node, connect: Connect, out: Box<dyn Write>, err: Box<dyn Write>) -> Self {
        Self {
            node,
            terminal: Terminal {
                input: false,
                output: false,
                colour: false,
                width: 80,
            },
            connect,
            load_module: Box::new(|| false),
            ask: Box::new(|_| false),
            files: true,
            out: RefCell::new(out),
            err: RefCell::new(err),
            dry_run: false,
            verbose: false,
            kernel: OnceCell::new(),
        }
    }

    /// The module.
    pub fn kernel(&self) -> Result<&dyn Kernel> {
        if self.kernel.get().is_none() {
            let kernel = (self.connect)()?;
            let _ = self.kernel.set(kernel);
        }
        self.kernel.get().map(AsRef::as_ref).ok_or(Error::NoModule)
    }

    /// The module, which is loaded if that is necessary and possible.
    pub fn kernel_or_load(&self) -> Result<&dyn Kernel> {
        match self.kernel() {
            Err(Error::NoModule) if (self.load_module)() => self.kernel(),
            other => other,
        }
    }

    /// Prints a text as it is.
    pub fn print(&self, text: &str) -> Outcome {
        let mut out = self.out.borrow_mut();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            // Whoever read the output has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Failure::new(0, "")),
            other => other.map_err(Failure::from),
        }
    }

    /// Prints a line.
    pub fn say(&self, line: &str) -> Outcome {
        self.print(&format!("{line}\n"))
    }

    /// Prints a message.
    pub fn complain(&self, text: &str) {
        if !text.is_empty() {
            // Nowhere to report that messages cannot be written.
            let _ = writeln!(self.err.borrow_mut(), "{text}");
        }
    }

    /// Sends a request for an object.
    pub fn request(&self, request: &Message, object: &str) -> Outcome {
        let result = self
            .kernel_or_load()
            .and_then(|kernel| kernel.change(request));
        result.map_err(|error| Failure::from_kernel(&error, request.command(), object))
    }

    /// State from the module; nothing if it is not loaded.
    pub fn read<T: Default>(&self, read: impl Fn(&dyn Kernel) -> Result<T>) -> Outcome<T> {
        match self.kernel().and_then(read) {
            Ok(found) => Ok(found),
            Err(Error::NoModule) => Ok(T::default()),
            Err(error) => Err(Failure::new(exit::CANNOT, error.to_string())),
        }
    }
}

fn host_name() -> String {
    for variable in ["__RDB_NODE__", "__DRBD_NODE__"] {
        if let Ok(name) = std::env::var(variable) {
            eprintln!("   found {variable} in the environment: this node is taken for {name}");
            return name;
        }
    }
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

fn local_addresses() -> Vec<IpAddr> {
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else {
        return Vec::new();
    };
    let addresses = interfaces.filter_map(|interface| {
        let address = interface.address?;
        let four = address
            .as_sockaddr_in()
            .map(|address| IpAddr::from(address.ip()));
        four.or_else(|| {
            address
                .as_sockaddr_in6()
                .map(|address| IpAddr::from(address.ip()))
        })
    });
    addresses.collect()
}

fn modprobe() -> bool {
    let places = ["/sbin/modprobe", "/usr/sbin/modprobe"];
    let program = places.iter().map(PathBuf::from).find(|path| path.exists());
    let program = program.unwrap_or_else(|| "modprobe".into());
    Command::new(program)
        .arg("rdb")
        .status()
        .is_ok_and(|status| status.success())
}

fn ask(question: &str) -> bool {
    eprint!("{question} [need to type 'yes' to confirm] ");
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).is_ok() && answer.trim() == "yes"
}
