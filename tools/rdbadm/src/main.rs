// SPDX-License-Identifier: GPL-2.0

//! rdbadm administers rdb resources.

#![forbid(unsafe_code)]

use std::process::exit;

use rdbadm::app;
use rdbadm::world::World;

fn main() {
    let words = std::env::args_os()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    exit(app::main(words, &mut World::real()));
}
