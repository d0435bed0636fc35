/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Direct server return over Geneve (RFC 8926): the client's packet travels unchanged to the
 * backend's node, with the entry node's choice in an option. The inner packet has no link layer of
 * its own; the protocol type says its family.
 *
 * Or over IPIP (RFC 2003, RFC 2473), where fabrics want it or 36 bytes matter: nothing but an outer
 * header, so the backend's node chooses again, by the same table.
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
#include "lib/scratch.h"

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
	const struct backend *second = packet->second_id ? backend_find(packet->second_id) : NULL;

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
	if (second) {
		header->option.second_port = second->port;
		header->option.second = second->address;
		return;
	}
	header->option.second_port = 0;
	address_set_words(&header->option.second, 0, 0, 0, 0);
}

/* What stands between the outer IP header and the inner packet. */
static __always_inline __u32 tunnel_bytes(void)
{
	return node_config.tunnel_kind == TUNNEL_IPIP ? 0 : sizeof(struct tunnel_header);
}

static __always_inline __u8 tunnel_protocol(const int family)
{
	if (node_config.tunnel_kind != TUNNEL_IPIP)
		return IPPROTO_UDP;
	return family == IPV4 ? IPPROTO_IPIP : IPPROTO_IPV6;
}

static __always_inline void tunnel_write_ipv4(struct iphdr *ip, const struct packet *packet,
					      const struct nexthop *tunnel, const int family)
{
	ip->version = 4;
	ip->ihl = sizeof(*ip) / 4;
	ip->tos = packet->traffic_class & DSCP_MASK;
	ip->tot_len = bpf_htons(sizeof(*ip) + tunnel_bytes() + packet->ip_bytes);
	ip->id = 0;
	ip->frag_off = bpf_htons(IPV4_DONT_FRAGMENT);
	ip->ttl = TUNNEL_TTL;
	ip->protocol = tunnel_protocol(family);
	ip->check = 0;
	ip->saddr = address_to_ipv4(own_address(IPV4));
	ip->daddr = address_to_ipv4(&tunnel->remote);
	ip->check = csum_finish(csum_add_words(0, ip, sizeof(*ip) / 4));
}

static __always_inline void tunnel_write_ipv6(struct ipv6hdr *ip, const struct packet *packet,
					      const struct nexthop *tunnel, const int family)
{
	__u32 traffic_class = packet->traffic_class & DSCP_MASK;

	*(__be32 *)ip = bpf_htonl(IPV6_VERSION << 28 | traffic_class << 20);
	ip->payload_len = bpf_htons(tunnel_bytes() + packet->ip_bytes);
	ip->nexthdr = tunnel_protocol(family);
	ip->hop_limit = TUNNEL_TTL;
	address_to_ipv6(&ip->saddr, own_address(IPV6));
	address_to_ipv6(&ip->daddr, &tunnel->remote);
}

/*
 * Puts Ethernet, outer IP, and UDP, Geneve and the option, in front of the inner IP header; the old
 * link layer, tags included, gives way. False: no headroom.
 */
static __always_inline bool encapsulate(ctx_t *ctx, const struct packet *packet,
					const struct backend *backend, const struct nexthop *tunnel,
					const struct nexthop_member *member, __u32 hash,
					const int outer_family, const int family)
{
	const int ip_bytes = outer_family == IPV4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
	const int outer_bytes = sizeof(struct ethhdr) + ip_bytes;
	struct tunnel_header *header;
	void *data, *data_end;

	if (!ctx_push_outer(ctx, packet, ip_bytes + tunnel_bytes(), outer_family))
		return false;
	data = ctx_data(ctx);
	data_end = ctx_data_end(ctx);
	if (data + outer_bytes > data_end)
		return false;
	ethernet_write(data, member,
		       outer_family == IPV4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6));
	if (outer_family == IPV4)
		tunnel_write_ipv4(data + sizeof(struct ethhdr), packet, tunnel, family);
	else
		tunnel_write_ipv6(data + sizeof(struct ethhdr), packet, tunnel, family);
	if (node_config.tunnel_kind == TUNNEL_IPIP)
		return true;
	header = data + outer_bytes;
	if ((void *)(header + 1) > data_end)
		return false;
	tunnel_write_header(header, packet, backend, hash, family);
	return true;
}

static __always_inline bool is_to_tunnel_address(const struct packet *packet, const int family)
{
	return address_is_equal(&packet->tuple.destination, own_address(family));
}

/* Was this packet sent to our end of a tunnel? The port first: it alone rules out nearly all. */
static __always_inline bool is_to_tunnel(const struct packet *packet, const int family)
{
	return packet->tuple.destination_port == bpf_htons(WEIR_GENEVE_PORT) &&
	       packet->tuple.protocol == IPPROTO_UDP && is_to_tunnel_address(packet, family);
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
 * Checks a packet to our tunnel address and takes the outer headers off; scratch has what the entry
 * node decided. REASON_UNSPECIFIED: done, and `protocol` is the inner one; else the reason to drop.
 */
static __always_inline enum verdict_reason decapsulate(ctx_t *ctx, struct packet *packet,
						       struct scratch *scratch, __be16 *protocol)
{
	void *data = ctx_data(ctx);
	void *data_end = ctx_data_end(ctx);
	struct tunnel_header *header = packet_l4(data, packet);
	bool is_passed_on;

	if (!node_find(&packet->tuple.source))
		return REASON_UNKNOWN_TUNNEL_SOURCE;
	if ((void *)(header + 1) > data_end || !tunnel_is_well_formed(header))
		return REASON_MALFORMED_TUNNEL;
	*protocol = header->geneve.protocol;
	scratch->chosen.address = header->option.backend;
	scratch->chosen.port = header->option.backend_port;
	scratch->second.address = header->option.second;
	scratch->second.port = header->option.second_port;
	is_passed_on = scratch->second.port == scratch->chosen.port &&
		       address_is_equal(&scratch->second.address, &scratch->chosen.address);
	packet->is_tunnelled = is_passed_on ? TUNNELLED_LAST : TUNNELLED_CHOSEN;
	if (!ctx_pop_outer(ctx, (packet->l4_offset & L4_OFFSET_MASK) + sizeof(*header), *protocol))
		return REASON_MALFORMED_TUNNEL;
	return REASON_UNSPECIFIED;
}

/* Other tunnels of this kind may end at the same address: it is ours by the address inside alone.
 */
static __always_inline bool is_ours_inside(const struct packet *packet, void *inner, void *data_end)
{
	struct ipv6hdr *ipv6 = inner;
	struct iphdr *ipv4 = inner;
	struct address destination;

	if (packet->tuple.protocol == IPPROTO_IPIP) {
		if ((void *)(ipv4 + 1) > data_end)
			return false;
		address_from_ipv4(&destination, ipv4->daddr);
	} else {
		if ((void *)(ipv6 + 1) > data_end)
			return false;
		address_from_ipv6(&destination, &ipv6->daddr);
	}
	return frontend_find_catch_all(&destination);
}

/* The same of IPIP. REASON_NOT_OURS: nothing was done. */
static __always_inline enum verdict_reason decapsulate_ipip(ctx_t *ctx, struct packet *packet,
							    __be16 *protocol)
{
	void *inner = packet_l4(ctx_data(ctx), packet);

	if (!is_ours_inside(packet, inner, ctx_data_end(ctx)))
		return REASON_NOT_OURS;
	if (!node_find(&packet->tuple.source))
		return REASON_UNKNOWN_TUNNEL_SOURCE;
	*protocol =
	    packet->tuple.protocol == IPPROTO_IPIP ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6);
	packet->is_tunnelled = TUNNELLED_UNCHOSEN;
	if (!ctx_pop_outer(ctx, packet->l4_offset & L4_OFFSET_MASK, *protocol))
		return REASON_MALFORMED_TUNNEL;
	return REASON_UNSPECIFIED;
}

#endif
