import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Backoff, waitMs } from '../../src/gateway/backoff.js'
import { newRun, type Run } from '../../src/gateway/run.js'
import { aRecord } from '../task.js'

const aRun = (): Run => newRun(aRecord())

test('the wait doubles with every failure up to a bound, and half of it is chance', () => {
  const longest = [1, 2, 3, 4, 5, 6, 7, 8, 100].map((failures) => waitMs(failures, 0))

  assert.deepEqual(longest, [100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000])
  assert.deepEqual([waitMs(1, 1), waitMs(100, 1)], [50, 2500])
})

test('a run is here until its time has come, and then its owner has it', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  t.mock.method(Math, 'random', () => 0)
  const back: Run[] = []
  const backoff = new Backoff((run) => back.push(run))
  const [first, second] = [aRun(), aRun()]

  backoff.add(second, 2)
  backoff.add(first, 1)
  t.mock.timers.tick(99)
  const before = [...back]
  t.mock.timers.tick(1)
  const after = [...back]
  const here = [backoff.has(first), backoff.has(second)]
  t.mock.timers.tick(100)

  assert.deepEqual([before, after, here], [[], [first], [false, true]])
  assert.deepEqual(back, [first, second])
})

test('a run that was taken out does not come back', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const back: Run[] = []
  const backoff = new Backoff((run) => back.push(run))
  const runs = [aRun(), aRun(), aRun()] as const
  for (const run of runs) backoff.add(run, 1)

  backoff.delete(runs[0])
  const one = runs.map((run) => backoff.has(run))
  backoff.clear()
  t.mock.timers.tick(10_000)

  assert.deepEqual(one, [false, true, true])
  assert.deepEqual(back, [])
})
