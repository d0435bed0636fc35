/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Iterators over the sockets of the network namespace that a reader opened them in: which of them
 * were translated. The work is in lib/sock_list.h.
 *
 * Everything that needs the kernel's own types is here, for the datapath can do without this
 * object.
 */
#include "maps.h"
#include "lib/sock_list.h"

const volatile struct node_config node_config = {};

struct udp_sock;
struct tcp_sock;

struct bpf_iter__udp {
	struct bpf_iter_meta *meta;
	struct udp_sock *udp_sk;
} KERNEL_STRUCT;

struct bpf_iter__tcp {
	struct bpf_iter_meta *meta;
	struct sock_common *sk_common;
} KERNEL_STRUCT;

/* The few whose backend lives are told too: it may have left this Service and serve another. */
SEC("iter/udp")
int weir_list_udp(struct bpf_iter__udp *ctx)
{
	/* Read once: what is known of one reading is not known of the next. */
	struct udp_sock *sk = ctx->udp_sk;

	if (sk)
		tell_translated(ctx->meta->seq, (struct sock *)sk, true);
	return 0;
}

SEC("iter/tcp")
int weir_list_tcp(struct bpf_iter__tcp *ctx)
{
	struct sock_common *common = ctx->sk_common;
	struct tcp_sock *sk = common ? bpf_skc_to_tcp_sock(common) : NULL;

	if (sk)
		tell_translated(ctx->meta->seq, (struct sock *)sk, false);
	return 0;
}

/* For user space, which tells the hooks of weir_sock.bpf.c: those do without the kernel's types. */
SEC("syscall")
int weir_kernel_socket_bit(void *ctx)
{
	(void)ctx;
	return kernel_socket_bit();
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
