/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * ICMP errors (RFC 792, RFC 4443) about translated packets. An error quotes the packet it is about
 * as its sender saw it, so what translates a flow must translate the quotation the other way round,
 * or the end that it is for does not know the packet again.
 *
 * Of the outer addresses the destination is the quoted packet's source, always: an error that says
 * otherwise is not looked at. The outer source is changed only when the quoted packet's other end
 * sent the error itself; a router keeps its address.
 *
 * Checksums of the quotation are mended as far as they are quoted, but for SCTP's, which nobody
 * can check in a packet cut short.
 */
#ifndef WEIR_LIB_ICMP_H
#define WEIR_LIB_ICMP_H

#include "lib/csum.h"
#include "lib/ctx.h"
#include "lib/parse.h"
#include "lib/scratch.h"

/* Type 8 bytes long in both families. */
struct icmp_header {
	__u8 type;
	__u8 code;
	__sum16 check;
	__be32 value;
};

#define QUOTED_L4_BYTES 8
/* The quoted IP header begins at 90 at most, what follows it at 150; see lib/packet.h on masks. */
#define QUOTED_L3_MASK 127
#define QUOTED_L4_MASK 255
/* As far as anything here reads: two longest IP headers, ICMP's, and TCP's up to its checksum. */
#define ERROR_BYTES_MAX (sizeof(struct ethhdr) + 60 + sizeof(struct icmp_header) + 60 + 18)

/* Unreachable (which "fragmentation needed" is one of), time exceeded, bad parameter; for IPv6 too
 * big as well. Not redirects, and not source quench (RFC 6633). */
static __always_inline bool is_icmp_error(__u8 type, const int family)
{
	if (family == IPV4)
		return type == 3 || type == 11 || type == 12;
	return type >= 1 && type <= 4;
}

static __always_inline void *quoted_l3(void *data, const struct quoted *quoted)
{
	return packet_at(data, quoted->l3_offset, QUOTED_L3_MASK);
}

static __always_inline void *quoted_l4(void *data, const struct quoted *quoted)
{
	return packet_at(data, quoted->l4_offset, QUOTED_L4_MASK);
}

/* Later fragments have no ports; nobody knows whose they were. */
static __always_inline bool quoted_parse_ipv4(struct quoted *quoted, void *data, void *data_end)
{
	struct iphdr *ip = quoted_l3(data, quoted);

	if ((void *)(ip + 1) > data_end || ip->version != 4 || ip->ihl < 5 ||
	    ip->frag_off & bpf_htons(IPV4_OFFSET_MASK))
		return false;
	quoted->l4_offset = quoted->l3_offset + ip->ihl * 4;
	quoted->before.protocol = ip->protocol;
	address_from_ipv4(&quoted->before.source, ip->saddr);
	address_from_ipv4(&quoted->before.destination, ip->daddr);
	return true;
}

static __always_inline bool quoted_parse_ipv6(struct quoted *quoted, void *data, void *data_end)
{
	struct ipv6hdr *ip = quoted_l3(data, quoted);
	struct fragment_header *fragment = (void *)(ip + 1);

	if ((void *)(ip + 1) > data_end || ip->version != IPV6_VERSION)
		return false;
	quoted->l4_offset = quoted->l3_offset + sizeof(*ip);
	quoted->before.protocol = ip->nexthdr;
	address_from_ipv6(&quoted->before.source, &ip->saddr);
	address_from_ipv6(&quoted->before.destination, &ip->daddr);
	if (ip->nexthdr != NEXTHDR_FRAGMENT)
		return true;
	if ((void *)(fragment + 1) > data_end || fragment->offset & bpf_htons(IPV6_OFFSET_MASK))
		return false;
	quoted->l4_offset += sizeof(*fragment);
	quoted->before.protocol = fragment->nexthdr;
	return true;
}

/* False: no error, or not one about a packet with ports that its destination sent. */
static __always_inline bool quoted_parse(ctx_t *ctx, const struct packet *packet,
					 struct quoted *quoted, const int family)
{
	struct icmp_header *icmp;
	void *data, *data_end;
	struct udphdr *ports;

	if (!ctx_read_ahead(ctx, ERROR_BYTES_MAX))
		return false;
	data = ctx_data(ctx);
	data_end = ctx_data_end(ctx);
	icmp = packet_l4(data, packet);
	if ((void *)(icmp + 1) > data_end || !is_icmp_error(icmp->type, family))
		return false;
	quoted->l3_offset = packet->l4_offset + sizeof(*icmp);
	if (family == IPV4 ? !quoted_parse_ipv4(quoted, data, data_end)
			   : !quoted_parse_ipv6(quoted, data, data_end))
		return false;
	ports = quoted_l4(data, quoted);
	if ((void *)ports + QUOTED_L4_BYTES > data_end || !has_ports(quoted->before.protocol))
		return false;
	quoted->before.source_port = ports->source;
	quoted->before.destination_port = ports->dest;
	quoted->after = quoted->before;
	return address_is_equal(&packet->tuple.destination, &quoted->before.source);
}

/* The tuple of the packets that go the other way. */
static __always_inline void tuple_reverse(struct tuple *reverse, const struct tuple *tuple)
{
	reverse->source = tuple->destination;
	reverse->source_port = tuple->destination_port;
	reverse->destination = tuple->source;
	reverse->destination_port = tuple->source_port;
	reverse->protocol = tuple->protocol;
}

static __always_inline __u64 quoted_address_difference(const struct quoted *quoted)
{
	__u64 difference = csum_replace_address(0, &quoted->before.source, &quoted->after.source);

	return csum_replace_address(difference, &quoted->before.destination,
				    &quoted->after.destination);
}

static __always_inline __u64 quoted_ports_difference(const struct quoted *quoted)
{
	__u64 difference =
	    csum_replace_word(0, quoted->before.source_port, quoted->after.source_port);

	return csum_replace_word(difference, quoted->before.destination_port,
				 quoted->after.destination_port);
}

/* Mends the quoted transport's checksum where it is quoted. Returns what that changes by itself. */
static __always_inline __u64 quoted_mend_check(const struct quoted *quoted, void *l4,
					       void *data_end, __u64 difference)
{
	struct tcphdr *tcp = l4;
	struct udphdr *udp = l4;
	__sum16 before, after;

	if (quoted->before.protocol == IPPROTO_TCP) {
		if ((void *)tcp + offsetof(struct tcphdr, check) + sizeof(tcp->check) > data_end)
			return 0;
		before = tcp->check;
		after = csum_apply(before, difference);
		tcp->check = after;
	} else {
		if (quoted->before.protocol != IPPROTO_UDP || (void *)(udp + 1) > data_end ||
		    !udp->check)
			return 0;
		before = udp->check;
		after = csum_apply(before, difference) ?: 0xffff;
		udp->check = after;
	}
	return csum_replace_word(0, before, after);
}

static __always_inline void quoted_write_addresses(const struct quoted *quoted, void *header,
						   __u64 difference, const int family)
{
	struct iphdr *ipv4 = header;
	struct ipv6hdr *ipv6 = header;

	if (family == IPV6) {
		address_to_ipv6(&ipv6->saddr, &quoted->after.source);
		address_to_ipv6(&ipv6->daddr, &quoted->after.destination);
		return;
	}
	ipv4->saddr = address_to_ipv4(&quoted->after.source);
	ipv4->daddr = address_to_ipv4(&quoted->after.destination);
	ipv4->check = csum_apply(ipv4->check, difference);
}

/*
 * The quotation from `before` to `after`. Returns by how much that changes the sum under the ICMP
 * checksum: an IPv4 header sums up to the same before and after, for its own checksum makes up.
 */
static __always_inline bool quoted_translate(ctx_t *ctx, const struct quoted *quoted,
					     __u64 *changed, const int family)
{
	void *data = ctx_data(ctx);
	void *data_end = ctx_data_end(ctx);
	__u64 addresses = quoted_address_difference(quoted);
	__u64 ports_changed = quoted_ports_difference(quoted);
	void *ip = quoted_l3(data, quoted);
	struct udphdr *ports = quoted_l4(data, quoted);
	const int ip_bytes = family == IPV4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);

	if (ip + ip_bytes > data_end || (void *)(ports + 1) > data_end)
		return false;
	quoted_write_addresses(quoted, ip, addresses, family);
	ports->source = quoted->after.source_port;
	ports->dest = quoted->after.destination_port;
	*changed = ports_changed + (family == IPV6 ? addresses : 0) +
		   quoted_mend_check(quoted, ports, data_end, addresses + ports_changed);
	return true;
}

/* What the addresses of the error itself become. */
static __always_inline const struct address *error_source(const struct packet *packet,
							  const struct quoted *quoted)
{
	return address_is_equal(&packet->tuple.source, &quoted->before.destination)
		   ? &quoted->after.destination
		   : &packet->tuple.source;
}

static __always_inline void error_write_ipv4(struct iphdr *ip, const struct address *source,
					     const struct address *destination, __u32 hops,
					     __u64 difference)
{
	difference = csum_replace_word(difference, bpf_htons(ip->ttl << 8),
				       bpf_htons((ip->ttl - hops) << 8));
	ip->ttl -= hops;
	ip->saddr = address_to_ipv4(source);
	ip->daddr = address_to_ipv4(destination);
	ip->check = csum_apply(ip->check, difference);
}

/* Both layers, with all checksums, in place. False: the packet ends inside its headers. */
static __always_inline bool error_write(ctx_t *ctx, const struct packet *packet,
					const struct quoted *quoted, __u32 hops, const int family)
{
	const struct address *destination = &quoted->after.source;
	const struct address *source = error_source(packet, quoted);
	struct icmp_header *icmp;
	__u64 outer, changed;
	void *data, *data_end, *ip;

	if (!quoted_translate(ctx, quoted, &changed, family))
		return false;
	data = ctx_data(ctx);
	data_end = ctx_data_end(ctx);
	ip = packet_l3(data, packet);
	icmp = packet_l4(data, packet);
	if (ip + (family == IPV4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr)) > data_end ||
	    (void *)(icmp + 1) > data_end)
		return false;
	outer = csum_replace_address(0, &packet->tuple.source, source);
	outer = csum_replace_address(outer, &packet->tuple.destination, destination);
	if (family == IPV4) {
		error_write_ipv4(ip, source, destination, hops, outer);
	} else {
		struct ipv6hdr *ipv6 = ip;

		ipv6->hop_limit -= hops;
		address_to_ipv6(&ipv6->saddr, source);
		address_to_ipv6(&ipv6->daddr, destination);
		changed += outer;
	}
	icmp->check = csum_apply(icmp->check, changed);
	if (family == IPV6)
		ctx_add_to_sum(ctx, csum_fold_word(ipv6_hops_difference(0, hops)));
	return true;
}

/* scratch->quoted, in functions of their own for their stack. */
GLOBAL_FUNCTION int error_translate_ipv4(ctx_t *ctx, const struct packet *packet, __u32 hops)
{
	const struct scratch *scratch = scratch_find();

	return packet && scratch && error_write(ctx, packet, &scratch->quoted, hops, IPV4);
}

GLOBAL_FUNCTION int error_translate_ipv6(ctx_t *ctx, const struct packet *packet, __u32 hops)
{
	const struct scratch *scratch = scratch_find();

	return packet && scratch && error_write(ctx, packet, &scratch->quoted, hops, IPV6);
}

static __always_inline bool error_translate(ctx_t *ctx, const struct packet *packet, __u32 hops,
					    const int family)
{
	return family == IPV4 ? error_translate_ipv4(ctx, packet, hops)
			      : error_translate_ipv6(ctx, packet, hops);
}

#endif
