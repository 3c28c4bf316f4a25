// SPDX-License-Identifier: GPL-2.0

//! The fencing device of `stonith` and `stonith_host` lines (specification, section 12).

use super::diagnostic::{Place, Word};

const SUPPORTED: &str =
    "expected `null`, `meatware`, `external/NAME PARAMETERS…` or `fence NAME key=value…`";

/// How a dead node is made safe before its resources are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FenceDevice {
    /// Always succeeds; for tests only.
    Null,
    /// An operator resets the node and says so with `rdb-heartbeat confirm NODE`.
    Meatware,
    /// A program of `/usr/lib/stonith/plugins/external/`; parameters by position.
    External {
        /// Name of the program.
        name: String,
        /// Values of the parameters in the order of the program's `getconfignames`.
        parameters: Vec<String>,
    },
    /// A `fence_NAME` agent of the fence-agents package.
    Agent {
        /// Name after `fence_`.
        name: String,
        /// Options as `(key, value)`.
        options: Vec<(String, String)>,
    },
}

/// Reads the values of a `stonith` or `stonith_host` line; `None` if it is for another node.
pub fn parse(
    directive: &Word<'_>,
    values: &[Word<'_>],
    own: &str,
) -> Result<Option<FenceDevice>, (Place, String)> {
    if directive.text == "stonith_host" {
        let Some((from, rest)) = values.split_first() else {
            return Ok(None);
        };
        if from.text != "*" && from.text.to_lowercase() != own {
            return Ok(None);
        }
        let Some((kind, parameters)) = rest.split_first() else {
            let text = format!("`stonith_host {}` lacks a type: {SUPPORTED}", from.text);
            return Err((from.place, text));
        };
        let parameters: Vec<_> = parameters.iter().map(|w| w.text.to_owned()).collect();
        return device(kind, parameters).map(Some);
    }
    match values {
        [kind] => device(kind, Vec::new()).map(Some),
        [kind, file, rest @ ..] if kind.text != "fence" || rest.is_empty() => {
            let text = std::fs::read_to_string(file.text)
                .map_err(|e| (file.place, format!("cannot read `{}`: {e}", file.text)))?;
            let line = text
                .lines()
                .map(str::trim)
                .find(|l| !l.is_empty() && !l.starts_with('#'));
            let parameters = line
                .unwrap_or_default()
                .split_whitespace()
                .map(str::to_owned)
                .collect();
            device(kind, parameters).map(Some)
        }
        [kind, parameters @ ..] => {
            device(kind, parameters.iter().map(|w| w.text.to_owned()).collect()).map(Some)
        }
        [] => Ok(None),
    }
}

fn device(kind: &Word<'_>, parameters: Vec<String>) -> Result<FenceDevice, (Place, String)> {
    let plain = |name: &str| {
        !name.is_empty()
            && !name.starts_with('.')
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    match kind.text {
        "null" => return Ok(FenceDevice::Null),
        "meatware" => return Ok(FenceDevice::Meatware),
        "fence" => {
            let mut parameters = parameters.into_iter();
            let name = parameters.next().unwrap_or_default();
            let options: Option<Vec<_>> = parameters
                .map(|word| {
                    word.split_once('=')
                        .map(|(k, v)| (k.to_owned(), v.to_owned()))
                })
                .collect();
            if let (true, Some(options)) = (plain(&name), options) {
                return Ok(FenceDevice::Agent { name, options });
            }
        }
        other => {
            if let Some(name) = other.strip_prefix("external/").filter(|name| plain(name)) {
                return Ok(FenceDevice::External {
                    name: name.to_owned(),
                    parameters,
                });
            }
        }
    }
    Err((
        kind.place,
        format!(
            "fencing device `{}` is not supported: {SUPPORTED}",
            kind.text
        ),
    ))
}
