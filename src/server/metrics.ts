/**
 * What operators watch, as Prometheus text: GET /metrics.
 *
 * Nothing is counted on the hot path for this beyond a few numbers that are kept anyway; they are read when somebody
 * asks. The delay of the event loop, memory and CPU come from prom-client's own metrics of the process
 * (`nodejs_eventloop_lag_p99_seconds` and others).
 */
import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client'
import type { Gateway } from '../gateway/gateway.js'
import type { Exchange } from './request.js'

const QUANTILES = [0.5, 0.9, 0.99]

/** Of the process, however many gateways are in it: their watchers cannot be ended. */
let ofProcess: Registry | null = null

function processMetrics(): Registry {
  if (ofProcess === null) {
    ofProcess = new Registry()
    collectDefaultMetrics({ register: ofProcess })
  }
  return ofProcess
}

export class Metrics {
  readonly #registry = new Registry()
  readonly #all: Registry

  constructor(gateway: Gateway) {
    const { pump } = gateway
    this.#gauge('rejoin_readers', 'Readers that follow a task: streams, subscriptions, waiting requests.', () => [
      [{}, gateway.readers],
    ])
    this.#gauge('rejoin_queue_depth', 'Tasks that wait for a slot.', () => [[{}, gateway.queueDepth]])
    this.#gauge('rejoin_slots', 'Tasks that can run at once, by model.', () =>
      gateway.dispatchers.map(({ model, engine }) => [{ model }, engine.slots]),
    )
    this.#gauge('rejoin_slots_free', 'Of them, those that are free now.', () =>
      gateway.dispatchers.map(({ model, engine }) => [{ model }, engine.free]),
    )
    this.#gauge('rejoin_webhooks_pending', 'Webhooks that have not been delivered.', () => [
      [{}, gateway.pendingWebhooks],
    ])
    this.#gauge(
      'rejoin_delivery_lateness_seconds',
      'From the record of an event to its bytes in the hands of the kernel, of the last 10 to 20 s.',
      () =>
        QUANTILES.map((part) => [{ quantile: String(part) }, pump.lateness.quantile(part, performance.now()) / 1000]),
    )
    this.#counter('rejoin_deliveries_total', 'Chances to write that readers were given.', () => pump.served)
    this.#counter('rejoin_events_total', 'Events that were recorded.', () => gateway.recordedEvents)
    this.#all = Registry.merge([processMetrics(), this.#registry])
  }

  /** GET /metrics */
  async get(exchange: Exchange): Promise<void> {
    exchange.send(200, this.#all.contentType, await this.#all.metrics())
  }

  #gauge(name: string, help: string, values: () => [labels: Record<string, string>, value: number][]): void {
    const labelNames = ['model', 'quantile']
    const gauge = new Gauge({ name, help, labelNames, registers: [this.#registry], collect: () => set() })
    const set = (): void => {
      for (const [labels, value] of values()) gauge.set(labels, value)
    }
  }

  #counter(name: string, help: string, total: () => number): void {
    let told = 0
    const counter = new Counter({ name, help, registers: [this.#registry], collect: () => add() })
    const add = (): void => {
      const now = total()
      counter.inc(now - told)
      told = now
    }
  }
}
