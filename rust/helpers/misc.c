// SPDX-License-Identifier: GPL-2.0
/* Checksums, random numbers, /proc. */

#include <crypto/hash.h>
#include <crypto/utils.h>
#include <linux/bio.h>
#include <linux/crc32c.h>
#include <linux/highmem.h>
#include <linux/proc_fs.h>
#include <linux/random.h>
#include <linux/seq_file.h>
#include "../rdb_helpers.h"

static struct crypto_shash *rdb_tfm(struct rdb_helper_shash *tfm)
{
	return (struct crypto_shash *)tfm;
}

struct rdb_helper_shash *rdb_helper_shash_alloc(const char *name)
{
	return (struct rdb_helper_shash *)crypto_alloc_shash(name, 0, 0);
}

void rdb_helper_shash_free(struct rdb_helper_shash *tfm)
{
	crypto_free_shash(rdb_tfm(tfm));
}

unsigned int rdb_helper_shash_size(struct rdb_helper_shash *tfm)
{
	return crypto_shash_digestsize(rdb_tfm(tfm));
}

bool rdb_helper_shash_needs_key(struct rdb_helper_shash *tfm)
{
	return crypto_shash_get_flags(rdb_tfm(tfm)) & CRYPTO_TFM_NEED_KEY;
}

int rdb_helper_shash_setkey(struct rdb_helper_shash *tfm, const u8 *key,
			    unsigned int len)
{
	return crypto_shash_setkey(rdb_tfm(tfm), key, len);
}

int rdb_helper_shash_digest(struct rdb_helper_shash *tfm,
			    const struct rdb_helper_slice *parts,
			    unsigned int nr, u8 *out)
{
	SHASH_DESC_ON_STACK(desc, rdb_tfm(tfm));
	unsigned int i;
	int err;

	desc->tfm = rdb_tfm(tfm);
	err = crypto_shash_init(desc);
	for (i = 0; !err && i < nr; i++)
		err = crypto_shash_update(desc, parts[i].data, parts[i].len);
	if (!err)
		err = crypto_shash_final(desc, out);
	shash_desc_zero(desc);
	return err;
}

static int rdb_shash_page(struct shash_desc *desc, struct page *page,
			  unsigned int offset, unsigned int len)
{
	int err = 0;

	while (!err && len) {
		struct page *p = page + offset / PAGE_SIZE;
		unsigned int in_page = offset_in_page(offset);
		unsigned int part = min_t(unsigned int, len,
					  PAGE_SIZE - in_page);
		u8 *data = kmap_local_page(p);

		err = crypto_shash_update(desc, data + in_page, part);
		kunmap_local(data);
		offset += part;
		len -= part;
	}
	return err;
}

int rdb_helper_shash_bio(struct rdb_helper_shash *tfm, struct bio *bio, u8 *out)
{
	SHASH_DESC_ON_STACK(desc, rdb_tfm(tfm));
	struct bvec_iter iter;
	struct bio_vec bv;
	int err;

	desc->tfm = rdb_tfm(tfm);
	err = crypto_shash_init(desc);
	if (bio_has_data(bio)) {
		bio_for_each_segment(bv, bio, iter) {
			if (err)
				break;
			err = rdb_shash_page(desc, bv.bv_page, bv.bv_offset,
					     bv.bv_len);
		}
	}
	if (!err)
		err = crypto_shash_final(desc, out);
	shash_desc_zero(desc);
	return err;
}

/* @len bytes in @pages, all but the last full. */
int rdb_helper_shash_pages(struct rdb_helper_shash *tfm, struct page **pages,
			   size_t len, u8 *out)
{
	SHASH_DESC_ON_STACK(desc, rdb_tfm(tfm));
	int err;

	desc->tfm = rdb_tfm(tfm);
	err = crypto_shash_init(desc);
	while (!err && len) {
		size_t part = min(len, PAGE_SIZE);

		err = rdb_shash_page(desc, *pages++, 0, part);
		len -= part;
	}
	if (!err)
		err = crypto_shash_final(desc, out);
	shash_desc_zero(desc);
	return err;
}

u32 rdb_helper_crc32c(u32 seed, const void *data, size_t len)
{
	return crc32c(seed, data, len);
}

bool rdb_helper_memneq(const void *a, const void *b, size_t len)
{
	return crypto_memneq(a, b, len);
}

void rdb_helper_random_bytes(void *out, size_t len)
{
	get_random_bytes(out, len);
}

struct proc_dir_entry *rdb_helper_proc_create(const char *name, rdb_helper_show show,
					      void *data)
{
	return proc_create_single_data(name, 0444, NULL, show, data);
}

void rdb_helper_proc_remove(struct proc_dir_entry *entry)
{
	proc_remove(entry);
}

int rdb_helper_seq_write(struct seq_file *m, const void *data, size_t len)
{
	return seq_write(m, data, len);
}

void *rdb_helper_seq_private(struct seq_file *m)
{
	return m->private;
}
