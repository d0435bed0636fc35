// Version 4's messages against version 3's: the same in everything that the client uses, but for what is listed here. The client relies
// on it (bgp/client/version.ts): it fills version 4's messages as version 3's, and only what differs goes through the version's value.

import type { DescEnum, DescField, DescFile, DescMessage } from '@bufbuild/protobuf'
import t from 'tap'
import { VERSION_3 } from '../../../bgp/client/version-3.ts'
import { VERSION_4 } from '../../../bgp/client/version-4.ts'
import { file_gobgp_v3, GobgpApi } from '../../../bgp/proto/gobgp-v3.gen.ts'
import { file_gobgp_v4, GoBgpService } from '../../../bgp/proto/gobgp-v4.gen.ts'

/** Packed by the version's value: an Any in the one, a oneof in the other. */
const REPACKED = [
  'MpReachNLRIAttribute.nlris',
  'Path.nlri',
  'Path.pattrs',
  'PeerState.localCap',
  'PeerState.remoteCap',
]

const V3_ONLY = ['AddBmpRequest.StatisticsTimeout', 'AddBmpRequest.SysDescr', 'AddBmpRequest.SysName']

const V4_ONLY = [
  'AddBmpRequest.statisticsTimeout',
  'AddBmpRequest.sysDescr',
  'AddBmpRequest.sysName',
  'PeerState.disconnectMessage',
  'PeerState.disconnectReason',
  'StopBgpRequest.allowGracefulRestart',
]

/** By how much a value's number is greater in version 4. */
const SHIFTS: Readonly<Record<string, number>> = {
  'AddBmpRequest.MonitoringPolicy': 1,
  'AsSegment.Type': 0,
  'CommunityAction.Type': 1,
  'Conditions.RouteType': 0,
  DefinedType: 1,
  'Family.Afi': 0,
  'Family.Safi': 0,
  'MatchSet.Type': 1,
  'MedAction.Type': 1,
  'PeerState.AdminState': 1,
  'PeerState.SessionState': 0,
  PolicyDirection: 0,
  'ResetPeerRequest.Direction': 1,
  RouteAction: 0,
  TableType: 1,
  'WatchEventRequest.Table.Filter.Type': 1,
  'WatchEventResponse.PeerEvent.Type': 0,
}

const shortName = (typeName: string) =>
  typeName.replace(/^api(pb)?\./, '').replace('SoftResetDirection', 'Direction')

function* messagesOf(scope: DescFile | DescMessage): Generator<DescMessage> {
  const nested = scope.kind === 'file' ? scope.messages : scope.nestedMessages
  for (const message of nested) {
    yield message
    yield* messagesOf(message)
  }
}

function enumsOf(file: DescFile): DescEnum[] {
  return [...file.enums, ...[...messagesOf(file)].flatMap((message) => message.nestedEnums)]
}

/** What decides the bytes of a field, but for the numbers of an enum. */
function shape(field: DescField): string {
  const of = field.message ?? field.enum
  const kind = field.fieldKind === 'list' ? `list of ${field.listKind}` : field.fieldKind
  return `${field.number} ${kind} ${of ? shortName(of.typeName) : (field.scalar ?? '')} ${field.oneof?.name ?? ''}`
}

function fieldsOf(file: DescFile): Map<string, string> {
  return new Map(
    [...messagesOf(file)].flatMap((message) =>
      message.fields.map(
        (field) => [`${shortName(message.typeName)}.${field.localName}`, shape(field)] as const,
      ),
    ),
  )
}

t.test('fields have the same names, numbers and kinds', async (t) => {
  const three = fieldsOf(file_gobgp_v3)
  const four = fieldsOf(file_gobgp_v4)
  t.ok(three.size > 150, `${three.size} fields`)
  t.same([...three.keys()].filter((name) => !four.has(name)).sort(), V3_ONLY)
  t.same(
    [...four.keys()]
      .filter((name) => !three.has(name) && !/^(NLRI|Attribute|Capability)\./.test(name))
      .sort(),
    V4_ONLY,
  )
  const others = [...three].filter(([name, is]) => four.has(name) && four.get(name) !== is)
  t.same(others.map(([name]) => name).sort(), REPACKED)
})

t.test('the oneofs of version 4 hold the messages that version 3 packs', async (t) => {
  const messages = [...messagesOf(file_gobgp_v4)]
  const names = new Set([...messagesOf(file_gobgp_v3)].map(({ name }) => name))
  for (const oneof of ['NLRI', 'Attribute', 'Capability']) {
    const cases = messages.find(({ name }) => name === oneof)?.fields ?? []
    const unknown = cases.flatMap(({ message }) =>
      message && !names.has(message.name) ? [message.name] : [],
    )
    t.same(unknown, oneof === 'Capability' ? ['SoftwareVersionCapability'] : [], oneof)
  }
})

t.test('values of enums are shifted by what is listed, and by nothing else', async (t) => {
  const three = new Map(enumsOf(file_gobgp_v3).map((desc) => [shortName(desc.typeName), desc]))
  const four = new Map(enumsOf(file_gobgp_v4).map((desc) => [shortName(desc.typeName), desc]))
  t.same([...three.keys()].sort(), Object.keys(SHIFTS).sort())
  for (const [name, shift] of Object.entries(SHIFTS)) {
    const theirs = new Map(four.get(name)?.values.map((value) => [value.localName, value.number]))
    for (const { localName, number } of three.get(name)?.values ?? [])
      if (shift === 1 || number !== 0) t.equal(theirs.get(localName), number + shift, `${name} ${localName}`)
  }
})

t.test('calls have the same names and kinds', async (t) => {
  const calls = (methods: typeof GobgpApi.methods | typeof GoBgpService.methods) =>
    methods.map(({ name, methodKind, input }) => `${name} ${methodKind} ${input.name}`).sort()
  t.same(calls(GobgpApi.methods), calls(GoBgpService.methods))
})

t.test('the numbers that the client sends are those of the right version', async (t) => {
  for (const [name, three] of Object.entries(VERSION_3.numbers)) {
    const four = VERSION_4.numbers[name as keyof typeof VERSION_4.numbers]
    const shifted = typeof three === 'number' ? three + 1 : increment(three)
    t.same(four, shifted, name)
  }
})

function increment(numbers: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(Object.entries(numbers).map(([name, number]) => [name, number + 1]))
}
