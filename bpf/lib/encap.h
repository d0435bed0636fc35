/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Direct server return over Geneve (RFC 8926): the client's packet travels unchanged to the
 * backend's node, with the entry node's choice in an option. The inner packet has no link layer of
 * its own; the protocol type says its family.
 *
 * Outer UDP checksum: zero, for IPv6 as RFC 6935 and 6936 allow for tunnels (the inner packet has
 * its own). Outer DSCP: the inner one's. Outer ECN: not capable (compatibility mode of RFC 6040),
 * so a congested router drops instead of marking, and decapsulation has nothing to carry over.
 */
#ifndef WEIR_LIB_ENCAP_H
#define WEIR_LIB_ENCAP_H

#include "abi/tunnel.h"
#include "lib/csum.h"
#include "lib/ctx.h"
#include "lib/flow.h"
#include "lib/lb.h"
#include "lib/nexthop.h"
#include "lib/parse.h"

struct geneve_header {
	__u8 option_words; /* version in the two upper bits: 0 */
	__u8 flags;
	__be16 protocol;
	__be32 network; /* 24 bits, then 8 reserved */
};

/* What stands between the outer IP header and the inner one. */
struct tunnel_header {
	struct udphdr udp;
	struct geneve_header geneve;
	struct dsr_option option;
};

_Static_assert(sizeof(struct dsr_option) == 40, "the option has no hidden padding");
_Static_assert(sizeof(struct tunnel_header) == 56, "headers follow each other without a gap");

#define OPTION_WORDS	    (sizeof(struct dsr_option) / 4)
#define OPTION_BODY_WORDS   (OPTION_WORDS - 1)
#define GENEVE_VERSION_MASK 0xc0
#define GENEVE_WORDS_MASK   0x3f
#define TUNNEL_TTL	    64
#define DSCP_MASK	    0xfc
#define SOURCE_PORT_FIRST   0xc000 /* RFC 8926 3.3: entropy in the dynamic range */

static __always_inline void tunnel_write_header(struct tunnel_header *header,
						const struct packet *packet,
						const struct backend *backend, __u32 hash,
						const int family)
{
	header->udp.source = bpf_htons(SOURCE_PORT_FIRST | (hash & 0x3fff));
	header->udp.dest = bpf_htons(WEIR_GENEVE_PORT);
	header->udp.len = bpf_htons(sizeof(*header) + packet->ip_bytes);
	header->udp.check = 0;
	header->geneve.option_words = OPTION_WORDS;
	header->geneve.flags = WEIR_GENEVE_CRITICAL;
	header->geneve.protocol = family == IPV4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6);
	header->geneve.network = 0;
	header->option.option_class = bpf_htons(WEIR_GENEVE_CLASS);
	header->option.type = WEIR_GENEVE_TYPE;
	header->option.length = OPTION_BODY_WORDS;
	header->option.backend = backend->address;
	header->option.backend_port = backend->port;
	header->option.second_port = 0;
	address_set_words(&header->option.second, 0, 0, 0, 0);
}

static __always_inline void tunnel_write_ipv4(struct iphdr *ip, const struct packet *packet,
					      const struct nexthop *tunnel)
{
	const struct address source = node_config.tunnel_ipv4;

	ip->version = 4;
	ip->ihl = sizeof(*ip) / 4;
	ip->tos = packet->traffic_class & DSCP_MASK;
	ip->tot_len = bpf_htons(sizeof(*ip) + sizeof(struct tunnel_header) + packet->ip_bytes);
	ip->id = 0;
	ip->frag_off = bpf_htons(IPV4_DONT_FRAGMENT);
	ip->ttl = TUNNEL_TTL;
	ip->protocol = IPPROTO_UDP;
	ip->check = 0;
	ip->saddr = address_to_ipv4(&source);
	ip->daddr = address_to_ipv4(&tunnel->remote);
	ip->check = csum_finish(csum_add_words(0, ip, sizeof(*ip) / 4));
}

static __always_inline void tunnel_write_ipv6(struct ipv6hdr *ip, const struct packet *packet,
					      const struct nexthop *tunnel)
{
	const struct address source = node_config.tunnel_ipv6;
	__u32 traffic_class = packet->traffic_class & DSCP_MASK;

	*(__be32 *)ip = bpf_htonl(IPV6_VERSION << 28 | traffic_class << 20);
	ip->payload_len = bpf_htons(sizeof(struct tunnel_header) + packet->ip_bytes);
	ip->nexthdr = IPPROTO_UDP;
	ip->hop_limit = TUNNEL_TTL;
	address_to_ipv6(&ip->saddr, &source);
	address_to_ipv6(&ip->daddr, &tunnel->remote);
}

/*
 * Puts Ethernet, outer IP, UDP, Geneve and the option in front of the inner IP header; the old link
 * layer, tags included, gives way. False: no headroom.
 */
static __always_inline bool encapsulate(ctx_t *ctx, const struct packet *packet,
					const struct backend *backend, const struct nexthop *tunnel,
					const struct nexthop_member *member, __u32 hash,
					const int outer_family, const int family)
{
	const int ip_bytes = outer_family == IPV4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
	const int added = sizeof(struct ethhdr) + ip_bytes + sizeof(struct tunnel_header);
	void *data, *data_end;

	if (!ctx_push_outer(ctx, packet, added - (int)sizeof(struct ethhdr), outer_family))
		return false;
	data = ctx_data(ctx);
	data_end = ctx_data_end(ctx);
	if (data + added > data_end)
		return false;
	ethernet_write(data, member,
		       outer_family == IPV4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6));
	if (outer_family == IPV4)
		tunnel_write_ipv4(data + sizeof(struct ethhdr), packet, tunnel);
	else
		tunnel_write_ipv6(data + sizeof(struct ethhdr), packet, tunnel);
	tunnel_write_header(data + sizeof(struct ethhdr) + ip_bytes, packet, backend, hash, family);
	return true;
}

/* Was this packet sent to our end of a tunnel? The port first: it alone rules out nearly all. */
static __always_inline bool is_to_tunnel(const struct packet *packet, const int family)
{
	struct address ours;

	if (packet->tuple.destination_port != bpf_htons(WEIR_GENEVE_PORT) ||
	    packet->tuple.protocol != IPPROTO_UDP)
		return false;
	ours = family == IPV4 ? node_config.tunnel_ipv4 : node_config.tunnel_ipv6;
	return address_is_equal(&packet->tuple.destination, &ours);
}

/* Exactly one option, ours: nothing else is ever sent between nodes. */
static __always_inline bool tunnel_is_well_formed(const struct tunnel_header *header)
{
	return (header->geneve.option_words & GENEVE_VERSION_MASK) == 0 &&
	       (header->geneve.option_words & GENEVE_WORDS_MASK) == OPTION_WORDS &&
	       header->option.option_class == bpf_htons(WEIR_GENEVE_CLASS) &&
	       header->option.type == WEIR_GENEVE_TYPE &&
	       (header->option.length & 0x1f) == OPTION_BODY_WORDS &&
	       (header->geneve.protocol == bpf_htons(ETH_P_IP) ||
		header->geneve.protocol == bpf_htons(ETH_P_IPV6));
}

/*
 * Checks a packet to our tunnel address and takes the outer headers off; `chosen` is what the entry
 * node decided. REASON_UNSPECIFIED: done, and `protocol` is the inner one; else the reason to drop.
 */
static __always_inline enum verdict_reason decapsulate(ctx_t *ctx, const struct packet *packet,
						       struct backend_key *chosen, __be16 *protocol)
{
	void *data = ctx_data(ctx);
	void *data_end = ctx_data_end(ctx);
	struct tunnel_header *header = packet_l4(data, packet);

	if (!node_find(&packet->tuple.source))
		return REASON_UNKNOWN_TUNNEL_SOURCE;
	if ((void *)(header + 1) > data_end || !tunnel_is_well_formed(header))
		return REASON_MALFORMED_TUNNEL;
	*protocol = header->geneve.protocol;
	chosen->address = header->option.backend;
	chosen->port = header->option.backend_port;
	if (!ctx_pop_outer(ctx, (packet->l4_offset & L4_OFFSET_MASK) + sizeof(*header), *protocol))
		return REASON_MALFORMED_TUNNEL;
	return REASON_UNSPECIFIED;
}

#endif
