/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Connected sockets that the hooks of lib/sock.h translated, told to user space one row each: only
 * what the socket remembers tells that its peer is a backend on behalf of a Service, and not a pod
 * that somebody connected to by its address. User space decides which of them to end, see
 * src/datapath/stale-sockets.ts.
 */
#ifndef WEIR_LIB_SOCK_LIST_H
#define WEIR_LIB_SOCK_LIST_H

#include <linux/in6.h>
#include <bpf/bpf_core_read.h>
#include "lib/sock.h"

#define AF_INET4	   2
#define AF_INET6	   10
#define SOCKET_ESTABLISHED 1 /* of a UDP socket: it is connected */

#define KERNEL_STRUCT __attribute__((preserve_access_index))

/* As much of the kernel's own structures as is read here; offsets are the running kernel's. */
struct sock_common {
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	__be16 skc_dport;
	__u16 skc_num;
	unsigned short skc_family;
	volatile unsigned char skc_state;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
} KERNEL_STRUCT;

struct sock {
	struct sock_common __sk_common;
	__u8 sk_kern_sock : 1;
} KERNEL_STRUCT;

struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
} KERNEL_STRUCT;

/* The number of the bit that is_kernels_own() in lib/sock_memory.h reads; 0: there is none. */
static __always_inline __u32 kernel_socket_bit(void)
{
	struct sock *sk = NULL;

	if (!bpf_core_field_exists(sk->sk_kern_sock))
		return 0;
	return __CORE_RELO(sk, sk_kern_sock, BYTE_OFFSET) * 8 + 63 -
	       __CORE_RELO(sk, sk_kern_sock, LSHIFT_U64);
}

static __always_inline void read_address6(struct address *address, const struct in6_addr *kernel)
{
	address_set_words(address, kernel->in6_u.u6_addr32[0], kernel->in6_u.u6_addr32[1],
			  kernel->in6_u.u6_addr32[2], kernel->in6_u.u6_addr32[3]);
}

static __always_inline bool read_ends(struct translated_socket *row, struct sock *sk)
{
	row->local_port = bpf_htons(sk->__sk_common.skc_num);
	row->backend_port = sk->__sk_common.skc_dport;
	if (sk->__sk_common.skc_family == AF_INET4) {
		address_from_ipv4(&row->local, sk->__sk_common.skc_rcv_saddr);
		address_from_ipv4(&row->backend, sk->__sk_common.skc_daddr);
		return true;
	}
	read_address6(&row->local, &sk->__sk_common.skc_v6_rcv_saddr);
	read_address6(&row->backend, &sk->__sk_common.skc_v6_daddr);
	return sk->__sk_common.skc_family == AF_INET6;
}

/* `all`: those with a living backend too. */
static __always_inline void tell_translated(struct seq_file *seq, struct sock *sk, const bool all)
{
	struct translated_socket row = {};
	const struct sock_peer *peer;
	struct sock_memory memory = {};

	if (sk->__sk_common.skc_state != SOCKET_ESTABLISHED)
		return;
	if (!read_ends(&row, sk))
		return;
	row.cookie = bpf_get_socket_cookie(sk);
	sock_recall(&memory, sk, sk);
	peer = sock_find_backend(&memory, &row.backend, row.backend_port);
	if (!peer || (!all && is_peer_alive(peer)))
		return;
	row.service = peer->service;
	row.service_port = peer->service_port;
	bpf_seq_write(seq, &row, sizeof(row));
}

#endif
