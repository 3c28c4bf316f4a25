// SPDX-License-Identifier: GPL-2.0

//! The order of words: that of version 8.3 is brought into the usual one (admin-tool.md, section 2).

/// Options whose value is the next word.
const WITH_VALUE: &[&str] = &[
    "-c",
    "--config-file",
    "-t",
    "--config-to-test",
    "-P",
    "--peer",
    "-n",
    "--sh-varname",
    "-s",
    "--drbdsetup",
    "-m",
    "--drbdmeta",
    "-p",
    "--drbd-proxy-ctl",
];

/// Brings the form of version 8.3, `[general] -- --option … COMMAND RESOURCE`, and `-W--option` into the usual order.
pub fn usual_order(words: Vec<String>) -> Vec<String> {
    let mut front = Vec::new();
    let mut passed = Vec::new();
    let mut rest = words.into_iter().peekable();
    front.extend(rest.next());
    while let Some(word) = rest.next_if(|word| word.starts_with('-') && word != "--") {
        match word
            .strip_prefix("-W")
            .filter(|option| option.starts_with('-'))
        {
            Some(option) => passed.push(option.to_owned()),
            None => {
                let takes_value = WITH_VALUE.contains(&word.as_str());
                front.push(word);
                front.extend(takes_value.then(|| rest.next()).flatten());
            }
        }
    }
    if rest.next_if(|word| word == "--").is_some() {
        while let Some(option) = rest.next_if(|word| word.starts_with('-')) {
            passed.push(option);
        }
    }
    let command = rest.next();
    let name = command.clone().unwrap_or_default();
    front.extend(command);
    front.extend(
        passed
            .into_iter()
            .map(|option| match (name.as_str(), option.as_str()) {
                ("primary", "-o") => "--overwrite-data-of-peer".to_owned(),
                ("connect", "--dry-run") => "--tentative".to_owned(),
                _ => option,
            }),
    );
    front.extend(rest);
    front
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::{CommandFactory, Parser};

    fn order(line: &str) -> String {
        usual_order(line.split(' ').map(str::to_owned).collect()).join(" ")
    }

    #[test]
    fn definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn old_order() {
        assert_eq!(
            order("rdbadm -- --overwrite-data-of-peer primary r0"),
            "rdbadm primary --overwrite-data-of-peer r0"
        );
        assert_eq!(
            order("rdbadm -c f -d -- --dry-run connect r0"),
            "rdbadm -c f -d connect --tentative r0"
        );
        assert_eq!(
            order("rdbadm -- -o primary r0"),
            "rdbadm primary --overwrite-data-of-peer r0"
        );
        assert_eq!(
            order("rdbadm -W--force primary r0"),
            "rdbadm primary --force r0"
        );
        assert_eq!(
            order("rdbadm primary --force r0 -d"),
            "rdbadm primary --force r0 -d"
        );
        assert_eq!(
            order("rdbadm -- --size=10G resize r0"),
            "rdbadm resize --size=10G r0"
        );
    }

    #[test]
    fn the_line_of_the_howto_forces() {
        let words = usual_order(
            ["rdbadm", "--", "--overwrite-data-of-peer", "primary", "r0"]
                .map(str::to_owned)
                .to_vec(),
        );
        let cli = Cli::try_parse_from(words).unwrap();
        match cli.command {
            Some(Command::Primary { force, names }) => {
                assert!(force);
                assert_eq!(names.names, ["r0"]);
            }
            other => panic!("{other:?}"),
        }
    }
}
