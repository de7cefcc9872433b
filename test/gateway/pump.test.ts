import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { Pump, type Pumpable } from '../../src/gateway/pump.js'

/** A clock that moves when a connection is written, or time passes; immediates and timers run when they are asked to. */
class Clock {
  now = 1000
  readonly #immediates: (() => void)[] = []
  readonly #timers: { at: number; run: () => void }[] = []

  constructor(t: TestContext) {
    t.mock.method(performance, 'now', () => this.now)
    t.mock.method(globalThis, 'setImmediate', (run: () => void) => this.#immediates.push(run))
    t.mock.method(globalThis, 'setTimeout', (run: () => void, ms: number) => {
      const timer = { at: this.now + ms, run }
      this.#timers.push(timer)
      return timer
    })
    t.mock.method(globalThis, 'clearTimeout', (timer: { at: number; run: () => void }) => {
      const index = this.#timers.indexOf(timer)
      if (index >= 0) this.#timers.splice(index, 1)
    })
  }

  get waits(): number[] {
    return this.#timers.map(({ at }) => at - this.now)
  }

  turn(): void {
    for (const run of this.#immediates.splice(0)) run()
  }

  /** Lets the next timer come. */
  sleep(): void {
    const [timer] = this.#timers.splice(0, 1)
    assert.ok(timer)
    this.now = timer.at
    timer.run()
  }
}

const MAX_MERGE_MS = 25

class Connection implements Pumpable {
  behindSince = 0
  /** When it was written. */
  readonly writes: number[] = []
  readonly #clock: Clock
  readonly #costMs: number

  constructor(clock: Clock, costMs = 0.01) {
    this.#clock = clock
    this.#costMs = costMs
  }

  pump(): void {
    this.#clock.now += this.#costMs
    this.writes.push(this.#clock.now)
  }
}

test('while writes are on time each is made in the turn in which something was said', (t) => {
  const clock = new Clock(t)
  const pump = new Pump(MAX_MERGE_MS)
  const connection = new Connection(clock)

  for (let said = 0; said < 5; said++) {
    pump.mark(connection)
    pump.mark(connection)
    clock.turn()
    clock.now += 1
  }

  assert.equal(connection.writes.length, 5)
  assert.deepEqual(clock.waits, [])
})

test('after a round that was late the next one waits for as long, and has all that was said meanwhile', (t) => {
  const clock = new Clock(t)
  const pump = new Pump(MAX_MERGE_MS)
  const connections = Array.from({ length: 10 }, () => new Connection(clock, 0.5))
  for (const connection of connections) pump.mark(connection)
  clock.turn()

  for (let said = 0; said < 3; said++) for (const connection of connections) pump.mark(connection)
  clock.turn()
  const before = connections.map(({ writes }) => writes.length)
  const { waits } = clock
  clock.sleep()

  assert.deepEqual(new Set(before), new Set([1]))
  assert.deepEqual(waits, [5])
  assert.deepEqual(new Set(connections.map(({ writes }) => writes.length)), new Set([2]))
})

test('the wait has a bound, however late a round was', (t) => {
  const clock = new Clock(t)
  const pump = new Pump(MAX_MERGE_MS)
  const [slow, other] = [new Connection(clock, 400), new Connection(clock)]
  pump.mark(slow)
  clock.turn()

  pump.mark(other)

  assert.deepEqual(clock.waits, [MAX_MERGE_MS])
})

test('who has not been given a token yet does not wait, neither with the others nor for the turn of the loop', async (t) => {
  const clock = new Clock(t)
  const pump = new Pump(MAX_MERGE_MS)
  const [slow, late, first] = [new Connection(clock, 20), new Connection(clock), new Connection(clock)]
  pump.mark(slow)
  clock.turn()
  pump.mark(late)

  pump.mark(first, true)
  await Promise.resolve()
  const written = [late.writes.length, first.writes.length]
  clock.sleep()

  assert.deepEqual(written, [0, 1])
  assert.equal(late.writes.length, 1)
})

test('a long round leaves the loop to others in between, and visits each once, in the order in which they fell behind', (t) => {
  const clock = new Clock(t)
  const pump = new Pump(MAX_MERGE_MS)
  const connections = Array.from({ length: 100 }, () => new Connection(clock, 0.5))
  for (const connection of connections) pump.mark(connection)

  const perTurn: number[] = []
  for (let done = 0; done < 100; ) {
    clock.turn()
    const now = connections.filter(({ writes }) => writes.length > 0).length
    perTurn.push(now - done)
    done = now
    // Said to the first one again, while the others have not had their turn.
    pump.mark(connections[0] as Connection)
  }

  assert.ok(perTurn.length > 2 && Math.max(...perTurn) <= 32, perTurn.join())
  const order = connections.map(({ writes }) => writes[0] as number)
  assert.deepEqual(
    order,
    [...order].sort((a, b) => a - b),
  )
  assert.equal(connections[0]?.writes.length, 1)
})

test('one that has more to write than its chance allows comes again after the others', (t) => {
  const clock = new Clock(t)
  const pump = new Pump(MAX_MERGE_MS)
  const order: string[] = []
  let left = 3
  const backlog: Pumpable = {
    behindSince: 0,
    pump: () => {
      order.push('backlog')
      if (--left > 0) pump.mark(backlog)
    },
  }
  const live: Pumpable = { behindSince: 0, pump: () => order.push('live') }

  for (let i = 0; i < 3; i++) {
    if (i === 0) pump.mark(backlog)
    pump.mark(live)
    clock.turn()
  }

  assert.deepEqual(order, ['backlog', 'live', 'backlog', 'live', 'backlog', 'live'])
})

test('those who cannot wait are given their chance at once', (t) => {
  const clock = new Clock(t)
  const pump = new Pump(MAX_MERGE_MS)
  const [slow, late, first] = [new Connection(clock, 20), new Connection(clock), new Connection(clock)]
  pump.mark(slow)
  clock.turn()
  pump.mark(late)
  pump.mark(first, true)

  pump.flush()

  assert.deepEqual([late.writes.length, first.writes.length], [1, 1])
})

test('it tells how late what was said was written', (t) => {
  const clock = new Clock(t)
  const pump = new Pump(MAX_MERGE_MS)
  for (let i = 0; i < 100; i++) {
    pump.mark(new Connection(clock, i < 98 ? 1 : 50))
    clock.turn()
    if (clock.waits.length > 0) clock.sleep()
    clock.now += 100
  }

  const { p50, p99 } = { p50: pump.lateness.quantile(0.5, clock.now), p99: pump.lateness.quantile(0.99, clock.now) }

  assert.ok(p50 >= 1 && p50 < 1.1, `${p50}`)
  assert.ok(p99 >= 50 && p99 < 55, `${p99}`)
})
