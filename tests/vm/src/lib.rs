//! The rdb testbed: two emulated machines which can be commanded, cut off, frozen and killed.
//!
//! A test makes a [`Testbed`] and talks to its [`Node`]s; it does not know which [`Ground`] they stand on. Every
//! machine is a child process of the test: its network card, command channel and monitor are socket pairs that
//! the test holds the other ends of, so nothing of the host's network is touched and no privileges are needed
//! for it, and the kernel kills the machines when the test dies, however it dies.
//!
//! ```text
//!   test ── Testbed ─┬─ Node a ── machine process (UML or QEMU) ── agent ── programs
//!                    ├─ Link: carries, drops Ethernet frames
//!                    └─ Node b ── machine process (UML or QEMU) ── agent ── programs
//! ```

#![forbid(unsafe_code)]

mod agent;
mod bed;
pub mod cache;
pub mod console;
mod disk;
mod end;
mod ground;
mod initrd;
mod launch;
mod link;
mod node;
pub mod protocol;
mod qmp;
pub mod rdb;
pub mod stamp;
mod unload;
mod volatile;
mod writer;

pub use agent::{Background, Output};
pub use bed::{Builder, NODES, Testbed};
pub use disk::{Disk, DiskSpec, assert_data_identical};
pub use end::{End, Module};
pub use ground::{Ground, Kernel};
pub use link::{Link, Way};
pub use node::{BOOT_LIMIT, COMMAND_LIMIT, Node};
pub use qmp::Qmp;
pub use writer::{Writer, check_lower_disk};

/// Makes a test of each named function `fn(Ground) -> anyhow::Result<()>` on UML (`uml::NAME`), on QEMU with
/// the stock kernel (`qemu::NAME`) and on QEMU with the debug kernel (`debug::NAME`).
#[macro_export]
macro_rules! vm_tests {
    ($($name:ident),+ $(,)?) => {
        mod uml {
            $(#[test] fn $name() -> anyhow::Result<()> { super::$name(rdb_testbed::Ground::Uml) })+
        }
        mod qemu {
            $(#[test] fn $name() -> anyhow::Result<()> { super::$name(rdb_testbed::Ground::Qemu) })+
        }
        mod debug {
            $(#[test] fn $name() -> anyhow::Result<()> { super::$name(rdb_testbed::Ground::Debug) })+
        }
    };
}
