// What the admin port shows. Owns paths and the shape of the answers; asks the broker through functions it is given, and
// knows nothing of sockets.

import type { Context } from 'hono'
import type { Logger } from '../../shared/logger.ts'
import type { ResponseOf } from '../../shared/protocol/api.ts'
import type { OptionDescription } from '../config.ts'
import type { HealthCheck } from './health.ts'
import { Hono } from 'hono'
import { type ErrorCode, errorCodeOf, ERRORS, TidemarkError } from '../../shared/errors.ts'
import { totalsOf, withKnownFigures } from '../../shared/partition-figures.ts'
import { verdictOf } from './health.ts'

export interface AdminSources {
  /** What must hold for the broker to be sent work: recovered, serving, not stopping. */
  readonly readiness: () => readonly HealthCheck[]
  readonly scrape: () => Promise<{ readonly contentType: string; readonly text: string }>
  /** The effective settings; secrets are masked in them already. */
  readonly config: () => readonly OptionDescription[]
  /** All topics when no name is given. */
  readonly describeTopics: (names: readonly string[] | undefined) => Promise<ResponseOf<'describeTopics'>>
  readonly clusterInfo: () => Promise<ResponseOf<'clusterInfo'>>
  /** Undefined while the broker starts. */
  readonly groups?: () => GroupPages | undefined
}

interface GroupPages {
  /** Groups that this broker coordinates, and what it could not look at. */
  list(): Promise<object>
  /** Everything about one group, or why it cannot be told. */
  describe(name: string): Promise<object | { readonly error: string; readonly code: ErrorCode }>
}

type Topic = ResponseOf<'describeTopics'>['topics'][number]

const PAGES = [
  ['/metrics', 'metrics for Prometheus'],
  ['/livez', 'whether the process is alive'],
  ['/readyz?verbose', 'whether it may be sent work, and what was looked at'],
  ['/api/v1/cluster', 'brokers and health'],
  ['/api/v1/config', 'the effective settings'],
  ['/api/v1/topics', 'all topics'],
  ['/api/v1/partitions', 'all partitions'],
  ['/api/v1/groups', 'the groups that this broker coordinates'],
] as const

export function createRoutes(sources: AdminSources, logger: Logger): Hono {
  const app = new Hono()
  app.use(async (context, next) => {
    await next()
    context.header('X-Content-Type-Options', 'nosniff')
    context.header('Cache-Control', 'no-store')
    context.header('Content-Security-Policy', "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
  })
  app.get('/', (context) => context.html(frontPage()))
  app.get('/metrics', async (context) => {
    const { contentType, text } = await sources.scrape()
    return context.body(text, 200, { 'Content-Type': contentType })
  })
  for (const path of ['/livez', '/health/live']) app.get(path, (context) => context.text('ok\n'))
  for (const path of ['/readyz', '/healthz', '/health/ready']) {
    app.get(path, (context) => answerReadiness(context, sources.readiness()))
  }
  app.get('/api/v1/config', (context) => context.json({ settings: sources.config() }))
  app.get('/api/v1/cluster', async (context) => context.json(await sources.clusterInfo()))
  app.get('/api/v1/topics', async (context) => {
    const { topics } = await sources.describeTopics(undefined)
    return context.json({ topics: topics.map(summaryOf) })
  })
  app.get('/api/v1/topics/:topic', async (context) => {
    const name = context.req.param('topic')
    const { topics } = await sources.describeTopics([name])
    const topic = topics[0]
    if (topic === undefined || topic.error !== 0) {
      return context.json({ error: topic?.message ?? `there is no topic '${name}'`, code: codeOf(topic) }, 404)
    }
    const { error: _error, message: _message, ...described } = topic
    return context.json({ ...described, partitions: described.partitions.map(withKnownFigures) })
  })
  app.get('/api/v1/partitions', async (context) => {
    const { topics } = await sources.describeTopics(undefined)
    const partitions = topics.flatMap(({ topic, partitions: all }) =>
      all.map((one) => ({ topic, ...withKnownFigures(one) })),
    )
    return context.json({ partitions })
  })
  app.get('/api/v1/groups', async (context) => context.json(await groupPages(sources).list()))
  app.get('/api/v1/groups/:group', async (context) => {
    const group = await groupPages(sources).describe(context.req.param('group'))
    if (!('code' in group)) return context.json(group)
    return context.json(group, ERRORS[group.code].retriable ? 503 : 404)
  })
  app.notFound((context) =>
    context.json({ error: `there is nothing at ${context.req.path}; / lists what there is` }, 404),
  )
  app.onError((error, context) => {
    // As while the broker is starting: nothing to look for in the log, and nothing that could not be said.
    if (error instanceof TidemarkError && error.retriable) {
      return context.json({ error: error.message, code: error.code }, 503)
    }
    logger.error({ error, path: context.req.path }, 'admin request failed')
    return context.json({ error: 'the broker failed to answer; its log has the details' }, 500)
  })
  return app
}

function answerReadiness(context: Context, checks: readonly HealthCheck[]): Response {
  const { isHealthy, lines } = verdictOf(checks)
  const status = isHealthy ? 200 : 503
  if (context.req.header('accept')?.includes('application/json') === true) {
    return context.json({ ready: isHealthy, checks }, status)
  }
  const isVerbose = context.req.query('verbose') !== undefined
  const shown = isVerbose || !isHealthy ? [...lines, ''].join('\n') : ''
  return context.text(`${shown}${isHealthy ? 'ready' : 'not ready'}\n`, status)
}

function summaryOf({ topic, topicId, replicationFactor, partitions }: Topic): object {
  const { offsets, bytes } = totalsOf(partitions)
  return {
    topic,
    topicId,
    partitions: partitions.length,
    replicationFactor,
    offsets: offsets ?? null,
    bytes: bytes ?? null,
    offline: partitions.filter(({ state }) => state !== 'online').length,
  }
}

/** @throws LEADER_NOT_AVAILABLE while the broker starts */
function groupPages({ groups }: AdminSources): GroupPages {
  const pages = groups?.()
  if (pages === undefined) throw new TidemarkError('LEADER_NOT_AVAILABLE', 'the broker is starting')
  return pages
}

function codeOf(topic: Topic | undefined): string {
  return topic === undefined ? 'UNKNOWN_TOPIC_OR_PARTITION' : errorCodeOf(topic.error)
}

function frontPage(): string {
  const rows = PAGES.map(([path, about]) => `<li><a href="${path}">${path}</a> ${about}</li>`)
  return `<!doctype html><html lang="en"><meta charset="utf-8"><title>tidemark</title>
<style>body{font:16px/1.6 system-ui;max-width:40em;margin:3em auto;padding:0 1em}a{font-family:monospace}</style>
<h1>tidemark</h1><p>This is the admin port of a broker. It shows:</p><ul>${rows.join('')}</ul></html>
`
}
