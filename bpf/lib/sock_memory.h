/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What a socket remembers of the Services that it speaks to, from connect() or sendmsg() until it
 * is closed: getpeername() and recvmsg() ask for it, and so does the list of translated sockets.
 *
 *   sock_peers    a table of our own by the socket's cookie: one Service, some 30 ns to write
 *   sock_reverse  storage that the kernel hangs on the socket: more of them, some 900 ns to make
 *
 * Most sockets speak to one Service, and it is in the table. What has no place there (a second
 * Service, a window of entries that others have) is in storage, so nothing is forgotten for want of
 * room. An entry belongs to the socket whose cookie it has: that socket's system calls alone write
 * there, and its close() frees it (cgroup/sock_release). Of sockets that the kernel made for itself
 * (MPTCP's subflows, mounts) no hook tells the end, so those have storage alone. Two threads that
 * use one socket at once may mix up its Services, as in storage; two sockets never meet, for an
 * entry is taken by compare-and-exchange.
 */
#ifndef WEIR_LIB_SOCK_MEMORY_H
#define WEIR_LIB_SOCK_MEMORY_H

#include "lib/address.h"
#include "maps.h"

extern const volatile struct node_config node_config;

struct sock_memory {
	__u64 cookie;
	struct sock_entry *entry;     /* NULL: it has none */
	struct sock_reverse *reverse; /* NULL: it has none, or nobody needs to know */
};

static __always_inline struct sock_entry *sock_entry_at(__u64 cookie, __u32 step)
{
	__u32 row = (cookie + step) % WEIR_SOCK_ENTRIES;

	return bpf_map_lookup_elem(&sock_peers, &row);
}

static __always_inline struct sock_entry *sock_entry_find(__u64 cookie)
{
#pragma unroll
	for (int step = 0; step < WEIR_SOCK_WINDOW; step++) {
		struct sock_entry *entry = sock_entry_at(cookie, step);

		if (entry && entry->cookie == cookie)
			return entry;
	}
	return NULL;
}

/* A free entry, from now on this socket's. NULL: there is none. */
static __always_inline struct sock_entry *sock_entry_take(__u64 cookie)
{
#pragma unroll
	for (int step = 0; step < WEIR_SOCK_WINDOW; step++) {
		struct sock_entry *entry = sock_entry_at(cookie, step);

		if (!entry || entry->cookie ||
		    __sync_val_compare_and_swap(&entry->cookie, 0, cookie))
			continue;
		entry->storage = SOCK_STORAGE_NONE;
		return entry;
	}
	return NULL;
}

/*
 * Is it the kernel's own? The bit's place is not the same in all kernels and is told by user space
 * (weir_kernel_socket_bit in weir_iter.bpf.c); where it is unknown this is dead code, which the
 * verifier does not look at. Only TCP is told: kernels rarely connect() UDP.
 */
static __always_inline bool is_kernels_own(struct bpf_sock *sk)
{
	const __u32 bit = node_config.kernel_socket_bit;
	const __u8 *kernel;

	if (!bit || !sk)
		return false;
	kernel = (const __u8 *)bpf_skc_to_tcp_sock(sk);
	return kernel && kernel[bit / 8] >> bit % 8 & 1;
}

/* Two threads may each have taken an entry for one socket. */
static __always_inline void sock_entry_free(__u64 cookie)
{
#pragma unroll
	for (int step = 0; step < WEIR_SOCK_WINDOW; step++) {
		struct sock_entry *entry = sock_entry_at(cookie, step);

		if (entry && entry->cookie == cookie)
			*(volatile __u64 *)&entry->cookie = 0;
	}
}

/* Macros, for what the kernel takes as `sk` differs between hooks and iterators. */
#define sock_storage(sk, flags) bpf_sk_storage_get(&sock_reverse, sk, NULL, flags)

/* An entry tells whether there is storage; a socket without one is asked. */
#define sock_recall(memory, sk, owner)                                                             \
	do {                                                                                       \
		sock_recall_entry(memory, bpf_get_socket_cookie(owner));                           \
		if ((sk) && (!(memory)->entry || (memory)->entry->storage))                        \
			(memory)->reverse = sock_storage(sk, 0);                                   \
	} while (0)

static __always_inline void sock_recall_entry(struct sock_memory *memory, __u64 cookie)
{
	memory->cookie = cookie;
	memory->entry = sock_entry_find(cookie);
}

static __always_inline bool is_peer_of(const struct sock_peer *peer, const struct address *service,
				       __be16 port)
{
	return peer->backend_id != 0 && peer->service_port == port &&
	       address_is_equal(&peer->service, service);
}

static __always_inline bool is_peer_at(const struct sock_peer *peer, const struct address *backend,
				       __be16 port)
{
	return peer->backend_id != 0 && peer->backend_port == port &&
	       address_is_equal(&peer->backend, backend);
}

/* What the socket knows of this Service; NULL: it has not spoken to it. */
static __always_inline struct sock_peer *
sock_find_service(const struct sock_memory *memory, const struct address *service, __be16 port)
{
	struct sock_peer *found = NULL;

	if (memory->entry && is_peer_of(&memory->entry->peer, service, port))
		return &memory->entry->peer;
	if (!memory->reverse)
		return NULL;
#pragma unroll
	for (int i = 0; i < WEIR_SOCK_PEERS; i++)
		if (is_peer_of(&memory->reverse->peers[i], service, port))
			found = &memory->reverse->peers[i];
	return found;
}

static __always_inline const struct sock_peer *
sock_find_stored(const struct sock_reverse *reverse, const struct address *backend, __be16 port)
{
#pragma unroll
	for (int i = 0; i < WEIR_SOCK_PEERS; i++) {
		__u32 place = (reverse->last + i) % WEIR_SOCK_PEERS;
		const struct sock_peer *peer = &reverse->peers[place];

		if (is_peer_at(peer, backend, port))
			return peer;
	}
	return NULL;
}

/*
 * The Service on whose behalf the socket speaks to a backend: of several, the one that it spoke to
 * last. NULL: it speaks to the backend on its own.
 */
static __always_inline const struct sock_peer *
sock_find_backend(const struct sock_memory *memory, const struct address *backend, __be16 port)
{
	const struct sock_peer *only = NULL, *stored = NULL;

	if (memory->entry && is_peer_at(&memory->entry->peer, backend, port))
		only = &memory->entry->peer;
	if (only && memory->entry->storage != SOCK_STORAGE_NEWER)
		return only;
	if (memory->reverse)
		stored = sock_find_stored(memory->reverse, backend, port);
	return stored ?: only;
}

/* In storage: the place of this Service, else the next in turn. */
static __always_inline struct sock_peer *
sock_choose_place(struct sock_reverse *reverse, const struct address *service, __be16 port)
{
#pragma unroll
	for (int i = 0; i < WEIR_SOCK_PEERS; i++)
		if (is_peer_of(&reverse->peers[i], service, port)) {
			reverse->last = i;
			return &reverse->peers[i];
		}
	reverse->last = reverse->next++ % WEIR_SOCK_PEERS;
	return &reverse->peers[reverse->last % WEIR_SOCK_PEERS];
}

/* The socket's entry, if it has none yet or one for this Service: the last it spoke to. */
static __always_inline struct sock_peer *sock_choose_entry(struct bpf_sock *sk,
							   struct sock_memory *memory,
							   const struct address *service,
							   __be16 port)
{
	struct sock_entry *entry = memory->entry;

	if (entry && !is_peer_of(&entry->peer, service, port))
		return NULL;
	if (!entry && !is_kernels_own(sk))
		entry = sock_entry_take(memory->cookie);
	if (!entry)
		return NULL;
	if (entry->storage)
		entry->storage = SOCK_STORAGE_OLDER;
	return &entry->peer;
}

#endif
