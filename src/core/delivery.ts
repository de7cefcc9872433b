/**
 * A webhook on its way: what is to be posted where, and when next.
 */
import type { TaskId } from './id.js'

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
