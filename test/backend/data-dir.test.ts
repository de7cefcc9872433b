import assert from 'node:assert/strict'
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { DataDir } from '../../src/backend/embedded/data-dir.js'
import { temporaryDir } from './disk.js'

const messageOf = (path: string): string => {
  try {
    DataDir.open(path).close()
    return 'opened'
  } catch (error) {
    return (error as Error).message
  }
}

/** A process that has the directory open. */
async function holder(t: TestContext, path: string): Promise<ChildProcess> {
  const child = fork(new URL('./data-dir-holder.js', import.meta.url), [path])
  t.after(() => child.kill('SIGKILL'))
  await once(child, 'message')
  return child
}

test('a directory is made where there is none, and opened again', (t) => {
  const path = join(temporaryDir(t), 'a', 'b')

  assert.deepEqual([messageOf(path), messageOf(path)], ['opened', 'opened'])
  assert.equal(readFileSync(join(path, 'version'), 'utf8'), 'rejoin data, version 1\n')
})

test('while one gateway has it, a second one is refused, in the same process and in another', async (t) => {
  const path = temporaryDir(t)
  const dir = DataDir.open(path)
  const here = messageOf(path)
  dir.close()
  const child = await holder(t, path)
  const other = messageOf(path)

  child.kill('SIGKILL')
  await once(child, 'exit')

  assert.deepEqual([here, other], Array(2).fill(`the data directory ${path} is in use by another gateway`))
  assert.equal(messageOf(path), 'opened')
})

test('a version that is not known is refused, and so is a mark that cannot be read', (t) => {
  const path = temporaryDir(t)
  messageOf(path)

  writeFileSync(join(path, 'version'), 'rejoin data, version 2\n')
  const newer = messageOf(path)
  writeFileSync(join(path, 'version'), 'something')
  const unknown = messageOf(path)

  const start = `the data directory ${path} cannot be read: `
  assert.equal(newer, `${start}it was written by version 2, and this gateway reads version 1`)
  assert.equal(unknown, `${start}what wrote it is not known, and this gateway reads version 1`)
})

test('a directory that holds something else is refused, and not touched', (t) => {
  const path = temporaryDir(t)
  writeFileSync(join(path, 'letter.txt'), 'Dear Bruno')

  assert.equal(
    messageOf(path),
    `${path} is no data directory of Rejoin and not empty (it holds letter.txt): name another`,
  )
})

test('a start that was interrupted before the mark was written does not matter', (t) => {
  const path = temporaryDir(t)
  for (const name of ['lock', 'version.new']) writeFileSync(join(path, name), '')

  assert.equal(messageOf(path), 'opened')
})

test('a directory that cannot be made is one line', (t) => {
  const file = join(temporaryDir(t), 'file')
  writeFileSync(file, '')
  const path = join(file, 'data')

  assert.match(messageOf(path), /^cannot write to the data directory .*\/file\/data: ENOTDIR[^\n]*$/)
})
