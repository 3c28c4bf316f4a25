// SPDX-License-Identifier: GPL-2.0

//! rdb-heartbeat watches the peer node and takes over its resources.

fn main() {}
