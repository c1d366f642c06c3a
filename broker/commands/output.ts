// What commands print. Data goes to the output stream, through writes that are waited for, so that a slow reader slows
// the command and not its memory; a reader that has gone ends it quietly.

import { write } from 'node:fs'
import { systemTimers } from '../../shared/time.ts'
import { printable } from './printable.ts'

/** Whoever read our output has closed it, as `head` does. Exit code 0: it has what it wanted. */
export class OutputClosed extends Error {
  override readonly name = 'OutputClosed'
}

type Row = Readonly<Record<string, unknown>>

const STANDARD_OUTPUT = 1
const GATHER_BYTES = 64 * 1024
const RETRY_MS = 5

export class StandardOutput {
  #gathered: Uint8Array[] = []
  #gatheredBytes = 0

  /** Writes now what was gathered, and the text. */
  async line(text: string): Promise<void> {
    this.#gather(Buffer.from(`${text}\n`))
    await this.flush()
  }

  /** Gathers bytes, which must not change until the next flush; true when it is time for one. */
  gather(bytes: Uint8Array): boolean {
    this.#gather(bytes)
    return this.#gatheredBytes >= GATHER_BYTES
  }

  /** @throws OutputClosed */
  async flush(): Promise<void> {
    if (this.#gatheredBytes === 0) return
    const bytes = Buffer.concat(this.#gathered, this.#gatheredBytes)
    this.#gathered = []
    this.#gatheredBytes = 0
    let written = 0
    while (written < bytes.length) written += await writeSome(bytes.subarray(written))
  }

  #gather(bytes: Uint8Array): void {
    this.#gathered.push(bytes)
    this.#gatheredBytes += bytes.length
  }
}

/** Resolves with the number of bytes that were taken, which may be none while a pipe is full. */
function writeSome(bytes: Uint8Array): Promise<number> {
  return new Promise((resolve, reject) => {
    write(STANDARD_OUTPUT, bytes, (error, written) => {
      if (error === null) resolve(written)
      else if (error.code === 'EPIPE') reject(new OutputClosed('the reader of the output has gone', { cause: error }))
      else if (error.code === 'EAGAIN') systemTimers.after(RETRY_MS, () => resolve(0))
      else reject(error)
    })
  })
}

/** One value, in the form that was asked for. Rows become a table, one object a table of names and values. */
export async function printValue(output: StandardOutput, value: object, format: string): Promise<void> {
  if (format === 'json') return await output.line(JSON.stringify(value, undefined, 2))
  if (format === 'yaml') {
    const { stringify } = await import('yaml')
    return await output.line(stringify(value).trimEnd())
  }
  const rows = Array.isArray(value) ? (value as Row[]) : undefined
  const table = rows === undefined ? Object.entries(value).map(([name, one]) => [name, cell(one)]) : undefined
  await output.line(table === undefined ? await tableOf(rows ?? []) : await alignedColumns(table))
}

/** Columns are the keys of the first row. */
async function tableOf(rows: readonly Row[]): Promise<string> {
  const names = Object.keys(rows[0] ?? {})
  const head = names.map((name) => name.replace(/([a-z])([A-Z])/g, '$1-$2').toUpperCase())
  return await alignedColumns([head, ...rows.map((row) => names.map((name) => cell(row[name])))])
}

const NO_BORDERS = {
  top: '',
  'top-mid': '',
  'top-left': '',
  'top-right': '',
  bottom: '',
  'bottom-mid': '',
  'bottom-left': '',
  'bottom-right': '',
  left: '',
  'left-mid': '',
  mid: '',
  'mid-mid': '',
  right: '',
  'right-mid': '',
  middle: '  ',
}

async function alignedColumns(lines: readonly (readonly string[])[]): Promise<string> {
  const { default: Table } = await import('cli-table3')
  const table = new Table({ chars: NO_BORDERS, style: { 'padding-left': 0, 'padding-right': 0, head: [], border: [] } })
  table.push(...lines.map((line) => [...line]))
  return table
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n')
}

function cell(value: unknown): string {
  if (value === undefined || value === null) return '-'
  if (Array.isArray(value)) return value.length === 0 ? '-' : value.map(cell).join(',')
  if (typeof value === 'object') {
    return Object.entries(value)
      .map(([name, one]) => `${name}=${cell(one)}`)
      .join(' ')
  }
  return typeof value === 'string' ? printable(value) : JSON.stringify(value)
}
