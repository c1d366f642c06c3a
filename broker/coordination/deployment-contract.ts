// What a Redis must be so that brokers may agree by it, and what it had better be. Owns the rules and their words; pure.
// No fault of Redis can lose a record, so a setting that only makes Redis forget is a warning. One that makes it forget
// all the time, or take no writes at all, is a refusal.

export interface RedisFacts {
  /** The sections of INFO: server, replication, persistence, memory. */
  readonly info: string
  /** Settings as CONFIG GET gives them; undefined for one that this user may not see. */
  readonly settings: Readonly<Record<ContractSetting, string | undefined>>
}

export type ContractSetting = (typeof CONTRACT_SETTINGS)[number]

export interface Finding {
  readonly severity: 'refused' | 'warning'
  /** What is so, what comes of it, and what to do. */
  readonly message: string
}

export const CONTRACT_SETTINGS = [
  'appendonly',
  'appendfsync',
  'maxmemory',
  'maxmemory-policy',
  'min-replicas-to-write',
] as const

const VERSION_MIN = [6, 2] as const

export function checkContract({ info, settings }: RedisFacts): readonly Finding[] {
  const fields = infoFields(info)
  const findings: Finding[] = []
  const refuse = (message: string): unknown => findings.push({ severity: 'refused', message })
  const warn = (message: string): unknown => findings.push({ severity: 'warning', message })

  const version = fields.get('redis_version') ?? ''
  const [major = 0, minor = 0] = version.split('.').map(Number)
  if (major < VERSION_MIN[0] || (major === VERSION_MIN[0] && minor < VERSION_MIN[1])) {
    refuse(`its version is ${version || 'unknown'}; use Redis ${VERSION_MIN.join('.')} or newer`)
  }
  if (fields.get('role') !== 'master') {
    const host = fields.get('master_host')
    const master = host === undefined ? 'its master' : `its master at ${host}:${fields.get('master_port') ?? '?'}`
    refuse(`it is a read-only replica (role ${fields.get('role') ?? 'unknown'}); name ${master}`)
  }

  const policy = settings['maxmemory-policy'] ?? fields.get('maxmemory_policy') ?? ''
  const hasLimit = Number(settings.maxmemory ?? fields.get('maxmemory') ?? '0') > 0
  if (policy !== 'noeviction') {
    const message = `maxmemory-policy is ${policy || 'unknown'}: Redis throws away records of the cluster when its memory is used up; set maxmemory-policy noeviction`
    if (hasLimit) refuse(message)
    else warn(`${message} (there is no maxmemory yet)`)
  }

  const isAppending = fields.get('aof_enabled') === '1' || settings.appendonly === 'yes'
  if (!isAppending) {
    warn(
      'appendonly is no: after a restart of Redis the brokers fill it again from their own disks, and topics cannot be changed until they have; set appendonly yes and appendfsync always',
    )
  } else if (settings.appendfsync === undefined) {
    warn('appendfsync cannot be seen by this user; make sure that it is always')
  } else if (settings.appendfsync !== 'always') {
    warn(
      `appendfsync is ${settings.appendfsync}: a crash may take the last changes from Redis, and the brokers bring them back from their own disks; set appendfsync always, the cluster writes little`,
    )
  }

  const replicas = Number(fields.get('connected_slaves') ?? '0')
  if (replicas > 0 && settings['min-replicas-to-write'] === '0') {
    warn(
      'it has replicas and min-replicas-to-write is 0: a master that is cut off goes on taking changes which a failover throws away; set min-replicas-to-write 1',
    )
  }
  return findings
}

/** Whether what would make Redis larger is refused, by the section memory of INFO; sessions are renewed all the same. */
export function isOutOfMemory(memory: string): boolean {
  const fields = infoFields(memory)
  const max = Number(fields.get('maxmemory') ?? '0')
  return max > 0 && Number(fields.get('used_memory') ?? '0') >= max
}

function infoFields(info: string): ReadonlyMap<string, string> {
  const fields = new Map<string, string>()
  for (const line of info.split(/\r?\n/)) {
    const colon = line.indexOf(':')
    if (colon > 0) fields.set(line.slice(0, colon), line.slice(colon + 1))
  }
  return fields
}
