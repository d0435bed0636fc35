// Questions a client asks about itself: who am I, may I do this. Nothing is stored. Whoever holds a valid token may do everything, so
// the second answer is always yes.

import { decodeBody } from './content.ts'
import { clone, isRecord } from './json.ts'
import { type ApiRequest, type ApiResponse, jsonResponse, type User } from './request.ts'

/** What a token's holder is told, by the path a review is posted to. */
const reviews: Record<string, { kind: string; status: (user: User | undefined) => object }> = {
  '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews': {
    kind: 'SelfSubjectAccessReview',
    status: () => allowed,
  },
  '/apis/authorization.k8s.io/v1/subjectaccessreviews': {
    kind: 'SubjectAccessReview',
    status: () => allowed,
  },
  '/apis/authorization.k8s.io/v1/selfsubjectrulesreviews': {
    kind: 'SelfSubjectRulesReview',
    status: () => ({
      resourceRules: [{ verbs: ['*'], apiGroups: ['*'], resources: ['*'] }],
      nonResourceRules: [{ verbs: ['*'], nonResourceURLs: ['*'] }],
      incomplete: false,
    }),
  },
  '/apis/authentication.k8s.io/v1/selfsubjectreviews': {
    kind: 'SelfSubjectReview',
    status: (user) => ({
      userInfo: { username: user?.name ?? '', uid: user?.uid ?? '', groups: user?.groups ?? [] },
    }),
  },
}

const allowed = { allowed: true, reason: 'this server authorises every valid token' }

/** undefined for everything that is not a review. */
export const review = async (request: ApiRequest): Promise<ApiResponse | undefined> => {
  const asked = reviews[request.path]
  if (asked === undefined || request.method !== 'POST') return undefined
  const body = await decodeBody(request.body, request.headers['content-type'])
  const apiVersion = request.path.slice('/apis/'.length).split('/').slice(0, 2).join('/')
  return jsonResponse(201, {
    ...(isRecord(body) ? clone(body) : {}),
    kind: asked.kind,
    apiVersion,
    status: asked.status(request.user),
  })
}
