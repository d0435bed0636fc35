// libbpf-ts: everything its users import. The reasons and examples are in README.md.
// A published library has one entry; this one is the only file that re-exports.

// biome-ignore-all lint/performance/noBarrelFile: the library's entry file

export { BPFFS_ROOT, ensureBpffs, isBpffs, makePinDirectory, unpin } from './bpffs.ts'
export { type Btf, type BtfType, findType, parseBtf, readKernelBtf, readObjectBtf } from './btf.ts'
export { type DecodedEntry, type DecodedValue, decodeValue, dumpMap } from './decode.ts'
export { BpfError, type BpfErrorCode } from './errors.ts'
export { type LinkInfo, type MapInfo, type ProgramInfo, readLoadedBtf } from './info.ts'
export { BpfIterator } from './iterator.ts'
export type { AttachType, LinkType, MapType, ProgramType } from './kernel-names.ts'
export {
  checkMapLayout,
  describeLayout,
  type ExpectedMapLayout,
  layoutDifference,
  mapLayout,
  type StructLayout,
} from './layout.ts'
export {
  attachCgroup,
  attachModifyReturn,
  attachTcx,
  attachXdp,
  BpfLink,
  listLinks,
  queryCgroup,
  queryTcx,
  queryXdp,
  queryXdpProgram,
  supportsTcx,
  type TcDirection,
  type XdpAttachment,
  type XdpMode,
} from './link.ts'
export {
  BpfMap,
  createMap,
  F_MMAPABLE,
  F_NO_PREALLOC,
  type MapEntry,
  POSSIBLE_CPUS,
  type UpdateMode,
} from './map.ts'
export { type LoadedObject, MapSpec, ObjectSpec, openObject, ProgramSpec } from './object.ts'
export {
  BpfProgram,
  enableRunTimeStats,
  F_TEST_XDP_LIVE_FRAMES,
  type TestRunInput,
  type TestRunResult,
} from './program.ts'
export { type RingBatch, RingBuffer, type RingHandler, type RingOptions } from './ring-buffer.ts'
export { type RingWorker, type RingWorkerOptions, startRingWorker } from './ring-worker.ts'
export { attachClsact, detachClsact, queryClsact, type TcPlace } from './tc.ts'
