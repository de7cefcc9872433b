import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Answer } from '../../src/load/answer.js'
import { Measure } from '../../src/load/measure.js'

const event = (seq: number, type: string, more: object = {}): Buffer =>
  Buffer.from(JSON.stringify({ task: 't', seq, at: 1, type, ...more }))

function read(events: Buffer[], slow = false): { measure: Measure; answer: Answer } {
  const measure = new Measure()
  measure.start(performance.now())
  const answer = new Answer(measure, performance.now(), slow)
  for (const each of events) answer.event(each)
  return { measure, answer }
}

test('an answer that came whole has nothing lost and nothing repeated', () => {
  const { measure, answer } = read([
    event(1, 'queued', { position: 0 }),
    event(2, 'token', { text: 'a', tokens: 1 }),
    event(5, 'token', { text: 'bcd', tokens: 3, from: 3 }),
    event(6, 'completed'),
  ])

  assert.deepEqual([measure.lost, measure.repeated, answer.position, answer.end], [0, 0, 6, 'completed'])
  assert.deepEqual([measure.tokens, measure.events], [4, 2])
  const { firstToken, gap, total } = measure.times
  assert.deepEqual([firstToken.count, gap.count, total.count], [1, 1, 1])
})

test('every event that is missing is counted as lost, and every one that comes again as repeated', () => {
  // 1 … 40 in order, some left out and some given again, neighbours merged.
  const steps = fc.array(fc.record({ skip: fc.nat(2), again: fc.nat(3), length: fc.integer({ min: 1, max: 4 }) }), {
    maxLength: 20,
  })
  fc.assert(
    fc.property(steps, (steps) => {
      let [position, lost, repeated] = [0, 0, 0]
      const events = steps.map(({ skip, again, length }) => {
        const back = skip > 0 ? 0 : Math.min(again, position)
        const from = position + 1 + skip - back
        const seq = position + skip + length
        lost += skip
        repeated += back
        position = seq
        return event(seq, 'token', { text: 'x', tokens: 1, ...(from < seq ? { from } : {}) })
      })
      const { measure } = read(events)

      assert.deepEqual([measure.lost, measure.repeated], [lost, repeated])
    }),
  )
})

test('an event that comes after the end, or the end twice, is repeated', () => {
  const { measure, answer } = read([event(1, 'completed'), event(1, 'completed')])

  assert.deepEqual([measure.repeated, answer.end, measure.ends.get('completed')], [1, 'completed', 1])
})

test('a slow reader counts for what is lost, and not for how fast it was', () => {
  const { measure } = read(
    [event(1, 'token', { text: 'a', tokens: 1 }), event(3, 'token', { text: 'c', tokens: 1 })],
    true,
  )

  assert.deepEqual([measure.lost, measure.tokens], [1, 2])
  assert.deepEqual([measure.times.firstToken.count, measure.times.gap.count], [0, 0])
})
