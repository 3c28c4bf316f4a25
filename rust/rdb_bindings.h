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
#include <linux/mempool.h>
#include <linux/net.h>
#include <linux/socket.h>
#include <net/genetlink.h>

#include "rdb_helpers.h"

const gfp_t RDB_CONST_GFP_NOIO = GFP_NOIO;
/* As bio_alloc_bioset() and dm-crypt do before they turn to a reserve. */
const gfp_t RDB_CONST_GFP_TRY = __GFP_NOMEMALLOC | __GFP_NORETRY |
				__GFP_NOWARN;
const gfp_t RDB_CONST_GFP_TRY_NOIO = GFP_NOIO | __GFP_NOMEMALLOC |
				     __GFP_NORETRY | __GFP_NOWARN;
const gfp_t RDB_CONST_GFP_ZEROED = GFP_KERNEL | __GFP_ZERO;

const blk_opf_t RDB_CONST_REQ_OP_MASK = REQ_OP_MASK;
const blk_opf_t RDB_CONST_REQ_SYNC = REQ_SYNC;
const blk_opf_t RDB_CONST_REQ_META = REQ_META;
const blk_opf_t RDB_CONST_REQ_FUA = REQ_FUA;
const blk_opf_t RDB_CONST_REQ_PREFLUSH = REQ_PREFLUSH;
const blk_opf_t RDB_CONST_REQ_RAHEAD = REQ_RAHEAD;
const blk_opf_t RDB_CONST_REQ_NOWAIT = REQ_NOWAIT;
const blk_opf_t RDB_CONST_REQ_POLLED = REQ_POLLED;
const blk_opf_t RDB_CONST_REQ_IDLE = REQ_IDLE;
const blk_opf_t RDB_CONST_REQ_NOUNMAP = REQ_NOUNMAP;

const blk_status_t RDB_CONST_BLK_STS_NOTSUPP = BLK_STS_NOTSUPP;
const blk_status_t RDB_CONST_BLK_STS_TIMEOUT = BLK_STS_TIMEOUT;
const blk_status_t RDB_CONST_BLK_STS_NOSPC = BLK_STS_NOSPC;
const blk_status_t RDB_CONST_BLK_STS_TRANSPORT = BLK_STS_TRANSPORT;
const blk_status_t RDB_CONST_BLK_STS_TARGET = BLK_STS_TARGET;
const blk_status_t RDB_CONST_BLK_STS_MEDIUM = BLK_STS_MEDIUM;
const blk_status_t RDB_CONST_BLK_STS_PROTECTION = BLK_STS_PROTECTION;
const blk_status_t RDB_CONST_BLK_STS_RESOURCE = BLK_STS_RESOURCE;
const blk_status_t RDB_CONST_BLK_STS_IOERR = BLK_STS_IOERR;
const blk_status_t RDB_CONST_BLK_STS_AGAIN = BLK_STS_AGAIN;
const blk_status_t RDB_CONST_BLK_STS_OFFLINE = BLK_STS_OFFLINE;
const blk_status_t RDB_CONST_BLK_STS_INVAL = BLK_STS_INVAL;

const blk_mode_t RDB_CONST_BLK_OPEN_READ = BLK_OPEN_READ;
const blk_mode_t RDB_CONST_BLK_OPEN_WRITE = BLK_OPEN_WRITE;

const blk_features_t RDB_CONST_BLK_FEAT_WRITE_CACHE = BLK_FEAT_WRITE_CACHE;
const blk_features_t RDB_CONST_BLK_FEAT_FUA = BLK_FEAT_FUA;
const blk_features_t RDB_CONST_BLK_FEAT_STABLE_WRITES = BLK_FEAT_STABLE_WRITES;
const blk_features_t RDB_CONST_BLK_FEAT_ROTATIONAL_BIT = BLK_FEAT_ROTATIONAL;
const blk_features_t RDB_CONST_BLK_FEAT_IO_STAT = BLK_FEAT_IO_STAT;

#endif /* RDB_BINDINGS_H */
