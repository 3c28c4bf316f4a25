// SPDX-License-Identifier: GPL-2.0

//! The option tables: every option of the configuration, once.
//!
//! The rows follow `Documentation/specification/configuration.md`, section 6, in its order. The parser of the tools takes names,
//! ranges and units from here, the module the defaults of options that a request does not carry ([`by_attribute`]). Bounds of the
//! attributes of the netlink family are the same; a test of the netlink crate holds them together.

use crate::netlink::attr;

/// Section of the configuration that an option belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Section {
    /// `global`
    Global,
    /// `net`, for a connection
    Net,
    /// `disk`, for a volume
    Disk,
    /// `options`, for a resource
    Options,
    /// `startup`
    Startup,
}

impl Section {
    /// Keyword of the section.
    pub const fn name(self) -> &'static str {
        match self {
            Section::Global => "global",
            Section::Net => "net",
            Section::Disk => "disk",
            Section::Options => "options",
            Section::Startup => "startup",
        }
    }
}

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Things without a unit.
    One,
    /// Seconds.
    Seconds,
    /// Tenths of a second.
    Tenths,
    /// KiB per second.
    KibPerSecond,
    /// Sectors of 512 bytes.
    Sectors,
    /// Bytes.
    Bytes,
    /// Requests.
    Requests,
    /// Pages of 4 KiB.
    Pages,
    /// Activity log extents of 4 MiB.
    Extents,
}

impl Unit {
    /// Bytes in one unit where a number with a unit letter is a count of bytes, else 1: there the letter only multiplies.
    pub const fn scale(self) -> u64 {
        match self {
            Unit::KibPerSecond => 1024,
            Unit::Sectors => 512,
            _ => 1,
        }
    }

    /// Name for messages, empty for plain numbers.
    pub const fn name(self) -> &'static str {
        match self {
            Unit::One => "",
            Unit::Seconds => "s",
            Unit::Tenths => "x 0.1 s",
            Unit::KibPerSecond => "KiB/s",
            Unit::Sectors => "sectors",
            Unit::Bytes => "bytes",
            Unit::Requests => "requests",
            Unit::Pages => "pages of 4 KiB",
            Unit::Extents => "extents of 4 MiB",
        }
    }
}

/// Names of a choice and their numbers in requests.
pub type Names = &'static [(&'static str, u32)];

/// What values an option takes; bounds are inclusive and in its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A number.
    Number {
        /// Value of an option that is not set.
        default: u64,
        /// Smallest value.
        min: u64,
        /// Largest value.
        max: u64,
        /// What it counts.
        unit: Unit,
    },
    /// `yes` or `no`.
    Switch {
        /// Value of an option that is not set.
        default: bool,
    },
    /// One of several names.
    Choice {
        /// The names.
        names: Names,
        /// Value of an option that is not set.
        default: u32,
    },
    /// Text; not set means empty.
    Text {
        /// Most bytes.
        max: u16,
    },
    /// A volume, written as resource or resource/N, in requests its minor number; not set means none, -1.
    Volume,
}

/// What rdb does with an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Works.
    Must,
    /// Is accepted and checked; the effect comes in a later version.
    Later,
    /// Is accepted and ignored, with a warning.
    Ignored,
    /// Is refused.
    Refused,
}

/// When a new value takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// At once.
    AtOnce,
    /// With the next connection.
    Connect,
    /// With the next attach.
    Attach,
    /// With a resize.
    Resize,
    /// The programs use it, the module does not know it.
    Tool,
}

/// An option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opt {
    /// Section it belongs to.
    pub section: Section,
    /// Name.
    pub name: &'static str,
    /// Its name in version 8.3, accepted everywhere as well.
    pub old_name: Option<&'static str>,
    /// Values.
    pub form: Form,
    /// When a new value takes effect.
    pub change: Change,
    /// What rdb does with it.
    pub class: Class,
    /// Its attribute in requests, 0 if the module does not know it.
    pub attr: u16,
}

use Change::{AtOnce, Attach, Connect, Resize, Tool};
use Class::{Ignored, Later, Must, Refused};
use Section::{Disk, Global, Net, Options, Startup};
use Unit::{Bytes, Extents, KibPerSecond, One, Pages, Requests, Seconds, Sectors, Tenths};

const fn opt(
    s: Section,
    name: &'static str,
    form: Form,
    change: Change,
    class: Class,
    attr: u16,
) -> Opt {
    Opt {
        section: s,
        name,
        old_name: None,
        form,
        change,
        class,
        attr,
    }
}

const fn renamed(mut option: Opt, old_name: &'static str) -> Opt {
    option.old_name = Some(old_name);
    option
}

const fn num(unit: Unit, default: u64, min: u64, max: u64) -> Form {
    Form::Number {
        default,
        min,
        max,
        unit,
    }
}

const fn pick(names: Names, default: u32) -> Form {
    Form::Choice { names, default }
}

const NO: Form = Form::Switch { default: false };
const YES: Form = Form::Switch { default: true };
const TEXT: Form = Form::Text { max: 63 };

const USAGE_COUNT: Names = &[("yes", 0), ("no", 1), ("ask", 2)];
const PROTOCOL: Names = &[("A", 1), ("B", 2), ("C", 3)];
const AFTER_SB_0P: Names = &[
    ("disconnect", 0),
    ("discard-younger-primary", 1),
    ("discard-older-primary", 2),
    ("discard-zero-changes", 3),
    ("discard-least-changes", 4),
    ("discard-local", 5),
    ("discard-remote", 6),
];
const AFTER_SB_1P: Names = &[
    ("disconnect", 0),
    ("consensus", 7),
    ("violently-as0p", 10),
    ("discard-secondary", 8),
    ("call-pri-lost-after-sb", 9),
];
const AFTER_SB_2P: Names = &[
    ("disconnect", 0),
    ("violently-as0p", 10),
    ("call-pri-lost-after-sb", 9),
];
const RR_CONFLICT: Names = &[("disconnect", 0), ("violently", 2), ("call-pri-lost", 1)];
const ON_CONGESTION: Names = &[("block", 0), ("pull-ahead", 1), ("disconnect", 2)];
const ON_IO_ERROR: Names = &[("pass_on", 0), ("call-local-io-error", 1), ("detach", 2)];
const FENCING: Names = &[
    ("dont-care", 0),
    ("resource-only", 1),
    ("resource-and-stonith", 2),
];
const READ_BALANCING: Names = &[
    ("prefer-local", 0),
    ("prefer-remote", 1),
    ("round-robin", 2),
    ("least-pending", 3),
    ("when-congested-remote", 4),
    ("32K-striping", 5),
    ("64K-striping", 6),
    ("128K-striping", 7),
    ("256K-striping", 8),
    ("512K-striping", 9),
    ("1M-striping", 10),
];
const NO_DATA: Names = &[("io-error", 0), ("suspend-io", 1)];

/// All options, in the order of the specification.
#[rustfmt::skip]
pub const OPTIONS: &[Opt] = &[
    // 6.1 global
    opt(Global, "usage-count", pick(USAGE_COUNT, 2), Tool, Ignored, 0),
    opt(Global, "minor-count", num(One, 32, 1, 255), Tool, Ignored, 0),
    opt(Global, "dialog-refresh", num(Seconds, 1, 0, 600), Tool, Later, 0),
    opt(Global, "disable-ip-verification", NO, Tool, Must, 0),
    opt(Global, "udev-always-use-vnr", NO, Tool, Must, 0),
    opt(Global, "cmd-timeout-short", num(Seconds, 5, 0, 900), Tool, Later, 0),
    opt(Global, "cmd-timeout-medium", num(Seconds, 121, 0, 900), Tool, Later, 0),
    opt(Global, "cmd-timeout-long", num(Seconds, 600, 0, 900), Tool, Later, 0),
    // 6.2 net
    opt(Net, "protocol", pick(PROTOCOL, 3), AtOnce, Must, attr::PROTOCOL),
    opt(Net, "timeout", num(Tenths, 60, 1, 600), AtOnce, Must, attr::TIMEOUT),
    opt(Net, "connect-int", num(Seconds, 10, 1, 120), AtOnce, Must, attr::CONNECT_INT),
    opt(Net, "ping-int", num(Seconds, 10, 1, 120), AtOnce, Must, attr::PING_INT),
    opt(Net, "ping-timeout", num(Tenths, 5, 1, 300), AtOnce, Must, attr::PING_TIMEOUT),
    opt(Net, "max-buffers", num(Pages, 2048, 32, 131_072), AtOnce, Must, attr::MAX_BUFFERS),
    opt(Net, "max-epoch-size", num(Requests, 2048, 1, 20_000), AtOnce, Must, attr::MAX_EPOCH_SIZE),
    opt(Net, "sndbuf-size", num(Bytes, 0, 0, 10_485_760), Connect, Must, attr::SNDBUF_SIZE),
    opt(Net, "rcvbuf-size", num(Bytes, 0, 0, 10_485_760), Connect, Must, attr::RCVBUF_SIZE),
    opt(Net, "unplug-watermark", num(Requests, 128, 1, 131_072), AtOnce, Ignored, 0),
    opt(Net, "ko-count", num(One, 7, 0, 200), AtOnce, Must, attr::KO_COUNT),
    opt(Net, "allow-two-primaries", NO, AtOnce, Later, attr::ALLOW_TWO_PRIMARIES),
    opt(Net, "cram-hmac-alg", TEXT, Connect, Must, attr::CRAM_HMAC_ALG),
    opt(Net, "shared-secret", Form::Text { max: 64 }, Connect, Must, attr::SHARED_SECRET),
    opt(Net, "data-integrity-alg", TEXT, AtOnce, Later, attr::DATA_INTEGRITY_ALG),
    opt(Net, "verify-alg", TEXT, AtOnce, Must, attr::VERIFY_ALG),
    opt(Net, "csums-alg", TEXT, AtOnce, Later, attr::CSUMS_ALG),
    opt(Net, "csums-after-crash-only", NO, AtOnce, Later, attr::CSUMS_AFTER_CRASH_ONLY),
    opt(Net, "use-rle", YES, AtOnce, Must, attr::USE_RLE),
    opt(Net, "tcp-cork", YES, AtOnce, Must, attr::TCP_CORK),
    opt(Net, "after-sb-0pri", pick(AFTER_SB_0P, 0), AtOnce, Must, attr::AFTER_SB_0PRI),
    opt(Net, "after-sb-1pri", pick(AFTER_SB_1P, 0), AtOnce, Must, attr::AFTER_SB_1PRI),
    opt(Net, "after-sb-2pri", pick(AFTER_SB_2P, 0), AtOnce, Must, attr::AFTER_SB_2PRI),
    opt(Net, "always-asbp", NO, AtOnce, Must, attr::ALWAYS_ASBP),
    opt(Net, "rr-conflict", pick(RR_CONFLICT, 0), AtOnce, Must, attr::RR_CONFLICT),
    opt(Net, "on-congestion", pick(ON_CONGESTION, 0), AtOnce, Later, attr::ON_CONGESTION),
    opt(Net, "congestion-fill", num(Sectors, 0, 0, 20_971_520), AtOnce, Later, attr::CONGESTION_FILL),
    opt(Net, "congestion-extents", num(Extents, 1237, 67, 65_534), AtOnce, Later, attr::CONGESTION_EXTENTS),
    opt(Net, "socket-check-timeout", num(Tenths, 0, 0, 300), AtOnce, Later, attr::SOCKET_CHECK_TIMEOUT),
    opt(Net, "discard-my-data", NO, Connect, Refused, 0),
    opt(Net, "tentative", NO, Connect, Refused, 0),
    // 6.3 disk
    opt(Disk, "size", num(Sectors, 0, 0, 1 << 41), Resize, Must, attr::SIZE),
    opt(Disk, "on-io-error", pick(ON_IO_ERROR, 2), AtOnce, Must, attr::ON_IO_ERROR),
    opt(Disk, "fencing", pick(FENCING, 0), AtOnce, Must, attr::FENCING),
    opt(Disk, "disk-barrier", NO, AtOnce, Ignored, attr::DISK_BARRIER),
    opt(Disk, "disk-flushes", YES, AtOnce, Must, attr::DISK_FLUSHES),
    opt(Disk, "disk-drain", YES, AtOnce, Must, attr::DISK_DRAIN),
    opt(Disk, "md-flushes", YES, AtOnce, Must, attr::MD_FLUSHES),
    renamed(opt(Disk, "resync-rate", num(KibPerSecond, 250, 1, 4_194_304), AtOnce, Must, attr::RESYNC_RATE), "rate"),
    renamed(opt(Disk, "resync-after", Form::Volume, AtOnce, Must, attr::RESYNC_AFTER), "after"),
    opt(Disk, "al-extents", num(Extents, 1237, 67, 65_534), Attach, Must, attr::AL_EXTENTS),
    opt(Disk, "al-updates", YES, Attach, Must, attr::AL_UPDATES),
    opt(Disk, "c-plan-ahead", num(Tenths, 20, 0, 300), AtOnce, Must, attr::C_PLAN_AHEAD),
    opt(Disk, "c-fill-target", num(Sectors, 100, 0, 1_048_576), AtOnce, Must, attr::C_FILL_TARGET),
    opt(Disk, "c-delay-target", num(Tenths, 10, 1, 100), AtOnce, Must, attr::C_DELAY_TARGET),
    opt(Disk, "c-max-rate", num(KibPerSecond, 102_400, 250, 4_194_304), AtOnce, Must, attr::C_MAX_RATE),
    opt(Disk, "c-min-rate", num(KibPerSecond, 250, 0, 4_194_304), AtOnce, Must, attr::C_MIN_RATE),
    opt(Disk, "disk-timeout", num(Tenths, 0, 0, 6000), AtOnce, Must, attr::DISK_TIMEOUT),
    opt(Disk, "read-balancing", pick(READ_BALANCING, 0), AtOnce, Later, attr::READ_BALANCING),
    opt(Disk, "discard-zeroes-if-aligned", YES, AtOnce, Later, attr::DISCARD_ZEROES_IF_ALIGNED),
    opt(Disk, "disable-write-same", NO, AtOnce, Ignored, attr::DISABLE_WRITE_SAME),
    opt(Disk, "rs-discard-granularity", num(Bytes, 0, 0, 1_048_576), AtOnce, Later, attr::RS_DISCARD_GRANULARITY),
    opt(Disk, "max-bio-bvecs", num(One, 0, 0, 128), Attach, Ignored, 0),
    opt(Disk, "use-bmbv", NO, Attach, Ignored, 0),
    // 6.4 options, startup
    opt(Options, "cpu-mask", TEXT, AtOnce, Later, attr::CPU_MASK),
    opt(Options, "on-no-data-accessible", pick(NO_DATA, 0), AtOnce, Must, attr::ON_NO_DATA_ACCESSIBLE),
    opt(Startup, "wfc-timeout", num(Seconds, 0, 0, 300_000), Tool, Must, 0),
    opt(Startup, "degr-wfc-timeout", num(Seconds, 0, 0, 300_000), Tool, Must, 0),
    opt(Startup, "outdated-wfc-timeout", num(Seconds, 0, 0, 300_000), Tool, Must, 0),
    opt(Startup, "wait-after-sb", NO, Tool, Must, 0),
];

/// Handlers, in the order of the specification; the second name is that of version 8.3.
pub const HANDLERS: &[(&str, Option<&str>)] = &[
    ("fence-peer", Some("outdate-peer")),
    ("unfence-peer", None),
    ("before-resync-target", None),
    ("after-resync-target", None),
    ("before-resync-source", None),
    ("split-brain", None),
    ("initial-split-brain", None),
    ("pri-lost", None),
    ("pri-lost-after-sb", None),
    ("pri-on-incon-degr", None),
    ("local-io-error", None),
    ("out-of-sync", None),
];

/// The option with this name, old or new, in this section.
pub fn by_name(section: Section, name: &str) -> Option<&'static Opt> {
    OPTIONS.iter().find(|known| {
        known.section == section && (known.name == name || known.old_name == Some(name))
    })
}

/// The option that this attribute of a request carries.
pub fn by_attribute(number: u16) -> Option<&'static Opt> {
    OPTIONS
        .iter()
        .find(|known| number != 0 && known.attr == number)
}

/// Default of the option that this attribute carries, as a request would carry it; `None` for texts, whose default is empty, and
/// for attributes that are not options.
pub fn default_number(number: u16) -> Option<i64> {
    match by_attribute(number)?.form {
        Form::Number { default, .. } => i64::try_from(default).ok(),
        Form::Switch { default } => Some(i64::from(default)),
        Form::Choice { default, .. } => Some(i64::from(default)),
        Form::Volume => Some(-1),
        Form::Text { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::{attribute, Kind};

    #[test]
    fn defaults_are_in_range() {
        for option in OPTIONS {
            match option.form {
                Form::Number {
                    default, min, max, ..
                } => {
                    assert!((min..=max).contains(&default), "{}", option.name)
                }
                Form::Choice { names, default } => {
                    assert!(
                        names.iter().any(|name| name.1 == default),
                        "{}",
                        option.name
                    )
                }
                _ => {}
            }
        }
    }

    #[test]
    fn bounds_are_those_of_the_attributes() {
        for option in OPTIONS.iter().filter(|option| option.attr != 0) {
            let attribute = attribute(option.attr).expect(option.name);
            assert_eq!(attribute.name, option.name);
            let fits = match (option.form, attribute.kind) {
                (
                    Form::Number { min, max, .. },
                    Kind::U32 {
                        min: low,
                        max: high,
                    },
                ) => (min, max) == (u64::from(low), u64::from(high)),
                (
                    Form::Number { min, max, .. },
                    Kind::U64 {
                        min: low,
                        max: high,
                    },
                ) => (min, max) == (low, high),
                (Form::Switch { .. }, Kind::U32 { min: 0, max: 1 }) => true,
                (Form::Choice { names, .. }, Kind::U32 { min, max }) => {
                    names.iter().all(|name| (min..=max).contains(&name.1))
                }
                (Form::Text { max }, Kind::Text { max: high }) => max == high,
                (Form::Volume, Kind::S32 { min: -1, .. }) => true,
                _ => false,
            };
            assert!(
                fits,
                "{}: {:?} and {:?}",
                option.name, option.form, attribute.kind
            );
        }
    }

    #[test]
    fn names_are_unique_in_a_section() {
        for (index, one) in OPTIONS.iter().enumerate() {
            for other in &OPTIONS[index + 1..] {
                assert!(
                    one.section != other.section || one.name != other.name,
                    "{}",
                    one.name
                );
                assert!(one.attr == 0 || one.attr != other.attr, "{}", one.name);
            }
        }
    }

    #[test]
    fn defaults_by_attribute() {
        assert_eq!(default_number(attr::TIMEOUT), Some(60));
        assert_eq!(default_number(attr::PROTOCOL), Some(3));
        assert_eq!(default_number(attr::RESYNC_AFTER), Some(-1));
        assert_eq!(default_number(attr::USE_RLE), Some(1));
        assert_eq!(default_number(attr::SHARED_SECRET), None);
        assert_eq!(default_number(attr::MINOR), None);
    }
}
