/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first and only process of a small virtual machine: loads the BPF objects, repeats the
 * recorded packet cases (see kernel-cases.ts for the file), prints a line for each, and powers off.
 * Static and plain, for there is nothing else in the machine.
 *
 *   /weir_xdp.bpf.o /weir_tc.bpf.o /weir_iter.bpf.o /weir_sock.bpf.o … /cases
 *
 * The last line is `RESULT passed N failed M`; without it the kernel did not come that far.
 */
#define _GNU_SOURCE
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <linux/btf.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>
#include "abi/config.h"
#include "kernel_sockets.h"

#define OBJECTS	   7
#define ITERATORS  3
#define UNSEEN	   6
#define FIELDS_MAX 5
#define OUT_BYTES  12000

struct field {
	__u32 bytes;
	const unsigned char *start;
};

struct record {
	char kind;
	struct field fields[FIELDS_MAX];
};

static const char *const object_paths[OBJECTS] = {
    "/weir_xdp.bpf.o",	"/weir_tc.bpf.o",     "/weir_uplink_tc.bpf.o", "/weir_iter.bpf.o",
    "/weir_sock.bpf.o", "/weir_closed.bpf.o", "/weir_unseen.bpf.o"};
static struct bpf_object *objects[OBJECTS];
static unsigned passed, failed;

int judge(bool is_right, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	printf(is_right ? "ok     " : "NOT OK ");
	vprintf(format, arguments);
	printf("\n");
	va_end(arguments);
	if (is_right)
		passed++;
	else
		failed++;
	return is_right;
}

static unsigned fields_of(char kind)
{
	return kind == 'K' ? 2 : kind == 'M' ? 3 : 5;
}

/* Reads the record at *at and moves on; false at the end. */
static bool record_read(struct record *record, const unsigned char **at, const unsigned char *end)
{
	if (*at >= end)
		return false;
	record->kind = (char)*(*at)++;
	for (unsigned i = 0; i < fields_of(record->kind); i++) {
		struct field *field = &record->fields[i];

		memcpy(&field->bytes, *at, sizeof(field->bytes));
		field->start = *at + sizeof(field->bytes);
		*at = field->start + field->bytes;
	}
	return true;
}

/* Finds a constant through the object's BTF: its data section and its offset there. Writes it from
 * a byte of it on. */
static void constant_set(struct bpf_object *object, const char *name, size_t from,
			 const struct field *value)
{
	const struct btf *btf = bpf_object__btf(object);
	struct bpf_map *map;
	size_t bytes;

	bpf_object__for_each_map(map, object)
	{
		const char *map_name = bpf_map__name(map);
		const void *initial = bpf_map__initial_value(map, &bytes);
		int section = btf__find_by_name_kind(btf, ".rodata", BTF_KIND_DATASEC);
		const struct btf_type *type;
		const struct btf_var_secinfo *variable;
		unsigned char *changed;

		if (!strstr(map_name, ".rodata") || !initial || section < 0)
			continue;
		type = btf__type_by_id(btf, section);
		variable = (const struct btf_var_secinfo *)(type + 1);
		changed = malloc(bytes);
		memcpy(changed, initial, bytes);
		for (unsigned i = 0; i < BTF_INFO_VLEN(type->info); i++, variable++) {
			const struct btf_type *at = btf__type_by_id(btf, variable->type);

			if (strcmp(btf__name_by_offset(btf, at->name_off), name) == 0 &&
			    from + value->bytes <= variable->size)
				memcpy(changed + variable->offset + from, value->start,
				       value->bytes);
		}
		bpf_map__set_initial_value(map, changed, bytes);
		free(changed);
	}
}

static struct bpf_map *map_find(const char *name, int objects_loaded)
{
	for (int i = 0; i < objects_loaded; i++) {
		struct bpf_map *map = bpf_object__find_map_by_name(objects[i], name);

		if (map)
			return map;
	}
	return NULL;
}

/* What the iterators' object knows of the kernel's types, told to those that are loaded after it;
 * as src/datapath/load.ts does. */
static void kernel_types_tell(struct bpf_object *object)
{
	struct bpf_program *program =
	    objects[ITERATORS]
		? bpf_object__find_program_by_name(objects[ITERATORS], "weir_kernel_socket_bit")
		: NULL;
	LIBBPF_OPTS(bpf_test_run_opts, options);
	struct field bit = {sizeof(options.retval), (const unsigned char *)&options.retval};
	int error;

	if (!program || objects[ITERATORS] == object)
		return;
	error = bpf_prog_test_run_opts(bpf_program__fd(program), &options);
	judge(!error && options.retval, "a socket of the kernel's own is told by bit %u",
	      options.retval);
	constant_set(object, "node_config", offsetof(struct node_config, kernel_socket_bit), &bit);
}

/* Where sockets are made this machine is the host, not the one that recorded the cases. */
static void host_tell(struct bpf_object *object)
{
	__u64 cookie = netns_cookie();
	struct field host = {sizeof(cookie), (const unsigned char *)&cookie};

	constant_set(object, "node_config", offsetof(struct node_config, host_netns_cookie), &host);
}

/* The objects share maps by name, as by their pins on a node. */
static bool object_load(int number, const unsigned char *cases, const unsigned char *end)
{
	struct bpf_object *object = bpf_object__open(object_paths[number]);
	const unsigned char *at = cases;
	struct record record;
	struct bpf_map *map;

	if (!object)
		return judge(false, "open %s: %m", object_paths[number]);
	objects[number] = object;
	while (record_read(&record, &at, end))
		if (record.kind == 'K')
			constant_set(object, (const char *)record.fields[0].start, 0,
				     &record.fields[1]);
	kernel_types_tell(object);
	if (number == UNSEEN)
		host_tell(object);
	bpf_object__for_each_map(map, object)
	{
		struct bpf_map *known = map_find(bpf_map__name(map), number);

		if (known && !strchr(bpf_map__name(map), '.'))
			bpf_map__reuse_fd(map, bpf_map__fd(known));
	}
	if (bpf_object__load(object))
		return judge(false, "load %s: %m", object_paths[number]);
	return judge(true, "load %s", object_paths[number]);
}

static void row_write(const struct record *record)
{
	const char *name = (const char *)record->fields[0].start;
	struct bpf_map *map = map_find(name, OBJECTS);

	if (!map || bpf_map_update_elem(bpf_map__fd(map), record->fields[1].start,
					record->fields[2].start, BPF_ANY))
		judge(false, "write a row of %s: %m", name);
}

struct run_kind {
	char kind;
	int object;
	const char *program;
};

static const struct run_kind run_kinds[] = {
    {'X', 0, "weir_uplink_xdp"},     {'T', 1, "weir_pod_tc"},	     {'P', 1, "weir_pod_egress_tc"},
    {'U', 2, "weir_uplink_ingress"}, {'E', 2, "weir_uplink_egress"},
};

static int program_of(char kind)
{
	for (unsigned i = 0; i < sizeof(run_kinds) / sizeof(*run_kinds); i++)
		if (run_kinds[i].kind == kind)
			return bpf_program__fd(bpf_object__find_program_by_name(
			    objects[run_kinds[i].object], run_kinds[i].program));
	return -1;
}

static unsigned first_other(const unsigned char *out, const struct field *expected)
{
	unsigned at = 0;

	while (at < expected->bytes && out[at] == expected->start[at])
		at++;
	return at;
}

static void packet_run(const struct record *record)
{
	static unsigned char out[OUT_BYTES];
	const char *name = (const char *)record->fields[0].start;
	const struct field *packet = &record->fields[1], *context = &record->fields[2];
	const struct field *expected = &record->fields[4];
	unsigned char context_copy[256];
	__u32 verdict;
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = packet->start,
		    .data_size_in = packet->bytes, .data_out = out, .data_size_out = sizeof(out),
		    .repeat = 1);

	memcpy(&verdict, record->fields[3].start, sizeof(verdict));
	if (context->bytes) {
		memcpy(context_copy, context->start, context->bytes);
		options.ctx_in = context_copy;
		options.ctx_size_in = context->bytes;
	}
	if (bpf_prog_test_run_opts(program_of(record->kind), &options)) {
		judge(false, "%s: test run: %m", name);
		return;
	}
	if (options.retval != verdict)
		judge(false, "%s: verdict %u, not %u", name, options.retval, verdict);
	else if (expected->bytes && (options.data_size_out != expected->bytes ||
				     memcmp(out, expected->start, expected->bytes) != 0))
		judge(false, "%s: other bytes came out (%u, not %u), from byte %u on", name,
		      options.data_size_out, expected->bytes, first_other(out, expected));
	else
		judge(true, "%s", name);
}

static unsigned char *file_read(const char *path, size_t *bytes)
{
	FILE *file = fopen(path, "rb");
	struct stat status;
	unsigned char *content;

	if (!file || fstat(fileno(file), &status))
		return NULL;
	content = malloc(status.st_size);
	*bytes = content ? fread(content, 1, status.st_size, file) : 0;
	fclose(file);
	return content;
}

static void run(void)
{
	const unsigned char *cases, *at;
	struct record record;
	size_t bytes = 0;

	cases = at = file_read("/cases", &bytes);
	if (!cases) {
		judge(false, "read /cases: %m");
		return;
	}
	for (int i = 0; i < OBJECTS; i++)
		if (!object_load(i, cases, cases + bytes))
			return;
	while (record_read(&record, &at, cases + bytes)) {
		if (record.kind == 'M')
			row_write(&record);
		else if (record.kind != 'K')
			packet_run(&record);
	}
	sockets_judge(bpf_object__find_program_by_name(objects[UNSEEN], "weir_closed_create"),
		      bpf_map__fd(map_find("closed_cgroups", OBJECTS)),
		      bpf_map__fd(map_find("known_netns", OBJECTS)),
		      bpf_map__fd(map_find("noted_netns", OBJECTS)));
}

int main(void)
{
	struct utsname name;

	setvbuf(stdout, NULL, _IOLBF, 0);
	mkdir("/proc", 0755);
	mkdir("/sys", 0755);
	mount("proc", "/proc", "proc", 0, NULL);
	mount("sysfs", "/sys", "sysfs", 0, NULL);
	uname(&name);
	printf("KERNEL %s\n", name.release);
	run();
	printf("RESULT passed %u failed %u\n", passed, failed);
	fflush(stdout);
	sync();
	reboot(RB_POWER_OFF);
	return failed != 0;
}
