/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Policy on flows. What lib/policy.h says of a new one is remembered in its entry as the generation
 * of the set that said so, in place of the port that only masqueraded flows have; a later packet
 * asks whether that generation is current, and nothing else.
 *
 * An entry has the verdict of one pod of this node, whose end of the flow it is:
 *
 *   pod -> peer              POD, a flow without translation, whoever began it
 *   pod -> client            REPLY, of a Service's flow to it: its ingress, like
 *   client -> frontend       TO_LOCAL, where it comes from outside
 *   pod -> frontend          TO_LOCAL and TO_REMOTE_PLAIN from a pod's device: its egress
 *
 * A pod's own end is keyed as the pod sends: what it sends is looked up as it is, what comes to it
 * the other way round. So two pods of one node have an entry each, and neither can lend the other
 * its verdict. A flow that is denied when its verdict is asked for again keeps its entry: without
 * it, a backend that repeats itself would seem to begin a flow of its own.
 */
#ifndef WEIR_LIB_POLICE_H
#define WEIR_LIB_POLICE_H

#include "lib/flow_claim.h"
#include "lib/policy.h"
#include "lib/scratch.h"
#include "lib/verdict.h"

static __always_inline __u32 flow_generation(const struct flow_hit *hit)
{
	return bpf_ntohs(hit->snat_port);
}

/* An entry from `index` on. */
union flow_tail {
	struct {
		__u32 index;
		__u8 kind;
		__u8 flags;
		__be16 snat_port;
	};
	__u64 word;
};

/* All of it is exchanged at once: the entry may be another flow's by now, whose port stands there.
 */
static __always_inline void flow_amend(const struct flow_hit *hit, __u8 flags, __be16 snat_port)
{
	union flow_tail before = {
	    .index = hit->index,
	    .kind = hit->kind,
	    .flags = hit->flags,
	    .snat_port = hit->snat_port,
	};
	union flow_tail after = before;

	after.flags = flags;
	after.snat_port = snat_port;
	if (flow_is_still(hit))
		__sync_val_compare_and_swap((__u64 *)&hit->flow->index, before.word, after.word);
}

static __always_inline void flow_stamp(const struct flow_hit *hit, __u32 generation)
{
	flow_amend(hit, hit->flags, bpf_htons(generation));
}

/* Whether nothing is in force that could deny in this direction, but something is audited. */
static __always_inline bool is_audited_alone(const struct policy_set *set,
					     enum policy_direction direction)
{
	return !(set->flags & POLICY_SET_LOCKED) &&
	       set->flags & (direction == POLICY_EGRESS ? POLICY_SET_EGRESS_AUDITED
							: POLICY_SET_INGRESS_AUDITED);
}

static __always_inline enum verdict_reason police_reason(enum policy_direction direction)
{
	return direction == POLICY_EGRESS ? REASON_POLICY_EGRESS : REASON_POLICY_INGRESS;
}

/* Tells of the flow as it was asked for: after translation, in the direction in which it began. */
static __always_inline void police_tell(const struct packet *packet, const struct scratch *scratch,
					enum event_kind kind, __u32 rule_id)
{
	const struct policy_question *question = &scratch->question;
	struct packet_event *event = event_begin(packet, kind, police_reason(question->direction));

	if (!event)
		return;
	event->source = question->tuple.source;
	event->destination = question->tuple.destination;
	event->source_port = question->tuple.source_port;
	event->destination_port = question->tuple.destination_port;
	event->service_id = rule_id;
	bpf_ringbuf_submit(event, 0);
}

/* What audited policies would say. Out of the way, for it is rare. */
GLOBAL_FUNCTION int police_note(const struct packet *packet)
{
	const struct scratch *scratch = scratch_find();
	enum event_kind kind;

	if (!packet || !scratch)
		return 0;
	kind = scratch->verdict.flags & POLICY_ALLOWED ? EVENT_WOULD_DROP : EVENT_WOULD_PASS;
	count_packet(packet, REASON_POLICY_AUDITED);
	police_tell(packet, scratch, kind, scratch->verdict.would_be_rule_id);
	return 0;
}

/* What scratch->verdict denies. */
static __always_inline void police_refuse(const struct packet *packet,
					  const struct scratch *scratch)
{
	count_packet(packet, police_reason(scratch->question.direction));
	police_tell(packet, scratch, EVENT_DROP, scratch->verdict.rule_id);
}

/*
 * Asks scratch->question; the answer is scratch->verdict. A denied packet is counted and told of,
 * unless it `goes_on` all the same where policy keeps what there is.
 */
static __always_inline bool police_ask(const struct packet *packet, struct scratch *scratch,
				       bool goes_on)
{
	const struct policy_verdict *verdict = &scratch->verdict;
	bool is_allowed = policy_judge(&scratch->question, &scratch->verdict);

	if (verdict->would_be_rule_id)
		police_note(packet);
	if (is_allowed || (goes_on && verdict->flags & POLICY_KEEPS_EXISTING))
		return true;
	police_refuse(packet, scratch);
	return false;
}

/* scratch->question is asked again of a flow that has an entry. False: it goes on no longer. */
GLOBAL_FUNCTION int police_again(const struct packet *packet, __u32 generation)
{
	struct scratch *scratch = scratch_find();

	return packet && scratch && police_ask(packet, scratch, generation != 0);
}

/* The flow as it goes on from the Service. */
static __always_inline void question_to(struct policy_question *question, const struct tuple *tuple,
					const struct backend *backend)
{
	question->tuple = *tuple;
	question->tuple.destination = backend->address;
	question->tuple.destination_port = backend->port;
}

/* What a packet of the client to a backend of this node is judged by. False: the backend is no pod
 * that is known here, and who delivers to it judges. */
static __always_inline bool police_question_of_delivery(struct scratch *scratch,
							const struct packet *packet,
							const struct backend *backend)
{
	struct policy_question *question = &scratch->question;

	question->set = policy_set_of(&backend->address);
	if (!question->set && !endpoint_find(&backend->address))
		return false;
	question_to(question, &packet->tuple, backend);
	question->direction = POLICY_INGRESS;
	question->circumstances = 0;
	return true;
}

/*
 * A new flow to a backend of this node, before anything is remembered of it. False: it is denied.
 * scratch->generation and ->reply_generation are what its entries carry.
 */
GLOBAL_FUNCTION int police_new_delivery(const struct packet *packet, __u32 backend_id)
{
	const struct backend *backend = backend_find(backend_id);
	struct scratch *scratch = scratch_find();

	if (!packet || !scratch || !backend)
		return false;
	/* From outside comes nobody's packet that lives here. */
	if (!packet->is_tunnelled && endpoint_find(&packet->tuple.source)) {
		packet_drop(packet, REASON_FORGED_SOURCE);
		return false;
	}
	if (!police_question_of_delivery(scratch, packet, backend))
		return true;
	if (!police_ask(packet, scratch, false))
		return false;
	scratch->generation = scratch->verdict.generation;
	scratch->reply_generation = scratch->verdict.generation;
	return true;
}

/*
 * A flow of a pod that its device balances, to the backend that was chosen for it. False: it is
 * denied. What the backend's own end says is asked at its device.
 */
GLOBAL_FUNCTION int police_new_choice(const struct packet *packet, __u32 backend_id)
{
	const struct backend *backend = backend_find(backend_id);
	struct scratch *scratch = scratch_find();
	struct policy_question *question;

	if (!packet || !scratch || !backend)
		return false;
	question = &scratch->question;
	question_to(question, &packet->tuple, backend);
	question->set = policy_set_of(&packet->tuple.source);
	question->direction = POLICY_EGRESS;
	question->circumstances = POLICY_LED_BACK;
	scratch->reply_generation = 0;
	if (!police_ask(packet, scratch, false))
		return false;
	scratch->generation = scratch->verdict.generation;
	if (!address_is_equal(&question->tuple.source, &question->tuple.destination))
		return true;
	/* Back to itself: nobody else asks what it admits. */
	question->direction = POLICY_INGRESS;
	return police_ask(packet, scratch, false);
}

/*
 * A flow that a Service led back to its pod, by the pod's end of it, scratch->mate_tuple. Its entry
 * has a port where others have their verdict's generation, so each packet is asked for, and none
 * noted for audited policies. False: it goes on no longer.
 */
GLOBAL_FUNCTION int police_led_back(const struct packet *packet, __u32 backend_id)
{
	const struct backend *backend = backend_find(backend_id);
	struct scratch *scratch = scratch_find();
	struct policy_question *question;

	if (!packet || !scratch || !backend)
		return false;
	question = &scratch->question;
	question_to(question, &scratch->mate_tuple, backend);
	question->set = 0;
	question->circumstances = POLICY_LED_BACK;
	for (int way = POLICY_INGRESS; way < POLICY_DIRECTIONS; way++) {
		question->direction = way;
		if (policy_judge(question, &scratch->verdict) ||
		    scratch->verdict.flags & POLICY_KEEPS_EXISTING)
			continue;
		police_refuse(packet, scratch);
		return false;
	}
	return true;
}

/*
 * What a pod sends to a Service, or gets of one, and nobody here translates: whoever does may lead
 * it to any backend. False: it is closed, for something is denied to the pod, and that may be it.
 */
GLOBAL_FUNCTION int police_untranslated(const struct packet *packet, __u32 way)
{
	struct scratch *scratch = scratch_find();
	struct policy_question *question;
	const struct policy_set *set;

	if (!packet || !scratch)
		return false;
	question = &scratch->question;
	if (way == POLICY_EGRESS)
		question->tuple = packet->tuple;
	else
		tuple_reverse(&question->tuple, &packet->tuple);
	question->set = policy_set_of(&question->tuple.source);
	question->direction = POLICY_EGRESS;
	set = policy_set_find(question->set);
	scratch->verdict.rule_id = POLICY_RULE_UNTRANSLATED;
	scratch->verdict.would_be_rule_id = POLICY_RULE_UNTRANSLATED;
	scratch->verdict.flags = POLICY_ALLOWED;
	if (question->set && set && set->flags & POLICY_SET_EGRESS_OPEN)
		return true;
	if (question->set && set && is_audited_alone(set, POLICY_EGRESS)) {
		police_note(packet);
		return true;
	}
	police_refuse(packet, scratch);
	return false;
}

/* The same for a flow that is known, by an earlier generation: `generation`. What its entry shall
 * carry now, 0: it is denied, and -1: nobody here judges it. */
GLOBAL_FUNCTION int police_known_delivery(const struct packet *packet, __u32 backend_id,
					  __u32 generation)
{
	const struct backend *backend = backend_find(backend_id);
	struct scratch *scratch = scratch_find();

	if (!packet || !scratch || !backend)
		return 0;
	if (!police_question_of_delivery(scratch, packet, backend))
		return -1;
	if (!police_again(packet, generation))
		return 0;
	return scratch->verdict.generation & 0xffff;
}

/* A packet of the client that follows its entry to a backend of this node. What the entry of a
 * client's own device says is of the client's end. */
static __always_inline bool police_delivery(const struct packet *packet, const struct flow_hit *hit)
{
	bool is_of_client = hit->flags & FLOW_CLIENT_IS_LOCAL;
	int generation;

	if (policy_is_current(flow_generation(hit)) && !is_of_client)
		return true;
	generation = police_known_delivery(packet, hit->index, flow_generation(hit));
	if (generation > 0 && !is_of_client)
		flow_stamp(hit, generation);
	return generation != 0;
}

#endif
