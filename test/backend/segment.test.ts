import assert from 'node:assert/strict'
import { readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { replay } from '../../src/backend/embedded/replay.js'
import { FRAME_BYTES, frame, readSegment, Segment, segmentName } from '../../src/backend/embedded/segment.js'
import { temporaryDir } from './disk.js'

const record = (text: string): Buffer => {
  const bytes = Buffer.concat([Buffer.alloc(FRAME_BYTES), Buffer.from(text)])
  frame(bytes)
  return bytes
}

/** A file of these records; its path. */
async function segment(dir: string, number: number, ...texts: string[]): Promise<string> {
  const segment = await Segment.create(dir, number)
  for (const text of texts) await segment.append(record(text), false)
  await segment.close()
  return join(dir, segmentName(number))
}

const texts = (path: string, newest = true): string[] => readSegment(path, newest).map(String)

const dirOf = (t: TestContext): string => temporaryDir(t)

test('records are read again in order', async (t) => {
  const path = await segment(dirOf(t), 1, 'one', 'two', 'three')

  assert.deepEqual(texts(path), ['one', 'two', 'three'])
  assert.deepEqual(texts(path, false), ['one', 'two', 'three'])
})

test('wherever the last record was torn, what is before it is whole, and the rest is cut off for good', async (t) => {
  const path = await segment(dirOf(t), 1, 'one', 'two', 'the last one')
  const whole = readFileSync(path)
  const keptBytes = whole.length - record('the last one').length

  for (let bytes = keptBytes; bytes < whole.length; bytes++) {
    writeFileSync(path, whole.subarray(0, bytes))
    assert.deepEqual(texts(path), ['one', 'two'], `torn at ${bytes}`)
    assert.equal(statSync(path).size, keptBytes)
    // It is not the newest any more after the next start, and no damaged one either.
    assert.deepEqual(texts(path, false), ['one', 'two'])
  }
})

test('a last record with any one bit changed, or zeros behind the last one, is torn', async (t) => {
  const path = await segment(dirOf(t), 1, 'one', 'two', 'last')
  const whole = readFileSync(path)
  const keptBytes = whole.length - record('last').length

  for (let at = keptBytes; at < whole.length; at++) {
    const changed = Buffer.from(whole)
    changed[at] = (changed[at] as number) ^ (1 << (at % 8))
    writeFileSync(path, changed)
    assert.deepEqual(texts(path), ['one', 'two'], `changed at ${at}`)
  }
  writeFileSync(path, Buffer.concat([whole, Buffer.alloc(1000)]))
  assert.deepEqual(texts(path), ['one', 'two', 'last'])
})

test('an older file that is damaged is refused, with its name and where', async (t) => {
  const dir = dirOf(t)
  const path = await segment(dir, 1, 'one', 'two')
  await segment(dir, 2, 'three')
  const bytes = readFileSync(path)
  const at = bytes.length - 1
  bytes[at] = (bytes[at] as number) ^ 1
  writeFileSync(path, bytes)

  const start = bytes.length - record('two').length
  assert.throws(() => replay(dir, [], 16), { message: `${path} is damaged at byte ${start} of ${bytes.length}` })
})

test('a file of another kind is refused', async (t) => {
  const path = join(dirOf(t), segmentName(1))
  writeFileSync(path, 'something else')

  assert.throws(() => readSegment(path, true), /is not a journal of this version/)
})

test('a newest file that was only begun is nothing, and is gone after that', async (t) => {
  const dir = dirOf(t)
  for (const content of ['', 'Rej', 'RejoinJ1']) {
    const path = join(dir, segmentName(5))
    writeFileSync(path, content)

    const { files, nextFile } = replay(dir, [], 16)

    assert.deepEqual([files, nextFile], [[], 6])
    assert.throws(() => statSync(path), /ENOENT/)
  }
  rmSync(dir, { recursive: true })
})

test('a write that failed in the middle does not count, and the next one takes its place', async (t) => {
  const dir = dirOf(t)
  const segment = await Segment.create(dir, 1)
  await segment.append(record('one'), false)
  const before = segment.size

  await segment.probe()
  await segment.append(record('two'), true)
  await segment.close()

  assert.equal(before + record('two').length, segment.size)
  assert.deepEqual(texts(join(dir, segmentName(1))), ['one', 'two'])
})
