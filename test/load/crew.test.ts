import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Answer } from '../../src/load/answer.js'
import { arrivals } from '../../src/load/arrivals.js'
import { Crew, type Member, type Pace } from '../../src/load/crew.js'
import { Measure } from '../../src/load/measure.js'
import { Random } from '../../src/load/random.js'

const take = (kind: 'uniform' | 'poisson', rate: number, seed: number, count: number): number[] => {
  const times: number[] = []
  for (const at of arrivals(kind, rate, new Random(seed))) if (times.push(at) === count) break
  return times
}

test('uniform arrivals are as far from each other as the rate says', () => {
  assert.deepEqual(take('uniform', 50, 1, 4), [0, 20, 40, 60])
})

test('poisson arrivals have the rate as their mean, are spread as such, and are the same for the same seed', () => {
  const times = take('poisson', 100, 7, 20_001)
  const gaps = times.slice(1).map((at, index) => at - (times[index] as number))
  const mean = gaps.reduce((sum, gap) => sum + gap, 0) / gaps.length
  const deviation = Math.sqrt(gaps.reduce((sum, gap) => sum + (gap - mean) ** 2, 0) / gaps.length)

  assert.ok(Math.abs(mean - 10) < 0.3, `${mean}`)
  assert.ok(Math.abs(deviation - mean) < 0.4, `${deviation}`)
  assert.deepEqual(take('poisson', 100, 7, 50), times.slice(0, 50))
  assert.notDeepEqual(take('poisson', 100, 8, 50), times.slice(0, 50))
})

/** Clients whose answers end when the test says so. */
function crewOf(
  count: number,
  pace: Partial<Pace>,
): { crew: Crew; measure: Measure; under: (() => void)[]; over: AbortController } {
  const measure = new Measure()
  measure.measuring = true
  const under: (() => void)[] = []
  const member = (): Member => ({
    slow: false,
    client: {
      follow: (answer: Answer) =>
        new Promise((resolve) => {
          under.push(() => {
            answer.finish('completed')
            resolve()
          })
        }),
      cut: () => false,
      close: () => {},
    },
  })
  const over = new AbortController()
  const whole: Pace = { arrivals: 'closed', ratePerS: 0, maxTasks: null, spreadMs: 0, ...pace }
  const members = Array.from({ length: count }, member)
  return { crew: new Crew(members, measure, whole, new Random(1), over.signal), measure, under, over }
}

const until = async (what: () => boolean): Promise<void> => {
  while (!what()) await new Promise((resolve) => setTimeout(resolve, 1))
}

test('a closed run keeps every client busy with one answer at a time, and ends after its last task', async () => {
  const { crew, measure, under } = crewOf(3, { maxTasks: 5 })
  const run = crew.run()
  await until(() => under.length === 3)
  const first = [measure.begun, measure.active]

  for (let over = 0; over < 5; over++) {
    await until(() => under.length > over)
    under[over]?.()
  }
  await run

  assert.deepEqual(first, [3, 3])
  assert.deepEqual([measure.begun, measure.active, measure.ends.get('completed')], [5, 0, 5])
})

test('a task that finds every client busy counts its wait: nothing is omitted', async () => {
  const { crew, measure, under } = crewOf(1, { arrivals: 'uniform', ratePerS: 1000, maxTasks: 4 })
  const run = crew.run()
  await until(() => under.length === 1)
  await new Promise((resolve) => setTimeout(resolve, 60))

  for (let over = 0; over < 4; over++) {
    await until(() => under.length > over)
    under[over]?.()
  }
  await run

  assert.equal(measure.begun, 4)
  assert.ok(measure.delayed >= 3, `${measure.delayed}`)
  // Each answer took no time at all once it was asked for; all of them waited for the first.
  assert.ok(measure.times.total.quantile(0.01) > 50, `${measure.times.total.quantile(0.01)} ms`)
})

test('a run that is stopped begins nothing more', async () => {
  const { crew, measure, under, over } = crewOf(2, { arrivals: 'uniform', ratePerS: 1000 })
  const run = crew.run()
  await until(() => under.length === 2)

  over.abort()
  await run
  for (const end of under) end()
  await crew.settle()

  assert.equal(measure.begun, 2)
})
