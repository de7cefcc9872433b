import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { Line } from '../../src/gateway/line.js'
import { Probation } from '../../src/gateway/probation.js'
import { newRun, type Run } from '../../src/gateway/run.js'
import { aRecord } from '../task.js'

/** One that has never begun. */
const fresh = (): Run => newRun(aRecord())
/** One whose first attempt brought no token. */
const suspect = (): Run => ({ ...fresh(), attempt: 2, startedAttempt: 1, fruitless: 1 })
/** One whose first attempt brought some. */
const proven = (): Run => ({ ...suspect(), fruitless: 0 })
/** One that was paused before its first token. */
const paused = (): Run => ({ ...suspect(), attempt: 1 })

function watch(t: TestContext): { probation: Probation; over: () => number } {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  let over = 0
  return { probation: new Probation(() => over++), over: () => over }
}

test('runs that are above suspicion start beside each other', (t) => {
  const { probation } = watch(t)

  for (const run of [fresh(), proven(), paused()]) {
    assert.equal(probation.mayStart(run), true)
    probation.started(run)
  }

  assert.deepEqual([probation.active, probation.holding], [false, false])
})

test('while a suspect is silent nothing starts', (t) => {
  const { probation, over } = watch(t)
  const run = suspect()
  probation.started(run)

  const before = [fresh(), proven(), paused(), suspect()].map((run) => probation.mayStart(run))
  const { active } = probation
  probation.proved(run)

  assert.deepEqual([before, active], [[false, false, false, false], true])
  assert.deepEqual([probation.active, probation.holding, over()], [false, false, 0])
  assert.equal(probation.mayStart(suspect()), true)
})

test('a suspect waits until all that have a slot have said something or left it, and holds up no other', (t) => {
  const { probation } = watch(t)
  const [first, second] = [fresh(), proven()]
  probation.started(first)
  probation.started(second)

  const answers = [probation.mayStart(suspect()), probation.mayStart(fresh())]
  probation.proved(first)
  answers.push(probation.mayStart(suspect()))
  const { holding } = probation
  probation.proved(second)

  assert.deepEqual([answers, holding], [[false, true, false], true])
  assert.deepEqual([probation.mayStart(suspect()), probation.holding], [true, false])
})

test('a suspect that stays silent holds up the others for ten seconds', (t) => {
  const { probation, over } = watch(t)
  const run = suspect()
  probation.started(run)
  t.mock.timers.tick(9_999)
  const before = [probation.mayStart(fresh()), over()]

  t.mock.timers.tick(1)
  const after = [probation.mayStart(fresh()), probation.mayStart(suspect()), over()]
  // Its first token after all.
  probation.proved(run)
  t.mock.timers.tick(10_000)

  assert.deepEqual([before, after, over()], [[false, 0], [true, true, 1], 1])
})

test('a suspect is held up by those who stay silent for ten seconds', (t) => {
  const { probation, over } = watch(t)
  probation.started(fresh())
  probation.mayStart(suspect())

  t.mock.timers.tick(10_000)

  assert.deepEqual([over(), probation.mayStart(suspect()), probation.holding], [1, true, false])
})

test('a probation that is closed tells nobody', (t) => {
  const { probation, over } = watch(t)
  probation.started(suspect())

  probation.close()
  t.mock.timers.tick(10_000)

  assert.equal(over(), 0)
})

test('suspects are first in the line, and each keeps its place', () => {
  const line = new Line()
  const runs = [fresh(), suspect(), proven(), suspect(), paused()] as const

  for (const run of [...runs, ...runs]) line.add(run)
  const all = [...line]
  line.delete(runs[1])
  line.delete(runs[2])

  assert.deepEqual(all, [runs[1], runs[3], runs[0], runs[2], runs[4]])
  assert.deepEqual([[...line], line.size], [[runs[3], runs[0], runs[4]], 3])
})
