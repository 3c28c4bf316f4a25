// SPDX-License-Identifier: GPL-2.0

//! Metadata against golden files that the reference's tool and driver wrote, and against arbitrary
//! bytes.
//!
//! The files are in `tests/vectors/metadata`; its README says how each was made.

mod apply;
mod golden;
mod placement;
mod properties;
mod unit;

use std::path::Path;
use std::vec::Vec;

/// Content of a golden file.
fn vector(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/metadata");
    let path = folder.join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Content of a golden file as text.
fn text_vector(name: &str) -> std::string::String {
    std::string::String::from_utf8(vector(name)).expect("golden text is UTF-8")
}

/// Sectors before and of a file that covers the end of a device.
const MIB_128: u64 = 134_217_728;
