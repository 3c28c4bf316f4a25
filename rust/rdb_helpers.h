/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Static inlines and macros of the kernel as functions, for Rust.
 * rdb_helper_ is taken off in Rust.
 */
#ifndef RDB_HELPERS_H
#define RDB_HELPERS_H

#include <linux/sched/mm.h>

unsigned int rdb_helper_memalloc_noio_save(void);
void rdb_helper_memalloc_noio_restore(unsigned int flags);

#endif /* RDB_HELPERS_H */
