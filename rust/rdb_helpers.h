/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Static inlines and macros of the kernel as functions, for Rust.
 * rdb_helper_ is taken off in Rust. What they do and when they may be called
 * is what the wrapped function says; those that do more have a comment in
 * helpers/.
 */
#ifndef RDB_HELPERS_H
#define RDB_HELPERS_H

#include <linux/spinlock_types.h>
#include <linux/types.h>

struct bio;
struct bio_vec;
struct block_device;
struct gendisk;
struct genl_family;
struct genl_info;
struct iov_iter;
struct lock_class_key;
struct netlink_callback;
struct netlink_ext_ack;
struct nla_policy;
struct nlattr;
struct page;
struct proc_dir_entry;
struct queue_limits;
struct request_queue;
struct seq_file;
struct sk_buff;
struct socket;
struct task_struct;
struct wait_queue_head;

/* block.c */

/* Sizes in bytes unless the name says sectors (512 bytes). */
struct rdb_helper_bdev_info {
	u64 sectors;
	u32 logical_block_size;
	u32 physical_block_size;
	u32 max_discard_sectors;
	u32 discard_granularity;
	u32 max_write_zeroes_sectors;
	u32 major;
	u32 minor;
	bool write_cache;
	bool rotational;
	bool zoned;
	bool read_only;
	char name[40];
};

void rdb_helper_bdev_info(struct block_device *bdev,
			  struct rdb_helper_bdev_info *info);
void rdb_helper_bio_inc_remaining(struct bio *bio);
size_t rdb_helper_bio_copy_out(struct bio *bio, size_t offset, void *dst,
			       size_t len);
size_t rdb_helper_bio_copy_in(struct bio *bio, size_t offset, const void *src,
			      size_t len);
size_t rdb_helper_bio_iov_iter(struct bio *bio, bool to_bio,
			       struct iov_iter *out);
bool rdb_helper_bio_spliceable(struct bio *bio);
void rdb_helper_queue_limits_start_update(struct request_queue *q,
					  struct queue_limits *lim);
void rdb_helper_disk_need_part_scan(struct gendisk *disk);
u64 rdb_helper_get_capacity(struct gendisk *disk);
void *rdb_helper_page_address(struct page *page);
int rdb_helper_page_count(struct page *page);
void rdb_helper_put_page(struct page *page);
struct page *rdb_helper_alloc_page(gfp_t gfp);

/* sync.c */

typedef bool (*rdb_helper_cond)(void *arg);

void rdb_helper_wait_event(struct wait_queue_head *wq, rdb_helper_cond cond,
			   void *arg);
void rdb_helper_wait_event_idle(struct wait_queue_head *wq,
				rdb_helper_cond cond, void *arg);
int rdb_helper_wait_event_interruptible(struct wait_queue_head *wq,
					rdb_helper_cond cond, void *arg);
long rdb_helper_wait_event_timeout(struct wait_queue_head *wq,
				   rdb_helper_cond cond, void *arg,
				   unsigned int ms);
long rdb_helper_wait_event_idle_timeout(struct wait_queue_head *wq,
					rdb_helper_cond cond, void *arg,
					unsigned int ms);
long rdb_helper_wait_event_interruptible_timeout(struct wait_queue_head *wq,
						 rdb_helper_cond cond,
						 void *arg, unsigned int ms);
void rdb_helper_wake_up_all(struct wait_queue_head *wq);
void rdb_helper_wake_up(struct wait_queue_head *wq);
void rdb_helper_spin_lock_init(spinlock_t *lock, const char *name,
			       struct lock_class_key *key);
unsigned long rdb_helper_spin_lock_irqsave(spinlock_t *lock);
void rdb_helper_spin_unlock_irqrestore(spinlock_t *lock, unsigned long flags);
void rdb_helper_inflight_put(atomic_t *count, spinlock_t *lock,
			     struct wait_queue_head *wq);
void rdb_helper_inflight_wait(atomic_t *count, spinlock_t *lock,
			      struct wait_queue_head *wq);
void rdb_helper_atomic_inc(atomic_t *v);
int rdb_helper_atomic_read(atomic_t *v);
unsigned int rdb_helper_memalloc_noio_save(void);
void rdb_helper_memalloc_noio_restore(unsigned int flags);
unsigned int rdb_helper_memalloc_noreclaim_save(void);
void rdb_helper_memalloc_noreclaim_restore(unsigned int flags);
struct task_struct *rdb_helper_current(void);
u64 rdb_helper_jiffies_64(void);
u64 rdb_helper_ktime_get_ns(void);
s64 rdb_helper_ktime_get_real_ns(void);
void rdb_helper_cond_resched(void);

/* net.c */

/* An IPv4 address is in the first four bytes of ip; ports in host order. */
struct rdb_helper_addr {
	u8 is_v6;
	u16 port;
	u32 flow_info;
	u32 scope_id;
	u8 ip[16];
};

int rdb_helper_sock_create(bool v6, struct socket **res);
int rdb_helper_sock_bind(struct socket *sock, const struct rdb_helper_addr *a);
int rdb_helper_sock_connect(struct socket *sock,
			    const struct rdb_helper_addr *a, u32 timeout_ms);
int rdb_helper_sock_name(struct socket *sock, bool peer,
			 struct rdb_helper_addr *a);
void rdb_helper_sock_set_rcvtimeo(struct socket *sock, u32 ms);
void rdb_helper_sock_set_sndtimeo(struct socket *sock, u32 ms);
void rdb_helper_sock_for_io(struct socket *sock, bool memalloc);
void rdb_helper_sock_set_bufs(struct socket *sock, u32 snd, u32 rcv);
void rdb_helper_sock_set_reuseaddr(struct socket *sock);
void rdb_helper_sock_set_keepalive(struct socket *sock);
void rdb_helper_sock_set_priority(struct socket *sock, u32 priority);
void rdb_helper_sock_no_linger(struct socket *sock);
void rdb_helper_sock_set_nodelay(struct socket *sock, bool on);
void rdb_helper_sock_set_cork(struct socket *sock, bool on);
void rdb_helper_sock_set_quickack(struct socket *sock);
u32 rdb_helper_sock_queued_out(struct socket *sock);
bool rdb_helper_sock_established(struct socket *sock);

/* genl.c */

struct rdb_helper_attr {
	u16 type;
	u16 len;
	const void *data;
};

void rdb_helper_genl_set_parallel(struct genl_family *family);
struct sk_buff *rdb_helper_genl_msg_new(size_t payload);
size_t rdb_helper_genl_default_size(void);
void rdb_helper_genl_msg_free(struct sk_buff *skb);
void rdb_helper_genl_msg_end(struct sk_buff *skb, void *hdr);
void rdb_helper_genl_msg_cancel(struct sk_buff *skb, void *hdr);
int rdb_helper_genl_reply(struct sk_buff *skb, struct genl_info *info);
int rdb_helper_genl_multicast(const struct genl_family *family,
			      struct sk_buff *skb, unsigned int group);
bool rdb_helper_genl_has_listeners(const struct genl_family *family,
				   unsigned int group);
const struct genl_info *rdb_helper_genl_dump_info(struct netlink_callback *cb);
void **rdb_helper_genl_dump_slot(struct netlink_callback *cb);
void *rdb_helper_genl_dump_put(struct sk_buff *skb, struct netlink_callback *cb,
			       const struct genl_family *family, u8 cmd);
unsigned int rdb_helper_skb_len(struct sk_buff *skb);
int rdb_helper_genl_nest_start(struct sk_buff *skb, u16 attr, void **start);
void rdb_helper_genl_nest_end(struct sk_buff *skb, void *start);
void rdb_helper_genl_nest_cancel(struct sk_buff *skb, void *start);
int rdb_helper_genl_put_u64_pad(struct sk_buff *skb, u16 attr, u64 value,
				u16 pad);
void *rdb_helper_genl_reserve(struct sk_buff *skb, u16 attr, u16 len);
void rdb_helper_genl_attr(const struct nlattr *nla,
			  struct rdb_helper_attr *out);
void rdb_helper_genl_set_error(const struct genl_info *info, const char *text,
			       size_t len, const struct nlattr *bad);

/* misc.c */

struct rdb_helper_slice {
	const void *data;
	size_t len;
};

/* In truth a struct crypto_shash, which Rust need not know. */
struct rdb_helper_shash;

typedef int (*rdb_helper_show)(struct seq_file *m, void *v);

struct rdb_helper_shash *rdb_helper_shash_alloc(const char *name);
void rdb_helper_shash_free(struct rdb_helper_shash *tfm);
unsigned int rdb_helper_shash_size(struct rdb_helper_shash *tfm);
bool rdb_helper_shash_needs_key(struct rdb_helper_shash *tfm);
int rdb_helper_shash_setkey(struct rdb_helper_shash *tfm, const u8 *key,
			    unsigned int len);
int rdb_helper_shash_digest(struct rdb_helper_shash *tfm,
			    const struct rdb_helper_slice *parts,
			    unsigned int nr, u8 *out);
int rdb_helper_shash_bio(struct rdb_helper_shash *tfm, struct bio *bio, u8 *out);
int rdb_helper_shash_pages(struct rdb_helper_shash *tfm, struct page **pages,
			   size_t len, u8 *out);
u32 rdb_helper_crc32c(u32 seed, const void *data, size_t len);
bool rdb_helper_memneq(const void *a, const void *b, size_t len);
void rdb_helper_random_bytes(void *out, size_t len);
struct proc_dir_entry *rdb_helper_proc_create(const char *name,
					      rdb_helper_show show, void *data);
void rdb_helper_proc_remove(struct proc_dir_entry *entry);
int rdb_helper_seq_write(struct seq_file *m, const void *data, size_t len);
void *rdb_helper_seq_private(struct seq_file *m);

/* usermode.c */

struct rdb_helper_program;

struct rdb_helper_program *rdb_helper_program_alloc(void);
void rdb_helper_program_free(struct rdb_helper_program *program);
int rdb_helper_program_run(struct rdb_helper_program *program,
			   const char **argv, const char **envp);
void rdb_helper_program_kill(struct rdb_helper_program *program);

#endif /* RDB_HELPERS_H */
