// The functions of libbpf 1.x this library calls, and nothing else. Loaded once, from the soname that Debian 12 and later and
// Ubuntu LTS share; only functions of version 1.1 are named, so every newer one works too.
//
// Structs that C takes by pointer are Buffers written by the callers: first their own size, the rest zero, as libbpf's
// options require. Pointers in such a Buffer must outlive the call: the callers hold them in local variables.

import koffi, { type LibraryHandle } from 'koffi'
import { lastErrno, libc } from '../libc/library.ts'
import { BpfError } from './errors.ts'

function loadLibrary(): LibraryHandle {
  try {
    return koffi.load('libbpf.so.1')
  } catch (cause) {
    throw new BpfError({
      action: 'loading',
      object: 'libbpf.so.1',
      code: 'not-found',
      reason: 'the library is not installed',
      mend: 'apt-get install libbpf1',
      cause,
    })
  }
}

const library = loadLibrary()

/** An opaque pointer of libbpf: null stands for NULL. */
export type Pointer = object | bigint | null

type Bytes = Uint8Array | null
const declare = <T>(definition: string): T => library.func(definition) as unknown as T

// Objects
export const objectOpen = declare<(path: string, options: Bytes) => Pointer>(
  'void *bpf_object__open_file(const char *path, const void *opts)',
)
export const objectLoad = declare<(object: Pointer) => number>('int bpf_object__load(void *object)')
export const objectClose = declare<(object: Pointer) => void>('void bpf_object__close(void *object)')
export const objectBtf = declare<(object: Pointer) => Pointer>('void *bpf_object__btf(const void *object)')
export const btfRawData = declare<(btf: Pointer, sizeOut: Uint8Array) => Pointer>(
  'const void *btf__raw_data(const void *btf, void *size)',
)
export const nextMap = declare<(object: Pointer, map: Pointer) => Pointer>(
  'void *bpf_object__next_map(const void *object, const void *map)',
)
export const nextProgram = declare<(object: Pointer, program: Pointer) => Pointer>(
  'void *bpf_object__next_program(const void *object, void *program)',
)

// Maps of an object
export const mapName = declare<(map: Pointer) => string>('const char *bpf_map__name(const void *map)')
export const mapFd = declare<(map: Pointer) => number>('int bpf_map__fd(const void *map)')
export const mapType = declare<(map: Pointer) => number>('int bpf_map__type(const void *map)')
export const mapKeySize = declare<(map: Pointer) => number>('uint32_t bpf_map__key_size(const void *map)')
export const mapValueSize = declare<(map: Pointer) => number>('uint32_t bpf_map__value_size(const void *map)')
export const mapMaxEntries = declare<(map: Pointer) => number>(
  'uint32_t bpf_map__max_entries(const void *map)',
)
export const mapSetMaxEntries = declare<(map: Pointer, entries: number) => number>(
  'int bpf_map__set_max_entries(void *map, uint32_t entries)',
)
export const mapFlags = declare<(map: Pointer) => number>('uint32_t bpf_map__map_flags(const void *map)')
export const mapIsInternal = declare<(map: Pointer) => boolean>('bool bpf_map__is_internal(const void *map)')
export const mapSetAutocreate = declare<(map: Pointer, create: boolean) => number>(
  'int bpf_map__set_autocreate(void *map, bool create)',
)
export const mapReuseFd = declare<(map: Pointer, fd: number) => number>(
  'int bpf_map__reuse_fd(void *map, int fd)',
)
export const mapSetPinPath = declare<(map: Pointer, path: string | null) => number>(
  'int bpf_map__set_pin_path(void *map, const char *path)',
)
export const mapPinPath = declare<(map: Pointer) => string | null>(
  'const char *bpf_map__pin_path(const void *map)',
)
export const mapInitialValue = declare<(map: Pointer, sizeOut: Uint8Array) => Pointer>(
  'const void *bpf_map__initial_value(void *map, void *size)',
)
export const mapSetInitialValue = declare<(map: Pointer, data: Uint8Array, size: number) => number>(
  'int bpf_map__set_initial_value(void *map, const void *data, size_t size)',
)

// Programs of an object
export const programName = declare<(program: Pointer) => string>(
  'const char *bpf_program__name(const void *program)',
)
export const programSection = declare<(program: Pointer) => string>(
  'const char *bpf_program__section_name(const void *program)',
)
export const programFd = declare<(program: Pointer) => number>('int bpf_program__fd(const void *program)')
export const programType = declare<(program: Pointer) => number>('int bpf_program__type(const void *program)')
export const programAttachType = declare<(program: Pointer) => number>(
  'int bpf_program__expected_attach_type(const void *program)',
)
export const programSetAttachType = declare<(program: Pointer, type: number) => number>(
  'int bpf_program__set_expected_attach_type(void *program, int type)',
)
export const programAutoload = declare<(program: Pointer) => boolean>(
  'bool bpf_program__autoload(const void *program)',
)
export const programSetAutoload = declare<(program: Pointer, autoload: boolean) => number>(
  'int bpf_program__set_autoload(void *program, bool autoload)',
)

// bpf(2) by descriptor: maps
export const mapCreate = declare<
  (
    type: number,
    name: string,
    keySize: number,
    valueSize: number,
    maxEntries: number,
    options: Bytes,
  ) => number
>(
  'int bpf_map_create(int type, const char *name, uint32_t key_size, uint32_t value_size, uint32_t max, const void *o)',
)
export const mapUpdate = declare<
  (fd: number, key: Bytes, value: Uint8Array, flags: number | bigint) => number
>('int bpf_map_update_elem(int fd, const void *key, const void *value, uint64_t flags)')
export const mapLookup = declare<(fd: number, key: Bytes, value: Uint8Array) => number>(
  'int bpf_map_lookup_elem(int fd, const void *key, void *value)',
)
export const mapDelete = declare<(fd: number, key: Uint8Array) => number>(
  'int bpf_map_delete_elem(int fd, const void *key)',
)
export const mapNextKey = declare<(fd: number, key: Bytes, next: Uint8Array) => number>(
  'int bpf_map_get_next_key(int fd, const void *key, void *next)',
)
export const mapUpdateBatch = declare<
  (fd: number, keys: Uint8Array, values: Uint8Array, count: Uint8Array, options: Uint8Array) => number
>('int bpf_map_update_batch(int fd, const void *keys, const void *values, void *count, const void *o)')
export const mapDeleteBatch = declare<
  (fd: number, keys: Uint8Array, count: Uint8Array, options: Uint8Array) => number
>('int bpf_map_delete_batch(int fd, const void *keys, void *count, const void *o)')
export const mapLookupBatch = declare<
  (
    fd: number,
    from: Bytes,
    next: Uint8Array,
    keys: Uint8Array,
    values: Uint8Array,
    count: Uint8Array,
    options: Uint8Array,
  ) => number
>(
  'int bpf_map_lookup_batch(int fd, void *in, void *out, void *keys, void *values, void *count, const void *o)',
)

// bpf(2) by descriptor: the rest
export const objectPin = declare<(fd: number, path: string) => number>(
  'int bpf_obj_pin(int fd, const char *path)',
)
export const objectGet = declare<(path: string) => number>('int bpf_obj_get(const char *path)')
export const infoByFd = declare<(fd: number, info: Uint8Array, length: Uint8Array) => number>(
  'int bpf_obj_get_info_by_fd(int fd, void *info, void *length)',
)
export const mapFdById = declare<(id: number) => number>('int bpf_map_get_fd_by_id(uint32_t id)')
export const programFdById = declare<(id: number) => number>('int bpf_prog_get_fd_by_id(uint32_t id)')
export const btfFdById = declare<(id: number) => number>('int bpf_btf_get_fd_by_id(uint32_t id)')
export const linkFdById = declare<(id: number) => number>('int bpf_link_get_fd_by_id(uint32_t id)')
export const linkNextId = declare<(after: number, next: Uint8Array) => number>(
  'int bpf_link_get_next_id(uint32_t after, void *next)',
)
export const testRun = declare<(fd: number, options: Uint8Array) => number>(
  'int bpf_prog_test_run_opts(int fd, void *opts)',
)
export const enableStats = declare<(type: number) => number>('int bpf_enable_stats(int type)')
export const programQuery = declare<
  (target: number, type: number, flags: number, flagsOut: Bytes, ids: Uint8Array, count: Uint8Array) => number
>('int bpf_prog_query(int target, int type, uint32_t flags, void *attach_flags, void *ids, void *count)')

// Links, and what stands in for them on old kernels
export const linkCreate = declare<
  (program: number, target: number, type: number, options: Uint8Array) => number
>('int bpf_link_create(int program, int target, int type, const void *opts)')
export const linkUpdate = declare<(link: number, program: number, options: Bytes) => number>(
  'int bpf_link_update(int link, int program, const void *opts)',
)
export const linkDetach = declare<(link: number) => number>('int bpf_link_detach(int link)')
export const xdpQuery = declare<(ifindex: number, flags: number, options: Uint8Array) => number>(
  'int bpf_xdp_query(int ifindex, int flags, void *opts)',
)
export const tcHookCreate = declare<(hook: Uint8Array) => number>('int bpf_tc_hook_create(void *hook)')
export const tcAttach = declare<(hook: Uint8Array, options: Uint8Array) => number>(
  'int bpf_tc_attach(const void *hook, void *opts)',
)
export const tcDetach = declare<(hook: Uint8Array, options: Uint8Array) => number>(
  'int bpf_tc_detach(const void *hook, const void *opts)',
)
export const tcQuery = declare<(hook: Uint8Array, options: Uint8Array) => number>(
  'int bpf_tc_query(const void *hook, void *opts)',
)

// Iterators
export const iterCreate = declare<(linkFd: number) => number>('int bpf_iter_create(int link_fd)')

// Diagnosis
export const setPrint = declare<(callback: bigint | null) => unknown>(
  'void *libbpf_set_print(void *callback)',
)
export const possibleCpuCount = declare<() => number>('int libbpf_num_possible_cpus(void)')

/** errno after a call that returned NULL. Valid only directly after it. */
export const errnoNow = (): number => koffi.errno()

/** Copies C memory into a Buffer of our own. */
export function copyMemory(pointer: Pointer, lengthBytes: number): Buffer {
  return Buffer.from(
    (koffi.decode(pointer, koffi.array('uint8_t', lengthBytes, 'Typed')) as Uint8Array).slice(),
  )
}

export const addressOf = (buffer: Uint8Array): bigint => BigInt(koffi.address(buffer))

export const u32Buffer = (value = 0): Buffer => {
  const buffer = Buffer.alloc(4)
  buffer.writeUInt32LE(value)
  return buffer
}

const fcntl = libc.func('int fcntl(int fd, int command, int argument)')
const mount = libc.func(
  'int mount(const char *source, const char *target, const char *type, uint64_t flags, const char *data)',
)
const F_DUPFD_CLOEXEC = 1030

/** Negative errno for libc's -1, as libbpf's own functions return it. */
const withErrno = (result: number): number => (result === -1 ? -lastErrno() : result)

/** A second descriptor of the same kernel object, with a life of its own. */
export const duplicateDescriptor = (fd: number): number => withErrno(fcntl(fd, F_DUPFD_CLOEXEC, 0) as number)

export const mountBpffs = (path: string): number =>
  withErrno(mount('bpf', path, 'bpf', 0, 'mode=0700') as number)

const close = libc.func('int close(int fd)')

/** Not fs.closeSync: Node takes descriptors it has not opened itself for a mistake in worker threads. */
export function closeDescriptor(fd: number): void {
  close(fd)
}
