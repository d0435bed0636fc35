// Policy judged by the kernel: lib/policy.h on its real maps (policy_judge.bpf.c), thousands of questions in one run.

import { fileURLToPath } from 'node:url'
import * as abi from '../../src/datapath/abi.gen.ts'
import { policyTables } from '../../src/datapath/maps.ts'
import type { PolicyReads } from '../../src/datapath/policy-lookup.ts'
import type { PolicyTables } from '../../src/datapath/policy-tables.ts'
import { type Address, addressToBytes } from '../../src/model/address.ts'
import type { PolicyDirection } from '../../src/model/policy.ts'
import type { BpfProgram, LoadedObject } from '../../src/sys/libbpf-ts/index.ts'
import { openObject } from '../../src/sys/libbpf-ts/index.ts'

const OBJECT = fileURLToPath(new URL('../../build/bpf/policy_judge.bpf.o', import.meta.url))
const QUESTION_BYTES = 40
const ANSWER_BYTES = 16
/** Frames shorter than an Ethernet header are refused. */
const PACKET_BYTES = 64
/** Source ports of masqueraded traffic in these tests: the datapath's, and the kernel's. */
export const SNAT_PORTS = { first: 61_000, last: 65_535 } as const
export const MASQUERADE_PORTS = { first: 50_000, last: 51_000 } as const

export interface Question {
  readonly direction: PolicyDirection
  readonly subject: Address
  readonly peer: Address
  /** As in the IP header. */
  readonly protocol: number
  /** The destination's; of ICMP the type. */
  readonly port: number
  readonly sourcePort?: number
  /** A Service led the subject to itself. */
  readonly isLedBack?: boolean
  readonly isFromHost?: boolean
  /** The subject is the node itself, by one of its addresses. */
  readonly isNode?: boolean
}

export interface Answer {
  readonly isAllowed: boolean
  readonly keepsExisting: boolean
  readonly rule: number
  readonly wouldBeRule: number
  readonly generation: number
}

const LED_BACK = 1
const FROM_HOST = 2

function nodeConfig(masquerades: boolean): Buffer {
  const none = new Uint8Array(16)
  const blank = abi.decodeNodeConfig(Buffer.alloc(abi.NODE_CONFIG_BYTES))
  return abi.encodeNodeConfig({
    ...blank,
    tunnelIpv4: none,
    tunnelIpv6: none,
    snatPortFirst: SNAT_PORTS.first,
    snatPortLast: SNAT_PORTS.last,
    masqueradePortFirst: masquerades ? MASQUERADE_PORTS.first : 0,
    masqueradePortLast: masquerades ? MASQUERADE_PORTS.last : 0,
  })
}

export class PolicyJudge {
  readonly tables: PolicyTables & PolicyReads
  readonly #object: LoadedObject
  readonly #questions: Buffer
  readonly #answers: Buffer
  readonly #capacity: number

  /**
   * @param entries capacities of maps, by their name in bpf/maps.h
   * @param masquerades nodes' kernels masquerade
   */
  constructor(entries: Readonly<Record<string, number>> = {}, masquerades = false) {
    const spec = openObject(OBJECT)
    spec.setConstant('node_config', nodeConfig(masquerades))
    for (const map of spec.maps.values()) {
      const wanted = entries[map.name]
      if (wanted !== undefined) map.setMaxEntries(wanted)
    }
    this.#object = spec.load()
    this.tables = policyTables((name) => this.#object.map(name))
    this.#questions = Buffer.from(this.#object.map('questions').mmap())
    this.#answers = Buffer.from(this.#object.map('answers_given').mmap())
    this.#capacity = this.#object.map('questions').info.maxEntries
  }

  /** `judge_first` judges the last question asked, again and again. */
  get program(): BpfProgram {
    return this.#object.program('judge_first')
  }

  ask(questions: readonly Question[]): Answer[] {
    const answers: Answer[] = []
    for (let first = 0; first < questions.length; first += this.#capacity)
      answers.push(...this.#askSome(questions.slice(first, first + this.#capacity)))
    return answers
  }

  close(): void {
    this.#object.close()
  }

  #askSome(questions: readonly Question[]): Answer[] {
    for (const [row, question] of questions.entries())
      writeQuestion(this.#questions, row * QUESTION_BYTES, question)
    const data = Buffer.alloc(PACKET_BYTES)
    data.writeUInt32LE(questions.length)
    const { returnValue } = this.#object.program('judge_all').testRun({ data })
    if (returnValue !== questions.length)
      throw new Error(`judge_all answered ${returnValue} of ${questions.length} questions`)
    return questions.map((_, row) => readAnswer(this.#answers, row * ANSWER_BYTES))
  }
}

function writeQuestion(into: Buffer, at: number, question: Question): void {
  into.set(addressToBytes(question.subject), at)
  into.set(addressToBytes(question.peer), at + 16)
  into.writeUInt16LE(question.sourcePort ?? 40_000, at + 32)
  into.writeUInt16LE(question.port, at + 34)
  into[at + 36] = question.protocol
  into[at + 37] = abi.PolicyDirection[question.direction === 'egress' ? 'POLICY_EGRESS' : 'POLICY_INGRESS']
  into[at + 38] = (question.isLedBack ? LED_BACK : 0) | (question.isFromHost ? FROM_HOST : 0)
  into[at + 39] = question.isNode ? 1 : 0
}

function readAnswer(bytes: Buffer, at: number): Answer {
  const { POLICY_ALLOWED, POLICY_KEEPS_EXISTING } = abi.PolicyVerdictFlags
  const flags = bytes.readUInt32LE(at + 12)
  return {
    isAllowed: (flags & POLICY_ALLOWED) !== 0,
    keepsExisting: (flags & POLICY_KEEPS_EXISTING) !== 0,
    rule: bytes.readUInt32LE(at),
    wouldBeRule: bytes.readUInt32LE(at + 4),
    generation: bytes.readUInt32LE(at + 8),
  }
}
