/**
 * A gateway in a process of its own, whose memory can be asked for: forked by a test with `--expose-gc`.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { start } from '../../src/index.js'

const dir = mkdtempSync(join(tmpdir(), 'rejoin-test-'))
process.on('exit', () => rmSync(dir, { recursive: true, force: true }))
const { url, ready } = await start({
  port: 0,
  model: ['scripted'],
  workers: 1,
  'max-body-bytes': 32 * 1_048_576,
  'data-dir': dir,
})
await ready
process.on('message', () => {
  globalThis.gc?.()
  process.send?.({ rss: process.memoryUsage().rss })
})
process.on('disconnect', () => process.exit())
process.send?.({ url })
