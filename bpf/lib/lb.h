/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * From a destination to a backend: frontends -> slot range -> slots -> backends. Which of a
 * frontend's two sets serves a packet depends on where it comes from (externalTrafficPolicy,
 * internalTrafficPolicy, and KEP-2086's short-circuit: from inside, an external address always has
 * the whole cluster's endpoints).
 */
#ifndef WEIR_LIB_LB_H
#define WEIR_LIB_LB_H

#include <linux/in.h>
#include "lib/address.h"
#include "lib/packet.h"
#include "maps.h"

extern const volatile struct node_config node_config;

/* Whether pods' devices balance such packets: those that the sockets' hooks left alone because they
 * are theirs no more than ours. */
static __always_inline bool is_balanced_here(const struct packet *packet)
{
	return node_config.per_packet || packet->tuple.protocol == IPPROTO_SCTP;
}

/* This node's own: what it tunnels from and masquerades as. Read in place, for a copy would lie on
 * the stack; what the compiler must not know is that the object file has zeros there. */
static __always_inline const struct address *own_address(const int family)
{
	const struct address *own =
	    (const struct address *)(family == IPV4 ? &node_config.tunnel_ipv4
						    : &node_config.tunnel_ipv6);

	OPAQUE(own);
	return own;
}

/*
 * Keys are copied to the stack: up to 6.1 the verifier takes no map key from memory that a global
 * function got by pointer.
 */
static __always_inline const struct node *node_find(const struct address *address)
{
	struct address key = *address;

	return bpf_map_lookup_elem(&nodes, &key);
}

static __always_inline const struct endpoint *endpoint_find(const struct address *address)
{
	struct address key = *address;

	return bpf_map_lookup_elem(&endpoints, &key);
}

static __always_inline const struct frontend *frontend_find(const struct address *address,
							    __be16 port, __u8 protocol)
{
	struct frontend_key key = {.address = *address, .port = port, .protocol = protocol};

	return bpf_map_lookup_elem(&frontends, &key);
}

/* A row that catches the undefined ports of an address says that the address is a Service's. */
static __always_inline const struct frontend *frontend_find_catch_all(const struct address *address)
{
	return frontend_find(address, 0, 0);
}

/* An address's bits, see abi/service.h. */
struct filter_place {
	__u32 row;
	__u64 bits;
};

static __always_inline __u32 filter_mix(__u32 folded)
{
	return folded ^ folded >> 16;
}

static __always_inline __u32 filter_fold(const struct address *address)
{
	return address_get_word(address, 0) ^ address_get_word(address, 1) ^
	       address_get_word(address, 2) ^ address_get_word(address, 3);
}

static __always_inline struct filter_place filter_place_of(const struct address *address)
{
	__u32 mixed = filter_mix(filter_fold(address));
	__u32 numbers = mixed * WEIR_FILTER_MULTIPLIER_2;

	return (struct filter_place){
	    .row = mixed * WEIR_FILTER_MULTIPLIER >> (32 - WEIR_FILTER_WORD_ORDER),
	    .bits = 1ULL << (numbers >> 26) | 1ULL << (numbers >> 20 & 63) |
		    1ULL << (numbers >> 14 & 63),
	};
}

static __always_inline bool filter_has(const struct filter_place *place)
{
	__u32 row = place->row;
	const __u64 *word = bpf_map_lookup_elem(&frontend_filter, &row);

	return !word || (*word & place->bits) == place->bits;
}

/* False: certainly no frontend has this address. */
static __always_inline bool filter_admits(const struct address *address)
{
	struct filter_place place = filter_place_of(address);

	return filter_has(&place);
}

static __always_inline bool filter_has_network(__u32 folded)
{
	__u32 bit = filter_mix(folded) * WEIR_FILTER_MULTIPLIER >> (32 - WEIR_FILTER_NETWORK_ORDER);
	struct filter_place place = {
	    .row = (WEIR_FILTER_BITS + bit) / 64,
	    .bits = 1ULL << bit % 64,
	};

	return filter_has(&place);
}

/* False: certainly no ServiceCIDR has this address; its network of a fixed length is in the filter
 * for each of them, see abi/service.h. */
static __always_inline bool filter_admits_network(const struct address *address)
{
	const __u32 mapped = bpf_htonl(0xffff);

	if (address_get_word(address, 2) == mapped && !address_get_word(address, 0) &&
	    !address_get_word(address, 1))
		return filter_has_network(mapped ^
					  (address_get_word(address, 3) & bpf_htonl(0xffff0000)));
	return filter_has_network(address_get_word(address, 0) ^ address_get_word(address, 1));
}

/* Inside a ServiceCIDR; asked when no frontend has the address. */
static __always_inline bool is_unallocated(const struct address *address)
{
	struct cidr_key key = {.prefix_bits = 8 * sizeof(key.address), .address = *address};

	return bpf_map_lookup_elem(&service_cidrs, &key);
}

static __always_inline const struct slot_range *range_from_outside(const struct frontend *frontend)
{
	__u32 local =
	    frontend->flags & FRONTEND_EXTERNAL ? FRONTEND_EXTERNAL_LOCAL : FRONTEND_INTERNAL_LOCAL;

	return frontend->flags & local ? &frontend->local : &frontend->cluster;
}

/* The same as it was before the last change. */
static __always_inline const struct slot_range *
range_before_from_outside(const struct frontend *frontend)
{
	return range_from_outside(frontend) == &frontend->local ? &frontend->local_before
								: &frontend->cluster_before;
}

static __always_inline const struct slot_range *range_from_inside(const struct frontend *frontend)
{
	if (frontend->flags & FRONTEND_EXTERNAL || !(frontend->flags & FRONTEND_INTERNAL_LOCAL))
		return &frontend->cluster;
	return &frontend->local;
}

/*
 * Only answers come from a Service's address. One that were taken for a request would be answered
 * to that Service again: two that answer whatever they get never end.
 */
static __always_inline bool is_from_service(const struct packet *packet)
{
	return filter_admits(&packet->tuple.source) &&
	       frontend_find_catch_all(&packet->tuple.source);
}

/* loadBalancerSourceRanges; asked for new connections alone. */
static __always_inline bool frontend_admits(const struct frontend *frontend,
					    const struct address *source)
{
	struct source_range_key key = {
	    .prefix_bits = 8 * (sizeof(key.service_id) + sizeof(key.source)),
	    .service_id = frontend->service_id,
	    .source = *source,
	};

	return !(frontend->flags & FRONTEND_SOURCE_RANGES) ||
	       bpf_map_lookup_elem(&source_ranges, &key);
}

/* The backend of a slot, 0 for none. */
static __always_inline __u32 slot_read(__u32 slot)
{
	__u32 row = slot / 2;
	const struct slot_pair *pair = bpf_map_lookup_elem(&slots, &row);

	return pair ? pair->backend_id[slot % 2] : 0;
}

static __always_inline __u32 range_choose(const struct slot_range *range, __u32 number)
{
	__u32 size = range->size;

	return size == 0 ? 0 : slot_read(range->base + number % size);
}

/* NULL unless the backend may carry traffic. */
static __always_inline const struct backend *backend_find(__u32 backend_id)
{
	const struct backend *backend = bpf_map_lookup_elem(&backends, &backend_id);

	if (!backend || backend_id == 0)
		return NULL;
	if (backend->state != BACKEND_ACTIVE && backend->state != BACKEND_TERMINATING)
		return NULL;
	return backend;
}

static __always_inline enum flow_kind way_to_backend(const struct frontend *frontend,
						     const struct backend *backend)
{
	if (backend->flags & BACKEND_LOCAL)
		return FLOW_TO_LOCAL;
	return frontend->flags & FRONTEND_DSR ? FLOW_TO_REMOTE : FLOW_TO_REMOTE_SNAT;
}

#endif
