import { Redis } from 'ioredis'
import { expect, it } from 'vitest'
import { describeWithRedis, startRedis } from '../setup/redis.ts'

describeWithRedis('a private redis-server', () => {
  it('answers a client and forgets everything when it is started again', async () => {
    await using first = await startRedis()
    const client = new Redis(first.url)
    expect(await client.ping()).toBe('PONG')
    expect(await client.set('tide', 'high')).toBe('OK')
    expect(await client.get('tide')).toBe('high')
    await client.quit()
    await first.stop()

    await using second = await startRedis({ port: first.port })
    const later = new Redis(second.url)
    expect(await later.get('tide')).toBeNull()
    await later.quit()
  })

  it('is gone, by its process id, once stop has resolved', async () => {
    await using server = await startRedis()
    expect(isAlive(server.pid)).toBe(true)
    await server.stop()
    await server.stop()
    expect(isAlive(server.pid)).toBe(false)
  })

  it('says what was wrong when it cannot start', async () => {
    await using server = await startRedis()
    await expect(startRedis({ port: server.port })).rejects.toThrow(/Address already in use/)
  })
})

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}
