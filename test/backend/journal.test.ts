import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { Journal } from '../../src/backend/embedded/journal.js'
import { readRecord } from '../../src/backend/embedded/record.js'
import { readSegment, Segment } from '../../src/backend/embedded/segment.js'
import { until } from '../until.js'
import { temporaryDir } from './disk.js'

type Opened = { journal: Journal; dir: string; troubles: (string | null)[] }

async function open(
  t: TestContext,
  more: { fileBytes?: number; durability?: 'process' | 'disk' } = {},
): Promise<Opened> {
  const dir = temporaryDir(t)
  const troubles: (string | null)[] = []
  const onTrouble = (error: Error | null): void => void troubles.push(error === null ? null : error.message)
  const journal = await Journal.open({ dir, durability: 'process', fileBytes: 1e6, firstFile: 1, onTrouble, ...more })
  return { journal, dir, troubles }
}

/** The ordinals in the journal, record by record. */
const records = (dir: string): number[][] =>
  readdirSync(dir)
    .sort()
    .flatMap((name, index, names) => readSegment(join(dir, name), index === names.length - 1))
    .map((record) =>
      [...readRecord(record)].map((entry) => (entry.type === 'task' ? entry.task.ordinal : entry.ordinal)),
    )

const cancel = (journal: Journal, ordinal: number): Promise<void> =>
  journal.append((record) => record.cancel(ordinal, 'client'))

const tryCancel = (journal: Journal, ordinal: number): Promise<void> =>
  journal.tryAppend((record) => record.cancel(ordinal, 'client'))

/** A disk that takes nothing while it is full. */
function disk(t: TestContext): { full: boolean } {
  const state = { full: false }
  const { appendNow } = Segment.prototype
  t.mock.method(Segment.prototype, 'appendNow', function (this: Segment, bytes: Uint8Array) {
    if (state.full) throw new Error('ENOSPC: no space left on device')
    appendNow.call(this, bytes)
  })
  for (const method of ['append', 'probe'] as const) {
    const works = Segment.prototype[method]
    t.mock.method(Segment.prototype, method, function (this: Segment, bytes: Uint8Array, sync: boolean) {
      if (state.full) return Promise.reject(new Error('ENOSPC: no space left on device'))
      return works.call(this, bytes, sync)
    })
  }
  return state
}

for (const durability of ['process', 'disk'] as const) {
  test(`what is appended in one turn is one record, in order (${durability})`, async (t) => {
    const { journal, dir, troubles } = await open(t, { durability })

    await Promise.all([1, 2, 3].map((ordinal) => cancel(journal, ordinal)))
    await cancel(journal, 4)
    await journal.close()

    assert.deepEqual(records(dir), [[1, 2, 3], [4]])
    assert.deepEqual(troubles, [])
  })
}

test('what is appended while a record is written is the next one', async (t) => {
  const { journal, dir } = await open(t)
  const appends: Promise<void>[] = []
  for (let ordinal = 1; ordinal <= 50; ordinal++) {
    appends.push(cancel(journal, ordinal))
    await new Promise((resolve) => setImmediate(resolve))
  }

  await Promise.all(appends)
  await journal.close()

  assert.deepEqual(
    records(dir).flat(),
    Array.from({ length: 50 }, (_, index) => index + 1),
  )
})

test('a file that is long enough is followed by the next', async (t) => {
  const { journal, dir } = await open(t, { fileBytes: 100 })

  for (let ordinal = 1; ordinal <= 20; ordinal++) await cancel(journal, ordinal)
  const { file } = journal
  await journal.close()

  assert.ok(file > 3, `${file} files`)
  assert.equal(readdirSync(dir).length, file)
  assert.deepEqual(
    records(dir).flat(),
    Array.from({ length: 20 }, (_, index) => index + 1),
  )
})

test('while the disk is full what was said waits, what nobody was told of is given up, and all goes on when there is room', async (t) => {
  const { full, ...rest } = { full: disk(t), ...(await open(t)) }
  const { journal, dir, troubles } = rest
  await cancel(journal, 1)
  full.full = true
  let written = false

  const said = cancel(journal, 2).then(() => {
    written = true
  })
  const given = assert.rejects(tryCancel(journal, 3), /ENOSPC/)
  const also = cancel(journal, 4)
  await given
  const before = [written, troubles.at(-1)]
  const later = cancel(journal, 5)
  full.full = false
  await Promise.all([said, also, later])
  await journal.close()

  assert.deepEqual(before, [false, 'ENOSPC: no space left on device'])
  assert.deepEqual(records(dir).flat(), [1, 2, 4, 5])
  assert.equal(troubles.at(-1), null)
})

test('a journal whose last words were all given up finds out by itself when there is room', async (t) => {
  const state = disk(t)
  const { journal, troubles } = await open(t)
  state.full = true
  await assert.rejects(tryCancel(journal, 1), /ENOSPC/)

  state.full = false
  await until('the all-clear', () => troubles.at(-1) === null)
  await tryCancel(journal, 2)

  await journal.close()
})

test('what a full disk left behind the last record of a file does not make it a damaged one', async (t) => {
  const state = disk(t)
  const { journal, dir, troubles } = await open(t, { fileBytes: 30 })
  state.full = true
  await assert.rejects(tryCancel(journal, 1), /ENOSPC/)
  state.full = false
  await until('the all-clear', () => troubles.at(-1) === null)

  for (let ordinal = 2; ordinal <= 5; ordinal++) await cancel(journal, ordinal)
  await journal.close()

  assert.ok(readdirSync(dir).length > 1)
  assert.deepEqual(records(dir).flat(), [2, 3, 4, 5])
})

test('a journal closes while the disk is full', async (t) => {
  const state = disk(t)
  const { journal, dir } = await open(t)
  await cancel(journal, 1)
  state.full = true
  void cancel(journal, 2)

  await journal.close()

  assert.deepEqual(records(dir), [[1]])
})

test('an entry that cannot be encoded leaves the others as they are', async (t) => {
  const { journal, dir } = await open(t)

  const first = cancel(journal, 1)
  assert.throws(() =>
    journal.append((record) => {
      record.cancel(2, 'client')
      throw new Error('not to be encoded')
    }),
  )
  await Promise.all([first, cancel(journal, 3)])
  await journal.close()

  assert.deepEqual(records(dir), [[1, 3]])
})

test('whoever makes more is told to wait when much waits to be written', async (t) => {
  const state = disk(t)
  const { journal } = await open(t)
  state.full = true
  let roomy = false
  for (let i = 0; i < 100; i++) void journal.append((record) => record.cancel(i, 'x'.repeat(20_000) as 'client'))
  // The first of them are being written by then, and what comes now waits behind.
  await new Promise((resolve) => setTimeout(resolve, 10))
  for (let i = 0; i < 100; i++) void journal.append((record) => record.cancel(i, 'x'.repeat(20_000) as 'client'))

  const room = journal.room().then(() => {
    roomy = true
  })
  await new Promise((resolve) => setImmediate(resolve))
  const before = roomy
  state.full = false
  await room
  await journal.close()

  assert.equal(before, false)
})

test('a group is with the kernel when the turn of the loop in which it came is over', async (t) => {
  const { journal, dir } = await open(t)
  const before = cancel(journal, 1)
  void cancel(journal, 2)

  await new Promise((resolve) => setImmediate(resolve))

  assert.deepEqual(records(dir), [[1, 2]])
  await before
  await journal.close()
})

test('after a write that was slow others write for a while, and the loop does not wait for the disk', async (t) => {
  const { appendNow } = Segment.prototype
  let now = 0
  t.mock.method(Segment.prototype, 'appendNow', function (this: Segment, bytes: Uint8Array) {
    now++
    appendNow.call(this, bytes)
    const until = performance.now() + 6
    while (performance.now() < until);
  })
  const { journal, dir } = await open(t)

  for (let ordinal = 1; ordinal <= 5; ordinal++) await cancel(journal, ordinal)
  await journal.close()

  assert.equal(now, 1)
  assert.deepEqual(records(dir), [[1], [2], [3], [4], [5]])
})
