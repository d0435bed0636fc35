/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Two hashes of a packet's tuple, both of the NH family (Black et al., UMAC, RFC 4418): add a key
 * word to each 32-bit word of the message, multiply pairs to 64 bits, add the products. For a
 * secret key two different messages collide with probability 2^-32, whatever the sender chooses,
 * and it costs one multiplication per 8 bytes: jhash takes five times as long.
 *
 *   tuple_hash    fixed key, equal on all nodes: picks the backend, the group's member, the
 * tunnel's source port. Part of the wire behaviour: changing it moves every flow of a cluster that
 * has nodes of both versions. tuple_digest  secret per boot: the flow table's key and place, which
 * a sender must not aim at.
 */
#ifndef WEIR_LIB_HASH_H
#define WEIR_LIB_HASH_H

#include "abi/config.h"
#include "lib/packet.h"

extern const volatile struct node_config node_config;

/* Which key. The two secret ones are in node_config, stretched to words once, by user space: doing
 * it for each packet took longer than the hash. */
#define KEY_FIXED    -1
#define KEY_SECRET   0
#define KEY_SECRET_2 1

#define HASH_FIXED_KEY 0x9e3779b97f4a7c15ULL

/* Odd constants without structure; each pair of words is the upper halves of key * multiplier. */
#define FIXED_WORD(multiplier) ((__u32)((HASH_FIXED_KEY * (multiplier)) >> 32))
#define FIXED_PAIR(multiplier)                                                                     \
	FIXED_WORD(multiplier), FIXED_WORD((multiplier) ^ 0xa0761d6478bd642eULL)

static const struct hash_key fixed_key = {{
    FIXED_PAIR(0x8ebc6af09c88c6e3ULL),
    FIXED_PAIR(0x589965cc75374cc3ULL),
    FIXED_PAIR(0x1d8e4e27c47d124fULL),
    FIXED_PAIR(0x1d8e4e27c47d124fULL ^ 0xe7037ed1a0b428daULL),
    FIXED_PAIR(0xeb44accab455d165ULL),
    FIXED_PAIR(0xeb44accab455d165ULL ^ 0xe7037ed1a0b428daULL),
}};

static __always_inline __u32 key_word(const int key, const int word)
{
	return key == KEY_FIXED ? fixed_key.words[word] : node_config.flow_keys[key].words[word];
}

static __always_inline __u64 nh_pair(__u32 first, __u32 second, const int key, const int word)
{
	__u32 left = first + key_word(key, word);
	__u32 right = second + key_word(key, word + 1);

	return (__u64)left * right;
}

static __always_inline __u64 nh_address(const struct address *address, const int key,
					const int word)
{
	return nh_pair(address_get_word(address, 0), address_get_word(address, 1), key, word) +
	       nh_pair(address_get_word(address, 2), address_get_word(address, 3), key, word + 2);
}

static __always_inline __u32 tuple_ports(const struct tuple *tuple)
{
	return (__u32)tuple->source_port | (__u32)tuple->destination_port << 16;
}

static __always_inline __u64 nh_tuple(const struct tuple *tuple, const int key, const int family)
{
	__u64 sum = nh_pair(tuple_ports(tuple), tuple->protocol, key, HASH_WORD_PORTS);

	if (family == IPV4)
		return sum + nh_pair(address_to_ipv4(&tuple->source),
				     address_to_ipv4(&tuple->destination), key, HASH_WORD_IPV4);
	return sum + nh_address(&tuple->source, key, HASH_WORD_SOURCE) +
	       nh_address(&tuple->destination, key, HASH_WORD_DESTINATION);
}

/* NH leaves its low bits weak; this spreads every input bit over the whole word. */
static __always_inline __u64 hash_finish(__u64 hash)
{
	hash ^= hash >> 32;
	hash *= 0xd6e8feb86659fd93ULL;
	hash ^= hash >> 32;
	hash *= 0xd6e8feb86659fd93ULL;
	return hash ^ hash >> 32;
}

/* The low half chooses the backend, the high half paths: the choices must not be correlated. */
static __always_inline __u64 tuple_hash(const struct tuple *tuple, const int family)
{
	return hash_finish(nh_tuple(tuple, KEY_FIXED, family));
}

static __always_inline __u32 path_hash(__u64 hash)
{
	return hash >> 32;
}

/* hash scaled into [0, range) without a division. */
static __always_inline __u32 hash_scale(__u32 hash, __u32 range)
{
	return ((__u64)hash * range) >> 32;
}

#endif
