// Objects as `kubectl get -o yaml` prints them (sigs.k8s.io/yaml: keys in order, lists not indented, long lines whole, managedFields left
// out), so that a place in an object can be named by its line there.

import { isMap, isScalar, isSeq, LineCounter, type Node, type Pair, parseDocument, stringify } from 'yaml'
import { type ApiObject, apiVersionOf, type Resource } from './objects.ts'

export interface YamlLine {
  /** From 1 on. */
  readonly line: number
  /** Without what it is indented by. */
  readonly text: string
}

export class KubectlYaml {
  readonly #lines: readonly string[]
  readonly #root: Node | null
  readonly #counter = new LineCounter()

  constructor(resource: Resource, object: ApiObject) {
    const text = kubectlYaml(resource, object)
    this.#lines = text.split('\n')
    this.#root = parseDocument(text, { lineCounter: this.#counter }).contents
  }

  /** @param path as faults and rules have it: `spec.ingress[2]`, `metadata.annotations['a.b/c']`; undefined: there is no such place */
  find(path: string): YamlLine | undefined {
    const offset = offsetOf(this.#root, stepsOf(path))
    if (offset === undefined) return undefined
    const { line } = this.#counter.linePos(offset)
    return { line, text: this.#lines[line - 1]?.trim() ?? '' }
  }
}

export function kubectlYaml(resource: Resource, object: ApiObject): string {
  const { managedFields: _, ...metadata } = object.metadata as ApiObject['metadata'] & {
    managedFields?: unknown
  }
  // Items of a list do not say what they are.
  const whole = { ...object, apiVersion: apiVersionOf(resource), kind: resource.kind, metadata }
  return stringify(whole, {
    sortMapEntries: (a, b) => (nameOf(a) < nameOf(b) ? -1 : 1),
    indentSeq: false,
    lineWidth: 0,
    blockQuote: 'literal',
    aliasDuplicateObjects: false,
    // As kubectl's does: what YAML 1.1 takes for a date or a boolean is quoted.
    schema: 'yaml-1.1',
  })
}

function nameOf({ key }: Pair): string {
  return isScalar(key) ? String(key.value) : String(key)
}

const STEP = /\.?([A-Za-z][\w-]*)|\[(\d+)\]|\['([^']*)'\]/gy

function stepsOf(path: string): readonly (string | number)[] {
  return [...path.matchAll(STEP)].map(([, name, index, quoted]) =>
    index === undefined ? (name ?? quoted ?? '') : Number(index),
  )
}

/** Where the key, or the item, of the last step begins. */
function offsetOf(root: Node | null, steps: readonly (string | number)[]): number | undefined {
  let node: unknown = root
  let offset: number | undefined
  for (const step of steps) {
    if (isSeq(node) && typeof step === 'number') {
      node = node.items[step]
      offset = (node as Node | undefined)?.range?.[0]
    } else if (isMap(node)) {
      const pair = node.items.find((one) => nameOf(one) === step)
      offset = (pair?.key as Node | undefined)?.range?.[0]
      node = pair?.value
    } else return undefined
    if (offset === undefined) return undefined
  }
  return offset
}
