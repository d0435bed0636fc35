/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Pod devices at tc ingress (host side): what a pod sends. Replies to a Service's clients get the
 * frontend's address back and leave by redirection, past the host stack, which never saw the
 * client's packets and would call the answers invalid. The work is in lib/reply.h.
 */
#include "maps.h"
#include "lib/reply.h"

const volatile struct node_config node_config = {};

GLOBAL_FUNCTION int reply_ipv4(struct __sk_buff *skb, const struct packet *packet)
{
	return packet ? reply(skb, packet, IPV4) : TC_ACT_OK;
}

GLOBAL_FUNCTION int reply_ipv6(struct __sk_buff *skb, const struct packet *packet)
{
	return packet ? reply(skb, packet, IPV6) : TC_ACT_OK;
}

SEC("tc")
int weir_pod_tc(struct __sk_buff *skb)
{
	struct packet packet = {.ifindex = skb->ingress_ifindex};

	switch (parse_skb(skb, &packet)) {
	case IPV4:
		return reply_ipv4(skb, &packet);
	case IPV6:
		return reply_ipv6(skb, &packet);
	default:
		return TC_ACT_OK;
	}
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
