// SPDX-License-Identifier: GPL-2.0
/* The other end of the self-test's netlink family: one line for each test. */

#include <errno.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { A_NUMBER = 1, A_TEXT, A_FLAG, A_BIG, A_BYTES, A_PAD, A_NEST };
enum { ECHO_CMD = 1, REFUSE_CMD, LIST_CMD, SHOUT_CMD, EVENT_CMD };

static struct { struct nlmsghdr n; struct genlmsghdr g; char b[4096]; } req;
static char buf[65536];
static int family, group, failures, seq;

static void test(const char *name, int ok)
{
	printf("%s %s\n", ok ? "ok" : "not ok", name);
	failures += !ok;
}

static int open_nl(void)
{
	struct sockaddr_nl a = { .nl_family = AF_NETLINK };
	struct timeval tv = { .tv_sec = 20 };
	int one = 1, s = socket(AF_NETLINK, SOCK_RAW, NETLINK_GENERIC);

	if (s < 0 || bind(s, (void *)&a, sizeof(a)))
		exit(2);
	setsockopt(s, SOL_NETLINK, NETLINK_EXT_ACK, &one, sizeof(one));
	setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	return s;
}

static void start(int type, int cmd, int flags)
{
	memset(&req, 0, sizeof(req));
	req.n.nlmsg_len = NLMSG_LENGTH(GENL_HDRLEN);
	req.n.nlmsg_type = type;
	req.n.nlmsg_flags = NLM_F_REQUEST | flags;
	req.n.nlmsg_seq = ++seq;
	req.g.cmd = cmd;
	req.g.version = 1;
}

static void put(int type, const void *data, int len)
{
	struct nlattr *a = (void *)&req + NLMSG_ALIGN(req.n.nlmsg_len);

	a->nla_type = type;
	a->nla_len = NLA_HDRLEN + len;
	if (len)
		memcpy((char *)a + NLA_HDRLEN, data, len);
	req.n.nlmsg_len = NLMSG_ALIGN(req.n.nlmsg_len) + NLA_ALIGN(a->nla_len);
}

static struct nlattr *find(void *from, int len, int type)
{
	struct nlattr *a = from;

	while (len >= NLA_HDRLEN && a->nla_len >= NLA_HDRLEN) {
		if ((a->nla_type & NLA_TYPE_MASK) == type)
			return a;
		len -= NLA_ALIGN(a->nla_len);
		a = (void *)a + NLA_ALIGN(a->nla_len);
	}
	return NULL;
}

static struct nlattr *attr(struct nlmsghdr *n, int type)
{
	return find((char *)NLMSG_DATA(n) + GENL_HDRLEN,
		    n->nlmsg_len - NLMSG_LENGTH(GENL_HDRLEN), type);
}

static void *data(struct nlattr *a)
{
	return (char *)a + NLA_HDRLEN;
}

/* Send the request, return its first answer. */
static struct nlmsghdr *ask(int s)
{
	if (send(s, &req, req.n.nlmsg_len, 0) < 0)
		exit(2);
	if (recv(s, buf, sizeof(buf), 0) <= 0)
		exit(3);
	return (void *)buf;
}

static int error(struct nlmsghdr *n)
{
	struct nlmsgerr *e = NLMSG_DATA(n);

	return n->nlmsg_type == NLMSG_ERROR ? e->error : 1;
}

static void resolve(int s)
{
	struct nlmsghdr *n;
	struct nlattr *g, *one;

	start(GENL_ID_CTRL, CTRL_CMD_GETFAMILY, 0);
	put(CTRL_ATTR_FAMILY_NAME, "rdb_kapi_test", 14);
	n = ask(s);
	if (n->nlmsg_type == NLMSG_ERROR) {
		test("genl-family", 0);
		exit(1);
	}
	family = *(unsigned short *)data(attr(n, CTRL_ATTR_FAMILY_ID));
	g = attr(n, CTRL_ATTR_MCAST_GROUPS);
	one = data(g);
	group = *(int *)data(find(data(one), one->nla_len - NLA_HDRLEN, CTRL_ATTR_MCAST_GRP_ID));
	test("genl-family", family > 0 && group > 0);
}

static void echo(int s)
{
	struct nlmsghdr *n;
	struct nlattr *a;
	unsigned long long big = 0x1122334455667788ull;
	unsigned int number = 77;

	start(family, ECHO_CMD, 0);
	put(A_NUMBER, &number, 4);
	put(A_TEXT, "hello", 6);
	put(A_FLAG, NULL, 0);
	put(A_BIG, &big, 8);
	put(A_BYTES, "abc", 3);
	n = ask(s);
	test("genl-answer", n->nlmsg_type == family && attr(n, A_NUMBER) && attr(n, A_TEXT) &&
	     attr(n, A_FLAG) && attr(n, A_BIG) && attr(n, A_NEST) &&
	     *(int *)data(attr(n, A_NUMBER)) == 77 && !strcmp(data(attr(n, A_TEXT)), "<hello>") &&
	     !memcmp(data(attr(n, A_BIG)), &big, 8));
	a = find(data(attr(n, A_NEST)), attr(n, A_NEST)->nla_len - NLA_HDRLEN, A_BYTES);
	test("genl-nest", a && a->nla_len == NLA_HDRLEN + 3 && !memcmp(data(a), "abc", 3) &&
	     n->nlmsg_len < 200);
}

static void strict(int s)
{
	unsigned int number = 0;
	int e[5];

	start(family, ECHO_CMD, 0);
	put(A_NUMBER, &number, 4);
	e[0] = error(ask(s));
	start(family, ECHO_CMD, 0);
	put(A_NUMBER, &number, 2);
	e[1] = error(ask(s));
	start(family, ECHO_CMD, 0);
	put(A_TEXT, "0123456789abcdef", 17);
	e[2] = error(ask(s));
	start(family, ECHO_CMD, 0);
	put(A_PAD, NULL, 0);
	e[3] = error(ask(s));
	start(family, SHOUT_CMD, 0);
	put(A_FLAG, NULL, 0);
	e[4] = error(ask(s));
	test("genl-range", e[0] == -ERANGE);
	test("genl-short", e[1] < 0);
	test("genl-long", e[2] < 0);
	test("genl-unknown", e[3] == -EINVAL);
	test("genl-no-attributes", e[4] == -EINVAL);
}

static void refuse(int s)
{
	unsigned int number = 5;
	struct nlmsgerr *e;
	struct nlattr *a = NULL;
	struct nlmsghdr *n;
	int off;

	start(family, REFUSE_CMD, 0);
	put(A_NUMBER, &number, 4);
	n = ask(s);
	e = NLMSG_DATA(n);
	off = sizeof(*n) + sizeof(*e) + e->msg.nlmsg_len - sizeof(e->msg);
	if (n->nlmsg_flags & NLM_F_CAPPED)
		off = sizeof(*n) + sizeof(*e);
	if (n->nlmsg_flags & NLM_F_ACK_TLVS)
		a = find((char *)n + off, n->nlmsg_len - off, NLMSGERR_ATTR_MSG);
	test("genl-words", error(n) == -EBUSY && a && !strncmp(data(a), "(119) r5/0: no,", 15));
	if (a)
		printf("# %zu bytes: %s\n", strlen(data(a)), (char *)data(a));
	a = find((char *)n + off, n->nlmsg_len - off, NLMSGERR_ATTR_OFFS);
	test("genl-offset", a && *(int *)data(a) == NLMSG_LENGTH(GENL_HDRLEN));
	if (fork() == 0) {
		int s2;

		if (setuid(1000))
			_exit(9);
		s2 = open_nl();
		start(family, REFUSE_CMD, 0);
		_exit(error(ask(s2)) == -EPERM ? 0 : 1);
	} else {
		int status;

		wait(&status);
		test("genl-admin", status == 0);
	}
}

static void list(int s, unsigned int want)
{
	unsigned int seen = 0, packets = 0;
	int done = 0, ok = 1;

	start(family, LIST_CMD, NLM_F_DUMP);
	if (want != 1000)
		put(A_NUMBER, &want, 4);
	if (send(s, &req, req.n.nlmsg_len, 0) < 0)
		exit(2);
	while (!done) {
		int len = recv(s, buf, sizeof(buf), 0);
		struct nlmsghdr *n = (void *)buf;

		if (len <= 0)
			exit(3);
		packets++;
		for (; NLMSG_OK(n, len); n = NLMSG_NEXT(n, len)) {
			if (n->nlmsg_type == NLMSG_DONE || n->nlmsg_type == NLMSG_ERROR) {
				done = 1;
				break;
			}
			ok &= *(unsigned int *)data(attr(n, A_NUMBER)) == ++seen;
		}
	}
	printf("# %u messages in %u packets\n", seen, packets);
	test("genl-dump", ok && seen == want);
}

static void event(int s)
{
	int l = open_nl();
	struct nlmsghdr *n;

	start(family, SHOUT_CMD, NLM_F_ACK);
	test("genl-nobody", error(ask(s)) == 0);
	if (setsockopt(l, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)))
		exit(2);
	start(family, SHOUT_CMD, NLM_F_ACK);
	test("genl-shout", error(ask(s)) == 0);
	if (recv(l, buf, sizeof(buf), 0) <= 0)
		exit(3);
	n = (void *)buf;
	test("genl-news", n->nlmsg_type == family &&
	     ((struct genlmsghdr *)NLMSG_DATA(n))->cmd == EVENT_CMD &&
	     *(int *)data(attr(n, A_NUMBER)) == 4001);
}

int main(void)
{
	int s = open_nl();

	resolve(s);
	echo(s);
	strict(s);
	refuse(s);
	list(s, 1000);
	list(s, 3);
	event(s);
	/* A dump that nobody reads to its end. */
	start(family, LIST_CMD, NLM_F_DUMP);
	if (send(s, &req, req.n.nlmsg_len, 0) < 0)
		exit(2);
	close(s);
	return failures != 0;
}
