// SPDX-License-Identifier: GPL-2.0

//! The numbers that module and programs share are those of the YNL specification.
//!
//! `numbers.rs` and `tables.rs` in `src/engine/netlink` are made from the specification. After a change of the specification run
//! this test with `RDB_WRITE_NUMBERS=1` once: it writes the files anew.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use rdb_engine::netlink;
use serde::Deserialize;

#[derive(Deserialize)]
struct Spec {
    name: String,
    protocol: String,
    definitions: Vec<Definition>,
    #[serde(rename = "attribute-sets")]
    attribute_sets: Vec<AttributeSet>,
    operations: Operations,
    #[serde(rename = "mcast-groups")]
    mcast_groups: Groups,
}

#[derive(Deserialize)]
struct Definition {
    r#type: String,
    name: String,
    value: Option<i64>,
    doc: String,
    #[serde(default)]
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    name: String,
    value: u32,
    doc: Option<String>,
}

#[derive(Deserialize)]
struct AttributeSet {
    attributes: Vec<Attribute>,
}

#[derive(Deserialize)]
struct Attribute {
    name: String,
    r#type: String,
    value: u16,
    doc: String,
    r#enum: Option<String>,
    #[serde(default)]
    checks: Checks,
}

#[derive(Deserialize, Default)]
struct Checks {
    min: Option<Limit>,
    max: Option<i64>,
    #[serde(rename = "max-len")]
    max_len: Option<u16>,
}

/// A limit is a number from 0 up, or else the name of a constant: the schema of specifications allows no others.
#[derive(Deserialize)]
#[serde(untagged)]
enum Limit {
    Number(i64),
    Name(String),
}

impl Limit {
    fn value(&self, spec: &Spec) -> i64 {
        match self {
            Limit::Number(number) => *number,
            Limit::Name(name) => {
                let definition = spec.definitions.iter().find(|known| known.name == *name);
                let value = definition.and_then(|definition| definition.value);
                value.unwrap_or_else(|| panic!("constant {name} is not defined"))
            }
        }
    }
}

#[derive(Deserialize)]
struct Operations {
    list: Vec<Operation>,
}

#[derive(Deserialize)]
struct Operation {
    name: String,
    value: u8,
    doc: String,
    #[serde(default)]
    flags: Vec<String>,
    r#do: Option<Exchange>,
    dump: Option<Exchange>,
    event: Option<List>,
    mcgrp: Option<String>,
}

#[derive(Deserialize)]
struct Exchange {
    request: Option<List>,
    reply: Option<List>,
}

#[derive(Deserialize)]
struct List {
    attributes: Vec<String>,
}

#[derive(Deserialize)]
struct Groups {
    list: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    name: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn spec() -> Spec {
    let path = root().join("Documentation/netlink/specs/rdb.yaml");
    let text = std::fs::read_to_string(&path).expect("the specification is part of the tree");
    serde_yaml_ng::from_str(&text).expect("the specification is valid YAML")
}

fn camel(name: &str) -> String {
    name.split('-')
        .map(|word| {
            let mut letters = word.chars();
            letters
                .next()
                .map(|first| first.to_uppercase().to_string() + letters.as_str())
        })
        .map(Option::unwrap_or_default)
        .collect()
}

fn screaming(name: &str) -> String {
    name.to_uppercase().replace('-', "_")
}

fn doc(out: &mut String, indent: &str, text: &str) {
    let text = text.trim_end().replace("[", "\\[").replace("]", "\\]");
    for line in text.lines() {
        writeln!(out, "{indent}/// {line}").unwrap();
    }
}

fn render_definition(out: &mut String, definition: &Definition) {
    let name = &definition.name;
    out.push('\n');
    match definition.r#type.as_str() {
        "const" => {
            doc(out, "", &definition.doc);
            let value = definition.value.expect("a constant has a value");
            writeln!(out, "pub const {}: i32 = {value};", screaming(name)).unwrap();
        }
        "flags" => {
            doc(out, "", &definition.doc);
            writeln!(out, "pub mod {} {{", name.replace('-', "_")).unwrap();
            for entry in &definition.entries {
                writeln!(out, "    /// {}", entry.name).unwrap();
                let name = screaming(&entry.name);
                writeln!(out, "    pub const {name}: u32 = 1 << {};", entry.value).unwrap();
            }
            out.push_str("}\n");
        }
        _ => render_enum(out, definition),
    }
}

fn render_enum(out: &mut String, definition: &Definition) {
    out.push_str("enumeration! {\n");
    doc(out, "    ", &definition.doc);
    writeln!(out, "    {} {{", camel(&definition.name)).unwrap();
    for entry in &definition.entries {
        let (name, value) = (&entry.name, entry.value);
        match &entry.doc {
            Some(text) => writeln!(
                out,
                "        {} = {value}, \"{name}\", \"{text}\";",
                camel(name)
            ),
            None => writeln!(
                out,
                "        {} = {value}, \"{name}\", \"{name}\";",
                camel(name)
            ),
        }
        .unwrap();
    }
    out.push_str("    }\n}\n");
}

/// The largest number of an enumeration, or all bits of a set of flags.
fn enum_bounds(spec: &Spec, name: &str) -> (i64, i64) {
    let definition = spec.definitions.iter().find(|known| known.name == name);
    let definition = definition.unwrap_or_else(|| panic!("enum {name} is not defined"));
    let values = definition
        .entries
        .iter()
        .map(|entry| i64::from(entry.value));
    match definition.r#type.as_str() {
        "flags" => (0, values.map(|bit| 1 << bit).sum()),
        _ => (values.clone().min().unwrap_or(0), values.max().unwrap_or(0)),
    }
}

/// The form of an attribute as arguments of its constructor.
fn kind(spec: &Spec, attribute: &Attribute) -> String {
    let range = |low: i64, high: &str| {
        let bounds = attribute
            .r#enum
            .as_deref()
            .map(|name| enum_bounds(spec, name));
        let min = bounds
            .map(|both| both.0)
            .or(attribute.checks.min.as_ref().map(|min| min.value(spec)))
            .unwrap_or(low);
        let max = bounds.map(|both| both.1).or(attribute.checks.max);
        format!(
            "({min}, {})",
            max.map_or(high.to_owned(), |max| max.to_string())
        )
    };
    let max_len = || {
        let length = attribute.checks.max_len;
        length.unwrap_or_else(|| panic!("{} needs max-len", attribute.name))
    };
    match attribute.r#type.as_str() {
        "pad" => "Kind::Pad".into(),
        "flag" => "Kind::Flag".into(),
        "u16" => format!("u16{}", range(0, "u16::MAX")),
        "u32" => format!("u32{}", range(0, "u32::MAX")),
        "s32" => format!("s32{}", range(i64::from(i32::MIN), "i32::MAX")),
        "u64" => format!("u64{}", range(0, "u64::MAX")),
        "string" => format!("text({})", max_len()),
        "binary" => format!("bytes({})", max_len()),
        other => panic!(
            "{}: type {other} is not used in this family",
            attribute.name
        ),
    }
}

fn attribute_list(names: Option<&List>) -> String {
    let names = names.map_or(&[][..], |list| &list.attributes[..]);
    names
        .iter()
        .map(|name| format!("attr::{}, ", screaming(name)))
        .collect()
}

fn render_operation(out: &mut String, operation: &Operation) {
    let usage = if operation.event.is_some() {
        "Event"
    } else if operation.flags.iter().any(|flag| flag == "admin-perm") {
        "Change"
    } else if operation.dump.is_some() {
        "ReadOrDump"
    } else {
        "Read"
    };
    let request = operation
        .r#do
        .as_ref()
        .and_then(|exchange| exchange.request.as_ref());
    let reply = operation
        .r#do
        .as_ref()
        .and_then(|exchange| exchange.reply.as_ref());
    let reply = reply.or(operation.event.as_ref());
    writeln!(
        out,
        "    Operation {{ number: cmd::{}, name: \"{}\", usage: Use::{usage}, request: &[{}], reply: &[{}] }},",
        screaming(&operation.name),
        operation.name,
        attribute_list(request),
        attribute_list(reply),
    )
    .unwrap();
}

const HEADER: &str = "// SPDX-License-Identifier: GPL-2.0\n\n";
const MADE: &str = "Made from `Documentation/netlink/specs/rdb.yaml` by the test of the netlink crate; do not edit.";

fn render_numbers(spec: &Spec) -> String {
    let mut out = format!(
        "{HEADER}//! Numbers of the netlink family.\n//!\n//! {MADE}\n\nuse super::UnknownNumber;\n"
    );
    for definition in &spec.definitions {
        render_definition(&mut out, definition);
    }
    out.push_str("\n/// Numbers of the commands.\npub mod cmd {\n");
    for operation in &spec.operations.list {
        doc(&mut out, "    ", &operation.doc);
        let name = screaming(&operation.name);
        writeln!(out, "    pub const {name}: u8 = {};", operation.value).unwrap();
    }
    out.push_str("}\n\n/// Numbers of the attributes.\npub mod attr {\n");
    let attributes = &spec.attribute_sets[0].attributes;
    for attribute in attributes {
        doc(&mut out, "    ", &attribute.doc);
        let name = screaming(&attribute.name);
        writeln!(out, "    pub const {name}: u16 = {};", attribute.value).unwrap();
    }
    let last = attributes
        .iter()
        .map(|attribute| attribute.value)
        .max()
        .unwrap_or(0);
    writeln!(
        out,
        "    /// The highest number.\n    pub const MAX: u16 = {last};\n}}"
    )
    .unwrap();
    out
}

fn render_tables(spec: &Spec) -> String {
    let mut out = format!(
        "{HEADER}//! Forms of the attributes, and what each operation takes and gives.\n//!\n//! {MADE}\n\nuse super::{{attr, bytes, cmd, s32, text, u16, u32, u64, Attribute, Kind, Operation, Use}};\n"
    );
    out.push_str("\n/// All attributes, by number.\npub const ATTRS: &[Attribute] = &[\n");
    for attribute in &spec.attribute_sets[0].attributes {
        let name = &attribute.name;
        let number = screaming(name);
        let kind = kind(spec, attribute);
        writeln!(
            out,
            "    Attribute::new(attr::{number}, \"{name}\", {kind}),"
        )
        .unwrap();
    }
    out.push_str("];\n\n/// All operations, by number.\npub const OPS: &[Operation] = &[\n");
    for operation in &spec.operations.list {
        render_operation(&mut out, operation);
    }
    out.push_str("];\n");
    out
}

/// Text without white space and trailing commas, so that the formatter may lay it out as it likes.
fn essence(text: &str) -> String {
    let text: String = text
        .chars()
        .filter(|letter| !letter.is_whitespace())
        .collect();
    text.replace(",]", "]")
        .replace(",}", "}")
        .replace(",)", ")")
}

fn compare(file: &str, wanted: &str) {
    let path = root().join("src/engine/netlink").join(file);
    if std::env::var_os("RDB_WRITE_NUMBERS").is_some() {
        std::fs::write(&path, wanted).expect("the file can be written");
        let status = std::process::Command::new("rustfmt")
            .arg("--edition=2021")
            .arg(&path)
            .status();
        assert!(status.expect("rustfmt runs").success());
    }
    let found = std::fs::read_to_string(&path).expect("the file is part of the tree");
    assert!(
        essence(&found) == essence(wanted),
        "{} and the specification differ; run this test once with RDB_WRITE_NUMBERS=1",
        path.display()
    );
}

#[test]
fn files_are_those_of_the_specification() {
    let spec = spec();
    compare("numbers.rs", &render_numbers(&spec));
    compare("tables.rs", &render_tables(&spec));
}

/// Compares what was compiled, not the text, with the specification.
#[test]
fn compiled_tables_agree_with_the_specification() {
    let spec = spec();
    assert_eq!(spec.name, netlink::FAMILY_NAME);
    assert_eq!(spec.protocol, "genetlink");
    assert!(
        spec.mcast_groups
            .list
            .iter()
            .any(|group| group.name == netlink::EVENTS_GROUP)
    );
    let attributes = &spec.attribute_sets[0].attributes;
    assert_eq!(attributes.len(), netlink::ATTRS.len());
    for (specified, compiled) in attributes.iter().zip(netlink::ATTRS) {
        assert_eq!(
            (specified.name.as_str(), specified.value),
            (compiled.name, compiled.number)
        );
    }
    assert_eq!(spec.operations.list.len(), netlink::OPS.len());
    for (specified, compiled) in spec.operations.list.iter().zip(netlink::OPS) {
        assert_eq!(
            (specified.name.as_str(), specified.value),
            (compiled.name, compiled.number)
        );
        let admin = specified.flags.iter().any(|flag| flag == "admin-perm");
        assert_eq!(
            admin,
            compiled.usage == netlink::Use::Change,
            "{}",
            specified.name
        );
    }
    let states = spec
        .definitions
        .iter()
        .find(|known| known.name == "conn-state")
        .unwrap();
    for entry in &states.entries {
        let state = netlink::ConnState::try_from(entry.value).unwrap();
        assert_eq!(state.name(), entry.name);
    }
}

#[test]
fn specification_is_sound() {
    let spec = spec();
    let mut names = HashSet::new();
    let mut numbers = HashSet::new();
    for attribute in &spec.attribute_sets[0].attributes {
        assert!(
            names.insert(attribute.name.as_str()),
            "attribute {} twice",
            attribute.name
        );
        assert!(
            numbers.insert(attribute.value),
            "attribute number {} twice",
            attribute.value
        );
    }
    let mut commands = HashSet::new();
    for operation in &spec.operations.list {
        assert!(
            commands.insert(operation.value),
            "command number {} twice",
            operation.value
        );
        assert_eq!(
            operation.event.is_some(),
            operation.mcgrp.as_deref() == Some("events")
        );
        let exchanges = operation.r#do.iter().chain(&operation.dump);
        let lists = exchanges.flat_map(|exchange| exchange.request.iter().chain(&exchange.reply));
        for name in lists
            .chain(&operation.event)
            .flat_map(|list| &list.attributes)
        {
            assert!(
                names.contains(name.as_str()),
                "{}: no attribute {name}",
                operation.name
            );
        }
    }
    for code in netlink::ErrorCode::ALL {
        assert!((102..=170).contains(&(*code as u32)));
    }
}
