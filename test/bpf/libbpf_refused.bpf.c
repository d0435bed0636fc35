// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The verifier must refuse this: it reads the packet without comparing with its end. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char _license[] SEC("license") = "Dual BSD/GPL";

SEC("xdp")
int reads_past_end(struct xdp_md *context)
{
	__u8 *data = (void *)(long)context->data;

	return data[40] == 1 ? XDP_DROP : XDP_PASS;
}
