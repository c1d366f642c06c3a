// `tidemark doctor`: what a broker needs on this machine, looked at one by one. Changes nothing but a file that it makes
// in the data directory and removes again, to see whether it may.

import type { CommandContext } from './command.ts'
import { accessSync, constants, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { availableParallelism, totalmem } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { DiskError } from '../storage/disk.ts'
import { NodeDisk } from '../storage/node-disk.ts'
import { systemTransport } from '../../client/transport.ts'
import { parseAddress } from '../config.ts'
import { printValue } from './output.ts'

interface Finding {
  readonly check: string
  readonly verdict: 'ok' | 'warning' | 'bad'
  readonly detail: string
}

const NATIVE_PACKAGES = [
  ['@node-rs/crc32', 'checksums are computed in JavaScript, several times slower'],
  ['lz4-napi', 'lz4 is done in JavaScript, slower'],
  ['snappy', 'snappy is done in JavaScript, slower'],
] as const
const FREE_SPACE_WANTED_BYTES = 1024 ** 3
const DESCRIPTORS_WANTED = 4_096

export async function doctor(context: CommandContext): Promise<number> {
  const { arguments: args, output } = context
  const findings = [
    checkNode(),
    ...checkPackages(),
    checkDescriptors(),
    checkMemory(),
    ...checkDataDirectory(args.required('data-dir')),
    await checkPort('listen', args.required('listen')),
    ...(args.text('http') === 'off' ? [] : [await checkPort('http', args.required('http'))]),
  ]
  await printValue(output, findings, args.required('format'))
  return findings.some(({ verdict }) => verdict === 'bad') ? 1 : 0
}

function checkNode(): Finding {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  const isSupported = major > 20 || (major === 20 && minor >= 19)
  const detail = `${process.version} on ${process.platform} ${process.arch}, ${availableParallelism()} CPUs`
  return {
    check: 'node',
    verdict: isSupported ? 'ok' : 'bad',
    detail: isSupported ? detail : `${detail}; 20.19 or newer is needed`,
  }
}

function checkPackages(): readonly Finding[] {
  const require = createRequire(import.meta.url)
  return NATIVE_PACKAGES.map(([name, otherwise]) => {
    try {
      require(name)
      return { check: name, verdict: 'ok', detail: 'loads' }
    } catch (error) {
      const why = error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error)
      return { check: name, verdict: 'warning', detail: `does not load, so ${otherwise} (${why})` }
    }
  })
}

function checkDescriptors(): Finding {
  const check = 'open files'
  if (!existsSync('/proc/self/limits')) return { check, verdict: 'ok', detail: 'limit cannot be told here' }
  const limit = /^Max open files\s+(\S+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1] ?? 'unknown'
  const isEnough = limit === 'unlimited' || Number(limit) >= DESCRIPTORS_WANTED
  if (isEnough) return { check, verdict: 'ok', detail: `limit ${limit}` }
  return {
    check,
    verdict: 'warning',
    detail: `limit ${limit}; at least ${DESCRIPTORS_WANTED} are wanted: raise it with ulimit -n`,
  }
}

function checkMemory(): Finding {
  return { check: 'memory', verdict: 'ok', detail: `${gibibytes(totalmem())} in this machine` }
}

function checkDataDirectory(path: string): readonly Finding[] {
  const check = 'data directory'
  if (path === 'memory') return [{ check, verdict: 'warning', detail: 'in memory: nothing survives the process' }]
  const full = resolve(path)
  const existing = nearestExisting(full)
  try {
    accessSync(existing, constants.R_OK | constants.W_OK | constants.X_OK)
    rmSync(mkdtempSync(join(existing, '.tidemark-doctor-')), { recursive: true })
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : String(error)
    return [{ check, verdict: 'bad', detail: `${existing} cannot be written to (${code})` }]
  }
  const made = existing === full ? full : `${full} is not there yet; it will be made`
  return [{ check, verdict: 'ok', detail: made }, checkSpace(existing)]
}

function checkSpace(path: string): Finding {
  const check = 'disk space'
  try {
    const { freeBytes, totalBytes } = new NodeDisk().space(path)
    const detail = `${gibibytes(freeBytes)} of ${gibibytes(totalBytes)} free`
    return { check, verdict: freeBytes < FREE_SPACE_WANTED_BYTES ? 'warning' : 'ok', detail }
  } catch (error) {
    if (!(error instanceof DiskError)) throw error
    return { check, verdict: 'warning', detail: `cannot be told (${error.code})` }
  }
}

/** Whoever answers may be the broker itself, so an answer is a warning only. */
function checkPort(check: string, text: string): Promise<Finding> {
  const { host, port } = parseAddress(text, check)
  return new Promise((resolveFinding) => {
    const wire = systemTransport.open(
      { host: host === '0.0.0.0' ? '127.0.0.1' : host, port },
      {
        onConnect() {
          const detail = `something listens at ${host}:${port}: a running broker, or a program that is in its way`
          resolveFinding({ check, verdict: 'warning', detail })
          wire.destroy()
        },
        onData: () => undefined,
        onDrain: () => undefined,
        onClose(cause) {
          const code = cause !== undefined && 'code' in cause ? String(cause.code) : 'closed'
          const isFree = code === 'ECONNREFUSED'
          const detail = isFree ? `${host}:${port} is free` : `${host}:${port} cannot be reached (${code})`
          resolveFinding({ check, verdict: isFree ? 'ok' : 'warning', detail })
        },
      },
    )
  })
}

function nearestExisting(path: string): string {
  return existsSync(path) || path === dirname(path) ? path : nearestExisting(dirname(path))
}

function gibibytes(bytes: number): string {
  return `${(bytes / 1024 ** 3).toFixed(1)} GiB`
}
