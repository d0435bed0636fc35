// The proof that the rack does its main job, on real input: deploys the sample application and tries every claim, from the
// routers' own tables to requests under disturbance. Prints a line per claim with what was seen, and what to try next.

import { printedSteps } from './progress.ts'
import { type Finding, findKubectl, kubectlFor, type ProofContext } from './proof/context.ts'
import { proveCost } from './proof/cost.ts'
import { proveAgentKill, proveHealed, proveLinkCut, provePodDeletion } from './proof/disturbances.ts'
import { proveClusterIp, proveVip } from './proof/requests.ts'
import { proveBfd, proveRoutes, proveSessions } from './proof/routes.ts'
import { deploySample } from './proof/sample.ts'
import type { Rack } from './rack.ts'

type Proof = (context: ProofContext) => Promise<Finding | Finding[]>

const PROOFS: readonly { readonly title: string; readonly prove: Proof }[] = [
  { title: 'Routing', prove: proveSessions },
  { title: 'Routing', prove: proveRoutes },
  { title: 'Routing', prove: proveBfd },
  { title: 'From outside', prove: proveVip },
  { title: 'Inside', prove: proveClusterIp },
  { title: 'Disturbed', prove: proveLinkCut },
  { title: 'Disturbed', prove: provePodDeletion },
  { title: 'Disturbed', prove: proveAgentKill },
  { title: 'Cost', prove: proveCost },
]

/** Takes routers and gobgpd about ten seconds, so it is left out when the rack was up already. */
const AFTERWARDS = { title: 'Afterwards', prove: proveHealed } as const

export interface ProofOptions {
  /** The rack was up before: a quick round, without waiting for the healed link's sessions. */
  readonly isAgain?: boolean
}

export interface ProofResult {
  readonly findings: readonly Finding[]
  readonly context: ProofContext
}

/** Runs every proof; `report` hears of each finding as it is made. */
export async function runProofs(
  rack: Rack,
  report: (title: string, finding: Finding, seconds: number) => void,
  deployed: (deploy: () => Promise<string>) => Promise<void> = async (deploy) => {
    await deploy()
  },
  { isAgain = false }: ProofOptions = {},
): Promise<ProofResult> {
  const kubectlProgram = await findKubectl()
  const kubectl = kubectlFor(rack, kubectlProgram)
  let context: ProofContext | undefined
  await deployed(async () => {
    context = { rack, kubectlProgram, kubectl, service: await deploySample(rack, kubectl) }
    return `${context.service.pods.length} pods, VIPs ${context.service.vips.join(' ')}`
  })
  if (!context) throw new Error('the sample application was not deployed')
  const findings: Finding[] = []
  for (const { title, prove } of isAgain ? PROOFS : [...PROOFS, AFTERWARDS]) {
    const begun = performance.now()
    const made = [await prove(context)].flat()
    for (const finding of made) report(title, finding, (performance.now() - begun) / 1000)
    findings.push(...made)
  }
  return { findings, context }
}

/** Runs the proofs and prints them. Resolves to the exit status: 0 when every claim holds. */
export async function proveRack(rack: Rack, options: ProofOptions = {}): Promise<number> {
  const write = (text: string) => process.stdout.write(text)
  write('\nDeploying the sample application (manifests/sample)\n')
  const step = printedSteps(write)
  let lastTitle = ''
  const { findings, context } = await runProofs(
    rack,
    (title, finding, seconds) => {
      if (title !== lastTitle) write(`\n${title}\n`)
      lastTitle = title
      write(formatFinding(finding, seconds))
    },
    (deploy) => step('kubectl apply, rollout, addresses', deploy),
    options,
  )
  const failed = findings.filter((finding) => !finding.holds).length
  write(`\n${findings.length - failed} of ${findings.length} claims hold`)
  const startedMs = Number(process.env['WEIR_STARTED_MS'] ?? Number.NaN)
  write(Number.isFinite(startedMs) ? `; ${((Date.now() - startedMs) / 1000).toFixed(0)} s in all.\n` : '.\n')
  if (options.isAgain) write('The link that was cut is healed; its sessions are back in about ten seconds.\n')
  write(nextThings(rack, context))
  return failed === 0 ? 0 : 1
}

function formatFinding(finding: Finding, seconds: number): string {
  const mark = finding.holds ? '  ✓ ' : '  ✗ '
  const details = (finding.details ?? []).map((line) => `      ${line}\n`)
  return `${mark}${finding.claim}: ${finding.seen}  (${seconds.toFixed(1)} s)\n${details.join('')}`
}

function nextThings(rack: Rack, { service, kubectlProgram }: ProofContext): string {
  const flag = rack.name === 'weir' ? '' : ` --name ${rack.name}`
  const vip = service.vips[0] ?? ''
  const alias = kubectlProgram === 'kubectl' ? '' : `  alias kubectl=${kubectlProgram}\n`
  return `
The rack stays up. Try next:
  export KUBECONFIG=${rack.kubeconfig}
${alias}  kubectl get pods,services,endpointslices -o wide
  kubectl scale deployment web --replicas=9
  npx weir sandbox exec client1${flag} -- curl -s http://${vip}/hostname
  npx weir sandbox exec tor1${flag} -- vtysh -c 'show ip route ${vip}'
  npx weir sandbox exec tor2${flag} -- birdc show route for ${vip}
  npx weir sandbox break node2:to-tor1${flag}      (and: heal node2:to-tor1)
  npx weir sandbox status${flag}
  npx weir sandbox down${flag}
`
}
