/**
 * How many connections a process may have here. Node raises the soft limit of open files to the hard one by itself.
 */
import { readFileSync } from 'node:fs'

/** For what a process has open beside its connections. */
const OTHERS = 200

/** As many clients as wanted; where the limit is too low as many as it allows, and that is said. */
export function allowed(clients: number): number {
  const [, , hard = ''] = /^Max open files\s+(\S+)\s+(\S+)/m.exec(readFileSync('/proc/self/limits', 'utf8')) ?? []
  const limit = hard === 'unlimited' ? Number.POSITIVE_INFINITY : Number(hard) - OTHERS
  if (!(clients > limit)) return clients
  process.stdout.write(`!!! ${clients} connections are over the limit of open files (ulimit -Hn ${hard}): ${limit}\n`)
  return limit
}
