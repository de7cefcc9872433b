/**
 * Memory of a server without its garbage.
 */
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Server } from './server.js'

/** Options of Node for a server whose memory is asked for. */
export const FREEING = ['--expose-gc', '--import', new URL('./gc-on-signal.js', import.meta.url).href]

const COLLECTING_MS = 700

/** Resident bytes, of a server that was started with FREEING. */
export async function residentBytes({ pid }: Server): Promise<number> {
  process.kill(pid, 'SIGUSR2')
  await sleep(COLLECTING_MS)
  const [, kilobytes = 'NaN'] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
  return Number(kilobytes) * 1024
}
