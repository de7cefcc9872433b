import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Line } from '../../src/backend/embedded/line.js'
import type { TaskId } from '../../src/core/id.js'
import type { Task } from '../../src/core/task.js'

test('a line knows how many are ahead of each task, whoever came, was taken or left', () => {
  const step = fc.oneof(
    fc.constant({ type: 'add' } as const),
    fc.record({ type: fc.constant('take' as const), max: fc.nat(5) }),
    fc.record({ type: fc.constant('remove' as const), at: fc.nat(30) }),
  )

  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const line = new Line()
      let expected: TaskId[] = []
      for (const [number, step] of steps.entries()) {
        if (step.type === 'add') {
          // Only the id matters to a line.
          line.add({ id: `task_${number}` } as Task, number)
          expected.push(`task_${number}`)
        } else if (step.type === 'take') {
          const taken = line.take(step.max).map(({ id }) => id)
          assert.deepEqual(taken, expected.slice(0, step.max))
          expected = expected.slice(step.max)
        } else {
          line.remove(expected[step.at] ?? 'task_unknown')
          expected = expected.filter((_, index) => index !== step.at)
        }
        assert.deepEqual(
          expected.map((id) => line.position(id)),
          expected.map((_, index) => index),
        )
        assert.equal(line.size, expected.length)
        assert.equal(line.oldest, expected[0] === undefined ? Number.POSITIVE_INFINITY : Number(expected[0].slice(5)))
      }
    }),
  )
})
