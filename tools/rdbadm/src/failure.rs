// SPDX-License-Identifier: GPL-2.0

//! How commands fail: a message and an exit code (admin-tool.md, section 5).

use std::fmt;

use rdb_netlink::{Error, Refusal, cmd};

/// Exit codes.
pub mod exit {
    /// Wrong usage, unknown command or resource, nothing for this host, a failed step of up or adjust.
    pub const USAGE: i32 = 1;
    /// A wait timed out, or the disk was Inconsistent already when it was to be outdated.
    pub const TIMEOUT: i32 = 5;
    /// The configuration is invalid, or the module refused a request.
    pub const REFUSED: i32 = 10;
    /// A state change was refused.
    pub const STATE: i32 = 11;
    /// There is no local disk.
    pub const NO_DISK: i32 = 16;
    /// There is no UpToDate data, or the node is primary.
    pub const NO_DATA: i32 = 17;
    /// It cannot be done at all: no module, no device, a bad number.
    pub const CANNOT: i32 = 20;
    /// create-md would destroy data.
    pub const DATA: i32 = 40;
    /// There is no valid metadata.
    pub const NO_META: i32 = 255;
}

/// Why a command failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Exit code.
    pub code: i32,
    /// What to print, without a newline at the end; may be empty if everything was said.
    pub text: String,
    /// Number of the refusal, if the module gave one.
    pub refusal: Option<i32>,
}

/// Result of a command.
pub type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    /// A failure with an exit code and a message.
    pub fn new(code: i32, text: impl Into<String>) -> Self {
        Self {
            code,
            text: text.into(),
            refusal: None,
        }
    }

    /// Wrong usage.
    pub fn usage(text: impl Into<String>) -> Self {
        Self::new(exit::USAGE, text)
    }

    /// The answer of the module to `command` for `object`, with what to do next.
    pub fn from_kernel(error: &Error, command: u8, object: &str) -> Self {
        let Error::Refused(refusal) = error else {
            return Self::new(exit::CANNOT, error.to_string());
        };
        let mut text = refusal_line(refusal, object);
        for line in &refusal.info {
            text += &format!("\n    additional info from kernel: {line}");
        }
        if let Some(hint) = refusal.code.and_then(|code| hint(code, object)) {
            text += &format!("\n    {hint}");
        } else if refusal.errno == rustix::io::Errno::PERM.raw_os_error() {
            text += "\n    changing the state of a resource needs root (CAP_NET_ADMIN)";
        }
        Self {
            refusal: refusal.code,
            ..Self::new(exit_code(refusal, command), text)
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Failure {}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(exit::CANNOT, error.to_string())
    }
}

/// The classic form of a refusal.
fn refusal_line(refusal: &Refusal, object: &str) -> String {
    let text = refusal
        .text
        .strip_prefix(object)
        .and_then(|rest| rest.strip_prefix(": "));
    let text = text.unwrap_or(&refusal.text);
    match refusal.code {
        Some(code) if code < 0 => format!("{object}: State change failed: ({code}) {text}"),
        Some(code) => format!("{object}: Failure: ({code}) {text}"),
        None => format!("{object}: Failure: {text}"),
    }
}

fn exit_code(refusal: &Refusal, command: u8) -> i32 {
    match refusal.code {
        Some(-2) if command == cmd::PRIMARY => exit::NO_DATA,
        Some(-16) if command == cmd::OUTDATE => exit::TIMEOUT,
        Some(-6 | -7) if command == cmd::OUTDATE => exit::STATE,
        Some(138) if command == cmd::INVALIDATE => exit::NO_DISK,
        Some(code) if code < 0 => exit::STATE,
        Some(_) => exit::REFUSED,
        // The request did not get as far as the module's own checks.
        None if refusal.errno == rustix::io::Errno::PERM.raw_os_error() => exit::CANNOT,
        None => exit::REFUSED,
    }
}

/// What to do about a refusal.
fn hint(code: i32, object: &str) -> Option<String> {
    let resource = object.split('/').next().unwrap_or(object);
    Some(match code {
        -1 => "make the other node secondary first, or set allow-two-primaries".into(),
        -2 => format!(
            "there is no UpToDate data; connect to a node that has it, or, for the first sync of new disks, declare the data here good: rdbadm primary --force {resource}"
        ),
        -7 => {
            "the peer is not known to be outdated; see option fencing and handler fence-peer".into()
        }
        -8 => format!("wait for it to end: rdbadm wait-sync {resource}"),
        -10 => "the peer refused; its kernel log says why".into(),
        -12 => format!(
            "it is in use: unmount it, or find out by whom: fuser -vm /dev/rdbN (rdbadm sh-dev {resource})"
        ),
        -14 => "set verify-alg in section net on both nodes".into(),
        -15 => format!("connect first: rdbadm connect {resource}"),
        102 | 103 => "another resource has this address and port; give each its own port".into(),
        104 | 105 => "check the path in the configuration, and that the device exists".into(),
        107 | 108 => {
            "files are not accepted; use a block device (losetup makes one of a file)".into()
        }
        112 => "internal and flexible metadata need at least 1 MiB, a slot 128 MiB".into(),
        114 | 115 => "it is mounted or in use by something else; lsblk shows by what".into(),
        119 => format!("make the metadata: rdbadm create-md {resource}"),
        120 | 141 | 144 | 146 => {
            "the digest is unknown to this kernel; /proc/crypto lists those that are loaded".into()
        }
        123 => format!("make it secondary first: rdbadm secondary {resource}"),
        124 => format!(
            "it is attached already; rdbadm adjust {resource} applies changes of the configuration"
        ),
        131 => "make one node primary first".into(),
        138 => format!("attach a disk first: rdbadm attach {resource}"),
        151 => format!("disconnect first: rdbadm disconnect {resource}"),
        158 | 127 => format!("it is not up; run: rdbadm up {resource}"),
        165 => format!("apply the activity log: rdbadm apply-al {resource}"),
        170 => "give the smaller size explicitly".into(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: Option<i32>, text: &str) -> Error {
        Error::Refused(Refusal {
            errno: 22,
            code,
            text: text.into(),
            info: vec!["more".into()],
        })
    }

    #[test]
    fn classic_form_and_advice() {
        let error = refused(Some(119), "r0/0: no valid metadata on /dev/sdb");
        let failure = Failure::from_kernel(&error, cmd::ATTACH, "r0/0");
        assert_eq!(
            failure.text,
            "r0/0: Failure: (119) no valid metadata on /dev/sdb\n    additional info from kernel: more\n    make the metadata: rdbadm create-md r0"
        );
        assert_eq!(failure.code, 10);
    }

    #[test]
    fn exit_codes() {
        let code =
            |number, command| Failure::from_kernel(&refused(Some(number), ""), command, "r0").code;
        assert_eq!(code(-2, cmd::PRIMARY), 17);
        assert_eq!(code(-2, cmd::CONNECT), 11);
        assert_eq!(code(-12, cmd::SECONDARY), 11);
        assert_eq!(code(-16, cmd::OUTDATE), 5);
        assert_eq!(code(138, cmd::INVALIDATE), 16);
        assert_eq!(code(124, cmd::ATTACH), 10);
        assert_eq!(
            Failure::from_kernel(&Error::NoModule, cmd::ATTACH, "r0").code,
            20
        );
    }
}
