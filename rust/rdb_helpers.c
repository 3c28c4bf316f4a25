// SPDX-License-Identifier: GPL-2.0
/*
 * Static inlines and macros of the kernel as functions, for Rust; and what
 * touches types that are opaque there. One file for each area, all of them
 * compiled as one object.
 */

#include "helpers/block.c"
#include "helpers/genl.c"
#include "helpers/misc.c"
#include "helpers/net.c"
#include "helpers/sync.c"
#include "helpers/usermode.c"
