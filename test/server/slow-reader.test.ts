/**
 * Readers that stop reading: they make nobody wait, cost little, and get all of it when they read on.
 *
 * A reader counts as stalled when far less has reached it than was said; the kernel buffers some 4 MB for each
 * connection here (tcp_wmem), so the answers are longer than that.
 */
import assert from 'node:assert/strict'
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import type { TaskEvent } from '../../src/core/event.js'
import { ended, scripted, startGateway, submit, textOf } from './harness.js'
import { checkWhole, PATHS, type Path } from './paths.js'

const MIB = 1_048_576
/** What the client's own kernel and stream hold of an answer that nobody reads. */
const MAX_UNREAD = 2 * MIB

/** 8.8 MB in which every place is different. */
const TEXT = Array.from({ length: 1_000_000 }, (_, number) => `${number}${number % 10 === 9 ? '\n' : ' '}`)
  .join('')
  .padEnd(8_800_000, 'end ')
/** Pieces of 1,100 characters. */
const ANSWER = { tokens: 8000, text: TEXT }

const STREAMS = PATHS.filter(({ name }) => name !== 'JSON pages')
const PAGES = PATHS.find(({ name }) => name === 'JSON pages') as Path
const SSE = PATHS.find(({ name }) => name === 'SSE') as Path

/** A stall that lasts until `end` is called. */
class Stall {
  readonly sockets: Socket[] = []
  end: () => void = () => {}
  readonly #over = new Promise<void>((resolve) => {
    this.end = resolve
  })

  readonly wait = (socket: Socket): Promise<void> => {
    this.sockets.push(socket)
    return this.#over
  }
}

const tokenEvents = (events: TaskEvent[]): TaskEvent[] => events.filter(({ type }) => type === 'token')

for (const path of STREAMS) {
  test(`over ${path.name}, a stalled reader delays nobody and then gets all that it missed, merged`, async (t) => {
    const { url } = await startGateway(t, { 'max-body-bytes': 32 * MIB })
    const { id: task } = await submit(url, scripted({ ...ANSWER, rate: 8000 }))
    const stall = new Stall()

    const stalled = path.visit({ url, task, after: 0, stall: stall.wait })
    const fast = await path.visit({ url, task, after: 0 })
    const unread = stall.sockets.map(({ bytesRead }) => bytesRead)
    stall.end()
    const slow = await stalled

    assert.equal(unread.length, 1)
    assert.ok((unread[0] ?? 0) < MAX_UNREAD, `the reader was not stalled: ${unread} bytes`)
    for (const events of [fast, slow]) {
      checkWhole(events, task)
      assert.ok(textOf(events) === TEXT, 'the text is another one')
    }
    // The last quarter was said while it did not read: 2,000 tokens, which fit into 68 pieces of 32 KiB.
    const last = slow.findIndex((event) => event.type === 'progress' && event.percent === 75)
    const missed = tokenEvents(slow.slice(last))
    assert.ok(missed.length <= 80, `${missed.length} events`)
    assert.ok(missed.every((event) => event.type === 'token' && event.tokens > 1))
  })
}

for (const path of STREAMS) {
  test(`over ${path.name}, a reader that reads on gets the rest at once, also when nothing more is said`, async (t) => {
    const { url } = await startGateway(t, { 'max-body-bytes': 64 * MIB, 'keep-alive-ms': 60_000 })
    const first = TEXT.slice(0, 8_000_000)
    // The first of five tokens is too long for the kernel's buffers; the second comes 1,000 s later.
    const { id: task } = await submit(url, scripted({ tokens: 5, rate: 0.001, text: first.repeat(5) }))
    await PAGES.visit({ url, task, after: 0, maxEvents: 3 })
    const stall = new Stall()

    const stalled = path.visit({ url, task, after: 0, stall: stall.wait, maxEvents: 3 })
    // What the gateway writes at once it has written when it has answered somebody who came later.
    await PAGES.visit({ url, task, after: 0, maxEvents: 3 })
    stall.end()
    const events = await Promise.race([stalled, pause(3000, null, { ref: false })])

    assert.ok(events, 'the rest did not come within 3 s')
    assert.ok(textOf(events) === first, 'the text is another one')
  })
}

/** A gateway of its own process. */
async function forkGateway(t: TestContext): Promise<{ url: string; rss: () => Promise<number> }> {
  const script = new URL('./gateway-process.js', import.meta.url)
  const child: ChildProcess = fork(script, { execArgv: ['--expose-gc'] })
  t.after(() => child.disconnect())
  const [{ url }] = (await once(child, 'message')) as [{ url: string }]
  return {
    url,
    async rss() {
      child.send('memory')
      const [{ rss }] = (await once(child, 'message')) as [{ rss: number }]
      return rss
    },
  }
}

test('fifty stalled readers of a million tokens cost the gateway less than two MiB each', async (t) => {
  const { url, rss } = await forkGateway(t)
  const answer = scripted({ tokens: 1_000_000 })
  const text = Array.from({ length: 1_000_000 }, (_, number) => `w${number} `).join('')
  const { id: task } = await submit(url, answer)
  // Ended, read and archived: what that needs in memory comes and goes.
  for (let reads = 0; reads < 2; reads++) await SSE.visit({ url, task, after: 0 })
  const before = await rss()
  const stall = new Stall()

  const stalled = Array.from({ length: 50 }, (_, index) => {
    const path = STREAMS[index % STREAMS.length] as Path
    // The first of each path reads all of it afterwards.
    const hangsUp = index < STREAMS.length ? {} : { maxEvents: 1 }
    return path.visit({ url, task, after: 0, stall: stall.wait, ...hangsUp })
  })
  await SSE.visit({ url, task, after: 0 })
  const unread = stall.sockets.map(({ bytesRead }) => bytesRead)
  const grown = (await rss()) - before
  stall.end()
  const slow = await Promise.all(stalled)

  assert.equal(unread.length, 50)
  assert.ok(Math.max(...unread) < MAX_UNREAD, `the readers were not stalled: ${unread} bytes`)
  // What the readers have missed, were it buffered, would be 400 MB and more.
  assert.ok(grown < 100 * MIB, `the gateway grew by ${(grown / MIB).toFixed(1)} MiB`)
  for (const events of slow.slice(0, STREAMS.length)) {
    checkWhole(events, task)
    assert.ok(textOf(events) === text, 'the text is another one')
  }
})

test('a reader that does not read for 14 seconds is not cut, and neither is one to whom nothing is said', async (t) => {
  const { url } = await startGateway(t, { 'max-body-bytes': 32 * MIB, 'keep-alive-ms': 60_000 })
  const long = await submit(url, scripted(ANSWER))
  // Its second token comes after the stall, and nothing before: no comment either.
  const quiet = await submit(url, scripted({ tokens: 2, rate: 1 / 15 }))
  await ended(url, long.id)

  // uWebSockets.js gives a socket that takes no bytes 10 s, and looks every 4 s.
  const stall = (): Promise<void> => pause(14_000)
  const [idle, ...readers] = await Promise.allSettled([
    SSE.visit({ url, task: quiet.id, after: 0 }),
    ...STREAMS.map((path) => path.visit({ url, task: long.id, after: 0, stall })),
  ])

  const outcomes = readers.map((reader, index) => {
    const whole = reader.status === 'fulfilled' && textOf(reader.value) === TEXT
    return `${STREAMS[index]?.name}: ${whole ? 'whole' : 'cut'}`
  })
  assert.equal(idle.status, 'fulfilled')
  assert.equal(idle.status === 'fulfilled' && textOf(idle.value), 'w0 w1 ')
  assert.deepEqual(outcomes, ['SSE: whole', 'WebSocket JSON: whole', 'WebSocket msgpack: whole'])
})

test('a client that sends request after request and reads no answer costs the gateway one answer', async (t) => {
  const { url, rss } = await forkGateway(t)
  const { id: task } = await submit(url, scripted({ tokens: 100_000 }))
  const { output } = await ended(url, task)
  const before = await rss()
  const socket = connect(Number(new URL(url).port), '127.0.0.1')
  t.after(() => socket.destroy())
  socket.pause()

  // 680 KB each, 340 MB together.
  socket.write(`GET /v1/tasks/${task} HTTP/1.1\r\nHost: x\r\n\r\n`.repeat(500))
  await once(socket, 'readable')
  // Whatever would have been made of the rest was made when somebody who came later has an answer.
  await ended(url, task)
  const grown = (await rss()) - before

  assert.ok(output.text.length > 600_000)
  assert.ok(grown < 100 * MIB, `the gateway grew by ${(grown / MIB).toFixed(1)} MiB`)
})
