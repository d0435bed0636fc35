/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Every verdict is counted by its reason, and every drop goes through packet_drop(), which also
 * tells user space: who, where, why, for which Service.
 */
#ifndef WEIR_LIB_VERDICT_H
#define WEIR_LIB_VERDICT_H

#include "lib/lb.h"
#include "lib/packet.h"

/* Events thin out long before the ring is full: under a flood the counters tell how much, and a
 * sample tells what. Power of two. */
#define EVENT_SAMPLE		 64
#define EVENT_SAMPLE_ABOVE_BYTES (EVENTS_RING_BYTES / 4)

/* Beside the verdicts of programs: no flow binds the packet, and it is judged anew. */
#define NOT_BOUND -3

static __always_inline void count(enum verdict_reason reason, __u64 bytes)
{
	__u32 row = reason;
	struct metric *metric = bpf_map_lookup_elem(&metrics, &row);

	if (!metric)
		return;
	metric->packets++;
	metric->bytes += bytes;
}

static __always_inline void count_packet(const struct packet *packet, enum verdict_reason reason)
{
	count(reason, packet->l3_offset + packet->ip_bytes);
}

/* The Service whose packet this is, for the event alone; 0 when there is none. */
static __always_inline __u32 packet_service(const struct packet *packet)
{
	const struct frontend *frontend = frontend_find(
	    &packet->tuple.destination, packet->tuple.destination_port, packet->tuple.protocol);

	return frontend ? frontend->service_id : 0;
}

/*
 * An event that lacks only whose doing it was, `service_id`: NULL for most packets of a flood, and
 * then nobody needs to find that out.
 */
static __always_inline struct packet_event *
event_begin(const struct packet *packet, enum event_kind kind, enum verdict_reason reason)
{
	struct packet_event *event;

	if (bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA) > EVENT_SAMPLE_ABOVE_BYTES &&
	    bpf_get_prandom_u32() % EVENT_SAMPLE)
		return NULL;
	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event) {
		count(REASON_EVENT_LOST, 0);
		return NULL;
	}
	event->time_ns = bpf_ktime_get_ns();
	event->source = packet->tuple.source;
	event->destination = packet->tuple.destination;
	event->source_port = packet->tuple.source_port;
	event->destination_port = packet->tuple.destination_port;
	event->protocol = packet->tuple.protocol;
	event->kind = kind;
	event->reason = reason;
	event->ifindex = packet->ifindex;
	return event;
}

GLOBAL_FUNCTION int packet_drop(const struct packet *packet, enum verdict_reason reason)
{
	struct packet_event *event;

	if (!packet)
		return 0;
	count_packet(packet, reason);
	event = event_begin(packet, EVENT_DROP, reason);
	if (!event)
		return 0;
	event->service_id = packet_service(packet);
	bpf_ringbuf_submit(event, 0);
	return 0;
}

#endif
