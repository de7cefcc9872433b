/**
 * The last question of a run: does the gateway have all that it accepted, and nothing else, as readers saw it?
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { TaskId } from '../../src/core/id.js'
import type { GatewayProcess } from './gateway-process.js'
import { ask, codeOf } from './http.js'
import { TaskLedger, type TaskObject } from './ledger.js'
import { planTask, type ReaderPlan } from './plan.js'
import { follow } from './readers/follow.js'
import { visitSse } from './readers/sse.js'
import type { Roster } from './roster.js'
import type { Setting } from './setting.js'

/** Tasks that are read once more from the first event on. */
const VETERANS = 30
const LOOK_AGAIN_MS = 100

/**
 * Of all tasks when they have ended, and after one more kill.
 * @param patienceMs for tasks whose acceptance nobody heard of: no reader has waited for their end
 * @returns how many the gateway lists
 */
export async function lastLook(
  setting: Setting,
  gateway: GatewayProcess,
  roster: Roster,
  kill: boolean,
  patienceMs: number,
): Promise<number> {
  const until = performance.now() + patienceMs
  while (performance.now() < until && (await unended(gateway.port)) > 0) await sleep(LOOK_AGAIN_MS)
  if (kill) {
    await gateway.kill()
    setting.counts.kills++
    gateway.start(0)
    if (!(await gateway.ready())) {
      setting.report({ kind: 'process', what: `it did not become ready; see ${gateway.log}` })
      return 0
    }
  }
  const tasks = await list(gateway.port, '')
  roster.check(tasks, setting.report)
  await readAgain(setting, roster)
  return tasks.length
}

const unended = async (port: number): Promise<number> =>
  (await list(port, '&status=running')).length + (await list(port, '&status=queued')).length

async function list(port: number, query: string): Promise<TaskObject[]> {
  const { signal } = new AbortController()
  const tasks: TaskObject[] = []
  let cursor = ''
  do {
    const answer = await ask(port, { path: `/v1/tasks?limit=1000${query}${cursor}` }, signal)
    if (answer?.status !== 200) throw new Error(`the list of tasks: ${answer ? codeOf(answer.text) : 'no answer'}`)
    const page = JSON.parse(answer.text) as { data: TaskObject[]; has_more: boolean; next_cursor: string | null }
    tasks.push(...page.data)
    cursor = page.has_more ? `&cursor=${page.next_cursor}` : ''
  } while (cursor !== '')
  return tasks
}

/** Some tasks, the oldest among them, from their first event on. */
async function readAgain(setting: Setting, roster: Roster): Promise<void> {
  const all = roster.veterans
  const some = all.filter((_, i) => i % Math.ceil(all.length / VETERANS) === 0)
  const { signal } = new AbortController()
  for (const { id, number, status } of some) {
    const { expected } = planTask(setting.setup, number)
    const ledger = new TaskLedger(id as TaskId, `task ${number}`, expected, setting.report)
    const plan: ReaderPlan & { protocol: 'sse' } = {
      name: `reader ${number} again`,
      protocol: 'sse',
      start: { type: 'now', afterMs: 0 },
      temper: 'steady',
    }
    await follow(setting, ledger.reader(plan.name), plan, visitSse, signal)
    if (!ledger.gone && ledger.end?.type !== status) {
      ledger.violation('backwards', `its log ends with ${ledger.end?.type}, it had ended with ${status}`, plan.name)
    }
  }
}
