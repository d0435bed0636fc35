/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Service addresses translated at the socket: connect() and sendmsg() pick the backend once, and no
 * packet needs translation afterwards. Which Service it was is remembered until the socket is
 * closed (lib/sock_memory.h), for getpeername() and recvmsg(). Seen from inside the cluster:
 * externalTrafficPolicy does not narrow.
 *
 * A refusal is what a closed port is, ECONNREFUSED. What a packet would meet with silence (a Local
 * policy without an endpoint here, a source outside loadBalancerSourceRanges, an address that no
 * Service has) is EHOSTUNREACH: at the socket there is nothing to lose on the way, and the caller
 * learns at once.
 *
 * The caller's address is that of its network namespace, for a socket has none of its own before it
 * is connected. A namespace that user space does not know (yet) is admitted by no source range, and
 * its affinity is keyed by its cookie.
 *
 * IPv4 addresses seen by the IPv6 hooks (::ffff:a.b.c.d) are already in the maps' own form.
 */
#ifndef WEIR_LIB_SOCK_H
#define WEIR_LIB_SOCK_H

#include <linux/errno.h>
#include <linux/in.h>
#include "lib/affinity.h"
#include "lib/lb.h"
#include "lib/policy.h"
#include "lib/sock_memory.h"
#include "lib/verdict.h"

/* What a sock_addr program returns. */
#define SOCK_REFUSE  0
#define SOCK_PROCEED 1

struct sock_target {
	struct address address;
	__be16 port;
	__u8 protocol;
};

/* user_port is 32 bits wide and holds the port in network order in its first two. */
static __always_inline void sock_read_target(struct bpf_sock_addr *ctx, struct sock_target *target,
					     const int family)
{
	if (family == IPV4)
		address_from_ipv4(&target->address, ctx->user_ip4);
	else
		address_set_words(&target->address, ctx->user_ip6[0], ctx->user_ip6[1],
				  ctx->user_ip6[2], ctx->user_ip6[3]);
	target->port = ctx->user_port;
	target->protocol = ctx->protocol;
}

static __always_inline void sock_write_target(struct bpf_sock_addr *ctx,
					      const struct address *address, __be16 port,
					      const int family)
{
	if (family == IPV4) {
		ctx->user_ip4 = address_to_ipv4(address);
	} else {
		ctx->user_ip6[0] = address_get_word(address, 0);
		ctx->user_ip6[1] = address_get_word(address, 1);
		ctx->user_ip6[2] = address_get_word(address, 2);
		ctx->user_ip6[3] = address_get_word(address, 3);
	}
	ctx->user_port = port;
}

static __always_inline int sock_refuse(enum verdict_reason reason, int error)
{
	count(reason, 0);
	bpf_set_retval(-error);
	return SOCK_REFUSE;
}

/* The same number may have gone to another backend meanwhile; the address tells. */
static __always_inline bool is_peer_alive(const struct sock_peer *peer)
{
	const struct backend *backend = backend_find(peer->backend_id);

	return backend && backend->port == peer->backend_port &&
	       address_is_equal(&backend->address, &peer->backend);
}

/*
 * Whether the backend still serves this Service, and not only another: the table is searched once
 * after each of its changes. One that terminates keeps what it has, in the table or not.
 */
static __always_inline bool is_peer_serving(struct sock_peer *peer, const struct slot_range *range)
{
	const struct backend *backend = backend_find(peer->backend_id);

	if (!backend || !is_peer_alive(peer))
		return false;
	if (peer->table == range->base || backend->state == BACKEND_TERMINATING)
		return true;
	if (!range_holds(range, peer->backend_id))
		return false;
	peer->table = range->base;
	return true;
}

/* An unconnected UDP socket goes on with the backend that it has for this Service; 0: it has none.
 */
static __always_inline __u32 sock_find_earlier(const struct sock_memory *memory,
					       const struct sock_target *service,
					       const struct slot_range *range)
{
	struct sock_peer *peer = sock_find_service(memory, &service->address, service->port);

	return peer && is_peer_serving(peer, range) ? peer->backend_id : 0;
}

/*
 * Where to write that the socket speaks to this Service; NULL: the kernel gives no memory. What is
 * in storage already stays there.
 */
static __always_inline struct sock_peer *sock_choose_memory(struct bpf_sock *sk,
							    struct sock_memory *memory,
							    const struct sock_target *service)
{
	struct sock_reverse *reverse = memory->entry ? NULL : memory->reverse;
	struct sock_peer *peer = NULL;

	if (!reverse)
		peer = sock_choose_entry(sk, memory, &service->address, service->port);
	if (peer)
		return peer;
	if (!reverse && sk)
		reverse = sock_storage(sk, BPF_SK_STORAGE_GET_F_CREATE);
	if (!reverse)
		return NULL;
	if (memory->entry)
		memory->entry->storage = SOCK_STORAGE_NEWER;
	return sock_choose_place(reverse, &service->address, service->port);
}

static __always_inline void sock_remember(struct sock_peer *peer, const struct sock_target *service,
					  const struct backend *backend, __u32 backend_id,
					  __u32 table)
{
	peer->service = service->address;
	peer->service_port = service->port;
	peer->backend = backend->address;
	peer->backend_port = backend->port;
	peer->backend_id = backend_id;
	peer->table = table;
}

static __always_inline bool is_ipv4(const struct address *address)
{
	return address_get_word(address, 0) == 0 && address_get_word(address, 1) == 0 &&
	       address_get_word(address, 2) == bpf_htonl(0xffff);
}

/* The address that packets of the caller would come from. */
static __always_inline void sock_read_client(struct bpf_sock_addr *ctx,
					     const struct sock_target *target,
					     struct address *client)
{
	__u64 cookie = bpf_get_netns_cookie(ctx);
	const struct netns_endpoint *endpoint = bpf_map_lookup_elem(&netns_endpoints, &cookie);

	if (!endpoint) {
		address_set_words(client, 0, 0, cookie, cookie >> 32);
		return;
	}
	*client = is_ipv4(&target->address) ? endpoint->ipv4 : endpoint->ipv6;
}
/*
 * No frontend: not a Service at all, a port that the Service lacks, or an address that no Service
 * has. A connect() of UDP proceeds: a host refuses a datagram and never the connect(), which ping
 * and traceroute use to learn their own address; the datagram meets its refusal on its way.
 */
static __always_inline int sock_judge_unknown(const struct sock_target *target, bool is_datagram)
{
	if (target->protocol != IPPROTO_TCP && !is_datagram)
		return SOCK_PROCEED;
	if (filter_admits(&target->address) && frontend_find_catch_all(&target->address))
		return sock_refuse(REASON_NO_SUCH_PORT, ECONNREFUSED);
	if (filter_admits_network(&target->address) && is_unallocated(&target->address))
		return sock_refuse(REASON_UNALLOCATED_ADDRESS, EHOSTUNREACH);
	return SOCK_PROCEED;
}

/* The frontend that this caller may see there; the filter admits the address. */
static __always_inline const struct frontend *sock_find_frontend(struct bpf_sock_addr *ctx,
								 const struct sock_target *target)
{
	const struct frontend *frontend =
	    frontend_find(&target->address, target->port, target->protocol);

	if (frontend && frontend->flags & FRONTEND_SOCKET_ONLY &&
	    bpf_get_netns_cookie(ctx) != node_config.host_netns_cookie)
		return NULL;
	return frontend;
}

/*
 * As good as random, at a third of the price of the kernel's random numbers: another one for each
 * socket and each time.
 */
static __always_inline __u32 sock_draw(__u64 cookie)
{
	__u32 row = REASON_SOCKET;
	const struct metric *metric = bpf_map_lookup_elem(&metrics, &row);

	return hash_finish(cookie ^ (metric ? metric->packets << 32 : 0));
}

#define SOCK_NOT_ADMITTED 0xffffffff

/* Where it matters who calls. A function of its own, so that what most calls need lies together. */
static __noinline __u32 sock_choose_for(struct bpf_sock_addr *ctx, const struct sock_target *target,
					const struct frontend *frontend, __u64 cookie)
{
	struct address client = {};

	sock_read_client(ctx, target, &client);
	if (!frontend_admits(frontend, &client))
		return SOCK_NOT_ADMITTED;
	return choose_backend(frontend, range_from_inside(frontend), &client, sock_draw(cookie));
}

/* A backend for a new connection or a first datagram; 0: there is none. */
static __always_inline __u32 sock_choose(struct bpf_sock_addr *ctx,
					 const struct sock_target *target,
					 const struct frontend *frontend, __u64 cookie)
{
	if (frontend->affinity_ticks || frontend->flags & FRONTEND_SOURCE_RANGES)
		return sock_choose_for(ctx, target, frontend, cookie);
	return range_choose(range_from_inside(frontend), sock_draw(cookie));
}

static __always_inline int sock_judge_without_backend(const struct frontend *frontend)
{
	if (frontend->flags & FRONTEND_ANY_ENDPOINT)
		return sock_refuse(REASON_NO_LOCAL_ENDPOINT, EHOSTUNREACH);
	return sock_refuse(REASON_NO_ENDPOINT, ECONNREFUSED);
}

/*
 * A pod that a Service leads to itself is judged here, in both directions, for its packets never
 * leave it. Anybody else's are judged on their way. A function of its own for its stack.
 */
static __noinline bool sock_may_be_led(struct bpf_sock_addr *ctx, const struct sock_target *target,
				       const struct backend *backend)
{
	struct policy_question question = {.circumstances = POLICY_LED_BACK};
	struct policy_verdict verdict = {};

	sock_read_client(ctx, target, &question.tuple.source);
	if (!address_is_equal(&question.tuple.source, &backend->address))
		return true;
	/* The node, and who shares its network: nothing is between them, and they are no pods. */
	if (has_node_scope(&backend->address))
		return true;
	question.tuple.destination = backend->address;
	question.tuple.destination_port = backend->port;
	question.tuple.protocol = target->protocol;
	question.set = policy_set_of(&backend->address);
	question.direction = POLICY_EGRESS;
	if (!policy_judge(&question, &verdict))
		return false;
	question.direction = POLICY_INGRESS;
	return policy_judge(&question, &verdict);
}

/* `keeps_peer`: sendmsg() of one socket to one Service stays with one backend; a connect() is new.
 */
static __always_inline int sock_translate(struct bpf_sock_addr *ctx, const int family,
					  const bool keeps_peer)
{
	const struct frontend *frontend;
	const struct backend *backend;
	struct sock_target target = {};
	struct bpf_sock *sk = ctx->sk;
	struct sock_memory memory = {};
	struct sock_peer *peer;
	__u32 backend_id = 0;

	sock_read_target(ctx, &target, family);
	if (!filter_admits(&target.address))
		return sock_judge_unknown(&target, keeps_peer);
	/*
	 * Where a socket connects to now is all that it will be asked about, if it has an entry.
	 * Its entry is asked for before the frontend: no cache holds a new socket's, and the
	 * processor fetches it while it looks the frontend up.
	 */
	if (!keeps_peer)
		sock_recall_entry(&memory, bpf_get_socket_cookie(ctx));
	frontend = sock_find_frontend(ctx, &target);
	if (!frontend)
		return sock_judge_unknown(&target, keeps_peer);
	if (keeps_peer) {
		sock_recall(&memory, sk, ctx);
		backend_id = sock_find_earlier(&memory, &target, range_from_inside(frontend));
	}
	if (!backend_id)
		backend_id = sock_choose(ctx, &target, frontend, memory.cookie);
	if (backend_id == SOCK_NOT_ADMITTED)
		return sock_refuse(REASON_SOURCE_RANGE, EHOSTUNREACH);
	backend = backend_find(backend_id);
	if (!backend)
		return sock_judge_without_backend(frontend);
	if (node_config.enforces_policy && backend->flags & BACKEND_LOCAL &&
	    !sock_may_be_led(ctx, &target, backend))
		return sock_refuse(REASON_POLICY_EGRESS, EHOSTUNREACH);
	peer = sock_choose_memory(sk, &memory, &target);
	if (peer)
		sock_remember(peer, &target, backend, backend_id,
			      range_from_inside(frontend)->base);
	sock_write_target(ctx, &backend->address, backend->port, family);
	count(REASON_SOCKET, 0);
	return SOCK_PROCEED;
}

/* The address that the program is about to be shown: a backend's becomes the Service's. */
static __always_inline int sock_show_service(struct bpf_sock_addr *ctx, const int family)
{
	struct bpf_sock *sk = ctx->sk;
	struct sock_target shown = {};
	struct sock_memory memory = {};
	const struct sock_peer *peer;

	sock_read_target(ctx, &shown, family);
	sock_recall(&memory, sk, ctx);
	peer = sock_find_backend(&memory, &shown.address, shown.port);
	if (peer)
		sock_write_target(ctx, &peer->service, peer->service_port, family);
	return SOCK_PROCEED;
}

/* The last descriptor of a socket was closed. */
static __always_inline int sock_forget(struct bpf_sock *ctx)
{
	sock_entry_free(bpf_get_socket_cookie(ctx));
	return SOCK_PROCEED;
}

#endif
