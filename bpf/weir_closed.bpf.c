/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Cgroup hooks on the pods' root cgroup, where policy is enforced: pods that policy does not know
 * yet neither send nor get anything. The work is in lib/closed.h.
 */
#include "maps.h"
#include "lib/closed.h"

const volatile struct node_config node_config = {};

SEC("cgroup_skb/egress")
int weir_closed_egress(struct __sk_buff *ctx)
{
	return judge_closed(ctx, true);
}

SEC("cgroup_skb/ingress")
int weir_closed_ingress(struct __sk_buff *ctx)
{
	return judge_closed(ctx, false);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
