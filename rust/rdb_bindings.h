/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What bindgen reads: the kernel headers whose contents are allowed in
 * bindgen_parameters, and constants that it cannot evaluate by itself
 * (casts, __force types). RDB_CONST_ is taken off in Rust.
 */
#ifndef RDB_BINDINGS_H
#define RDB_BINDINGS_H

/* First, as the kernel's own bindings_helper.h has it. */
#include <linux/hrtimer_types.h>

#include <linux/bio.h>
#include <linux/blkdev.h>
#include <linux/gfp.h>
#include <linux/in.h>
#include <net/genetlink.h>

#include "rdb_helpers.h"

const gfp_t RDB_CONST_GFP_NOIO = GFP_NOIO;

#endif /* RDB_BINDINGS_H */
