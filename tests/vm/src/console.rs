//! What a guest's kernel log must not hold.

use std::sync::OnceLock;

use regex::RegexSet;

/// Signs of a kernel in trouble. Each is a regular expression on one line of the console.
const TROUBLE: &[&str] = &[
    r"\bBUG\b",
    r"\bWARNING:",
    r"\bOops\b",
    r"\bCall Trace:",
    r"Kernel panic",
    r"general protection fault",
    r"unable to handle (kernel|page fault)",
    r"INFO: possible |INFO: trying to register non-static key|possible (circular|recursive) locking",
    r"suspicious RCU usage",
    r"bad unlock balance",
    r"INFO: (task .* blocked for more than|rcu.* detected|lockdep|inconsistent lock state)",
    r"inconsistent lock state",
    r"(soft|hard) lockup|self-detected stall",
    r"rust_kernel: panicked",
    r"\bKASAN:|\bKFENCE:|\bUBSAN:|\bKCSAN:",
    r"kmemleak: [0-9]+ new suspected",
    r"\bODEBUG:|DEBUG_LOCKS_WARN_ON|turning off the locking correctness validator",
    r"BUG_ON_DATA_CORRUPTION|unregister_netdevice: waiting|ref_tracker: ",
    r"refcount_t: |list_(add|del) corruption|corrupted list",
    r"scheduling while atomic|sleeping function called",
    r"Out of memory: Killed process",
    r"page allocation failure",
    r"Internal error:|kernel BUG at|Unable to handle",
];

/// Known noise: a line that looks like trouble and is none, with the reason.
const NOISE: &[(&str, &str)] = &[
    (
        r"Watchdog remote CPU .* read timed out",
        "TCG's clocks jump when the host is busy; the kernel notes it and goes on",
    ),
    (
        r"clocksource: .*[Ww]atchdog",
        "the same, seen by the clock source watchdog",
    ),
    (
        r"loading out-of-tree module taints kernel",
        "rdb.ko is out of tree",
    ),
    (r"module verification failed", "rdb.ko is not signed"),
];

/// A line by which a replication module, rdb or drbd, complains. The modules' lines begin with their name.
const COMPLAINT: &str = r"(?i)\b(rdb|drbd)\d?( [\w/]+)*:.*(\bbug\b|\bassert|\berror\b|\boops\b|\bwarning\b|\bbad\b|\bbogus\b|\bunexpected|\bviolat|\binvalid\b|\bcorrupt|\bfailed\b|\bcannot\b|\bunable\b|\brefus|\bnegack\b|\bunknown (packet|command)|\btoo (small|large)\b)";

/// Complaints that mean nothing, with the reason.
const NO_COMPLAINT: &[(&str, &str)] = &[
    (
        r"drbd.*: (disk|pdsk|peer|conn|role|susp)\( ",
        "a change of state, in which 'Failed' is a step on the way from UpToDate to Diskless",
    ),
    (r"rdb: r0/\d+:.* \w+( -> |=)", "the same, from rdb"),
    (
        r"rdb: .*resync done: .* 0 KiB failed",
        "the end of a resync without an error",
    ),
];

/// Lines of a console log by which rdb or drbd complains, but for those that `allowed` (pattern and reason) has.
pub fn complaints(log: &str, allowed: &[(&str, &str)]) -> Vec<String> {
    let complaint = regex::Regex::new(COMPLAINT);
    let patterns = NO_COMPLAINT
        .iter()
        .chain(NOISE)
        .chain(allowed)
        .map(|(pattern, _)| *pattern);
    let (Ok(complaint), Ok(allowed)) = (complaint, RegexSet::new(patterns)) else {
        return vec!["a pattern for complaints is not a regular expression".into()];
    };
    log.lines()
        .filter(|line| complaint.is_match(line) && !allowed.is_match(line))
        .map(str::to_owned)
        .collect()
}

/// Lines of a console log that mean trouble, but for those that `allowed` matches.
pub fn troubles(log: &str, allowed: &[regex::Regex]) -> Vec<String> {
    static SETS: OnceLock<(RegexSet, RegexSet)> = OnceLock::new();
    let (trouble, noise) = SETS.get_or_init(|| {
        let set =
            |patterns: Vec<&str>| RegexSet::new(patterns).unwrap_or_else(|_| RegexSet::empty());
        (
            set(TROUBLE.to_vec()),
            set(NOISE.iter().map(|(pattern, _)| *pattern).collect()),
        )
    });
    log.lines()
        .filter(|line| trouble.is_match(line) && !noise.is_match(line))
        .filter(|line| !allowed.iter().any(|allowed| allowed.is_match(line)))
        .map(str::to_owned)
        .collect()
}

/// The log from the first line on that is `trouble`: the kernel's report.
pub fn report(log: &str, trouble: &str) -> Vec<String> {
    log.lines()
        .skip_while(|line| *line != trouble)
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pattern_compiles() {
        for pattern in TROUBLE
            .iter()
            .chain(NOISE.iter().map(|(pattern, _)| pattern))
        {
            regex::Regex::new(pattern).unwrap();
        }
    }

    #[test]
    fn complaints_are_told_from_news() {
        let log = "[ 1.0] drbd r0/0 drbd0: ASSERT( x == y ) in here.c:1\n\
                   [ 1.1] drbd r0: error receiving P_DATA, e: -5 l: 0!\n\
                   [ 1.2] rdb: r0/0: lower disk failed: write\n\
                   [ 2.0] drbd r0/0 drbd0: disk( UpToDate -> Failed ) \n\
                   [ 2.1] drbd r0: PingAck did not arrive in time.\n\
                   [ 2.2] rdb: module verification failed: signature and/or required key missing - tainting kernel\n\
                   [ 2.3] EXT4-fs (drbd0): error count since last fsck: 1\n";
        assert_eq!(complaints(log, &[]).len(), 3, "{:?}", complaints(log, &[]));
        assert_eq!(complaints(log, &[("error receiving", "")]).len(), 2);
    }

    #[test]
    fn trouble_is_found_and_noise_is_not() {
        let log = "[ 1.0] rdb: loading out-of-tree module taints kernel.\n\
                   [ 1.1] clocksource: timekeeping watchdog on CPU0: WARNING: odd\n\
                   [ 2.0] BUG: kernel NULL pointer dereference, address: 0\n\
                   [ 2.1] INFO: task fio:77 blocked for more than 120 seconds.\n\
                   [ 2.2] rdb r0: DEBUG level set\n";
        assert_eq!(troubles(log, &[]).len(), 2);
        let allowed = [regex::Regex::new("NULL pointer").unwrap()];
        assert_eq!(troubles(log, &allowed).len(), 1);
    }
}
