/**
 * What a run says of itself: one line while it goes on, a table at its end.
 */
import { median, percentile } from '../statistics.js'
import type { Options } from './options.js'
import type { Result } from './run.js'
import type { Counts } from './setting.js'
import { KINDS, type Violations } from './violations.js'

export function progressLine(
  { counts, violations, alive }: { counts: Counts; violations: Violations; alive: number },
  options: Options,
): string {
  const { kills, drains, cuts, losses, accepted, events } = counts
  return [
    `kills ${kills}/${options.kills}`,
    `drains ${drains}`,
    `cuts ${cuts} + ${losses}`,
    `tasks ${accepted} (${alive} alive)`,
    `events ${events}`,
    `violations ${violations.total}`,
  ].join('   ')
}

export function table({ counts, violations, tookMs, listed, readyMs }: Result, options: Options): string {
  const { resumes } = counts
  const seconds = tookMs / 1000
  const [lost, repeated] = [violations.count('lost') + violations.count('ahead'), violations.count('repeated')]
  const rows: [string, string | number][] = [
    ['kill -9', counts.kills],
    ['SIGTERM, drained', counts.drains],
    ['start to ready, median / longest', `${shownMs(median(readyMs))} / ${shownMs(percentile(readyMs, 100))}`],
    ['connections that we cut / lost', `${counts.cuts} / ${counts.losses}`],
    ['resumed: SSE, long poll', `${resumes.sse}, ${resumes.poll}`],
    ['resumed: WebSocket JSON, msgpack', `${resumes.json}, ${resumes.msgpack}`],
    ['tasks accepted / listed', `${counts.accepted} / ${listed}`],
    ['completed, canceled, failed as told', `${counts.completed}, ${counts.canceled}, ${counts.failed}`],
    ['submits repeated with their key', counts.retries],
    ['events seen / a second', `${counts.events} / ${(counts.events / seconds).toFixed(0)}`],
    ['seconds', seconds.toFixed(1)],
    ['lost', lost],
    ['repeated', repeated],
    ['other violations', violations.total - lost - repeated],
  ]
  if (options.model === 'default') {
    rows.splice(-3, 0, ['answers equal to an undisturbed run', `${counts.equal} of ${counts.equal + counts.unequal}`])
  }
  const width = Math.max(...rows.map(([name]) => name.length))
  return rows.map(([name, value]) => `${name.padEnd(width)}  ${value}\n`).join('')
}

/** The kinds of what was found, with their counts. */
export function kinds(violations: Violations): string {
  const found = Object.entries(KINDS).map(([kind, meaning]) => ({ meaning, kind: kind as keyof typeof KINDS }))
  return found
    .filter(({ kind }) => violations.count(kind) > 0)
    .map(({ kind, meaning }) => `${String(violations.count(kind)).padStart(6)} x ${kind}: ${meaning}\n`)
    .join('')
}

const shownMs = (ms: number): string => (Number.isNaN(ms) ? '-' : `${ms.toFixed(0)} ms`)
