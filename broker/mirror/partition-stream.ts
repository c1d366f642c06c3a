// The data of one partition from an offset to an end, in fetches of bounded size, the next one under way while the last is
// worked on. Owns the position; knows nothing of what is done with the data.
//
// Invariant: what is given out rises, begins at or below the position only where a batch holds it, and ends below the end.

import type { KafkaCluster, PartitionName } from './kafka-cluster.ts'
import { TidemarkError } from '../../shared/errors.ts'
import { fetch } from '../protocols/kafka/01-fetch.ts'
import { NO_UUID } from '../protocols/kafka/primitives.ts'
import { type DataBatch, dataBatches } from './data-batches.ts'
import { checkCode } from './kafka-cluster.ts'
import { offsetAt } from './partition-offsets.ts'

export interface StreamOptions {
  readonly from: number
  /** Exclusive. */
  readonly end: number
  readonly bytesMax?: number
}

export interface StreamPart {
  readonly batches: readonly DataBatch[]
  /** Where the stream goes on. */
  readonly nextOffset: number
  readonly abortedRecords: number
}

const BYTES_MAX = 2 * 1024 * 1024
const WAIT_MS = 200
/** The last version in which topics have names. */
const VERSION_MAX = 12
const READ_COMMITTED = 1
/** A log may end in offsets that compaction has emptied: nothing comes, however often one asks. */
const EMPTY_MAX = 2

export class PartitionStream {
  readonly #cluster: KafkaCluster
  readonly #name: PartitionName
  readonly #end: number
  readonly #bytesMax: number
  #position: number
  #next: Promise<StreamPart> | undefined
  /** Records that were gone before they could be read. */
  skippedOffsets = 0

  constructor(cluster: KafkaCluster, name: PartitionName, options: StreamOptions) {
    this.#cluster = cluster
    this.#name = name
    this.#position = options.from
    this.#end = options.end
    this.#bytesMax = options.bytesMax ?? BYTES_MAX
  }

  /** Undefined behind the end. @throws TidemarkError */
  async next(): Promise<StreamPart | undefined> {
    if (this.#position >= this.#end) return undefined
    const part = await (this.#next ?? this.#read(this.#position))
    this.#next = undefined
    this.#position = part.nextOffset
    if (this.#position < this.#end) {
      this.#next = this.#read(this.#position)
      // Who stops half way asks no more; what then fails is nobody's.
      this.#next.catch(() => undefined)
    }
    return part
  }

  async #read(from: number): Promise<StreamPart> {
    const { topic, partition } = this.#name
    const what = `${topic}-${partition} from offset ${from} on`
    let position = from
    for (let empty = 0; ; empty += 1) {
      try {
        const part = await this.#cluster.persist(what, () => this.#fetch(position, what))
        const batches = part.batches.filter(({ baseOffset }) => baseOffset < this.#end)
        if (part.nextOffset > position) return { ...part, batches }
        if (empty >= EMPTY_MAX) return { ...part, batches: [], nextOffset: this.#end }
      } catch (error) {
        if (!(error instanceof TidemarkError) || error.code !== 'OFFSET_OUT_OF_RANGE') throw error
        const first = await offsetAt(this.#cluster, this.#name, 'earliest')
        if (first <= position) throw error
        this.skippedOffsets += Math.min(first, this.#end) - position
        if (first >= this.#end) return { batches: [], nextOffset: this.#end, abortedRecords: 0 }
        position = first
      }
    }
  }

  async #fetch(fetchOffset: number, what: string): Promise<StreamPart> {
    const { topic, partition } = this.#name
    const part = {
      partition,
      fetchOffset,
      lastFetchedEpoch: -1,
      partitionMaxBytes: this.#bytesMax,
      replicaDirectoryId: NO_UUID,
    }
    const question = {
      replicaState: {},
      maxWaitMs: WAIT_MS,
      minBytes: 1,
      maxBytes: this.#bytesMax,
      isolationLevel: READ_COMMITTED,
      topics: [{ topic, topicId: NO_UUID, partitions: [part] }],
      forgottenTopicsData: [],
    }
    const answer = await this.#cluster.askOnce(this.#name, fetch, question, VERSION_MAX)
    checkCode(answer.errorCode, what)
    const found = answer.responses[0]?.partitions[0]
    if (found === undefined) return { batches: [], nextOffset: fetchOffset, abortedRecords: 0 }
    checkCode(found.errorCode, what)
    return dataBatches(found.records ?? new Uint8Array(0), fetchOffset, found.abortedTransactions)
  }
}
