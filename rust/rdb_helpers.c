// SPDX-License-Identifier: GPL-2.0
/* Static inlines and macros of the kernel as functions, for Rust. */

#include "rdb_helpers.h"

unsigned int rdb_helper_memalloc_noio_save(void)
{
	return memalloc_noio_save();
}

void rdb_helper_memalloc_noio_restore(unsigned int flags)
{
	memalloc_noio_restore(flags);
}
