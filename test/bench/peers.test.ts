import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import { createParser } from 'eventsource-parser'
import WebSocket from 'ws'
import { Clients } from '../../bench/load/clients.js'
import { BenchGateway } from '../../bench/load/gateway.js'
import type { Protocol } from '../../bench/load/job.js'
import { missing, type Peer, PeerServer } from '../../bench/load/peer.js'
import type { Server } from '../../bench/load/server.js'
import { submitTask } from '../../bench/load/submit-task.js'

const TOKENS = 20
const BODY = { prompt: JSON.stringify({ tokens: TOKENS }) }

type Event = { task: string; seq: number; at: number; type: string; text?: string; tokens?: number }

const WORDS = Array.from({ length: TOKENS }, (_, i) => `w${i} `)

async function started(t: TestContext, peer: Peer): Promise<PeerServer | null> {
  const why = missing(peer)
  if (why !== null) {
    t.skip(why)
    return null
  }
  const server = await PeerServer.start(peer)
  t.after(() => server.stop())
  return server
}

async function eventsOf(response: Response): Promise<Event[]> {
  const events: Event[] = []
  const parser = createParser({
    onEvent({ id, event, data }) {
      const parsed = JSON.parse(data) as Event
      assert.deepEqual([id, event], [String(parsed.seq), parsed.type])
      events.push(parsed)
    },
  })
  assert.equal(response.status, 200)
  assert.match(response.headers.get('content-type') ?? '', /^text\/event-stream/)
  for await (const text of (response.body as ReadableStream<Uint8Array>).pipeThrough(new TextDecoderStream())) {
    parser.feed(text)
  }
  return events
}

const post = ({ port }: Server): Promise<Response> =>
  fetch(`http://127.0.0.1:${port}/v1/tasks`, {
    method: 'POST',
    headers: { accept: 'text/event-stream', 'content-type': 'application/json' },
    body: JSON.stringify(BODY),
  })

/** @param take an event of a frame, null for what is none; it may answer */
function overSocket(url: string, take: (frame: string, socket: WebSocket) => Event | null): Promise<Event[]> {
  return new Promise((resolve, reject) => {
    const events: Event[] = []
    const socket = new WebSocket(url)
    socket.on('error', reject)
    socket.on('close', () => reject(new Error(`closed after ${events.length} events`)))
    socket.on('message', (data) => {
      const event = take(data.toString(), socket)
      if (event === null) return
      events.push(event)
      if (event.type !== 'completed') return
      socket.removeAllListeners('close').close()
      resolve(events)
    })
    socket.on('open', () => take('', socket))
  })
}

/** All tokens and in order, and their size that of a gateway's. */
function assertWhole(events: Event[]): void {
  assert.deepEqual(
    events.filter(({ type }) => type === 'token').map(({ text }) => text),
    WORDS,
  )
  assert.deepEqual(
    events.map(({ seq }) => seq),
    Array.from({ length: TOKENS + 1 }, (_, i) => i + 1),
  )
  assert.equal(events.at(-1)?.type, 'completed')
  assert.ok(events.every(({ task }) => /^task_[\w-]{21}$/.test(task)))
  const bytes = Buffer.byteLength(JSON.stringify(events[9]))
  const ours =
    '{"task":"task_0123456789abcdefghijk","seq":12,"at":1795485800959,"type":"token","text":"w9 ","tokens":1}'
  assert.ok(Math.abs(bytes / ours.length - 1) < 0.1, `${bytes} bytes`)
}

describe('peers of the benchmarks', { concurrency: 2 }, () => {
  for (const peer of ['uws', 'uws-log', 'fastify', 'fastapi'] as const) {
    test(`${peer} streams a task whole, over SSE`, async (t) => {
      const server = await started(t, peer)
      if (server === null) return

      assertWhole(await eventsOf(await post(server)))
    })
  }

  for (const peer of ['uws', 'ws'] as const) {
    test(`${peer} sends a task whole, over WebSocket`, async (t) => {
      const server = await started(t, peer)
      if (server === null) return

      const events = await overSocket(`ws://127.0.0.1:${server.port}/v1/ws`, (frame, socket) => {
        if (frame !== '') return JSON.parse(frame) as Event
        socket.send(JSON.stringify({ type: 'submit', ref: 1, ...BODY }))
        return null
      })
      assertWhole(events)
    })
  }

  test('socketio sends a task whole', async (t) => {
    const server = await started(t, 'socketio')
    if (server === null) return

    const url = `ws://127.0.0.1:${server.port}/socket.io/?EIO=4&transport=websocket`
    const events = await overSocket(url, (frame, socket) => {
      if (frame.startsWith('0')) socket.send('40')
      else if (frame.startsWith('40')) socket.send(`42${JSON.stringify(['submit', BODY])}`)
      else if (frame.startsWith('42')) return (JSON.parse(frame.slice(2)) as [string, Event])[1]
      return null
    })
    assertWhole(events)
  })

  test('uws-log gives a task to whoever comes later, over SSE and WebSocket', async (t) => {
    const server = await started(t, 'uws-log')
    if (server === null) return
    const task = await submitTask(server, { tokens: TOKENS })

    for (let reader = 0; reader < 2; reader++) {
      assertWhole(await eventsOf(await fetch(`http://127.0.0.1:${server.port}/v1/tasks/${task}/events`)))
    }
    const events = await overSocket(`ws://127.0.0.1:${server.port}/v1/ws`, (frame, socket) => {
      if (frame !== '') return JSON.parse(frame) as Event
      socket.send(JSON.stringify({ type: 'subscribe', task, after: 0 }))
      return null
    })
    assertWhole(events)
  })

  const LOADS: [server: Peer | 'gateway', protocol: Protocol][] = [
    ['gateway', 'sse'],
    ['gateway', 'ws'],
    ['gateway', 'ws-msgpack'],
    ['gateway', 'post'],
    ['uws', 'sse'],
    ['uws', 'ws'],
    ['uws', 'post'],
    ['fastify', 'sse'],
    ['ws', 'ws'],
    ['socketio', 'socketio'],
    ['fastapi', 'sse'],
  ]
  for (const [name, protocol] of LOADS) {
    test(`the load clients get along with ${name} over ${protocol}`, async (t) => {
      const server = name === 'gateway' ? await BenchGateway.start(['--durability', 'none']) : await started(t, name)
      if (server === null) return
      if (name === 'gateway') t.after(() => server.stop())
      const script = { tokens: protocol === 'post' ? 0 : TOKENS, stamp: true }

      // They end themselves when a task comes with another number of tokens than it has.
      const clients = await Clients.start(server, { protocol, clients: 20, script })
      const { ms, tasks, events, lateMs, firstMs } = await clients.measure(300)
      await clients.stop()

      assert.ok(ms >= 299 && tasks > 20 && firstMs.count > 20, `${tasks} tasks`)
      if (protocol === 'post') return
      assert.ok(Math.abs(events - tasks * TOKENS) <= 20 * TOKENS, `${events} events of ${tasks} tasks`)
      assert.ok(lateMs.count > 0 && lateMs.p50 >= 0 && lateMs.p99 < 60_000, `late ${lateMs.p50} to ${lateMs.p99} ms`)
    })
  }

  for (const name of ['gateway', 'uws-log'] as const) {
    test(`followers of one task of ${name} have it whole, again and again`, async (t) => {
      const server = name === 'gateway' ? await BenchGateway.start(['--durability', 'none']) : await started(t, name)
      if (server === null) return
      if (name === 'gateway') t.after(() => server.stop())
      const script = { tokens: 500 }
      const follow = await submitTask(server, script)

      for (const protocol of ['sse', 'ws'] as const) {
        const clients = await Clients.start(server, { protocol, clients: 10, script, follow })
        assert.equal((await clients.caughtUp()).length, 10)
        clients.followAgain()
        assert.equal((await clients.caughtUp()).length, 10)
        await clients.stop()
      }
    })
  }
})
