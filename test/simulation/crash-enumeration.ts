// Ends a broker's life before every single operation of its disk, in every way that the disk knows, starts it again from
// what is left, and asks the oracle. Owns which states are looked at; everything follows from the seed.

import type { LogDirectory } from '../../broker/storage/log-directory.ts'
import type { Random } from '../../shared/random.ts'
import { seededRandom } from '../../shared/random.ts'
import type { LeaderEpoch, TimestampMs } from '../../shared/ids.ts'
import { encodeBatch } from '../../shared/record-batch/encode.ts'
import type { CrashOracle, Ending } from './crash-oracle.ts'
import { readRecords } from './crash-oracle.ts'
import { CrashWorkload, DATA_DIRECTORY, openDirectory } from './crash-workload.ts'
import type { CrashChoice, SimOperation } from './sim-disk.ts'
import { SimDisk } from './sim-disk.ts'
import { SimTime } from './sim-time.ts'

export interface EnumerationOptions {
  readonly seed: number
  readonly steps: number
  /** Random survivals looked at before each operation. */
  readonly randomChoices: number
  /** Of the operations, the share before which the life is ended; all unless given, and all of a compaction. */
  readonly share?: number
  /** Stop after so many states. */
  readonly statesMax?: number
  /** Whether some of the partitions are assigned to other brokers. */
  readonly assigns?: boolean
  /** Whether most of the topics are compacted. */
  readonly compacts?: boolean
}

export interface EnumerationResult {
  readonly states: number
  /** How many of them lay in a step of each kind. */
  readonly statesByStep: ReadonlyMap<string, number>
  /** What was found wrong, with how to find it again; looking ends at the first. */
  readonly failure: string | undefined
}

/** The broker's life, halted before one operation. */
interface Moment {
  readonly disk: SimDisk
  readonly oracle: CrashOracle
  readonly operation: SimOperation
}

/** One way in which it may have gone on. */
interface CrashState {
  readonly name: string
  readonly ending: Ending
  readonly disk: SimDisk
}

export async function enumerateCrashes(options: EnumerationOptions): Promise<EnumerationResult> {
  const time = new SimTime()
  const random = seededRandom(options.seed ^ 0x5bd1e995)
  let moments: Moment[] = []
  let step = 'start'
  let kind = 'start'
  const parts: { workload?: CrashWorkload } = {}
  const disk = new SimDisk({
    clock: time,
    onOperation(operation, now) {
      if (operation.kind === 'read' || operation.kind === 'open' || parts.workload === undefined) return
      const isInCompaction = parts.workload.current === 'compact'
      if (!isInCompaction && random.fraction() >= (options.share ?? 1)) return
      moments.push({ disk: now.fork(), oracle: parts.workload.oracle.snapshot(), operation })
    },
  })
  const workload = new CrashWorkload(disk, time, options.seed, options)
  parts.workload = workload
  let states = 0
  const statesByStep = new Map<string, number>()
  for (let number = 0; number <= options.steps; number++) {
    if (number === 0) await workload.start()
    else kind = await workload.step()
    step = number === 0 ? 'the first start' : `step ${number}, ${kind}`
    for (const moment of moments) {
      for (const state of statesOf(moment, options.randomChoices, random)) {
        if (states >= (options.statesMax ?? Infinity)) return { states, statesByStep, failure: undefined }
        states++
        statesByStep.set(kind, (statesByStep.get(kind) ?? 0) + 1)
        const faults = await checkState(state, moment.oracle, { ...options, number: states })
        if (faults.length > 0) {
          const { index, kind: operation, path } = moment.operation
          const when = `during ${step}, before operation ${index}, ${operation} ${path}`
          const where = `seed ${options.seed}, state ${states} (${state.name}, ${when})`
          return { states, statesByStep, failure: `${where}:\n  ${faults.join('\n  ')}` }
        }
      }
    }
    moments = []
  }
  return { states, statesByStep, failure: undefined }
}

function* statesOf(moment: Moment, randomChoices: number, random: Random): IterableIterator<CrashState> {
  const { disk, operation } = moment
  yield { name: 'kill', ending: 'kill', disk: disk.kill() }
  const { content } = operation
  if (content !== undefined && content.length > 0) {
    for (const bytes of new Set([1, random.integer(content.length), content.length - 1])) {
      const cut = disk.kill()
      const file = cut.open(operation.path, 'read-write')
      file.append([content.subarray(0, bytes)])
      file.close()
      yield { name: `kill with ${bytes} of ${content.length} bytes written`, ending: 'kill', disk: cut }
    }
  }
  const effects = disk.unsyncedEffects
  const crash = (name: string, choice: CrashChoice): CrashState => ({
    name,
    ending: 'power loss',
    disk: disk.crash(choice),
  })
  yield crash('nothing unsynced survives', { kind: 'none' })
  if (effects === 0) return
  yield crash('all survives', { kind: 'all' })
  yield crash('only names survive', { kind: 'names', sizes: false })
  yield crash('names and sizes survive', { kind: 'names', sizes: true })
  yield crash('only data survives', { kind: 'data' })
  const step = Math.max(1, Math.ceil(effects / 8))
  for (let count = random.integer(step); count < effects; count += step) {
    const bytes = random.integer(400)
    yield crash(`${count} effects and ${bytes} bytes survive`, { kind: 'prefix', effects: count, bytes })
  }
  for (let number = 0; number < randomChoices; number++) {
    const seed = random.integer(0x7fff_ffff)
    yield crash(`survival ${seed}`, { kind: 'random', random: seededRandom(seed) })
  }
}

/** Appends and syncs after the recovery, and has the power fail again: what the recovery took away must not come back. */
async function liveOn(directory: LogDirectory, disk: SimDisk, random: Random): Promise<string[]> {
  const owed = new Map<string, string>()
  for (const log of directory.logs()) {
    const records = [{ key: Buffer.from('key 0'), value: Buffer.from('after the crash'), timestamp: 0 }]
    const result = log.append(encodeBatch(records, {}), 0 as LeaderEpoch, 0 as TimestampMs)
    if (result.kind !== 'appended' || log.write() !== undefined) return [`${log.directory} takes no append`]
    await log.sync()
    owed.set(log.directory, JSON.stringify(await readRecords(log)))
  }
  const again = await openDirectory(disk.crash({ kind: 'random', random }), new SimTime(), 1)
  const faults: string[] = []
  for (const log of again.logs()) {
    const found = JSON.stringify(await readRecords(log))
    if (found !== owed.get(log.directory)) {
      faults.push(`${log.directory} after the next power loss: ${found}, not ${owed.get(log.directory)}`)
    }
    owed.delete(log.directory)
  }
  for (const missing of owed.keys()) faults.push(`${missing} is gone after the next power loss`)
  return faults
}

/** What a crash has left can be compacted like everything else, and nothing that is owed goes by it. */
async function compactAfter(directory: LogDirectory, oracle: CrashOracle, ending: Ending): Promise<string[]> {
  await directory.flush()
  await directory.cleaner.compactNow({ isForced: true })
  const { faults, found } = await oracle.check(directory, ending)
  for (const { message } of directory.cleaner.troubles) faults.push(message)
  return faults.length === 0 ? [] : [...faults, `found after another compaction: ${found}`]
}

async function checkState(
  state: CrashState,
  oracle: CrashOracle,
  { number, seed, compacts }: { readonly number: number; readonly seed: number; readonly compacts?: boolean },
): Promise<string[]> {
  const time = new SimTime()
  let directory: LogDirectory | undefined
  try {
    directory = await openDirectory(state.disk, time, seed)
    const first = await oracle.check(directory, state.ending)
    if (first.faults.length > 0) return [...first.faults, `found: ${first.found}`]
    if (state.disk.stat(`${DATA_DIRECTORY}/lost+found`) !== undefined) return ['something is in lost+found']
    // What the first recovery has found and settled, a second one finds again, whatever ends the first.
    const left =
      state.ending === 'kill' ? state.disk.kill() : state.disk.crash({ kind: number % 2 === 0 ? 'none' : 'all' })
    directory = await openDirectory(left, time, seed)
    // With 'none' it appends what it takes for owed, which is not what is to be compacted.
    const second = await oracle.check(directory, compacts === true ? state.ending : 'none')
    if (second.found !== first.found) return [`found: ${first.found}`, `found at the second start: ${second.found}`]
    if (compacts === true && number % 3 === 0) {
      const faults = await compactAfter(directory, oracle, state.ending)
      if (faults.length > 0) return faults
    }
    return number % 5 === 0 ? await liveOn(directory, left, seededRandom(number)) : []
  } catch (error) {
    return [`start failed: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`]
  }
}
