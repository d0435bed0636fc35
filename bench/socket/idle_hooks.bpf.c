/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Hooks that do nothing: what the kernel asks for calling a program at all. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define PROCEED 1

SEC("cgroup/connect4")
int idle_connect4(struct bpf_sock_addr *ctx)
{
	(void)ctx;
	return PROCEED;
}

SEC("cgroup/connect6")
int idle_connect6(struct bpf_sock_addr *ctx)
{
	(void)ctx;
	return PROCEED;
}

SEC("cgroup/sendmsg4")
int idle_sendmsg4(struct bpf_sock_addr *ctx)
{
	(void)ctx;
	return PROCEED;
}

SEC("cgroup/sendmsg6")
int idle_sendmsg6(struct bpf_sock_addr *ctx)
{
	(void)ctx;
	return PROCEED;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
