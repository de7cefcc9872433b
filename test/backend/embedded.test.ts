import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EmbeddedBackend } from '../../src/backend/embedded/embedded.js'
import { Keys, keyOf } from '../../src/backend/embedded/keys.js'
import { aTask } from '../task.js'
import { diskOptions, temporaryDir } from './disk.js'
import { backendSuite } from './suite.js'

backendSuite('the embedded backend, in memory', async (bounds) => new EmbeddedBackend(bounds))

for (const durability of ['process', 'disk'] as const) {
  backendSuite(`the embedded backend, on disk for a loss of its ${durability}`, async (bounds, t) => {
    const { backend } = await EmbeddedBackend.open(bounds, diskOptions(temporaryDir(t), { durability }))
    return backend
  })
}

test('an idempotency key is kept for 24 hours, and then it is free again', (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: 1_000 })
  const keys = new Keys(1)
  const task = aTask({ idempotency: { key: 'k', bodyHash: 'h' }, createdAt: 1000 })
  const key = keyOf(task)
  assert.ok(key)
  keys.add(key)

  t.mock.timers.tick(86_399_999)
  const before = { found: keys.find('me', 'k')?.id, full: keys.full }
  t.mock.timers.tick(1)
  const after = { found: keys.find('me', 'k')?.id, full: keys.full }

  assert.deepEqual(before, { found: task.id, full: true })
  assert.deepEqual(after, { found: undefined, full: false })
})
