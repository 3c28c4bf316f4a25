// SPDX-License-Identifier: GPL-2.0

//! rdb: replicates a block device to a second machine, with DRBD 8.4's wire protocol and metadata.

#![deny(unsafe_code)]

use kernel::prelude::*;

module! {
    type: Rdb,
    name: "rdb",
    authors: ["The rdb authors"],
    description: "Replicated block device",
    license: "GPL",
}

struct Rdb {}

impl kernel::Module for Rdb {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        pr_info!("loaded\n");
        Ok(Rdb {})
    }
}

impl Drop for Rdb {
    fn drop(&mut self) {
        pr_info!("unloaded\n");
    }
}
