/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Cgroup hooks on the node's root cgroup: what any process or pod connects or sends to. The work is
 * in lib/sock.h.
 */
#include "maps.h"
#include "lib/sock.h"

const volatile struct node_config node_config = {};

SEC("cgroup/connect4")
int weir_connect4(struct bpf_sock_addr *ctx)
{
	return sock_translate(ctx, IPV4, false);
}

SEC("cgroup/connect6")
int weir_connect6(struct bpf_sock_addr *ctx)
{
	return sock_translate(ctx, IPV6, false);
}

SEC("cgroup/sendmsg4")
int weir_sendmsg4(struct bpf_sock_addr *ctx)
{
	return sock_translate(ctx, IPV4, true);
}

SEC("cgroup/sendmsg6")
int weir_sendmsg6(struct bpf_sock_addr *ctx)
{
	return sock_translate(ctx, IPV6, true);
}

SEC("cgroup/recvmsg4")
int weir_recvmsg4(struct bpf_sock_addr *ctx)
{
	return sock_show_service(ctx, IPV4);
}

SEC("cgroup/recvmsg6")
int weir_recvmsg6(struct bpf_sock_addr *ctx)
{
	return sock_show_service(ctx, IPV6);
}

SEC("cgroup/getpeername4")
int weir_getpeername4(struct bpf_sock_addr *ctx)
{
	return sock_show_service(ctx, IPV4);
}

SEC("cgroup/getpeername6")
int weir_getpeername6(struct bpf_sock_addr *ctx)
{
	return sock_show_service(ctx, IPV6);
}

SEC("cgroup/sock_release")
int weir_sock_release(struct bpf_sock *ctx)
{
	return sock_forget(ctx);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
