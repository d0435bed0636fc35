/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Memory of this CPU for what would fill the stack: a chain of calls has 512 bytes together, and
 * the verifier of 6.1 rounds each function up to 32. Every concern has members of its own, so one
 * that calls another keeps its values.
 *
 * XDP and tc run with softirqs off and never interrupt each other on one CPU. The cgroup hooks may
 * be interrupted by them, so those must not use it.
 *
 * Keys of map look-ups and pointers cannot live here: up to 6.1 the verifier takes keys of maps
 * from the stack alone, and pointers are never stored in maps.
 */
#ifndef WEIR_LIB_SCRATCH_H
#define WEIR_LIB_SCRATCH_H

#include "lib/flow.h"
#include "lib/lb.h"
#include "lib/policy.h"

/* As an ICMP error quotes it, and as it is quoted after translation. */
struct quoted {
	struct tuple before;
	struct tuple after;
	__u32 l3_offset;
	__u32 l4_offset;
};

/* Source and destination that a packet gets. */
struct ends {
	struct address source;
	struct address destination;
	__be16 source_port;
	__be16 destination_port;
};

/* A Service's packet judged: which backend, on whose behalf, and how it gets there. */
struct choice {
	__u32 backend_id;
	__u32 frontend_id;
	__u16 kind;	 /* enum flow_kind of the client's half */
	__u8 is_drawn;	 /* by lot: judged again, the packet would go elsewhere */
	__u8 is_of_node; /* the frontend is FRONTEND_OF_NODE */
	__u32 snat_port; /* TO_REMOTE_SNAT, network order */
};

#define GUESS_ORDER 6

struct scratch {
	/* lib/uplink.h, lib/host_end.h: the packet at hand */
	struct packet packet;
	/* lib/follow.h: its flow */
	struct flow_id id;
	/* lib/balance.h, lib/foresee.h: where it goes if it begins one */
	struct choice choice;
	/* lib/track.h, lib/snat.h: the entry of the other direction */
	struct tuple mate_tuple;
	struct flow_id mate_id;
	struct flow_data data;
	struct flow_detail detail;
	/* lib/masquerade.h: what the packet becomes */
	struct ends ends;
	/* what another node chose for a tunnelled packet, and what it would have before a change */
	struct backend_key chosen;
	struct backend_key second;
	/* lib/icmp.h: the packet that an error is about */
	struct quoted quoted;
	__u32 error_backend_id;
	/* lib/police.h, lib/flow_end.h: what policy is asked, and says; the generations of a new
	 * flow's verdict in its own entry and in its answers', and the rule */
	struct policy_question question;
	struct policy_verdict verdict;
	__u32 generation;
	__u32 reply_generation;
	__u32 rule_id;
	/* lib/foresee.h; the one thing here that outlives its packet, and may hold anything */
	__u8 guesses[1 << GUESS_ORDER];
};

_Static_assert(sizeof(struct scratch) <= SCRATCH_BYTES, "the scratch memory fits its map");

static __always_inline struct scratch *scratch_find(void)
{
	__u32 row = 0;

	return bpf_map_lookup_elem(&scratch, &row);
}

/* This node's number for a backend that another node named; 0: unknown here. */
static __always_inline __u32 backend_number(const struct backend_key *named, __u8 protocol)
{
	struct backend_key key = *named;
	const __u32 *id;

	key.protocol = protocol;
	id = bpf_map_lookup_elem(&backend_ids, &key);
	return id ? *id : 0;
}

/* 0: not a backend of this node. */
static __always_inline __u32 local_or_none(__u32 backend_id)
{
	const struct backend *backend = backend_find(backend_id);

	return backend && backend->flags & BACKEND_LOCAL ? backend_id : 0;
}

static __always_inline __u32 find_chosen_backend(__u8 protocol)
{
	const struct scratch *scratch = scratch_find();

	return scratch ? local_or_none(backend_number(&scratch->chosen, protocol)) : 0;
}

#endif
