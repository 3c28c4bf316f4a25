// SPDX-License-Identifier: GPL-2.0

//! rdbadm administers rdb resources.

fn main() {}
