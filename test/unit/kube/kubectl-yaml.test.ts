// Lines of objects as kubectl prints them: the text here is what `kubectl get -o yaml` printed.

import t from 'tap'
import { KubectlYaml, kubectlYaml } from '../../../src/kube/kubectl-yaml.ts'
import { POLICY_RESOURCES } from '../../../src/kube/policies/resources.ts'

const PRINTED = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  annotations:
    kubectl.kubernetes.io/last-applied-configuration: |
      {"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy","metadata":{"annotations":{},"name":"web","namespace":"shop"}}
    weir.network/policy-mode: audit
  generateName: x
  generation: 1
  name: web
  namespace: shop
  resourceVersion: "42"
  uid: 8d6f7b0e-1111-4222-8333-444455556666
spec:
  ingress:
  - from:
    - podSelector:
        matchLabels:
          app: cart
    - ipBlock:
        cidr: 10.0.0.0/8
        except:
        - 10.1.0.0/16
    ports:
    - port: 80
      protocol: TCP
  - {}
  podSelector: {}
  policyTypes:
  - Ingress
`

const OBJECT = {
  spec: {
    policyTypes: ['Ingress'],
    podSelector: {},
    ingress: [
      {
        ports: [{ protocol: 'TCP', port: 80 }],
        from: [
          { podSelector: { matchLabels: { app: 'cart' } } },
          { ipBlock: { except: ['10.1.0.0/16'], cidr: '10.0.0.0/8' } },
        ],
      },
      {},
    ],
  },
  metadata: {
    uid: '8d6f7b0e-1111-4222-8333-444455556666',
    name: 'web',
    namespace: 'shop',
    resourceVersion: '42',
    generation: 1,
    generateName: 'x',
    managedFields: [{ manager: 'kubectl' }],
    annotations: {
      'weir.network/policy-mode': 'audit',
      'kubectl.kubernetes.io/last-applied-configuration':
        '{"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy","metadata":{"annotations":{},"name":"web","namespace":"shop"}}\n',
    },
  },
}

t.test('an object as kubectl prints it, and the lines of its places', async (t) => {
  const resource = POLICY_RESOURCES.NetworkPolicy
  t.equal(kubectlYaml(resource, OBJECT), PRINTED)
  const yaml = new KubectlYaml(resource, OBJECT)
  for (const [path, line, text] of [
    ['spec', 14, 'spec:'],
    ['spec.ingress', 15, 'ingress:'],
    ['spec.ingress[0]', 16, '- from:'],
    ['spec.ingress[0].from[1]', 20, '- ipBlock:'],
    ['spec.ingress[0].from[1].ipBlock.except[0]', 23, '- 10.1.0.0/16'],
    ['spec.ingress[1]', 27, '- {}'],
    ['spec.policyTypes', 29, 'policyTypes:'],
    ["metadata.annotations['weir.network/policy-mode']", 7, 'weir.network/policy-mode: audit'],
  ] as const)
    t.strictSame(yaml.find(path), { line, text }, path)
  t.equal(yaml.find('spec.ingress[2]'), undefined)
  t.equal(yaml.find('specs[0].ingress'), undefined)
  t.equal(PRINTED.split('\n')[15]?.trim(), '- from:')
})
