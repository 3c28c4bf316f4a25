// SPDX-License-Identifier: GPL-2.0

//! Self-test of `rdb_kapi`: exercises every wrapper in a running kernel, without any `unsafe` of
//! its own.
//!
//! Loading it runs the tests that need nobody else and logs one line for each, `ok NAME` or `not ok
//! NAME`; then it leaves a passthrough disk `/dev/kapi0`, a netlink family and
//! `/proc/rdb_kapi_test` for `run.sh` to play with.

#![deny(unsafe_code)]

use kernel::prelude::*;

mod block;
mod disk;
mod genl;
mod net;
mod sync;

module! {
    type: KapiTest,
    name: "rdb_kapi_test",
    authors: ["The rdb authors"],
    description: "Self-test of rdb's kernel wrappers",
    license: "GPL",
}

#[cfg(not(rdb_this_module_static))]
const fn this_module() -> &'static ThisModule {
    kernel::module::this_module::<KapiTest>()
}
#[cfg(rdb_this_module_static)]
const fn this_module() -> &'static ThisModule {
    &THIS_MODULE
}

/// Name and function.
type Test = (&'static str, fn() -> Result);

/// The value, or an error that says where it was not as expected.
#[macro_export]
macro_rules! check {
    ($what:expr) => {
        if !$what {
            pr_err!("{}:{}: not so: {}\n", file!(), line!(), stringify!($what));
            return Err(EINVAL);
        }
    };
}

fn report(name: &str, result: Result) {
    match result {
        Ok(()) => pr_info!("ok {}\n", name),
        Err(e) => pr_err!("not ok {}: {:?}\n", name, e),
    }
}

struct KapiTest {
    // Dropped in this order.
    _family: rdb_kapi::genl::Registration,
    _proc: rdb_kapi::proc::ProcFile<genl::Text>,
    disk: Option<disk::TestDisk>,
}

impl kernel::Module for KapiTest {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        for (name, test) in [sync::TESTS, block::TESTS, net::TESTS]
            .iter()
            .flat_map(|t| t.iter())
        {
            report(name, test());
        }
        let disk = disk::TestDisk::new();
        report("disk", disk.as_ref().map(|_| ()).map_err(|e| *e));
        Ok(KapiTest {
            _family: genl::register()?,
            _proc: genl::proc_file()?,
            disk: disk.ok(),
        })
    }
}

impl Drop for KapiTest {
    fn drop(&mut self) {
        if let Some(disk) = self.disk.take() {
            report("disk-gone", disk.remove());
        }
    }
}
