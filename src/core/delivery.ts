/**
 * A webhook on its way: what is to be posted where, and when next.
 */
import type { TaskEvent } from './event.js'
import type { TaskId } from './id.js'
import type { Task } from './task.js'

export type Delivery = {
  /** `webhook-id`, the same for every try. */
  id: string
  task: TaskId
  url: string
  /** The terminal event, as JSON. */
  body: string
  /** Unix ms. */
  endedAt: number
  failures: number
  /** Unix ms. */
  nextAt: number
}

/** Where deliveries that are pending survive a restart. */
export interface DeliveryStore {
  putDelivery(delivery: Delivery): void
  removeDelivery(task: TaskId): void
}

/** What a task's end brings with it; null when nobody asked for it. Of the same task always the same. */
export function deliveryOf({ id, spec }: Task, terminal: TaskEvent): Delivery | null {
  if (!spec.webhook) return null
  const { seq, at } = terminal
  const body = JSON.stringify(terminal)
  return { id: `${id}_${seq}`, task: id, url: spec.webhook.url, body, endedAt: at, failures: 0, nextAt: at }
}
