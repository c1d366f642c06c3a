// The floor: what this machine can do at best in one process of Node. Takes the frames that a broker is sent, looks at
// nothing but their lengths, appends the bytes to a file as they come and answers each with a few bytes; or reads from a
// file and sends. No checksum, no index, no order, no protocol. Run as a child by bench-floor.
//
// Its one command is in the frame's api byte: 2 append, 3 read the next bytes, 100 begin the file anew, 101 append and
// sync from now on, 102 fill the file for reading.

import { closeSync, fsyncSync, ftruncateSync, openSync, readSync, writeSync, writevSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { FrameMeter } from './frame-meter.ts'

const ACK_BYTES = 28
const READ_BYTES_MAX = 2 * 1024 * 1024
const FILL_BYTES = 256 * 1024 * 1024
const APIS = { append: 2, read: 3, anew: 100, sync: 101, fill: 102 } as const

const directory = process.argv[2] ?? '.'
const file = openSync(join(directory, 'floor.log'), 'w+')
const readable = openSync(join(directory, 'floor-read.log'), 'w+')
const freeBuffers: Buffer[] = []
const acks = Buffer.alloc(1_000 * ACK_BYTES)
for (let at = 0; at < acks.length; at += ACK_BYTES) layAck(acks, at)

let isSyncing = false
let readAt = 0

const server = createServer({ noDelay: true }, (socket) => {
  let owed = 0
  const meter = new FrameMeter((frameBytes, header) => {
    const api = header[5]
    if (api === APIS.read) sendRead(socket, header.readUInt32BE(16))
    else owed += 1
    if (api === APIS.anew) isSyncing = false
    if (api === APIS.sync) isSyncing = true
    if (api === APIS.anew) ftruncateSync(file, 0)
    if (api === APIS.fill) fill(frameBytes)
  }, 20)
  socket.on('error', () => undefined)
  socket.on('data', (chunk) => {
    meter.push(chunk)
    if (owed === 0) return
    writevSync(file, [chunk])
    if (isSyncing) fsyncSync(file)
    socket.write(acks.subarray(0, owed * ACK_BYTES))
    owed = 0
  })
})
server.listen(0, '127.0.0.1', () => {
  const address = server.address()
  if (address !== null && typeof address === 'object') console.log(`floor ready port=${address.port}`)
})
process.on('SIGTERM', () => {
  closeSync(file)
  closeSync(readable)
  process.exit(0)
})

function sendRead(socket: Socket, bytes: number): void {
  const buffer = freeBuffers.pop() ?? Buffer.allocUnsafeSlow(READ_BYTES_MAX)
  if (readAt + bytes > FILL_BYTES) readAt = 0
  readSync(readable, buffer, 16, bytes, readAt)
  readAt += bytes
  buffer.writeUInt32BE(12 + bytes, 0)
  buffer[4] = 2
  socket.write(buffer.subarray(0, 16 + bytes), () => freeBuffers.push(buffer))
}

function fill(seed: number): void {
  const block = Buffer.alloc(1024 * 1024, seed & 0xff)
  for (let at = 0; at < FILL_BYTES; at += block.length) writeSync(readable, block, 0, block.length, at)
}

function layAck(target: Buffer, at: number): void {
  target.writeUInt32BE(ACK_BYTES - 4, at)
  target[at + 4] = 2
}
