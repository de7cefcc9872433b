import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { EmbeddedBackend } from '../../src/backend/embedded/embedded.js'
import type { Delivery } from '../../src/core/delivery.js'
import type { TaskId } from '../../src/core/id.js'
import type { Gateway } from '../../src/gateway/gateway.js'
import type { Posted } from '../../src/gateway/webhook-client.js'
import { Webhooks, waitMs } from '../../src/gateway/webhooks.js'
import { diskOptions, temporaryDir } from '../backend/disk.js'
import { until } from '../until.js'
import { BACKEND, makeGateway, openGateway, SILENT, script, submit, whole } from './harness.js'
import { ok, receiver } from './receiver.js'

const NOW = 1_790_000_000_000
const DAY_MS = 86_400_000
const SECRET = 'a secret of more than twenty-four bytes'
const WEBHOOKS = { secret: SECRET, allowPrivate: true, maxPending: 10 }

/** Deliveries that a test answers by hand, with a clock of its own. */
class Bench {
  readonly posted: { delivery: Delivery; answer: (posted: Posted) => void }[] = []
  readonly stored = new Map<TaskId, Delivery>()
  readonly warnings: string[] = []
  readonly webhooks: Webhooks
  #count = 0

  constructor(t: TestContext) {
    t.mock.timers.enable({ apis: ['setTimeout', 'Date'], now: NOW })
    t.mock.method(Math, 'random', () => 0)
    const poster = {
      post: (delivery: Delivery) => new Promise<Posted>((answer) => this.posted.push({ delivery, answer })),
      mayPost: () => true,
      close: () => {},
    }
    const store = {
      putDelivery: (delivery: Delivery) => void this.stored.set(delivery.task, delivery),
      removeDelivery: (task: TaskId) => void this.stored.delete(task),
    }
    const logger = { ...SILENT, warn: (_: object, message: string) => void this.warnings.push(message) }
    this.webhooks = new Webhooks(poster, store, 1000, logger)
  }

  /** To a host; it is in the store, as the archive puts it there. */
  add(host = 'a', more: Partial<Delivery> = {}): Delivery {
    const task: TaskId = `task_${++this.#count}`
    const url = `http://${host}/`
    const delivery = { id: `${task}_3`, task, url, body: '{}', endedAt: NOW, failures: 0, nextAt: NOW, ...more }
    this.stored.set(task, delivery)
    this.webhooks.add(delivery)
    return delivery
  }

  async answer(index: number, posted: Posted): Promise<void> {
    this.posted[index]?.answer(posted)
    for (let turns = 0; turns < 5; turns++) await Promise.resolve()
  }
}

const FAILED: Posted = { type: 'failed', reason: 'answered with 500', retryAfterMs: null }

test('a delivery is made at once, and is pending until it has succeeded', async (t) => {
  const bench = new Bench(t)
  const delivery = bench.add()
  const before = bench.webhooks.pending

  t.mock.timers.tick(0)
  await bench.answer(0, { type: 'delivered' })

  assert.deepEqual(
    bench.posted.map(({ delivery }) => delivery),
    [delivery],
  )
  assert.deepEqual([before, bench.webhooks.pending, bench.stored.size], [1, 0, 0])
})

test('one that fails is tried again under the same id, after ever longer waits, and each wait is in the store', async (t) => {
  const bench = new Bench(t)
  const { id, task } = bench.add()
  const waits: number[] = []

  t.mock.timers.tick(0)
  for (let tries = 0; tries < 4; tries++) {
    await bench.answer(tries, FAILED)
    const wait = (bench.stored.get(task)?.nextAt ?? 0) - Date.now()
    waits.push(wait)
    t.mock.timers.tick(wait - 1)
    assert.equal(bench.posted.length, tries + 1)
    t.mock.timers.tick(1)
  }

  assert.deepEqual(waits, [5000, 10_000, 20_000, 40_000])
  assert.deepEqual(new Set(bench.posted.map(({ delivery }) => delivery.id)), new Set([id]))
  assert.equal(bench.stored.get(task)?.failures, 4)
})

test('waits double up to an hour, and up to half of each is chance', () => {
  assert.deepEqual(
    [1, 2, 10, 11, 100].map((failures) => waitMs(failures, 0)),
    [5000, 10_000, 2_560_000, 3_600_000, 3_600_000],
  )
  assert.equal(waitMs(1, 1), 2500)
})

test('a receiver that asks for a longer wait gets it, up to an hour', async (t) => {
  const bench = new Bench(t)
  const [polite, endless] = [bench.add('a'), bench.add('b')]
  t.mock.timers.tick(0)

  await bench.answer(0, { ...FAILED, retryAfterMs: 60_000 })
  await bench.answer(1, { ...FAILED, retryAfterMs: 1e12 })

  const waits = [polite, endless].map(({ task }) => (bench.stored.get(task)?.nextAt ?? 0) - Date.now())
  assert.deepEqual(waits, [60_000, 3_600_000])
})

test('after a day, or when it never can succeed, it is given up and the log says so', async (t) => {
  const bench = new Bench(t)
  bench.add('a', { endedAt: NOW - DAY_MS + 4999 })
  bench.add('b')
  t.mock.timers.tick(0)

  await bench.answer(0, FAILED)
  await bench.answer(1, { type: 'refused', reason: 'answered with 410' })

  assert.deepEqual([bench.webhooks.pending, bench.stored.size], [0, 0])
  assert.deepEqual(bench.warnings, ['a webhook is given up after a day', 'a webhook is given up'])
})

test('a host that does not answer holds up nobody else, and so many requests are made at once', async (t) => {
  const bench = new Bench(t)
  for (let i = 0; i < 20; i++) bench.add('slow')
  for (let i = 0; i < 100; i++) bench.add(`host${i}`)

  t.mock.timers.tick(0)
  const hosts = bench.posted.map(({ delivery }) => new URL(delivery.url).host)
  await bench.answer(0, { type: 'delivered' })

  assert.equal(hosts.filter((host) => host === 'slow').length, 8)
  assert.equal(hosts.length, 64)
  assert.equal(bench.posted.length, 65)
})

test('after the close nothing is sent, and what is pending stays in the store', async (t) => {
  const bench = new Bench(t)
  bench.add()
  bench.add('b', { nextAt: NOW + 1000 })
  t.mock.timers.tick(0)

  bench.webhooks.close()
  await bench.answer(0, FAILED)
  t.mock.timers.tick(DAY_MS)

  assert.deepEqual([bench.posted.length, bench.stored.size], [1, 2])
})

const hooked = (gateway: Gateway, url: string): ReturnType<typeof submit> =>
  submit(gateway, script({ tokens: 2 }, { webhook: { url } }))

test('a task tells of its end, with the event that its readers get', async (t) => {
  const { url, calls } = await receiver(t, ok)
  const gateway = await openGateway(t, { webhooks: WEBHOOKS })

  const record = await hooked(gateway, url)
  const events = await whole(gateway, record)
  await until('the call', () => calls.length > 0)

  assert.equal(calls[0]?.body, JSON.stringify(events.at(-1)))
  assert.equal(calls[0]?.headers['webhook-id'], `${record.task.id}_${events.length}`)
})

test('a webhook without a secret, to a private address, or one too many is refused at the door', async (t) => {
  const url = 'https://example.com/'
  const without = makeGateway(t)
  const careful = makeGateway(t, { webhooks: { ...WEBHOOKS, allowPrivate: false } })
  const full = makeGateway(t, { webhooks: { ...WEBHOOKS, maxPending: 0 } })

  await assert.rejects(hooked(without, url), {
    code: 'unsupported_field',
    param: 'webhook',
    message: /--webhook-secret/,
  })
  await assert.rejects(hooked(careful, 'http://169.254.169.254/'), { code: 'invalid_request', param: 'webhook.url' })
  await assert.rejects(hooked(full, url), { code: 'too_many_webhooks', retryAfterS: 60 })
})

test('a webhook that was not delivered when the gateway ended is delivered after the next start, once', async (t) => {
  const dir = temporaryDir(t)
  let down = true
  const { url, calls } = await receiver(t, (response) => void response.writeHead(down ? 500 : 204).end())
  const first = await EmbeddedBackend.open(BACKEND, diskOptions(dir))
  const before = await openGateway(t, { backend: first.backend, webhooks: WEBHOOKS })
  const record = await hooked(before, url)
  await whole(before, record)
  await until('a try', () => calls.length > 0)
  await before.close()

  down = false
  const second = await EmbeddedBackend.open(BACKEND, diskOptions(dir))
  const after = makeGateway(t, { backend: second.backend, webhooks: WEBHOOKS })
  // Its time has not come yet; here it has.
  after.recover({ ...second, deliveries: second.deliveries.map((delivery) => ({ ...delivery, nextAt: 0 })) })
  await until('the delivery', () => after.pendingWebhooks === 0)
  await after.close()
  const third = await EmbeddedBackend.open(BACKEND, diskOptions(dir))
  t.after(() => third.backend.close())

  assert.deepEqual([second.deliveries.length, second.deliveries[0]?.task, third.deliveries], [1, record.task.id, []])
  const [tried, delivered] = calls
  assert.equal(tried?.headers['webhook-id'], delivered?.headers['webhook-id'])
  assert.equal(tried?.body, delivered?.body)
})
