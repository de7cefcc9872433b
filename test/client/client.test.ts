/** The client against a real gateway, over each transport and over networks that are against it. */
import assert from 'node:assert/strict'
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import {
  type ConnectionState,
  Rejoin,
  RejoinError,
  type RejoinOptions,
  type Run,
  type TaskEvent,
  type TransportName,
} from '../../src/client/index.js'
import { freePort, startGateway, textOf } from '../server/harness.js'
import { Random, SEED } from '../server/random.js'
import { until } from '../until.js'
import { HostileProxy, type Hostility } from './hostile-proxy.js'

const TRANSPORTS: TransportName[] = ['websocket', 'sse', 'poll']
/** For tests of what a client does about silence. */
const IMPATIENT = {
  socket: { openMs: 500, quietMs: 100, pongMs: 200, lingerMs: 200 },
  sse: { firstMs: 300, silenceMs: 500 },
}

const prompt = (script: object): { prompt: string } => ({ prompt: JSON.stringify(script) })
const HELLO = { text: 'Hello, wörld 👋!', tokens: 6 }
const SLOW = { tokens: 120, rate: 300, stamp: false }

/** Closed when the test ends. */
function client(t: TestContext, url: string, options: RejoinOptions = {}, times?: typeof IMPATIENT): Rejoin {
  const rejoin = new Rejoin({ url, ...options }, times)
  t.after(() => rejoin.close())
  return rejoin
}

async function all(run: Run): Promise<TaskEvent[]> {
  const events: TaskEvent[] = []
  for await (const event of run) events.push(event)
  return events
}

/** Every event after `after` once and in order, to the terminal one. */
function assertWhole(events: TaskEvent[], after = 0): void {
  let position = after
  for (const event of events) {
    const from = event.type === 'token' ? (event.from ?? event.seq) : event.seq
    assert.equal(from, position + 1)
    position = event.seq
  }
  assert.equal(events.at(-1)?.type, 'completed')
}

async function whole(url: string, id: string | null): Promise<string> {
  const response = await fetch(`${url}/v1/tasks/${id}`)
  return ((await response.json()) as { output: { text: string } }).output.text
}

for (const transport of TRANSPORTS) {
  describe(`the client over ${transport} alone`, () => {
    const only = { transports: [transport] }

    test('a run gives the task, every event once, and the text', async (t) => {
      const { url } = await startGateway(t)
      const rejoin = client(t, url, only)

      const run = rejoin.run(prompt(HELLO))
      const task = await run.task
      const events = await all(run)

      assertWhole(events)
      assert.deepEqual([textOf(events), run.id, run.position], [HELLO.text, task.id, events.at(-1)?.seq])
      assert.equal(await rejoin.run(prompt(HELLO)).text(), HELLO.text)
    })

    test('a task is attached to at any position, running or ended', async (t) => {
      const { url } = await startGateway(t)
      const rejoin = client(t, url, only)
      const first = rejoin.run(prompt(SLOW))
      const seen: TaskEvent[] = []
      for await (const event of first) {
        seen.push(event)
        if (seen.length === 5) break
      }

      const rest = await all(rejoin.attach(first.id ?? '', { after: seen.at(-1)?.seq ?? 0 }))
      const again = await all(rejoin.attach(first.id ?? ''))

      assertWhole([...seen, ...rest])
      assertWhole(again)
      assert.equal(textOf(again), textOf([...seen, ...rest]))
    })

    test('whoever has read the end is told at once that nothing follows', async (t) => {
      const { url } = await startGateway(t)
      const rejoin = client(t, url, only)
      const run = rejoin.run(prompt(HELLO))
      await run.text()

      assert.deepEqual(await all(rejoin.attach(run.id ?? '', { after: run.position })), [])
    })

    test('who leaves a task and comes back at once, from the beginning or where it was, misses nothing', async (t) => {
      const { url } = await startGateway(t)
      const proxy = await HostileProxy.start(t, url, { delayMs: 15 })
      const rejoin = client(t, proxy.url, only)
      const run = rejoin.run(prompt(SLOW))
      const seen: TaskEvent[] = []
      for await (const event of run) {
        seen.push(event)
        // Slower than what comes, so that something waits.
        await new Promise((resolve) => setTimeout(resolve, 5))
        if (seen.length === 20) break
      }

      const rest = await all(rejoin.attach(run.id ?? '', { after: run.position }))
      const again = rejoin.attach(run.id ?? '')
      for await (const event of again) if (event.seq > 5) break
      const whole = await all(rejoin.attach(run.id ?? ''))

      assertWhole([...seen, ...rest])
      assertWhole(whole)
      assert.equal(textOf(whole), textOf([...seen, ...rest]))
    })

    test('a connection that is cut again and again costs no event', async (t) => {
      const { url } = await startGateway(t)
      const random = new Random(SEED)
      // Every third one is shorter than any answer, and the others are long enough to get on.
      let asked = 0
      const bytes = (): number => (++asked % 3 === 0 ? random.between(20, 500) : random.between(2000, 8000))
      const proxy = await HostileProxy.start(t, url, { bytes })
      const rejoin = client(t, proxy.url, only)

      const runs = [1, 2, 3].map(() => rejoin.run(prompt(SLOW)))
      const answers = await Promise.all(runs.map(all))

      for (const events of answers) {
        assertWhole(events)
        assert.equal(textOf(events), await whole(url, events[0]?.task ?? null))
      }
      assert.ok(proxy.cuts > 0)
    })

    test('what will not change ends it, with the gateway’s code', async (t) => {
      const { url } = await startGateway(t)
      const rejoin = client(t, url, only)
      const run = rejoin.run(prompt(HELLO))
      await run.text()
      const rejected = async (run: Run): Promise<unknown[]> => {
        const error = await all(run).catch((error: unknown) => error)
        assert.ok(error instanceof RejoinError, String(error))
        return [error.code, error.param]
      }

      assert.deepEqual(await rejected(rejoin.run({ prompt: 'x', temperature: 9 })), ['invalid_request', 'temperature'])
      assert.deepEqual(await rejected(rejoin.attach('task_none')), ['task_not_found', null])
      assert.equal((await rejected(rejoin.attach(run.id ?? '', { after: 1000 })))[0], 'position_ahead')
    })

    test('a task that fails or is canceled ends the events in order, and the text with an error', async (t) => {
      const { url } = await startGateway(t, { 'max-attempts': 1 })
      const rejoin = client(t, url, only)

      const failing = rejoin.run(prompt({ tokens: 5, fail_at: 'always' }))
      const endless = rejoin.run(prompt({ tokens: 1_000_000, rate: 200 }))
      const reading = endless.text().catch((error: RejoinError) => error.code)
      await endless.cancel()

      assert.equal((await all(failing)).at(-1)?.type, 'failed')
      assert.equal(await reading, 'canceled')
      await assert.rejects(rejoin.attach(failing.id ?? '').text(), { code: 'model_failed' })
    })

    test('an abort leaves the task, which runs on', async (t) => {
      const { url } = await startGateway(t)
      const rejoin = client(t, url, only)
      const leaving = new AbortController()
      const run = rejoin.run(prompt(SLOW), { signal: leaving.signal })
      const { id } = await run.task

      const reading = all(run)
      leaving.abort()

      await assert.rejects(reading, { name: 'AbortError' })
      assertWhole(await all(rejoin.attach(id)))
    })

    test('pulling the plug stops everything, and plugging it in goes on where it was', async (t) => {
      const { url } = await startGateway(t)
      const states: ConnectionState[] = []
      const rejoin = client(t, url, { ...only, onState: (state) => states.push(state) })
      const run = rejoin.run(prompt(SLOW))
      const seen: TaskEvent[] = []
      for (const iterator = run[Symbol.asyncIterator](); ; ) {
        const { value, done } = await iterator.next()
        if (done) break
        seen.push(value)
        if (seen.length !== 4) continue
        rejoin.unplug()
        await until('unplugged', () => rejoin.state.status === 'unplugged')
        rejoin.plug()
      }

      assertWhole(seen)
      assert.equal(textOf(seen), await whole(url, run.id))
      const statuses = states.map(({ status }) => status)
      const after = statuses.slice(statuses.indexOf('unplugged') + 1)
      assert.deepEqual([after.includes('live'), statuses[0], statuses.at(-1)], [true, 'connecting', 'idle'])
    })
  })
}

describe('the client', () => {
  test('many tasks share one WebSocket', async (t) => {
    const { url } = await startGateway(t)
    const proxy = await HostileProxy.start(t, url)
    const rejoin = client(t, proxy.url)

    const answers = await Promise.all(Array.from({ length: 20 }, () => all(rejoin.run(prompt(SLOW)))))

    for (const events of answers) assertWhole(events)
    assert.deepEqual([proxy.upgrades, proxy.count('GET /v1/tasks')], [1, 0])
  })

  test('two runs of one task both get all of it', async (t) => {
    const { url } = await startGateway(t)
    const rejoin = client(t, url)
    const run = rejoin.run(prompt(SLOW))
    const { id } = await run.task

    const [one, other] = await Promise.all([all(run), all(rejoin.attach(id))])

    assertWhole(one)
    assertWhole(other)
  })

  const HOSTILE: [what: string, hostility: Hostility, transport: TransportName][] = [
    ['refuses WebSockets', { refuseUpgrades: true }, 'sse'],
    ['refuses WebSockets and keeps event streams to itself', { refuseUpgrades: true, holdStreams: true }, 'poll'],
    ['refuses WebSockets and cuts event streams young', { refuseUpgrades: true, streamBytes: 700 }, 'poll'],
  ]
  for (const [what, hostility, transport] of HOSTILE) {
    test(`behind a network that ${what} it comes to ${transport} by itself`, async (t) => {
      const { url } = await startGateway(t)
      const proxy = await HostileProxy.start(t, url, hostility)
      const used = new Set<string | null>()
      const onState = ({ status, transport }: ConnectionState): void => {
        if (status === 'live') used.add(transport)
      }
      const rejoin = client(t, proxy.url, { onState }, IMPATIENT)

      const run = rejoin.run(prompt({ tokens: 400, rate: 200 }))
      const events = await all(run)

      assertWhole(events)
      assert.equal(textOf(events), await whole(url, run.id))
      assert.ok(used.has(transport) && !used.has('websocket'), [...used].join())
      // What was found out holds for the next task.
      const before = proxy.seen.length
      assertWhole(await all(rejoin.run(prompt(HELLO))))
      assert.ok(proxy.seen.slice(before).every((path) => !path.startsWith('UPGRADE')))
    })
  }

  test('behind a network that refuses WebSockets and kills event streams after two seconds nothing is lost', async (t) => {
    const { url } = await startGateway(t)
    const proxy = await HostileProxy.start(t, url, { refuseUpgrades: true, streamMs: 2000 })
    const used: (string | null)[] = []
    const onState = ({ status, transport }: ConnectionState): unknown => status === 'live' && used.push(transport)
    const rejoin = client(t, proxy.url, { onState })

    const run = rejoin.run(prompt({ tokens: 420, rate: 60 }))
    const events = await all(run)

    assertWhole(events)
    assert.equal(textOf(events), await whole(url, run.id))
    assert.equal(proxy.cuts, 2)
    assert.deepEqual([...new Set(used)], ['sse', 'poll'])
  })

  test('where its only transport does not work it tries now and then, and not all the time', async (t) => {
    const { url } = await startGateway(t)
    const proxy = await HostileProxy.start(t, url, { refuseUpgrades: true })
    const states: ConnectionState[] = []
    const rejoin = client(t, proxy.url, { transports: ['websocket'], onState: (state) => states.push(state) })

    const reading = all(rejoin.run(prompt(HELLO)))
    await until('a third try', () => states.some(({ attempt }) => attempt === 3))
    const tries = proxy.count('UPGRADE')
    proxy.hostility = {}

    assertWhole(await reading)
    assert.ok(tries <= 4, `${tries} tries`)
  })

  test('two runs of one task over one WebSocket alone take turns', async (t) => {
    const { url } = await startGateway(t)
    const rejoin = client(t, url, { transports: ['websocket'] })
    const run = rejoin.run(prompt({ tokens: 20, rate: 100 }))
    const { id } = await run.task

    const [one, other] = await Promise.all([all(run), all(rejoin.attach(id))])

    assertWhole(one)
    assertWhole(other)
  })

  test('a WebSocket that is cut in mid-answer and refused from then on costs a hop', async (t) => {
    const { url } = await startGateway(t)
    const proxy = await HostileProxy.start(t, url)
    const transports: (string | null)[] = []
    const rejoin = client(t, proxy.url, {
      onState: ({ status, transport }) => status === 'live' && transports.push(transport),
    })

    const run = rejoin.run(prompt(SLOW))
    const events: TaskEvent[] = []
    for await (const event of run) {
      events.push(event)
      if (events.length !== 5) continue
      proxy.hostility = { refuseUpgrades: true }
      proxy.cutAll()
    }

    assertWhole(events)
    assert.deepEqual(transports, ['websocket', 'sse'])
  })

  test('a WebSocket that dies in silence is noticed and left', async (t) => {
    const { url } = await startGateway(t)
    // Lets the upgrade and the first events through, and then nothing: as a NAT that forgot the connection.
    const proxy = await HostileProxy.start(t, url, { silentAfter: 1500 })
    const rejoin = client(t, proxy.url, {}, IMPATIENT)

    const run = rejoin.run(prompt(SLOW))
    const events = await all(run)

    assertWhole(events)
    assert.ok(proxy.upgrades > 1 || proxy.count('GET /v1/tasks') > 0)
  })

  const CLOSES: [code: number, what: string, expected: (states: ConnectionState[]) => boolean][] = [
    [1012, 'within a second', (states) => states.some(({ retryInMs }) => retryInMs !== null && retryInMs < 1000)],
    [1013, 'after one to two seconds', (states) => states.some(({ retryInMs }) => (retryInMs ?? 0) >= 1000)],
    [
      1008,
      'not over WebSocket',
      (states) => states.some(({ status, transport }) => status === 'live' && transport === 'sse'),
    ],
  ]
  for (const [code, what, expected] of CLOSES) {
    test(`after a close with ${code} it comes back ${what}`, async (t) => {
      const { url } = await startGateway(t)
      const proxy = await HostileProxy.start(t, url, { closeCode: code })
      const states: ConnectionState[] = []
      const rejoin = client(t, proxy.url, { onState: (state) => states.push(state) })

      const events = await all(rejoin.run(prompt(SLOW)))

      assertWhole(events)
      assert.ok(expected(states), JSON.stringify(states))
    })
  }

  test('a task is made once, however often the answer to its request is cut', async (t) => {
    const { url, gateway } = await startGateway(t)
    let cuts = 3
    const proxy = await HostileProxy.start(t, url, { bytes: () => (cuts-- > 0 ? 30 : Number.POSITIVE_INFINITY) })
    const rejoin = client(t, proxy.url, { transports: ['sse'] })

    const text = await rejoin.run(prompt(HELLO)).text()
    const { records } = await gateway.list('anyone', Number.POSITIVE_INFINITY, 10, null)

    assert.deepEqual([text, records.length, proxy.cuts], [HELLO.text, 1, 3])
  })

  test('a gateway that is killed and started again costs no event', async (t) => {
    const dir = mkdtempSync(join(tmpdir(), 'rejoin-test-'))
    t.after(() => rmSync(dir, { recursive: true, force: true }))
    const begin = async (port: number) => {
      const process = fork(fileURLToPath(new URL('./gateway-process.js', import.meta.url)), [dir, String(port)])
      t.after(() => process.kill('SIGKILL'))
      const [{ url }] = (await once(process, 'message')) as [{ url: string }]
      return { process, url }
    }
    const first = await begin(await freePort())
    const rejoin = client(t, first.url)
    const runs = [1, 2, 3].map(() => rejoin.run(prompt({ tokens: 200, rate: 200 })))
    const reading = Promise.all(runs.map(all))
    await until('some events', () => runs.every(({ position }) => position > 20))

    first.process.kill('SIGKILL')
    await once(first.process, 'exit')
    const second = await begin(Number(new URL(first.url).port))

    for (const events of await reading) {
      assertWhole(events)
      assert.equal(textOf(events), await whole(second.url, events[0]?.task ?? null))
    }
  })

  test('a refusal for now is waited for as long as it says', async (t) => {
    const { url } = await startGateway(t)
    let refusals = 2
    const asked: number[] = []
    const server = createServer((req, res) => {
      if (req.method !== 'POST' || refusals-- <= 0) {
        res.writeHead(307, { location: `${url}${req.url}` }).end()
        return
      }
      asked.push(performance.now())
      res.writeHead(refusals === 1 ? 429 : 503, { 'retry-after': '1', 'content-type': 'application/json' })
      res.end(JSON.stringify({ error: { code: 'queue_full', message: 'full', param: null } }))
    })
    server.listen(0, '127.0.0.1')
    t.after(() => server.close())
    await once(server, 'listening')
    const states: ConnectionState[] = []
    const busy = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    const rejoin = client(t, busy, { transports: ['poll'], onState: (state) => states.push(state) })

    assert.equal(await rejoin.run(prompt(HELLO)).text(), HELLO.text)
    // Not before, that is; how much later is the machine's matter.
    assert.ok((asked[1] as number) - (asked[0] as number) >= 990)
    assert.ok(states.some(({ reason, retryInMs }) => reason === 'HTTP 429 queue_full' && retryInMs === 1000))
  })

  test('a key is sent with every request, and a WebSocket gets a ticket for it', async (t) => {
    const { url } = await startGateway(t)
    const proxy = await HostileProxy.start(t, url, { key: 'sesame' })
    const live: (string | null)[] = []
    const onState = ({ status, transport }: ConnectionState): unknown => status === 'live' && live.push(transport)
    const rejoin = client(t, proxy.url, { apiKey: async () => 'sesame', onState })
    const stranger = client(t, proxy.url, { apiKey: 'other' })

    assert.equal(await rejoin.run(prompt(HELLO)).text(), HELLO.text)
    assert.deepEqual([live, proxy.count('POST /v1/tickets')], [['websocket'], 1])
    await assert.rejects(stranger.run(prompt(HELLO)).text(), { code: 'unauthorized', status: 401 })
  })

  test('a key that cannot be had now is asked for again', async (t) => {
    const { url } = await startGateway(t)
    let asked = 0
    const apiKey = async (): Promise<string> => {
      if (++asked <= 3) throw new Error('no key yet')
      return 'any'
    }

    assert.equal(await client(t, url, { apiKey }).run(prompt(HELLO)).text(), HELLO.text)
  })

  test('a key at a gateway that asks for none is no obstacle', async (t) => {
    const { url } = await startGateway(t)

    assert.equal(await client(t, url, { apiKey: 'any' }).run(prompt(HELLO)).text(), HELLO.text)
  })

  test('a reader that takes its time gets neighbouring tokens in one event', async (t) => {
    const { url } = await startGateway(t)
    const rejoin = client(t, url)
    const run = rejoin.run(prompt(SLOW))
    const { id } = await run.task
    await until('a connection', () => rejoin.state.status === 'live')
    await until('the end', () => rejoin.state.status === 'idle')

    const events = await all(run)

    assertWhole(events)
    assert.ok(events.filter(({ type }) => type === 'token').length < 20)
    assert.equal(textOf(events), await whole(url, id))
  })

  test('tasks are listed over all pages, looked up and canceled', async (t) => {
    const { url } = await startGateway(t)
    const rejoin = client(t, url)
    const runs = Array.from({ length: 130 }, () => rejoin.run(prompt({ tokens: 1 })))
    await Promise.all(runs.map((run) => run.text()))
    const endless = rejoin.run(prompt({ tokens: 1_000_000, rate: 100 }))
    const { id } = await endless.task

    const listed: string[] = []
    for await (const task of rejoin.tasks({ status: 'completed' })) listed.push(task.id)
    await rejoin.cancel(id)
    await endless.text().catch(() => {})

    assert.deepEqual(new Set(listed), new Set(runs.map((run) => run.id)))
    assert.equal((await rejoin.task(id)).status, 'canceled')
    assert.deepEqual(await rejoin.models(), ['scripted'])
  })
})

describe('what is remembered', () => {
  /** As `sessionStorage`. */
  class Store extends Map<string, string> {
    getItem = (key: string): string | null => this.get(key) ?? null
    setItem = (key: string, value: string): unknown => this.set(key, value)
    removeItem = (key: string): unknown => this.delete(key)
  }

  test('lets a reload go on where the page was, and is gone when the answer has ended', async (t) => {
    const { url } = await startGateway(t)
    const storage = new Store()
    const before = client(t, url, { storage })
    const run = before.run(prompt(SLOW), { remember: 'answer' })
    const seen: TaskEvent[] = []
    for await (const event of run) {
      seen.push(event)
      if (seen.length === 8) break
    }
    before.close()

    const after = client(t, url, { storage })
    const recalled = after.recall('answer', { after: run.position })
    const rest = await all(recalled as Run)

    assertWhole([...seen, ...rest])
    assert.deepEqual([after.recall('answer'), storage.size], [null, 0])
  })

  test('is gone for a reader who leaves at the last event, too', async (t) => {
    const { url } = await startGateway(t)
    const storage = new Store()
    const rejoin = client(t, url, { storage })

    for await (const { type } of rejoin.run(prompt(HELLO), { remember: 'answer' })) if (type === 'completed') break

    assert.deepEqual([rejoin.recall('answer'), storage.size], [null, 0])
  })

  test('has the position itself, not far behind', async (t) => {
    const { url } = await startGateway(t)
    const storage = new Store()
    const before = client(t, url, { storage })
    const run = before.run(prompt(SLOW), { remember: 'answer' })
    all(run).catch(() => {})
    await until('some events', () => run.position > 10)
    const position = run.position
    before.close()

    const recalled = client(t, url, { storage }).recall('answer') as Run
    const events = await all(recalled)

    assert.ok(position > 10)
    assertWhole(events, (events[0]?.type === 'token' && events[0].from ? events[0].from : (events[0]?.seq ?? 0)) - 1)
    assert.ok((events[0]?.seq ?? 0) > 10)
  })

  test('makes one task of a request whose answer the page did not live to see', async (t) => {
    const { url, gateway } = await startGateway(t)
    const storage = new Store()
    const proxy = await HostileProxy.start(t, url, { bytes: () => 10 })
    const before = client(t, proxy.url, { storage })
    before
      .run(prompt(HELLO), { remember: 'answer' })
      .text()
      .catch(() => {})
    await until('a cut answer', () => proxy.cuts > 0)
    before.close()
    proxy.hostility = {}

    const text = await client(t, proxy.url, { storage }).recall('answer')?.text()
    const { records } = await gateway.list('anyone', Number.POSITIVE_INFINITY, 10, null)

    assert.deepEqual([text, records.length], [HELLO.text, 1])
  })
})
