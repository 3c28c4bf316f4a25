// SPDX-License-Identifier: GPL-2.0

//! rdb-heartbeat watches the peer node and takes over its resources.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    rdb_heartbeat::cli::main(std::env::args_os())
}
