// Questions about what somebody may do: who am I, may I, may he, what may I at all. Nothing is stored; the authorizer answers as it
// would decide.

import type { Authorizer } from './authorizer.ts'
import { decodeBody } from './content.ts'
import { clone, isRecord, type JsonRecord, recordAt, stringAt } from './json.ts'
import { type ApiRequest, type ApiResponse, jsonResponse, type User } from './request.ts'
import type { Attributes } from './request-attributes.ts'

interface Question {
  readonly kind: string
  readonly status: (spec: JsonRecord, user: User, authorizer: Authorizer) => object
}

/** By the path that a review is posted to. */
const questions: Record<string, Question> = {
  '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews': {
    kind: 'SelfSubjectAccessReview',
    status: (spec, user, authorizer) => decide(spec, user, authorizer),
  },
  '/apis/authorization.k8s.io/v1/subjectaccessreviews': {
    kind: 'SubjectAccessReview',
    status: (spec, _, authorizer) => {
      const groups = Array.isArray(spec['groups']) ? spec['groups'].map(String) : []
      return decide(spec, { name: stringAt(spec, 'user') ?? '', uid: '', groups }, authorizer)
    },
  },
  '/apis/authorization.k8s.io/v1/selfsubjectrulesreviews': {
    kind: 'SelfSubjectRulesReview',
    status: (spec, user, authorizer) => {
      const rules = authorizer.rulesFor(user, stringAt(spec, 'namespace') ?? '')
      return {
        resourceRules: rules.filter(({ resources }) => resources !== undefined),
        nonResourceRules: rules.filter(({ nonResourceURLs }) => nonResourceURLs !== undefined),
        incomplete: false,
      }
    },
  },
  '/apis/authentication.k8s.io/v1/selfsubjectreviews': {
    kind: 'SelfSubjectReview',
    status: (_, { name, uid, groups }) => ({ userInfo: { username: name, uid, groups } }),
  },
}

const decide = (spec: JsonRecord, user: User, authorizer: Authorizer): object => {
  const { isAllowed, reason } = authorizer.decide(user, attributesIn(spec))
  return { allowed: isAllowed, ...(reason === '' ? {} : { reason }) }
}

const attributesIn = (spec: JsonRecord): Attributes => {
  const asked = recordAt(spec, 'resourceAttributes')
  const other = recordAt(spec, 'nonResourceAttributes')
  const text = (key: string): string | undefined => stringAt(asked, key) || undefined
  if (spec['resourceAttributes'] === undefined)
    return { verb: stringAt(other, 'verb') ?? '', path: stringAt(other, 'path') ?? '' }
  return {
    verb: text('verb') ?? '',
    path: '',
    resource: {
      group: text('group') ?? '',
      plural: text('resource') ?? '',
      subresource: text('subresource'),
      namespace: text('namespace'),
      name: text('name'),
    },
  }
}

/** undefined for everything that is not a review. */
export const review = async (
  request: ApiRequest,
  user: User,
  authorizer: Authorizer,
): Promise<ApiResponse | undefined> => {
  const asked = questions[request.path]
  if (asked === undefined || request.method !== 'POST') return undefined
  const body = await decodeBody(request.body, request.headers['content-type'])
  const whole = isRecord(body) ? body : {}
  const apiVersion = request.path.slice('/apis/'.length).split('/').slice(0, 2).join('/')
  return jsonResponse(201, {
    ...clone(whole),
    kind: asked.kind,
    apiVersion,
    status: asked.status(recordAt(whole, 'spec'), user, authorizer),
  })
}
