import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { Worker } from 'node:worker_threads'
import { DiskArchive } from '../../src/backend/embedded/disk-archive.js'
import { newTaskId } from '../../src/core/id.js'
import { until } from '../until.js'
import { temporaryDir } from './disk.js'
import { WIDE } from './suite.js'

/** Whose thread answers, while the disk is full, that it takes nothing. */
async function open(t: TestContext): Promise<{ archive: DiskArchive; disk: { full: boolean }; troubles: string[] }> {
  const disk = { full: false }
  const { postMessage } = Worker.prototype
  t.mock.method(
    Worker.prototype,
    'postMessage',
    function (this: Worker, message: { number: number; call: { op: string } }) {
      const { number, call } = message
      const refused = disk.full && (call.op === 'commit' || call.op === 'sweep')
      if (refused) setImmediate(() => this.emit('message', { number, error: 'ENOSPC' }))
      else postMessage.call(this, message)
    },
  )
  const troubles: string[] = []
  const archive = new DiskArchive(temporaryDir(t), WIDE, (error) => troubles.push(error?.message ?? 'none'))
  t.after(() => archive.close())
  await archive.open()
  return { archive, disk, troubles }
}

test('a sweep that the disk did not take is trouble until the next one is taken', async (t) => {
  const { archive, disk, troubles } = await open(t)

  disk.full = true
  await archive.sweep(Date.now())
  const during = troubles.at(-1)
  disk.full = false
  await archive.sweep(Date.now())

  assert.deepEqual([during, troubles.at(-1)], ['ENOSPC', 'none'])
})

test('what is put waits while the disk takes nothing, and is there when it does', async (t) => {
  const { archive, disk, troubles } = await open(t)
  const task = { id: newTaskId(), owner: 'me', ordinal: 1, status: 'completed', endedAt: Date.now() } as const
  disk.full = true

  const put = archive.put({ ...task, blob: Uint8Array.of(1, 2, 3), key: null, delivery: null })
  await until('trouble', () => troubles.at(-1) === 'ENOSPC')
  const before = await archive.find(task.id)
  disk.full = false
  await put

  assert.deepEqual([before.type, (await archive.find(task.id)).type, troubles.at(-1)], ['unknown', 'kept', 'none'])
})
