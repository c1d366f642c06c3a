import { connect } from 'node:net'
import { once } from 'node:events'
import { request } from 'node:http'
import { afterEach, describe, expect, it } from 'vitest'
import type { HealthCheck } from '../../broker/admin/health.ts'
import { type AdminServer, startAdminServer } from '../../broker/admin/http-server.ts'
import type { AdminSources } from '../../broker/admin/routes.ts'
import { ERRORS, TidemarkError } from '../../shared/errors.ts'
import { silentLogger } from '../../shared/logger.ts'
import { offset } from '../../shared/ids.ts'

type Topic = Awaited<ReturnType<AdminSources['describeTopics']>>['topics'][number]

const ORDERS: Topic = {
  topic: 'orders',
  error: 0,
  message: undefined,
  topicId: '6f1f2f2e-0000-4000-8000-000000000001',
  replicationFactor: 1,
  config: [{ name: 'durability', value: 'os', isDefault: true, about: 'What acknowledged means.' }],
  partitions: [
    {
      partition: 0,
      leader: 1,
      leaderEpoch: 0,
      replicas: [1],
      inSyncReplicas: [1],
      logStartOffset: offset(2),
      highWatermark: offset(12),
      logEndOffset: offset(12),
      recoveryPoint: offset(10),
      segments: 1,
      bytes: 640,
      state: 'online',
      reason: undefined,
      quarantined: [],
      movingTo: undefined,
      figuresOf: 1,
      last: undefined,
    },
  ],
}

const servers: AdminServer[] = []
afterEach(async () => {
  for (const server of servers.splice(0)) await server.stop()
})

async function start(overrides: Partial<AdminSources> = {}, checks: readonly HealthCheck[] = []) {
  const sources: AdminSources = {
    readiness: () => checks,
    scrape: () => Promise.resolve({ contentType: 'text/plain; version=0.0.4', text: 'tidemark_up 1\n' }),
    config: () => [{ name: 'redis', value: '***', isDefault: false, about: 'URL of the Redis.' }],
    describeTopics: (names) => {
      if (names === undefined || names[0] === 'orders') return Promise.resolve({ topics: [ORDERS] })
      const missing = {
        topic: names[0] ?? '',
        error: ERRORS.UNKNOWN_TOPIC_OR_PARTITION.number,
        message: 'no such topic',
      }
      return Promise.resolve({
        topics: [{ ...ORDERS, ...missing, topicId: undefined, config: [], partitions: [] }],
      })
    },
    clusterInfo: () => Promise.resolve({ cluster: 'test', controllerId: 1, brokers: [], checks: [] }),
    ...overrides,
  }
  const server = await startAdminServer({ host: '127.0.0.1', port: 0, sources, logger: silentLogger })
  servers.push(server)
  return server
}

interface Answer {
  readonly status: number
  readonly text: string
  readonly headers: NodeJS.Dict<string | string[]>
}

function ask(
  server: AdminServer,
  path: string,
  options: { method?: string; headers?: NodeJS.Dict<string>; body?: string } = {},
) {
  return new Promise<Answer>((resolve, reject) => {
    const { method = 'GET', headers = {}, body } = options
    const sent = request({ host: server.host, port: server.port, path, method, headers, agent: false }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          text: Buffer.concat(chunks).toString(),
          headers: response.headers,
        }),
      )
    })
    sent.on('error', reject)
    sent.end(body)
  })
}

describe('the admin port', () => {
  it('hands the scrape through with its content type', async () => {
    const answer = await ask(await start(), '/metrics')
    expect(answer).toMatchObject({ status: 200, text: 'tidemark_up 1\n' })
    expect(answer.headers['content-type']).toBe('text/plain; version=0.0.4')
  })

  it.each(['/livez', '/health/live'])('%s says that the process is alive even when it is not ready', async (path) => {
    const server = await start({}, [{ name: 'recovery', isOk: false, detail: '3 logs to go' }])
    expect(await ask(server, path)).toMatchObject({ status: 200, text: 'ok\n' })
  })

  it.each(['/readyz', '/healthz', '/health/ready'])('%s names what is missing while it is not ready', async (path) => {
    const server = await start({}, [
      { name: 'serving', isOk: true, detail: 'yes' },
      { name: 'recovery', isOk: false, detail: '3 logs to go' },
    ])
    expect(await ask(server, path)).toMatchObject({
      status: 503,
      text: '[-] recovery: 3 logs to go\n[+] serving: yes\nnot ready\n',
    })
  })

  it('lists the checks of a ready broker only when asked', async () => {
    const server = await start({}, [{ name: 'serving', isOk: true, detail: 'yes' }])
    expect((await ask(server, '/readyz')).text).toBe('ready\n')
    expect((await ask(server, '/readyz?verbose')).text).toBe('[+] serving: yes\nready\n')
    expect(JSON.parse((await ask(server, '/readyz', { headers: { accept: 'application/json' } })).text)).toEqual({
      ready: true,
      checks: [{ name: 'serving', isOk: true, detail: 'yes' }],
    })
  })

  it('shows settings, topics and partitions as JSON', async () => {
    const server = await start()
    const json = async (path: string): Promise<unknown> => JSON.parse((await ask(server, path)).text)
    expect(await json('/api/v1/config')).toEqual({
      settings: [{ name: 'redis', value: '***', isDefault: false, about: 'URL of the Redis.' }],
    })
    expect(await json('/api/v1/topics')).toMatchObject({
      topics: [{ topic: 'orders', partitions: 1, replicationFactor: 1, offsets: 10, bytes: 640, offline: 0 }],
    })
    expect(await json('/api/v1/topics/orders')).toMatchObject({ topic: 'orders', config: [{ name: 'durability' }] })
    expect(await json('/api/v1/partitions')).toMatchObject({
      partitions: [{ topic: 'orders', partition: 0, leader: 1, highWatermark: 12, state: 'online' }],
    })
    expect(await json('/api/v1/cluster')).toMatchObject({ cluster: 'test', controllerId: 1 })
  })

  it('says 404 and the code for a topic that is not there', async () => {
    const answer = await ask(await start(), '/api/v1/topics/%2e%2e%2fetc')
    expect(answer.status).toBe(404)
    expect(JSON.parse(answer.text)).toEqual({ error: 'no such topic', code: 'UNKNOWN_TOPIC_OR_PARTITION' })
  })

  it('points to the front page from where there is nothing, and lists everything there', async () => {
    const server = await start()
    expect(await ask(server, '/nowhere')).toMatchObject({ status: 404 })
    const { text, headers } = await ask(server, '/')
    for (const path of ['/metrics', '/livez', '/readyz', '/api/v1/topics']) expect(text).toContain(path)
    expect(headers['content-security-policy']).toContain("default-src 'none'")
  })

  it('says 503 and why while the broker cannot answer yet', async () => {
    const starting = new TidemarkError('LEADER_NOT_AVAILABLE', 'the broker is starting')
    const answer = await ask(await start({ describeTopics: () => Promise.reject(starting) }), '/api/v1/topics')
    expect(answer.status).toBe(503)
    expect(JSON.parse(answer.text)).toEqual({ error: 'the broker is starting', code: 'LEADER_NOT_AVAILABLE' })
  })

  it('keeps to itself why it failed', async () => {
    const server = await start({ scrape: () => Promise.reject(new TidemarkError('DISK_FAILED', 'secret path')) })
    const answer = await ask(server, '/metrics')
    expect(answer.status).toBe(500)
    expect(answer.text).not.toContain('secret')
  })
})

describe('the admin port refuses', () => {
  it.each([
    'evil.example',
    'evil.example:9644',
    '127.0.0.1.evil.example',
    'localhost.evil.example:80',
    '10.0.0.1',
    ':80',
  ])('a request for the host %j, which a browser may have been led here by', async (host) => {
    expect(await ask(await start(), '/metrics', { headers: { host } })).toMatchObject({ status: 403 })
  })

  it.each(['localhost', 'LOCALHOST:9644', '127.0.0.1:1', '127.8.9.1', '[::1]:9644'])('but not for %j', async (host) => {
    expect(await ask(await start(), '/metrics', { headers: { host } })).toMatchObject({ status: 200 })
  })

  it.each(['POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH'])('%s, since it only shows', async (method) => {
    const answer = await ask(await start(), '/metrics', { method })
    expect(answer).toMatchObject({ status: 405 })
    expect(answer.headers['allow']).toBe('GET, HEAD')
  })

  it('a body, without reading it', async () => {
    const answer = await ask(await start(), '/metrics', { headers: { 'content-length': '1000000000' } }).catch(
      () => undefined,
    )
    expect(answer).toMatchObject({ status: 413, headers: { connection: 'close' } })
  })

  it('headers without end', async () => {
    const server = await start()
    const socket = connect(server.port, server.host)
    socket.on('error', () => undefined)
    socket.write(`GET / HTTP/1.1\r\nHost: localhost\r\nX: ${'x'.repeat(64 * 1024)}`)
    const [chunk] = (await once(socket, 'data')) as [Buffer]
    expect(chunk.toString()).toContain('400')
    socket.destroy()
  })

  it('an address that is taken, and says what to do', async () => {
    const taken = await start()
    const sources: AdminSources = {
      readiness: () => [],
      scrape: () => Promise.reject(new Error('not asked')),
      config: () => [],
      describeTopics: () => Promise.resolve({ topics: [] }),
      clusterInfo: () => Promise.reject(new Error('not asked')),
    }
    const options = { host: taken.host, port: taken.port, sources, logger: silentLogger }
    await expect(startAdminServer(options)).rejects.toMatchObject({
      code: 'ADDRESS_IN_USE',
      message: `http 127.0.0.1:${taken.port} is taken; choose another with --http HOST:PORT`,
    })
  })
})

describe('a stopped admin port', () => {
  it('has cut off those who hold a connection and say nothing', async () => {
    const server = await start()
    const socket = connect(server.port, server.host)
    await once(socket, 'connect')
    const closed = once(socket, 'close')
    await Promise.all([server.stop(), server.stop()])
    await closed
    await expect(ask(server, '/livez')).rejects.toMatchObject({ code: 'ECONNREFUSED' })
  })
})
