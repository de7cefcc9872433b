/**
 * A reader over HTTP: visit after visit, each from its own last position, until it has seen the end.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { planVisit, type VisitPlan } from '../accidents.js'
import type { ReaderPlan } from '../plan.js'
import type { ReaderLedger } from '../reader-ledger.js'
import { judge, type Setting } from '../setting.js'

export type Outcome =
  /** The answer ended by itself, in order. */
  | { type: 'over' }
  /** By us; by the gateway or its death. */
  | { type: 'cut' | 'lost' }
  | { type: 'refused'; status: number; code: string }

/** One connection: what arrived whole is taken into the ledger, and nothing else. */
export type Visit = (setting: Setting, reader: ReaderLedger, plan: VisitPlan, signal: AbortSignal) => Promise<Outcome>

/** @param first an answer that has begun already, in place of the first visit */
export async function follow(
  setting: Setting,
  reader: ReaderLedger,
  plan: ReaderPlan & { protocol: 'sse' | 'poll' },
  visit: Visit,
  signal: AbortSignal,
  first: Visit = visit,
): Promise<void> {
  const { counts, setup } = setting
  let interrupted = false
  for (let n = 0; !reader.ended && !signal.aborted; n++) {
    await setting.up()
    if (signal.aborted) return
    if (interrupted) counts.resumes[plan.protocol]++
    const decided = planVisit(setup, plan, n)
    const outcome = await (n === 0 ? first : visit)(setting, reader, decided, signal)
    interrupted = outcome.type === 'cut' || outcome.type === 'lost'
    if (outcome.type === 'cut') counts.cuts++
    if (outcome.type === 'lost') counts.losses++
    if (outcome.type === 'refused' && !forgives(reader, outcome)) return
    if (outcome.type !== 'over') await sleep(decided.awayMs)
  }
}

/** Whether to ask again; what is no reason to wait is a violation. */
function forgives(reader: ReaderLedger, { status, code }: { status: number; code: string }): boolean {
  const kind = judge(code)
  if (kind !== null) reader.refused(kind, `position ${reader.position}: ${status} ${code}`)
  return kind === null
}
