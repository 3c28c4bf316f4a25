// SPDX-License-Identifier: GPL-2.0

//! The file `haresources`: groups of resources and the node that each prefers (specification,
//! section 4).

use super::diagnostic::{Diagnostics, Place, Word, words};
use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;

/// One resource: a script and its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Name of the script, without a directory.
    pub script: String,
    /// Its arguments; `start`, `stop` or `status` follows them in the call.
    pub arguments: Vec<String>,
    /// As the file writes it.
    pub text: String,
    /// Where it stands in the file.
    pub place: Place,
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Resources that move together: started left to right, stopped right to left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The node that runs it if both can, lower case.
    pub preferred: String,
    /// At least one; the text of the first is the group's key.
    pub resources: Vec<Resource>,
}

impl Group {
    /// The name by which the nodes speak of the group: its first resource.
    pub fn key(&self) -> &str {
        self.resources.first().map_or("", |r| &r.text)
    }
}

/// Reads the text of a `haresources` file for a cluster of `nodes` (lower case); problems go to
/// `problems`, and with an error among them the answer is `None`.
pub fn parse(text: &str, nodes: &[String], problems: &mut Diagnostics) -> Option<Vec<Group>> {
    let mut groups: Vec<Group> = Vec::new();
    let mut keys: BTreeMap<String, Place> = BTreeMap::new();
    for logical in logical_lines(text, problems) {
        let Some((node, resources)) = logical.split_first() else {
            continue;
        };
        let preferred = node.text.to_lowercase();
        if !nodes.contains(&preferred) {
            let known = nodes.iter().map(String::as_str);
            let near = super::diagnostic::nearest(&preferred, known);
            let text = format!(
                "`{}` is no node of this cluster{near}: a group starts with the name of the node \
                 that prefers it, one of {}",
                node.text,
                nodes.join(", ")
            );
            problems.error(node.place, text);
            continue;
        }
        let list: Vec<_> = resources
            .iter()
            .filter_map(|w| resource(w, problems))
            .collect();
        let Some(first) = list.first() else {
            problems.error(
                node.place,
                "the group has no resource: expected `NODE RESOURCE …`",
            );
            continue;
        };
        if let Some(other) = keys.insert(first.text.clone(), first.place) {
            let text = format!(
                "the group on line {} also starts with `{}`: the first resource must be unique",
                other.line, first.text
            );
            problems.error(first.place, text);
        }
        groups.push(Group {
            preferred,
            resources: list,
        });
    }
    (!problems.has_errors()).then_some(groups)
}

/// The words of each logical line. A backslash at the end of a line joins the next one; a stray
/// backslash, as it comes out of a text whose line breaks were lost, is dropped with a warning.
fn logical_lines<'a>(text: &'a str, problems: &mut Diagnostics) -> Vec<Vec<Word<'a>>> {
    let mut result = Vec::new();
    let mut current: Vec<Word<'a>> = Vec::new();
    let mut lines = text.lines().enumerate().peekable();
    while let Some((index, line)) = lines.next() {
        let last = lines.peek().is_none();
        let joins = line.ends_with('\\') && !line.contains('#');
        let body = if joins { &line[..line.len() - 1] } else { line };
        for word in words(body, index + 1) {
            if word.text == "\\" {
                problems.warning(
                    word.place,
                    "stray backslash ignored: it joins lines only at \
                     the end of a line",
                );
            } else {
                current.push(word);
            }
        }
        if joins && last {
            let place = Place {
                line: index + 1,
                column: body.chars().count() + 1,
            };
            problems.warning(
                place,
                "backslash at the end of the last line ignored: no line follows",
            );
        }
        if !joins || last {
            result.push(std::mem::take(&mut current));
        }
    }
    result
}

fn resource(word: &Word<'_>, problems: &mut Diagnostics) -> Option<Resource> {
    let text = word.text;
    let address = text.split('/').next().unwrap_or_default();
    let (script, arguments) = if address.parse::<Ipv4Addr>().is_ok() {
        ("IPaddr", vec![text.to_owned()])
    } else {
        let mut parts = text.split("::");
        (
            parts.next().unwrap_or_default(),
            parts.map(str::to_owned).collect(),
        )
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@' | '+');
    if script.is_empty() || script.starts_with('.') || !script.chars().all(plain) {
        let text = format!(
            "`{text}` is no resource: expected `SCRIPT`, `SCRIPT::ARGUMENT::…` or an IPv4 address"
        );
        problems.error(word.place, text);
        return None;
    }
    if script == "drbdupper" {
        problems.error(
            word.place,
            "stacked resources (`drbdupper`) are not supported",
        );
        return None;
    }
    let script = script.to_owned();
    Some(Resource {
        script,
        arguments,
        text: text.to_owned(),
        place: word.place,
    })
}
