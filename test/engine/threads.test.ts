import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { test } from 'node:test'
import { promisify } from 'node:util'

/** In a process of its own, which the defect would end: threads that are ended at every moment of their start. */
const PROGRAM = `
  import { setTimeout as sleep } from 'node:timers/promises'
  import { newPool } from '${new URL('../../src/engine/threads.js', import.meta.url).href}'

  for (let ms = 15; ms < 75; ms++) {
    const pools = [1, 2, 3].map(() => newPool('./prompt-worker.js', { minThreads: 1, maxThreads: 1 }))
    await sleep(ms)
    await Promise.all(pools.map((pool) => pool.destroy()))
  }
  process.stdout.write('whole')
  process.exit()
`

test('threads that are ended while they start do not take the process with them', async () => {
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', PROGRAM])

  assert.equal(stdout, 'whole')
})
