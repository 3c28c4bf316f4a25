// SPDX-License-Identifier: GPL-2.0
/* Bios, disks and the block devices below. */

#include <linux/bio.h>
#include <linux/blkdev.h>
#include <linux/highmem.h>
#include <linux/net.h>
#include <linux/uio.h>
#include "../rdb_helpers.h"

void rdb_helper_bdev_info(struct block_device *bdev,
			  struct rdb_helper_bdev_info *info)
{
	info->sectors = bdev_nr_sectors(bdev);
	info->logical_block_size = bdev_logical_block_size(bdev);
	info->physical_block_size = bdev_physical_block_size(bdev);
	info->max_discard_sectors = bdev_max_discard_sectors(bdev);
	info->discard_granularity = bdev_discard_granularity(bdev);
	info->max_write_zeroes_sectors = bdev_write_zeroes_sectors(bdev);
	info->major = MAJOR(bdev->bd_dev);
	info->minor = MINOR(bdev->bd_dev);
	info->write_cache = bdev_write_cache(bdev);
	info->rotational = bdev_limits(bdev)->features & BLK_FEAT_ROTATIONAL;
	info->zoned = bdev_is_zoned(bdev);
	info->read_only = bdev_read_only(bdev);
	/* As "%pg" does it. */
	snprintf(info->name, sizeof(info->name), "%pg", bdev);
}

void rdb_helper_bio_inc_remaining(struct bio *bio)
{
	bio_inc_remaining(bio);
}

static size_t rdb_bio_walk(struct bio *bio, size_t offset, u8 *buf, size_t len,
			   bool to_bio)
{
	struct bvec_iter iter;
	struct bio_vec bv;
	size_t done = 0;

	if (!bio_has_data(bio))
		return 0;
	bio_for_each_segment(bv, bio, iter) {
		size_t part;

		if (offset >= bv.bv_len) {
			offset -= bv.bv_len;
			continue;
		}
		part = min(len - done, (size_t)bv.bv_len - offset);
		if (to_bio)
			memcpy_to_page(bv.bv_page, bv.bv_offset + offset,
				       buf + done, part);
		else
			memcpy_from_page(buf + done, bv.bv_page,
					 bv.bv_offset + offset, part);
		offset = 0;
		done += part;
		if (done == len)
			break;
	}
	return done;
}

size_t rdb_helper_bio_copy_out(struct bio *bio, size_t offset, void *dst,
			       size_t len)
{
	return rdb_bio_walk(bio, offset, dst, len, false);
}

size_t rdb_helper_bio_copy_in(struct bio *bio, size_t offset, const void *src,
			      size_t len)
{
	return rdb_bio_walk(bio, offset, (u8 *)src, len, true);
}

/* An iterator over all of the bio's data, for the network; and their length. */
size_t rdb_helper_bio_iov_iter(struct bio *bio, bool to_bio,
			       struct iov_iter *out)
{
	const struct bio_vec *first = __bvec_iter_bvec(bio->bi_io_vec,
						       bio->bi_iter);
	struct bvec_iter iter;
	struct bio_vec bv;
	unsigned int nr = 0;

	if (!bio_has_data(bio)) {
		iov_iter_bvec(out, to_bio ? ITER_DEST : ITER_SOURCE, NULL, 0, 0);
		return 0;
	}
	bio_for_each_bvec(bv, bio, iter)
		nr++;
	iov_iter_bvec(out, to_bio ? ITER_DEST : ITER_SOURCE, first, nr,
		      bio->bi_iter.bi_size);
	out->iov_offset = mp_bvec_iter_offset(bio->bi_io_vec, bio->bi_iter) -
			  first->bv_offset;
	return bio->bi_iter.bi_size;
}

/* Whether every page of the bio may be handed to the network by reference. */
bool rdb_helper_bio_spliceable(struct bio *bio)
{
	struct bvec_iter iter;
	struct bio_vec bv;

	if (!bio_has_data(bio))
		return true;
	bio_for_each_bvec(bv, bio, iter)
		if (!sendpages_ok(bv.bv_page, bv.bv_len, bv.bv_offset))
			return false;
	return true;
}

void rdb_helper_queue_limits_start_update(struct request_queue *q,
					  struct queue_limits *lim)
{
	*lim = queue_limits_start_update(q);
}

void rdb_helper_disk_need_part_scan(struct gendisk *disk)
{
	set_bit(GD_NEED_PART_SCAN, &disk->state);
}

u64 rdb_helper_get_capacity(struct gendisk *disk)
{
	return get_capacity(disk);
}

void *rdb_helper_page_address(struct page *page)
{
	return page_address(page);
}

int rdb_helper_page_count(struct page *page)
{
	return page_count(page);
}

void rdb_helper_put_page(struct page *page)
{
	put_page(page);
}

struct page *rdb_helper_alloc_page(gfp_t gfp)
{
	return alloc_page(gfp);
}
