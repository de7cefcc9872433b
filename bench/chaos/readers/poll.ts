/**
 * A visit by long poll: one JSON page after a position. A page that did not arrive whole was not seen.
 */
import type { IncomingMessage } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { isTerminal, type TaskEvent } from '../../../src/core/event.js'
import type { VisitPlan } from '../accidents.js'
import { codeOf, open } from '../http.js'
import type { ReaderLedger } from '../reader-ledger.js'
import type { Visit } from './follow.js'

type Page = { task: string; events: TaskEvent[]; next: number; done: boolean }

export const visitPage: Visit = async ({ port, counts }, reader, plan, signal) => {
  const { limit, waitS } = plan.page
  const path = `/v1/tasks/${reader.task.task}/events?after=${reader.position}&limit=${limit}&wait=${waitS}`
  const response = await open(port, { path }, signal)
  if (response === null) return { type: 'lost' }
  const read = await readBody(response, plan)
  if (typeof read !== 'string') return read
  if (response.statusCode !== 200) return { type: 'refused', status: response.statusCode ?? 0, code: codeOf(read) }
  counts.events += takePage(reader, read, limit)
  return { type: 'over' }
}

/** The whole body at the plan's pace; or how it was lost. */
async function readBody(response: IncomingMessage, plan: VisitPlan): Promise<string | { type: 'cut' | 'lost' }> {
  const chunks: Buffer[] = []
  let left = plan.cut?.after === 'bytes' ? plan.cut.count : Number.POSITIVE_INFINITY
  let cut = false
  const hangUp = (): void => {
    cut = true
    response.destroy()
  }
  const timer = plan.cut?.after === 'ms' ? setTimeout(hangUp, plan.cut.count) : undefined
  try {
    if (plan.stall) await sleep(plan.stall.ms)
    for await (const chunk of response) {
      chunks.push(chunk as Buffer)
      left -= (chunk as Buffer).length
      if (left <= 0) return { type: 'cut' }
      if (plan.pauseMs > 0) await sleep(plan.pauseMs)
    }
  } catch {
    return { type: cut ? 'cut' : 'lost' }
  } finally {
    clearTimeout(timer)
    response.destroy()
  }
  return cut ? { type: 'cut' } : Buffer.concat(chunks).toString()
}

/** How many events it had. */
function takePage(reader: ReaderLedger, text: string, limit: number): number {
  let page: Page
  try {
    page = JSON.parse(text) as Page
  } catch {
    reader.violation('form', `no page: ${text.slice(0, 200)}`)
    return 0
  }
  const before = reader.position
  for (const event of page.events) reader.take(event)
  const last = page.events.at(-1)
  if (page.next !== (last?.seq ?? before) || page.events.length > limit || page.task !== reader.task.task) {
    const { task, next, events } = page
    reader.violation(
      'form',
      `a page of ${task} after ${before} has ${events.length} events of ${limit}, next is ${next}`,
    )
  }
  if (page.done !== (last !== undefined && isTerminal(last))) {
    reader.violation('end', `a page after ${before} says done: ${page.done}, its last event is ${last?.type ?? 'none'}`)
  }
  return page.events.length
}
