/** What is read from a server comes in pieces that end anywhere: the same must be read from any of them. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { numberOf, typeOf } from '../../src/load/event-bytes.js'
import { binaryFrame, FrameParser, textFrame } from '../../src/load/frames.js'
import { ResponseParser } from '../../src/load/response.js'
import { SseScanner } from '../../src/load/sse-scanner.js'
import { anyText } from '../wire/texts.js'

/** Where a stream is cut into pieces. */
const cuts = fc.array(fc.nat(2000), { maxLength: 12 })

/** Each piece is overwritten when it was taken, as the buffer that is read into is. */
function feed(bytes: Buffer, at: number[], take: (piece: Buffer) => void): void {
  const ends = [...at.filter((end) => end < bytes.length), bytes.length].sort((a, b) => a - b)
  let from = 0
  for (const end of ends) {
    const piece = Buffer.from(bytes.subarray(from, end))
    take(piece)
    piece.fill(0x7a)
    from = end
  }
}

type Seen = { status: number; type: string | undefined; body: string }

const responses = (bytes: Buffer, at: number[]): Seen[] => {
  const seen: Seen[] = []
  let now: Seen = { status: 0, type: undefined, body: '' }
  const parser = new ResponseParser({
    head: (status, headers) => {
      now = { status, type: headers.get('content-type'), body: '' }
    },
    body: (bytes) => {
      now.body += bytes.toString('latin1')
    },
    end: () => seen.push(now),
  })
  feed(bytes, at, (piece) => parser.take(piece))
  return seen
}

test('responses are the same, however they come in pieces', () => {
  const bytes = Buffer.from(
    'HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"a":"b"}' +
      'HTTP/1.1 204 No Content\r\nX: y\r\n\r\n' +
      'HTTP/1.1 200 OK\r\ncontent-type:text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n' +
      '5\r\nid: 1\r\n1a;ext=1\r\n\r\nabcdefghijklmnopqrstuvwx\r\n0\r\nTrailer: t\r\n\r\n' +
      'HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n',
    'latin1',
  )
  const expected: Seen[] = [
    { status: 202, type: 'application/json', body: '{"a":"b"}' },
    { status: 204, type: undefined, body: '' },
    { status: 200, type: 'text/event-stream', body: 'id: 1\r\nabcdefghijklmnopqrstuvwx' },
    { status: 500, type: undefined, body: '' },
  ]

  fc.assert(
    fc.property(cuts, (at) => assert.deepEqual(responses(bytes, at), expected)),
    { numRuns: 500 },
  )
})

test('what is no response is refused', () => {
  assert.throws(() => responses(Buffer.from('SSH-2.0-x\r\n\r\n'), []), /no response/)
  const chunked = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n'
  assert.throws(() => responses(Buffer.from(chunked), []), /a chunk of "zz" bytes/)
})

test('events of a stream are the same, however they come in pieces', () => {
  const stream =
    ': hello\n\nretry: 1000\n\nid: 1\nevent: token\ndata: {"text":"é 🦊"}\n\ndata:{"no":"space"}\r\n\r\n:\n\ndata: [DONE]\n\n'

  fc.assert(
    fc.property(cuts, (at) => {
      const seen: string[] = []
      const scanner = new SseScanner((data) => seen.push(data.toString()))
      feed(Buffer.from(stream), at, (piece) => scanner.take(piece))

      assert.deepEqual(seen, ['{"text":"é 🦊"}', '{"no":"space"}', '[DONE]'])
    }),
    { numRuns: 500 },
  )
})

/** As a server sends it: not masked. */
const unmasked = (opcode: number, payload: Buffer, final = true): Buffer => {
  const head =
    payload.length < 126
      ? Buffer.from([payload.length])
      : payload.length < 65_536
        ? Buffer.from([126, payload.length >> 8, payload.length & 255])
        : Buffer.from([127, 0, 0, 0, 0, ...[24, 16, 8, 0].map((bits) => (payload.length >> bits) & 255)])
  return Buffer.concat([Buffer.from([(final ? 0x80 : 0) | opcode]), head, payload])
}

test('messages of a WebSocket are the same, however they come in pieces', () => {
  const [small, middle, large] = [10, 1000, 70_000].map((size) => Buffer.alloc(size, size % 251)) as [
    Buffer,
    Buffer,
    Buffer,
  ]
  const bytes = Buffer.concat([
    unmasked(1, small),
    unmasked(9, Buffer.from('p')),
    unmasked(2, middle, false),
    unmasked(9, Buffer.from('q')),
    unmasked(0, small),
    unmasked(2, large),
    unmasked(8, Buffer.from([0x03, 0xf4])),
  ])

  fc.assert(
    fc.property(fc.array(fc.nat(bytes.length), { maxLength: 8 }), (at) => {
      const seen: (Buffer | string | number)[] = []
      const parser = new FrameParser({
        message: (bytes) => seen.push(Buffer.from(bytes)),
        ping: (payload) => seen.push(payload.toString()),
        close: (code) => seen.push(code),
      })
      feed(bytes, at, (piece) => parser.take(piece))

      assert.deepEqual(seen, [small, 'p', 'q', Buffer.concat([middle, small]), large, 1012])
    }),
    { numRuns: 100 },
  )
})

test('a frame of ours is masked, and is what was put in', () => {
  for (const text of ['', 'x', 'é'.repeat(100), 'y'.repeat(70_000)]) {
    const frame = textFrame(text)
    const size = frame[1] === 0xff ? 8 : frame[1] === 0xfe ? 2 : 0
    const mask = frame.subarray(2 + size, 6 + size)
    const payload = frame.subarray(6 + size).map((byte, index) => byte ^ (mask[index % 4] as number))

    assert.equal((frame[1] as number) & 0x80, 0x80)
    assert.equal(Buffer.from(payload).toString(), text)
  }
  assert.equal(binaryFrame(Buffer.of(1))[0], 0x82)
})

test('what a load test needs is found in an event, whatever its text says', () => {
  fc.assert(
    fc.property(anyText(), fc.nat(), fc.nat(100), fc.option(fc.nat()), (text, seq, tokens, from) => {
      const tricky = `"seq":1,"type":"x","from":2,"tokens":3,${text}`
      const event = { task: 't', seq, at: 1, type: 'token', text: tricky, tokens, ...(from === null ? {} : { from }) }
      const bytes = Buffer.from(JSON.stringify(event))

      const found = [
        numberOf(bytes, 'seq', -1),
        typeOf(bytes),
        numberOf(bytes, 'tokens', -1),
        numberOf(bytes, 'from', -1),
      ]

      assert.deepEqual(found, [seq, 'token', tokens, from ?? -1])
    }),
  )
})
