import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { connect } from 'node:net'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { WebSocketServer } from 'ws'
import { TAIL_BYTES } from '../../bench/load/tail.js'
import { FrameWalk } from '../../bench/load/websocket-frames.js'
import { textFrame } from '../../src/load/frames.js'
import { cuts, readInPieces } from './pieces.js'

const LENGTHS = [0, 1, 125, 126, 65_535, 65_536]

const UPGRADE =
  'GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n' +
  'Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n'

type Frame = { opcode: number; length: number; first: number }

/** As a server writes it: not masked. */
function serverFrame({ opcode, length, first }: Frame): Buffer {
  const head = Buffer.alloc(length > 65_535 ? 10 : length > 125 ? 4 : 2)
  head[0] = 0x80 | opcode
  head[1] = length > 65_535 ? 127 : length > 125 ? 126 : length
  if (length > 65_535) head.writeBigUInt64BE(BigInt(length), 2)
  else if (length > 125) head.writeUInt16BE(length, 2)
  // Full of what could be taken for another head.
  return Buffer.concat([head, Buffer.alloc(length, 0x89).fill(first, 0, Math.min(1, length))])
}

describe('WebSocket frames of the load clients', () => {
  test('are read by a server, of every form of length', async (t) => {
    const server = new WebSocketServer({ port: 0 })
    t.after(() => server.close())
    await once(server, 'listening')
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
    t.after(() => socket.destroy())
    socket.write(UPGRADE)
    const [accepted] = await once(server, 'connection')

    const texts = LENGTHS.map((length) => 'aö'.repeat(length).slice(0, length))
    const messages: string[] = []
    accepted.on('message', (data: Buffer) => messages.push(data.toString()))
    for (const text of texts) socket.write(textFrame(text))
    while (messages.length < texts.length) await once(accepted, 'message')

    assert.deepEqual(messages, texts)
  })

  test('are walked one by one, however the bytes are cut', () => {
    const frame = fc.record({
      opcode: fc.constantFrom(1, 2, 9),
      length: fc.oneof(fc.constantFrom(...LENGTHS), fc.nat(300)),
      first: fc.constantFrom(0x30, 0x89),
    })
    fc.assert(
      fc.property(fc.array(frame, { maxLength: 8 }), cuts, (frames, steps) => {
        const seen: Frame[] = []
        const walk = new FrameWalk((opcode, length, first) => seen.push({ opcode, length, first }))
        readInPieces(Buffer.concat(frames.map(serverFrame)), steps, (space, _from, to) =>
          walk.walk(space, TAIL_BYTES, to),
        )

        const expected = frames.map(({ opcode, length, first }) => ({ opcode, length, first: length > 0 ? first : -1 }))
        assert.deepEqual(seen, expected)
      }),
    )
  })
})
