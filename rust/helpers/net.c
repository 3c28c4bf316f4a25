// SPDX-License-Identifier: GPL-2.0
/* TCP sockets: struct sock is opaque to Rust. */

#include <linux/in.h>
#include <linux/in6.h>
#include <linux/net.h>
#include <linux/tcp.h>
#include <net/sock.h>
#include <net/tcp.h>
#include "../rdb_helpers.h"

static int rdb_addr_to_sockaddr(const struct rdb_helper_addr *addr,
				struct sockaddr_storage *ss)
{
	struct sockaddr_in *in = (struct sockaddr_in *)ss;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ss;

	memset(ss, 0, sizeof(*ss));
	if (!addr->is_v6) {
		in->sin_family = AF_INET;
		in->sin_port = htons(addr->port);
		memcpy(&in->sin_addr, addr->ip, sizeof(in->sin_addr));
		return sizeof(*in);
	}
	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons(addr->port);
	in6->sin6_flowinfo = htonl(addr->flow_info);
	in6->sin6_scope_id = addr->scope_id;
	memcpy(&in6->sin6_addr, addr->ip, sizeof(in6->sin6_addr));
	return sizeof(*in6);
}

static int rdb_addr_from_sockaddr(struct rdb_helper_addr *addr,
				  const struct sockaddr_storage *ss)
{
	const struct sockaddr_in *in = (const struct sockaddr_in *)ss;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)ss;

	memset(addr, 0, sizeof(*addr));
	switch (ss->ss_family) {
	case AF_INET:
		addr->port = ntohs(in->sin_port);
		memcpy(addr->ip, &in->sin_addr, sizeof(in->sin_addr));
		return 0;
	case AF_INET6:
		addr->is_v6 = 1;
		addr->port = ntohs(in6->sin6_port);
		addr->flow_info = ntohl(in6->sin6_flowinfo);
		addr->scope_id = in6->sin6_scope_id;
		memcpy(addr->ip, &in6->sin6_addr, sizeof(in6->sin6_addr));
		return 0;
	default:
		return -EAFNOSUPPORT;
	}
}

int rdb_helper_sock_create(bool v6, struct socket **res)
{
	return sock_create_kern(&init_net, v6 ? AF_INET6 : AF_INET, SOCK_STREAM,
				IPPROTO_TCP, res);
}

int rdb_helper_sock_bind(struct socket *sock, const struct rdb_helper_addr *a)
{
	struct sockaddr_storage ss;
	int len = rdb_addr_to_sockaddr(a, &ss);

	return kernel_bind(sock, (struct sockaddr_unsized *)&ss, len);
}

int rdb_helper_sock_connect(struct socket *sock,
			    const struct rdb_helper_addr *a, u32 timeout_ms)
{
	struct sockaddr_storage ss;
	int len = rdb_addr_to_sockaddr(a, &ss);
	long saved = READ_ONCE(sock->sk->sk_sndtimeo);
	int err;

	rdb_helper_sock_set_sndtimeo(sock, timeout_ms);
	err = kernel_connect(sock, (struct sockaddr_unsized *)&ss, len, 0);
	WRITE_ONCE(sock->sk->sk_sndtimeo, saved);
	return err;
}

int rdb_helper_sock_name(struct socket *sock, bool peer,
			 struct rdb_helper_addr *a)
{
	struct sockaddr_storage ss = {};
	int err;

	if (peer)
		err = kernel_getpeername(sock, (struct sockaddr *)&ss);
	else
		err = kernel_getsockname(sock, (struct sockaddr *)&ss);
	if (err < 0)
		return err;
	return rdb_addr_from_sockaddr(a, &ss);
}

static long rdb_timeo(u32 ms)
{
	return ms ? msecs_to_jiffies(ms) : MAX_SCHEDULE_TIMEOUT;
}

void rdb_helper_sock_set_rcvtimeo(struct socket *sock, u32 ms)
{
	WRITE_ONCE(sock->sk->sk_rcvtimeo, rdb_timeo(ms));
}

void rdb_helper_sock_set_sndtimeo(struct socket *sock, u32 ms)
{
	WRITE_ONCE(sock->sk->sk_sndtimeo, rdb_timeo(ms));
}

/*
 * Sockets on the way of writeback: allocations must neither start I/O nor
 * use the page fragment of a task that may be in the middle of a reclaim.
 */
void rdb_helper_sock_for_io(struct socket *sock, bool memalloc)
{
	struct sock *sk = sock->sk;

	sk->sk_allocation = GFP_NOIO;
	sk->sk_use_task_frag = false;
	if (memalloc)
		sk_set_memalloc(sk);
}

/* Sizes in bytes, as SO_SNDBUFFORCE and SO_RCVBUFFORCE; 0 leaves it alone. */
void rdb_helper_sock_set_bufs(struct socket *sock, u32 snd, u32 rcv)
{
	struct sock *sk = sock->sk;

	lock_sock(sk);
	if (snd) {
		sk->sk_userlocks |= SOCK_SNDBUF_LOCK;
		WRITE_ONCE(sk->sk_sndbuf,
			   clamp_t(u32, snd, SOCK_MIN_SNDBUF, S32_MAX / 2));
	}
	if (rcv) {
		sk->sk_userlocks |= SOCK_RCVBUF_LOCK;
		WRITE_ONCE(sk->sk_rcvbuf,
			   clamp_t(u32, rcv, SOCK_MIN_RCVBUF, S32_MAX / 2));
	}
	release_sock(sk);
}

void rdb_helper_sock_set_reuseaddr(struct socket *sock)
{
	sock_set_reuseaddr(sock->sk);
}

void rdb_helper_sock_set_keepalive(struct socket *sock)
{
	sock_set_keepalive(sock->sk);
}

void rdb_helper_sock_set_priority(struct socket *sock, u32 priority)
{
	sock_set_priority(sock->sk, priority);
}

void rdb_helper_sock_no_linger(struct socket *sock)
{
	sock_no_linger(sock->sk);
}

void rdb_helper_sock_set_nodelay(struct socket *sock, bool on)
{
	if (on) {
		tcp_sock_set_nodelay(sock->sk);
		return;
	}
	lock_sock(sock->sk);
	tcp_sk(sock->sk)->nonagle &= ~TCP_NAGLE_OFF;
	release_sock(sock->sk);
}

void rdb_helper_sock_set_cork(struct socket *sock, bool on)
{
	tcp_sock_set_cork(sock->sk, on);
}

void rdb_helper_sock_set_quickack(struct socket *sock)
{
	tcp_sock_set_quickack(sock->sk, 2);
}

u32 rdb_helper_sock_queued_out(struct socket *sock)
{
	struct tcp_sock *tp = tcp_sk(sock->sk);

	return READ_ONCE(tp->write_seq) - READ_ONCE(tp->snd_una);
}

bool rdb_helper_sock_established(struct socket *sock)
{
	return READ_ONCE(sock->sk->sk_state) == TCP_ESTABLISHED;
}
