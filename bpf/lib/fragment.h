/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Fragments: the first one of a datagram names its ports in `fragments`, the later ones find them
 * there, and all are judged as one packet of that flow. One that overtakes the first has no ports
 * and is dropped by its address; the sender's transport repeats the datagram.
 *
 * The checksum of a first fragment covers the whole datagram and is mended by the difference, like
 * any. SCTP's needs the length of the whole, which no fragment tells, so SCTP in fragments is
 * dropped; its senders discover the path's MTU instead.
 */
#ifndef WEIR_LIB_FRAGMENT_H
#define WEIR_LIB_FRAGMENT_H

#include "lib/ctx.h"
#include "lib/parse.h"
#include "maps.h"

static __always_inline void fragment_name(struct fragment_key *key, const struct packet *packet)
{
	key->source = packet->tuple.source;
	key->destination = packet->tuple.destination;
	key->identification = packet->fragment_id;
	key->protocol = packet->tuple.protocol;
}

static __always_inline enum parsed fragment_remember(ctx_t *ctx, struct packet *packet,
						     const struct fragment_key *key)
{
	enum parsed parsed = parse_ports(ctx_data(ctx), ctx_data_end(ctx), packet);
	struct fragment_ports ports = {
	    .source_port = packet->tuple.source_port,
	    .destination_port = packet->tuple.destination_port,
	};

	if (parsed == PARSED_PORTS)
		bpf_map_update_elem(&fragments, key, &ports, BPF_ANY);
	return parsed;
}

/* PARSED_PORTS: the tuple is complete. */
GLOBAL_FUNCTION int fragment_resolve(ctx_t *ctx, struct packet *packet)
{
	const struct fragment_ports *ports;
	struct fragment_key key = {};

	if (!packet)
		return PARSED_FOREIGN;
	if (packet->tuple.protocol != IPPROTO_UDP && packet->tuple.protocol != IPPROTO_TCP)
		return PARSED_FRAGMENT;
	fragment_name(&key, packet);
	if (packet->fragment == FRAGMENT_FIRST)
		return fragment_remember(ctx, packet, &key);
	ports = bpf_map_lookup_elem(&fragments, &key);
	if (!ports)
		return PARSED_FRAGMENT;
	packet->tuple.source_port = ports->source_port;
	packet->tuple.destination_port = ports->destination_port;
	packet->tcp_flags = 0;
	return PARSED_PORTS;
}

#endif
