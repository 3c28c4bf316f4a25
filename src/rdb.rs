// SPDX-License-Identifier: GPL-2.0

//! rdb: replicates a block device to a second machine, with DRBD 8.4's wire protocol and metadata.

#![deny(unsafe_code)]

use kernel::prelude::*;

mod shell;

use shell::{control, registry};

module! {
    type: Rdb,
    name: "rdb",
    authors: ["The rdb authors"],
    description: "Replicated block device",
    license: "GPL",
}

/// This module, for the tables of C callbacks.
#[cfg(rdb_this_module_static)]
pub(crate) const fn module() -> &'static ThisModule {
    &THIS_MODULE
}

/// This module, for the tables of C callbacks.
#[cfg(not(rdb_this_module_static))]
pub(crate) const fn module() -> &'static ThisModule {
    kernel::module::this_module::<Rdb>()
}

/// Dropped in this order: first nobody can ask for anything any more.
struct Rdb {
    _control: control::Registration,
    _registry: registry::Guard,
}

impl kernel::Module for Rdb {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let registry = registry::Guard::new()?;
        let control = control::register()?;
        pr_info!("loaded\n");
        Ok(Rdb {
            _control: control,
            _registry: registry,
        })
    }
}

impl Drop for Rdb {
    fn drop(&mut self) {
        pr_info!("unloaded\n");
    }
}
