// SPDX-License-Identifier: GPL-2.0

//! The configuration of rdb: the `drbd.conf` language of the 8.4 generation with the spellings of 8.3.
//!
//! [`load`] reads a file and what it includes, [`load_default`] the files of the system. Both check the whole and give either a
//! [`Config`] or all [`Problems`] at once, each with file, line, column and the source line. What the configuration means for one
//! node is in [`resolve`], its normal form in [`dump`]. The language is specified in `Documentation/specification/configuration.md`.

#![forbid(unsafe_code)]

mod check;
pub mod dump;
mod lex;
pub mod model;
pub mod number;
mod parse;
pub mod resolve;
pub mod source;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

pub use model::Config;
use source::{Diagnostic, Sources};

/// Exit code of a configuration that cannot be used.
pub const EXIT_INVALID: i32 = 10;
/// Exit code of a number that cannot be understood.
pub const EXIT_BAD_NUMBER: i32 = 20;

/// Why a configuration cannot be used.
#[derive(Clone, Debug)]
pub struct Problems {
    /// The files, for places.
    pub sources: Sources,
    /// The errors.
    pub errors: Vec<Diagnostic>,
    /// Warnings that came up besides.
    pub warnings: Vec<Diagnostic>,
}

impl Problems {
    fn bare(text: String) -> Self {
        let errors = vec![Diagnostic::bare(text)];
        Self {
            sources: Sources::default(),
            errors,
            warnings: Vec::new(),
        }
    }

    /// Exit code of a program that gives up because of them.
    pub fn exit_code(&self) -> i32 {
        match self.errors.iter().any(|error| error.bad_number) {
            true => EXIT_BAD_NUMBER,
            false => EXIT_INVALID,
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in self.warnings.iter().chain(&self.errors) {
            f.write_str(&problem.render(&self.sources))?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Reads and checks a text. `name` is shown in messages, relative includes refer to `folder`.
pub fn parse(name: &str, folder: &Path, text: &str) -> Result<Config, Problems> {
    finish(parse::parse(name, folder, None, text.to_owned()))
}

/// Reads and checks a file and what it includes.
pub fn load(path: &Path) -> Result<Config, Problems> {
    match read(path) {
        Ok(text) => load_text(path, text),
        Err(error) => Err(Problems::bare(format!(
            "cannot open {}: {error}",
            path.display()
        ))),
    }
}

fn load_text(path: &Path, text: String) -> Result<Config, Problems> {
    let folder = path.parent().unwrap_or(Path::new(""));
    finish(parse::parse(
        &path.to_string_lossy(),
        folder,
        Some(path),
        text,
    ))
}

fn read(path: &Path) -> io::Result<String> {
    let bytes = std::fs::read(path)?;
    let text = String::from_utf8(bytes);
    text.map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "the file is not valid UTF-8"))
}

/// Where the configuration of a system is looked for.
#[derive(Clone, Debug)]
pub struct Places {
    /// The main file of rdb.
    pub main: PathBuf,
    /// Folder whose files `*.res` belong to it, whether it includes them or not.
    pub folder: PathBuf,
    /// The file of DRBD, used when there is nothing of rdb.
    pub fallback: PathBuf,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            main: "/etc/rdb.conf".into(),
            folder: "/etc/rdb.d".into(),
            fallback: "/etc/drbd.conf".into(),
        }
    }
}

/// Reads the configuration of the system.
///
/// The main file is read, then the files `*.res` of the folder that it did not include; the folder alone will do. Without either,
/// the file of DRBD is read.
pub fn load_default(places: &Places) -> Result<Config, Problems> {
    let pattern = places.folder.join("*.res");
    let in_folder =
        glob::glob(&pattern.to_string_lossy()).is_ok_and(|mut found| found.next().is_some());
    match read(&places.main) {
        Ok(text) if in_folder => {
            // Everything stays on the lines where it is in the file.
            let rest = format!("\ninclude \"{}\";\n", pattern.display());
            load_text(&places.main, text + &rest)
        }
        Ok(text) => load_text(&places.main, text),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Problems::bare(format!(
            "cannot open {}: {error}",
            places.main.display()
        ))),
        Err(_) if in_folder => {
            let common = places.folder.join("global_common.con[f]");
            let text = format!(
                "include \"{}\";\ninclude \"{}\";\n",
                common.display(),
                pattern.display()
            );
            load_text(&places.main, text)
        }
        Err(_) => match read(&places.fallback) {
            Ok(text) => load_text(&places.fallback, text),
            Err(error) => Err(Problems::bare(format!(
                "no configuration: cannot open {} or {} ({error}), and there is no {}",
                places.main.display(),
                places.fallback.display(),
                pattern.display()
            ))),
        },
    }
}

fn finish(outcome: parse::Outcome) -> Result<Config, Problems> {
    let parse::Outcome {
        mut config,
        mut errors,
        incomplete,
    } = outcome;
    // What is missing because it could not be read must not be reported as missing.
    if !incomplete {
        errors.extend(check::finish(&mut config));
    }
    if errors.is_empty() {
        return Ok(config);
    }
    Err(Problems {
        sources: config.sources,
        errors,
        warnings: config.warnings,
    })
}

/// Reads one option as it is given on a command line.
///
/// # Errors
///
/// The message says what is wrong with the value; the number is the exit code.
pub fn parse_option(
    section: rdb_engine::options::Section,
    name: &str,
    value: &str,
) -> Result<model::Setting, (i32, String)> {
    let quoted = match value {
        "yes" | "no" => value.to_owned(),
        _ => format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"")),
    };
    let text = format!("common {{ {} {{ {name} {quoted}; }} }}", section.name());
    match parse("command line", Path::new(""), &text) {
        Ok(config) => {
            let common = config.common.unwrap_or_default();
            let mut all = [common.net, common.disk, common.options]
                .into_iter()
                .flatten();
            all.next()
                .ok_or_else(|| (EXIT_INVALID, format!("{name} is not an option")))
        }
        Err(problems) => {
            let text = problems.errors.iter().map(|error| {
                let notes = error.notes.iter().map(|(_, note)| format!(" ({note})"));
                error.text.clone() + &notes.collect::<String>()
            });
            Err((
                problems.exit_code(),
                format!("--{name}: {}", text.collect::<Vec<_>>().join("; ")),
            ))
        }
    }
}
