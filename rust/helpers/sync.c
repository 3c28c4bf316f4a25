// SPDX-License-Identifier: GPL-2.0
/* Waiting, locks, counters, task flags, time. */

#include <linux/delay.h>
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/sched/mm.h>
#include <linux/spinlock.h>
#include <linux/timekeeping.h>
#include <linux/wait.h>
#include "../rdb_helpers.h"

void rdb_helper_wait_event(struct wait_queue_head *wq, rdb_helper_cond cond,
			   void *arg)
{
	wait_event(*wq, cond(arg));
}

void rdb_helper_wait_event_idle(struct wait_queue_head *wq,
				rdb_helper_cond cond, void *arg)
{
	wait_event_idle(*wq, cond(arg));
}

int rdb_helper_wait_event_interruptible(struct wait_queue_head *wq,
					rdb_helper_cond cond, void *arg)
{
	return wait_event_interruptible(*wq, cond(arg));
}

long rdb_helper_wait_event_timeout(struct wait_queue_head *wq,
				   rdb_helper_cond cond, void *arg,
				   unsigned int ms)
{
	return wait_event_timeout(*wq, cond(arg), msecs_to_jiffies(ms));
}

long rdb_helper_wait_event_idle_timeout(struct wait_queue_head *wq,
					rdb_helper_cond cond, void *arg,
					unsigned int ms)
{
	return wait_event_idle_timeout(*wq, cond(arg), msecs_to_jiffies(ms));
}

long rdb_helper_wait_event_interruptible_timeout(struct wait_queue_head *wq,
						 rdb_helper_cond cond,
						 void *arg, unsigned int ms)
{
	return wait_event_interruptible_timeout(*wq, cond(arg),
						msecs_to_jiffies(ms));
}

void rdb_helper_wake_up_all(struct wait_queue_head *wq)
{
	wake_up_all(wq);
}

void rdb_helper_wake_up(struct wait_queue_head *wq)
{
	wake_up(wq);
}

/*
 * The same as spin_lock_init() with name and class given: both are macros
 * that make a static of their own.
 */
void rdb_helper_spin_lock_init(spinlock_t *lock, const char *name,
			       struct lock_class_key *key)
{
	spin_lock_init(lock);
	lockdep_set_class_and_name(lock, key, name);
}

unsigned long rdb_helper_spin_lock_irqsave(spinlock_t *lock)
{
	unsigned long flags;

	spin_lock_irqsave(lock, flags);
	return flags;
}

void rdb_helper_spin_unlock_irqrestore(spinlock_t *lock, unsigned long flags)
{
	spin_unlock_irqrestore(lock, flags);
}

/*
 * The last one out wakes under the lock, and rdb_helper_inflight_wait() takes
 * the lock before it returns: when it has, nobody touches the memory any more.
 */
void rdb_helper_inflight_put(atomic_t *count, spinlock_t *lock,
			     struct wait_queue_head *wq)
{
	unsigned long flags;

	if (atomic_dec_and_lock_irqsave(count, lock, flags)) {
		wake_up_all(wq);
		spin_unlock_irqrestore(lock, flags);
	}
}

void rdb_helper_inflight_wait(atomic_t *count, spinlock_t *lock,
			      struct wait_queue_head *wq)
{
	unsigned long flags;

	wait_event(*wq, !atomic_read(count));
	spin_lock_irqsave(lock, flags);
	spin_unlock_irqrestore(lock, flags);
}

void rdb_helper_atomic_inc(atomic_t *v)
{
	atomic_inc(v);
}

int rdb_helper_atomic_read(atomic_t *v)
{
	return atomic_read(v);
}

unsigned int rdb_helper_memalloc_noio_save(void)
{
	return memalloc_noio_save();
}

void rdb_helper_memalloc_noio_restore(unsigned int flags)
{
	memalloc_noio_restore(flags);
}

unsigned int rdb_helper_memalloc_noreclaim_save(void)
{
	return memalloc_noreclaim_save();
}

void rdb_helper_memalloc_noreclaim_restore(unsigned int flags)
{
	memalloc_noreclaim_restore(flags);
}

struct task_struct *rdb_helper_current(void)
{
	return current;
}

u64 rdb_helper_jiffies_64(void)
{
	return get_jiffies_64();
}

u64 rdb_helper_ktime_get_ns(void)
{
	return ktime_get_ns();
}

s64 rdb_helper_ktime_get_real_ns(void)
{
	return ktime_get_real_ns();
}

void rdb_helper_cond_resched(void)
{
	cond_resched();
}
