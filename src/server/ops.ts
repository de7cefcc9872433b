/**
 * What operators and OpenAI clients ask about the gateway itself: liveness, readiness, the served models.
 */
import { RejoinError } from '../core/errors.js'
import type { Gateway } from '../gateway/gateway.js'
import { draining, storageFull } from '../gateway/refusals.js'
import type { Exchange } from './request.js'

export class OpsApi {
  readonly #gateway: Gateway
  readonly #startedAtS = Math.floor(Date.now() / 1000)

  constructor(gateway: Gateway) {
    this.#gateway = gateway
  }

  /** GET /healthz: the event loop answers. */
  health(exchange: Exchange): void {
    exchange.json(200, { status: 'ok' })
  }

  /** GET /readyz: 503 before every model is loaded, while the disk takes nothing, and while draining. */
  readiness(exchange: Exchange): void {
    if (this.#gateway.draining) throw draining()
    if (this.#gateway.storageFull) throw storageFull()
    if (!this.#gateway.ready) throw new RejoinError('loading', 'a model is not loaded yet', { retryAfterS: 1 })
    exchange.json(200, { status: 'ready', models: this.#gateway.models })
  }

  /** GET /v1/models, in OpenAI's list form. */
  models(exchange: Exchange): void {
    exchange.json(200, { object: 'list', data: this.#gateway.models.map((id) => this.#model(id)) })
  }

  /** GET /v1/models/{id} */
  model(exchange: Exchange, id: string): void {
    if (!this.#gateway.models.includes(id)) throw new RejoinError('model_not_found', `no model ${JSON.stringify(id)}`)
    exchange.json(200, this.#model(id))
  }

  #model(id: string): Record<string, unknown> {
    return { id, object: 'model', created: this.#startedAtS, owned_by: 'rejoin' }
  }
}
