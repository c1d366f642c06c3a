// `tidemark mirror`: topics of one cluster copied to another, and told what came of it. What is copied and how is mirror/.

import type { Address } from '../../client/transport.ts'
import type { MirrorReport, PartitionReport, TopicReport, Verification } from '../mirror/mirror-options.ts'
import type { CommandContext } from './command.ts'
import { systemEnvironment } from '../../client/environment.ts'
import { systemClock } from '../../shared/time.ts'
import { mirror } from '../mirror/mirror.ts'
import { UsageError } from './command.ts'
import { printValue } from './output.ts'
import { type Progress, startProgress } from './progress.ts'

const VERIFICATIONS: Readonly<Record<string, Verification>> = { all: 'all', new: 'new', none: 'none' }
const DEFAULT_PORT = 9092
/** Where no terminal shows a bar, a line is written every so often. */
const LINE_MS = 10_000

export async function mirrorTopics(context: CommandContext): Promise<number> {
  const { arguments: args, output, signal, note } = context
  const format = args.isOn('json') ? 'json' : args.required('format')
  const isDryRun = args.isOn('dry-run')
  const shown = new ShownProgress(context)
  try {
    const options = {
      from: addresses(args.text('from'), '--from'),
      to: addresses(args.text('to'), '--to'),
      topics: args.list('topics').flatMap((list) => list.split(',').filter((name) => name !== '')),
      copiesGroups: args.isOn('groups'),
      verification: VERIFICATIONS[args.required('verify')] ?? 'all',
      isDryRun,
      parallel: args.number('parallel'),
      bytesPerSecond: args.integer('rate'),
      replicationFactor: args.integer('replication'),
      requestTimeoutMs: args.number('timeout'),
      patienceMs: args.number('patience'),
      signal,
    }
    const report = await mirror(systemEnvironment, options, {
      note: (line) => shown.note(line),
      progress: (what, done, total) => shown.update(what, done, total),
    })
    shown.stop()
    await print(context, report, format)
    if (!isDryRun) note(verdict(report))
    return report.isComplete ? 0 : 1
  } catch (error) {
    if (signal.aborted) note('interrupted: the same call goes on where this one ended')
    throw error
  } finally {
    shown.stop()
    await output.flush()
  }
}

async function print({ output, note }: CommandContext, report: MirrorReport, format: string): Promise<void> {
  if (format !== 'table') return await printValue(output, report, format)
  if (report.topics.length === 0) return note('there are no topics to copy')
  await printValue(output, report.topics.map(topicRow), format)
  if (report.groups.length === 0) return
  await output.line('')
  const groups = report.groups.map(({ group, committed, ahead, refusal }) => {
    return { group, committed, ahead, outcome: refusal ?? (committed > 0 ? 'committed' : 'nothing to do') }
  })
  await printValue(output, groups, format)
}

function topicRow({ topic, outcome, partitions }: TopicReport) {
  const isPlanned = outcome.startsWith('would')
  const left = sum(partitions, ({ source, target }) => {
    return Math.max(0, source.endOffset - Math.max(source.logStartOffset, target.endOffset))
  })
  const kinds = new Set(partitions.map(({ offsets }) => offsets).filter((kind) => kind !== 'unknown'))
  const offsets = kinds.size === 0 ? undefined : kinds.has('moved') ? 'moved' : 'equal'
  if (isPlanned) return { topic, partitions: partitions.length, offsetsToCopy: left, outcome }
  return {
    topic,
    partitions: partitions.length,
    copied: sum(partitions, ({ records }) => records),
    source: known(partitions, ({ source }) => source.records),
    target: known(partitions, ({ target }) => target.records),
    offsets,
    outcome,
  }
}

function verdict({ topics, groups, isComplete }: MirrorReport): string {
  const partitions = topics.flatMap((topic) => topic.partitions)
  const copied = sum(partitions, ({ records }) => records)
  const aborted = sum(partitions, ({ abortedRecords }) => abortedRecords)
  const skipped = sum(partitions, ({ skippedOffsets }) => skippedOffsets)
  const moved = partitions.filter(({ offsets }) => offsets === 'moved').length
  return [
    `${copied} records copied in ${partitions.length} partitions`,
    ...(groups.length > 0 ? [`${groups.length} groups`] : []),
    ...(aborted > 0 ? [`${aborted} records of transactions that were given up left out`] : []),
    ...(skipped > 0 ? [`${skipped} offsets were dropped by the source before they could be read`] : []),
    ...(moved > 0 ? [`in ${moved} partitions records have other offsets than at the source`] : []),
    isComplete ? 'complete' : 'NOT COMPLETE',
  ].join('; ')
}

function sum(partitions: readonly PartitionReport[], of: (partition: PartitionReport) => number): number {
  return partitions.reduce((total, partition) => total + of(partition), 0)
}

/** Undefined where nothing was counted. */
function known(
  partitions: readonly PartitionReport[],
  of: (partition: PartitionReport) => number | undefined,
): number | undefined {
  return partitions.some((one) => of(one) !== undefined) ? sum(partitions, (one) => of(one) ?? 0) : undefined
}

/** @throws UsageError */
function addresses(list: string | undefined, flag: string): readonly Address[] {
  if (list === undefined) throw new UsageError(`mirror: say where with ${flag} HOST:PORT`)
  return list.split(',').map((text) => {
    const match = /^\[?([^\]\s/]+?)\]?(?::(\d{1,5}))?$/.exec(text.trim())
    const port = Number(match?.[2] ?? DEFAULT_PORT)
    if (match?.[1] === undefined || port < 1 || port > 65_535) {
      throw new UsageError(`${flag} must be HOST:PORT of one broker or more, with commas, not '${text}'`)
    }
    return { host: match[1], port }
  })
}

/** A bar on a terminal, a line now and then elsewhere. */
class ShownProgress {
  readonly #context: CommandContext
  #what = ''
  #bar: Progress | undefined
  #isStarting = false
  #lineAt = 0

  constructor(context: CommandContext) {
    this.#context = context
  }

  note(line: string): void {
    this.#context.note(line)
  }

  update(what: string, done: number, total: number): void {
    if (what !== this.#what) {
      this.stop()
      this.#what = what
      this.#lineAt = systemClock.monotonic() + LINE_MS
    }
    this.#bar?.update(done)
    if (process.stderr.isTTY) return this.#startBar(what, total)
    if (systemClock.monotonic() < this.#lineAt) return
    this.#lineAt = systemClock.monotonic() + LINE_MS
    this.#context.note(`${what}: ${Math.floor((100 * done) / Math.max(1, total))} % of ${total} offsets`)
  }

  stop(): void {
    this.#bar?.stop()
    this.#bar = undefined
    this.#what = ''
  }

  #startBar(what: string, total: number): void {
    if (this.#bar !== undefined || this.#isStarting) return
    this.#isStarting = true
    startProgress(this.#context, what, total).then(
      (bar) => {
        this.#isStarting = false
        if (this.#what === what) this.#bar = bar
        else bar.stop()
      },
      // Work goes on without a bar.
      () => undefined,
    )
  }
}
