// SPDX-License-Identifier: GPL-2.0
/* Generic netlink. */

#include <net/genetlink.h>
#include <net/net_namespace.h>
#include "../rdb_helpers.h"

void rdb_helper_genl_set_parallel(struct genl_family *family)
{
	family->parallel_ops = true;
}

struct sk_buff *rdb_helper_genl_msg_new(size_t payload)
{
	return genlmsg_new(payload, GFP_KERNEL);
}

size_t rdb_helper_genl_default_size(void)
{
	return GENLMSG_DEFAULT_SIZE;
}

void rdb_helper_genl_msg_free(struct sk_buff *skb)
{
	nlmsg_free(skb);
}

void rdb_helper_genl_msg_end(struct sk_buff *skb, void *hdr)
{
	genlmsg_end(skb, hdr);
}

void rdb_helper_genl_msg_cancel(struct sk_buff *skb, void *hdr)
{
	genlmsg_cancel(skb, hdr);
}

int rdb_helper_genl_reply(struct sk_buff *skb, struct genl_info *info)
{
	return genlmsg_reply(skb, info);
}

/* Called inside of an RCU section, so that the family cannot go meanwhile. */
int rdb_helper_genl_multicast(const struct genl_family *family,
			      struct sk_buff *skb, unsigned int group)
{
	return genlmsg_multicast(family, skb, 0, group, GFP_ATOMIC);
}

bool rdb_helper_genl_has_listeners(const struct genl_family *family,
				   unsigned int group)
{
	return genl_has_listeners(family, &init_net, group);
}

const struct genl_info *rdb_helper_genl_dump_info(struct netlink_callback *cb)
{
	return genl_info_dump(cb);
}

void **rdb_helper_genl_dump_slot(struct netlink_callback *cb)
{
	BUILD_BUG_ON(sizeof(cb->ctx) < sizeof(void *));
	return (void **)cb->ctx;
}

void *rdb_helper_genl_dump_put(struct sk_buff *skb, struct netlink_callback *cb,
			       const struct genl_family *family, u8 cmd)
{
	return genlmsg_put(skb, NETLINK_CB(cb->skb).portid, cb->nlh->nlmsg_seq,
			   family, NLM_F_MULTI, cmd);
}

unsigned int rdb_helper_skb_len(struct sk_buff *skb)
{
	return skb->len;
}

int rdb_helper_genl_nest_start(struct sk_buff *skb, u16 attr, void **start)
{
	*start = nla_nest_start(skb, attr);
	return *start ? 0 : -EMSGSIZE;
}

void rdb_helper_genl_nest_end(struct sk_buff *skb, void *start)
{
	nla_nest_end(skb, start);
}

void rdb_helper_genl_nest_cancel(struct sk_buff *skb, void *start)
{
	nla_nest_cancel(skb, start);
}

int rdb_helper_genl_put_u64_pad(struct sk_buff *skb, u16 attr, u64 value,
				u16 pad)
{
	return nla_put_u64_64bit(skb, attr, value, pad);
}

/* Room for @len bytes of payload, to be written by the caller; or NULL. */
void *rdb_helper_genl_reserve(struct sk_buff *skb, u16 attr, u16 len)
{
	struct nlattr *nla = nla_reserve(skb, attr, len);

	return nla ? nla_data(nla) : NULL;
}

void rdb_helper_genl_attr(const struct nlattr *nla,
			  struct rdb_helper_attr *out)
{
	out->type = nla_type(nla);
	out->len = nla_len(nla);
	out->data = nla_data(nla);
}

/* @text need not be terminated; what does not fit is cut. */
void rdb_helper_genl_set_error(const struct genl_info *info, const char *text,
			       size_t len, const struct nlattr *bad)
{
	struct netlink_ext_ack *extack = info->extack;

	if (!extack)
		return;
	len = min(len, sizeof(extack->_msg_buf) - 1);
	memcpy(extack->_msg_buf, text, len);
	extack->_msg_buf[len] = '\0';
	extack->_msg = extack->_msg_buf;
	if (bad)
		extack->bad_attr = bad;
}
