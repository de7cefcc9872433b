/**
 * A gateway whose disk is full: a real process that may not make a file larger than so much (`ulimit -f`), which to it is the same.
 */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import type { TaskEvent } from '../../src/core/event.js'
import { ended, post, scripted, sseEvents, submit, textOf } from './harness.js'

const CLI = fileURLToPath(new URL('../../src/cli.js', import.meta.url))
const TEXT = 'x'.repeat(64)

type Gateway = { url: string; child: ChildProcess; kill: () => Promise<void> }

/** With at most so many KiB to a file; null: without a limit. */
async function start(t: TestContext, dir: string, maxFileKib: number | null): Promise<Gateway> {
  const args = ['--port', '0', '--model', 'scripted', '--workers', '1', '--data-dir', dir, '--log-level', 'silent']
  const limit = maxFileKib === null ? '' : `trap '' XFSZ; ulimit -f ${maxFileKib};`
  const child = spawn('bash', ['-c', `${limit} exec "$0" "$@"`, process.execPath, CLI, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.after(() => child.kill('SIGKILL'))
  let url = ''
  for await (const line of createInterface({ input: child.stdout })) {
    url = /listens on (\S+)/.exec(line)?.[1] ?? url
    if (line === 'Ready.') break
  }
  const kill = async (): Promise<void> => {
    const exited = once(child, 'exit')
    child.kill('SIGKILL')
    await exited
  }
  return { url, child, kill }
}

const page = async (url: string, id: string): Promise<TaskEvent[]> => {
  const response = await fetch(`${url}/v1/tasks/${id}/events?limit=1000`)
  return ((await response.json()) as { events: TaskEvent[] }).events
}

test('while the disk is full nothing is accepted, what runs waits without a gap, and goes on when there is room', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'rejoin-test-'))
  t.after(() => rmSync(dir, { recursive: true, force: true }))
  const full = await start(t, dir, 256)
  const before = await submit(full.url, scripted({ tokens: 3 }))
  await ended(full.url, before.id)
  // Some 400 KiB of journal: more than it may write.
  const { id } = await submit(full.url, scripted({ tokens: 4000, rate: 4000, text: TEXT.repeat(4000) }))
  let ready = await fetch(`${full.url}/readyz`)
  while (ready.status === 200) ready = await fetch(`${full.url}/readyz`)
  const readiness = (await ready.json()) as { error: { code: string } }

  const refused = await post(full.url, scripted({ tokens: 1 }))
  const error = (await refused.json()) as { error: { code: string } }
  const seen = await page(full.url, id)
  const status = (await (await fetch(`${full.url}/v1/tasks/${id}`)).json()) as { status: string; last_seq: number }
  await full.kill()
  const roomy = await start(t, dir, null)
  const rest = await sseEvents(
    await fetch(`${roomy.url}/v1/tasks/${id}/events`, {
      headers: { accept: 'text/event-stream', 'last-event-id': String(seen.at(-1)?.seq) },
    }),
  )

  assert.deepEqual([ready.status, readiness.error.code], [503, 'storage_full'])
  assert.deepEqual([refused.status, error.error.code, refused.headers.get('retry-after')], [503, 'storage_full', '5'])
  assert.deepEqual([status.status, status.last_seq], ['running', seen.at(-1)?.seq])
  let seq = 0
  for (const event of [...seen, ...rest]) {
    assert.equal((event.type === 'token' ? event.from : undefined) ?? event.seq, seq + 1)
    seq = event.seq
  }
  assert.equal(rest.at(-1)?.type, 'completed')
  assert.ok(textOf([...seen, ...rest]) === TEXT.repeat(4000), 'the text is another one')
  assert.equal((await ended(roomy.url, before.id)).output.text, 'w0 w1 w2 ')
  await roomy.kill()
})

test('a data directory that cannot be used is one line and exit code 1', async (t) => {
  const child = spawn(process.execPath, [CLI, '--port', '0', '--model', 'scripted', '--data-dir', '/dev/null/data'])
  t.after(() => child.kill('SIGKILL'))
  let stderr = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
  })

  const [code] = (await once(child, 'close')) as [number]

  assert.equal(code, 1)
  assert.match(stderr, /^rejoin: cannot write to the data directory \/dev\/null\/data: ENOTDIR[^\n]*\n$/)
})
