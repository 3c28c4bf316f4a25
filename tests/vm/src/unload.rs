//! The end of a test on the debug kernel: everything down, the module out, and nothing forgotten.

use anyhow::{Result, bail};

use crate::node::Node;

const UNLOAD: &str = "
set -e
[ -e /proc/rdb ] || exit 0
for mounted in $(sed -n 's,^/dev/rdb[^ ]* \\([^ ]*\\) .*,\\1,p' /proc/mounts); do umount $mounted; done
rdbadm down all
rmmod rdb
";

/// kmemleak reports an object when two scans find no reference to it, and not before it is five seconds old.
const SCAN: &str = "
set -e
echo scan >/sys/kernel/debug/kmemleak
sleep 6
echo scan >/sys/kernel/debug/kmemleak
cat /sys/kernel/debug/kmemleak
";

/// Takes everything down and the module out, so that nothing it allocated may be left; then asks kmemleak if the node
/// was made with it.
///
/// # Errors
///
/// The module cannot be unloaded; a leak, with kmemleak's report; the machine is gone.
pub(crate) fn check(node: &Node) -> Result<()> {
    node.run(UNLOAD)?;
    if !node.finds_leaks() {
        return Ok(());
    }
    let report = node.run(SCAN)?;
    if !report.is_empty() {
        bail!("{}: nobody refers to this any more:\n{report}", node.name());
    }
    Ok(())
}
