// startBroker() as people's tests use it: quick, any number side by side, and gone without a trace.

import type { Timer, Timers } from '../../shared/time.ts'
import { existsSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { startBroker } from '../../broker/testing.ts'
import { MemoryDisk } from '../../broker/storage/memory-disk.ts'
import { systemClock, systemTimers } from '../../shared/time.ts'
import { BrokerClient } from '../e2e/broker-client.ts'

/** Handles of files and sockets; the test runner has pipes and timers of its own. */
function handles(): readonly string[] {
  return process
    .getActiveResourcesInfo()
    .filter((name) => /^(TCP|FS|Close)/.test(name))
    .toSorted()
}

/** The system's timers, and how many of them have neither run nor been cancelled. */
class CountedTimers implements Timers {
  readonly pending = new Set<object>()

  after(delayMs: number, callback: () => void, options?: { readonly background?: boolean }): Timer {
    const key = {}
    this.pending.add(key)
    const run = (): void => {
      this.pending.delete(key)
      callback()
    }
    const timer = systemTimers.after(delayMs, run, options)
    return {
      cancel: () => {
        this.pending.delete(key)
        timer.cancel()
      },
    }
  }

  atEndOfTurn(callback: () => void): void {
    systemTimers.atEndOfTurn(callback)
  }
}

describe('startBroker', () => {
  it.each(['memory', undefined])('leaves no handle, timer or file behind: 20 brokers, data-dir %s', async (dataDir) => {
    // The first one loads what stays loaded.
    await (await startBroker({ dataDir })).stop()
    const before = handles()
    const timers = new CountedTimers()
    const start = () => startBroker({ dataDir, environment: { timers } })
    const brokers = await Promise.all(Array.from({ length: 20 }, start))
    expect(timers.pending.size).toBeGreaterThan(0)
    expect(new Set(brokers.map(({ port }) => port)).size).toBe(20)
    await Promise.all(
      brokers.map(async (broker, index) => {
        const client = await BrokerClient.connect(broker.port)
        await client.createTopic('t')
        await client.produce('t', [`record of ${index}`])
        expect(await client.readAll('t')).toEqual([`record of ${index}`])
        client.close()
        await client.raw.closed()
      }),
    )
    await Promise.all(brokers.map((broker) => broker.stop()))
    expect(timers.pending.size).toBe(0)
    expect(handles()).toEqual(before)
    expect(brokers.map((broker) => existsSync(broker.dataDir))).toEqual(brokers.map(() => false))
  })

  it('removes its temporary directory, and keeps one that it was given', async () => {
    const temporary = await startBroker()
    expect(existsSync(temporary.dataDir)).toBe(true)
    await temporary.stop()
    expect(existsSync(temporary.dataDir)).toBe(false)
    const disk = new MemoryDisk(systemClock)
    const own = await startBroker({ dataDir: '/mine', environment: { disk } })
    await own.stop()
    expect(disk.list('/mine')).toContain('identity')
  })

  it('leaves nothing behind when it cannot start', async () => {
    const before = handles()
    await expect(startBroker({ defaultPartitions: 0 })).rejects.toThrow('default-partitions must be an integer from 1')
    await expect(startBroker({ redis: 'localhost' })).rejects.toThrow('redis: it is not an address')
    await using broker = await startBroker({ dataDir: 'memory' })
    const taken = startBroker({ listen: broker.brokers })
    await expect(taken).rejects.toMatchObject({ code: 'ADDRESS_IN_USE' })
    await broker.stop()
    expect(handles()).toEqual(before)
  })

  it('tells clients the name of the machine when it listens on all of its addresses', async () => {
    await using broker = await startBroker({
      dataDir: 'memory',
      listen: '0.0.0.0:0',
      environment: { hostname: 'machine.test' },
    })
    expect(broker.brokers).toBe(`machine.test:${broker.port}`)
  })

  it('keeps its address and its records when it is started again', async () => {
    await using broker = await startBroker({ dataDir: 'memory' })
    const { brokers } = broker
    const client = await BrokerClient.connect(broker.port)
    await client.createTopic('t')
    await client.produce('t', ['a'])
    client.close()
    await broker.restart()
    expect(broker.brokers).toBe(brokers)
    await broker.restart({ crash: true })
    const again = await BrokerClient.connect(broker.port)
    expect(await again.readAll('t')).toEqual(['a'])
    again.close()
  })

  it('serves the admin port only when it is asked to', async () => {
    await using silent = await startBroker({ dataDir: 'memory' })
    expect(silent.broker.http).toBeUndefined()
    await using broker = await startBroker({ dataDir: 'memory', http: '127.0.0.1:0' })
    const { host, port } = broker.broker.http ?? { host: '', port: 0 }
    const response = await fetch(`http://${host}:${port}/readyz?verbose`)
    expect(response.status).toBe(200)
    expect(await response.text()).toContain('[+] serving')
    const client = await BrokerClient.connect(broker.port)
    await client.createTopic('t', { partitions: 2 })
    await client.produce('t', ['a', 'b', 'c'])
    await client.readAll('t', 1)
    client.close()
    const metrics = await (await fetch(`http://${host}:${port}/metrics`)).text()
    expect(metrics).toMatch(/^tidemark_event_loop_utilization_ratio (?:0|1|0\.\d+)$/m)
    expect(metrics.split('\n')).toEqual(
      expect.arrayContaining([
        'tidemark_partitions 2',
        'tidemark_partition_leader 2',
        'tidemark_records_in_total{topic="t"} 3',
        'tidemark_records_out_total{topic="t"} 2',
        'tidemark_log_append_duration_seconds_count 1',
        'kafka_topic_partition_current_offset{topic="t",partition="0"} 3',
      ]),
    )
  })
})
