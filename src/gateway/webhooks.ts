/**
 * Webhooks that are not delivered yet: each is tried again until it is, for a day.
 *
 * What is pending is on disk, so a restart goes on with it: at least once, and always under the same id. Receivers do
 * not wait for each other: so many requests at once are made in all, and so many to one host.
 */
import type { Delivery, DeliveryStore } from '../core/delivery.js'
import { RejoinError } from '../core/errors.js'
import type { TaskId } from '../core/id.js'
import type { Logger } from '../core/logger.js'
import { lowerBound } from '../core/sorted.js'
import type { Posted } from './webhook-client.js'

/** Who makes the requests. */
export interface Poster {
  /** False for a URL to which nothing would ever be posted. */
  mayPost(url: string): boolean
  post(delivery: Delivery): Promise<Posted>
  close(): void
}

const AT_ONCE = { all: 64, host: 8 }
const WAIT_MS = { first: 5000, max: 3_600_000 }
const GIVE_UP_MS = 86_400_000

export class Webhooks {
  readonly #poster: Poster
  readonly #store: DeliveryStore
  readonly #maxPending: number
  readonly #logger: Logger
  readonly #pending = new Set<TaskId>()
  /** In order of their time, with these times beside them. */
  readonly #later: Delivery[] = []
  readonly #times: number[] = []
  /** Due, by host. */
  readonly #due = new Map<string, Delivery[]>()
  readonly #active = new Map<string, number>()
  #activeInAll = 0
  #timer: NodeJS.Timeout | undefined
  #closed = false

  constructor(poster: Poster, store: DeliveryStore, maxPending: number, logger: Logger) {
    this.#poster = poster
    this.#store = store
    this.#maxPending = maxPending
    this.#logger = logger
  }

  /** Deliveries that have not been made yet. */
  get pending(): number {
    return this.#pending.size
  }

  /** Whether a task may have this one. @throws RejoinError `invalid_request`, `too_many_webhooks` */
  admit(url: string): void {
    if (!this.#poster.mayPost(url)) {
      const message = `\`webhook.url\` must be a public address, got ${new URL(url).hostname}; see --webhook-private`
      throw new RejoinError('invalid_request', message, { param: 'webhook.url' })
    }
    if (this.pending < this.#maxPending) return
    const message = `${this.pending} webhooks wait for their delivery, the bound`
    throw new RejoinError('too_many_webhooks', message, { retryAfterS: 60 })
  }

  /** A new one, or one from before a restart; it is in the store. */
  add(delivery: Delivery): void {
    if (this.#pending.has(delivery.task)) return
    this.#pending.add(delivery.task)
    this.#schedule(delivery)
  }

  /** What is under way fails, and is tried again after the next start. */
  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
    this.#poster.close()
  }

  #schedule(delivery: Delivery): void {
    // Whole milliseconds: behind those of the same time.
    const at = lowerBound(this.#times, delivery.nextAt + 1)
    this.#times.splice(at, 0, delivery.nextAt)
    this.#later.splice(at, 0, delivery)
    this.#wakeUp()
  }

  #wakeUp(): void {
    clearTimeout(this.#timer)
    const [first] = this.#times
    if (first === undefined || this.#closed) return
    this.#timer = setTimeout(() => this.#look(), Math.max(0, first - Date.now())).unref()
  }

  #look(): void {
    const now = Date.now()
    const count = lowerBound(this.#times, now + 1)
    this.#times.splice(0, count)
    for (const delivery of this.#later.splice(0, count)) {
      const { host } = new URL(delivery.url)
      const due = this.#due.get(host)
      if (due) due.push(delivery)
      else this.#due.set(host, [delivery])
    }
    this.#start()
    this.#wakeUp()
  }

  #start(): void {
    for (const [host, due] of this.#due) {
      while (due.length > 0 && this.#mayStart(host)) void this.#post(host, due.shift() as Delivery)
      if (due.length === 0) this.#due.delete(host)
      if (this.#activeInAll >= AT_ONCE.all) return
    }
  }

  #mayStart(host: string): boolean {
    return !this.#closed && this.#activeInAll < AT_ONCE.all && (this.#active.get(host) ?? 0) < AT_ONCE.host
  }

  async #post(host: string, delivery: Delivery): Promise<void> {
    this.#activeInAll++
    this.#active.set(host, (this.#active.get(host) ?? 0) + 1)
    const posted = await this.#poster.post(delivery)
    this.#activeInAll--
    const left = (this.#active.get(host) ?? 1) - 1
    if (left > 0) this.#active.set(host, left)
    else this.#active.delete(host)
    if (this.#closed) return
    this.#follow(delivery, posted)
    this.#start()
  }

  #follow(delivery: Delivery, posted: Posted): void {
    const { task, url } = delivery
    switch (posted.type) {
      case 'delivered':
        this.#end(task)
        return
      case 'refused':
        this.#logger.warn({ task, host: new URL(url).host, reason: posted.reason }, 'a webhook is given up')
        this.#end(task)
        return
      case 'failed': {
        const failures = delivery.failures + 1
        const nextAt = Date.now() + Math.max(waitMs(failures, Math.random()), askedMs(posted.retryAfterMs))
        if (nextAt > delivery.endedAt + GIVE_UP_MS) {
          const { reason } = posted
          this.#logger.warn({ task, host: new URL(url).host, failures, reason }, 'a webhook is given up after a day')
          this.#end(task)
          return
        }
        const next = { ...delivery, failures, nextAt }
        this.#store.putDelivery(next)
        this.#schedule(next)
        return
      }
      default:
        posted satisfies never
    }
  }

  #end(task: TaskId): void {
    this.#pending.delete(task)
    this.#store.removeDelivery(task)
  }
}

/** @param webhooks null where there is no secret @throws RejoinError `unsupported_field`, and as `Webhooks.admit` does */
export function admitWebhook(webhooks: Webhooks | null, url: string): void {
  if (webhooks === null) {
    const message = '`webhook` needs a secret to sign with: --webhook-secret, or REJOIN_WEBHOOK_SECRET'
    throw new RejoinError('unsupported_field', message, { param: 'webhook' })
  }
  webhooks.admit(url)
}

/** Whole milliseconds. Doubles from 5 s to an hour; up to half of it is left to chance. @param chance 0 … 1 */
export const waitMs = (failures: number, chance: number): number =>
  Math.round(Math.min(WAIT_MS.max, WAIT_MS.first * 2 ** (failures - 1)) * (1 - chance / 2))

/** What a receiver may ask for. */
const askedMs = (retryAfterMs: number | null): number => Math.min(WAIT_MS.max, Math.round(retryAfterMs ?? 0))
