// SPDX-License-Identifier: GPL-2.0
/* Programs of the administrator. */

#include <linux/cred.h>
#include <linux/moduleparam.h>
#include <linux/pid.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/umh.h>
#include "../rdb_helpers.h"

#define RDB_PATH_MAX 256

static char usermode_helper[RDB_PATH_MAX] = "/usr/sbin/rdbadm";
module_param_string(usermode_helper, usermode_helper, sizeof(usermode_helper),
		    0644);
MODULE_PARM_DESC(usermode_helper,
		 "program that runs the handlers; \"disabled\" for none");

struct rdb_helper_program {
	/* Protects what follows. */
	spinlock_t lock;
	struct pid *pid;
	bool killed;
	char path[RDB_PATH_MAX];
};

struct rdb_helper_program *rdb_helper_program_alloc(void)
{
	struct rdb_helper_program *program = kzalloc(sizeof(*program),
						     GFP_KERNEL);

	if (program)
		spin_lock_init(&program->lock);
	return program;
}

void rdb_helper_program_free(struct rdb_helper_program *program)
{
	kfree(program);
}

/* Runs in the new process, before its program is loaded. */
static int rdb_program_begins(struct subprocess_info *info, struct cred *new)
{
	struct rdb_helper_program *program = info->data;
	int err = 0;

	spin_lock(&program->lock);
	if (program->killed)
		err = -ECANCELED;
	else
		program->pid = get_pid(task_pid(current));
	spin_unlock(&program->lock);
	return err;
}

/*
 * Runs the program with `argv` behind its own name. Returns its wait status,
 * or an error. One at a time.
 */
int rdb_helper_program_run(struct rdb_helper_program *program,
			   const char **argv, const char **envp)
{
	struct subprocess_info *info;
	struct pid *pid;
	int result;

	kernel_param_lock(THIS_MODULE);
	strscpy(program->path, usermode_helper, sizeof(program->path));
	kernel_param_unlock(THIS_MODULE);
	if (!program->path[0] || !strcmp(program->path, "disabled"))
		return -ENOENT;
	argv[0] = program->path;
	info = call_usermodehelper_setup(program->path, (char **)argv,
					 (char **)envp, GFP_KERNEL,
					 rdb_program_begins, NULL, program);
	if (!info)
		return -ENOMEM;
	/*
	 * Killable only to sleep like who waits for a person, not for a disk: no
	 * signal reaches the kernel thread that calls.
	 */
	result = call_usermodehelper_exec(info, UMH_WAIT_PROC | UMH_KILLABLE);
	spin_lock(&program->lock);
	pid = program->pid;
	program->pid = NULL;
	spin_unlock(&program->lock);
	put_pid(pid);
	return result;
}

/* Ends the program that runs, and lets none begin any more. */
void rdb_helper_program_kill(struct rdb_helper_program *program)
{
	spin_lock(&program->lock);
	program->killed = true;
	if (program->pid)
		kill_pid(program->pid, SIGKILL, 1);
	spin_unlock(&program->lock);
}
