/**
 * The table of paths, and what becomes of a refusal.
 *
 * A path that exists answers a wrong method with 405 and `Allow`; any other path is 404. Whatever a handler throws
 * becomes one error object: a `RejoinError` as it is, anything else as `internal`, with the cause in the log only.
 */
import type { HttpRequest, HttpResponse, TemplatedApp } from 'uWebSockets.js'
import { RejoinError } from '../core/errors.js'
import type { Logger } from '../core/logger.js'
import type { Metrics } from './metrics.js'
import type { NativeApi } from './native.js'
import type { OpenAiApi } from './openai.js'
import type { OpsApi } from './ops.js'
import type { Page } from './page.js'
import { Exchange } from './request.js'
import type { ResponsesApi } from './responses.js'
import type { UiChatApi } from './ui-chat.js'

/** Of a path in an error message. */
const MAX_SHOWN = 200

type Method = 'GET' | 'POST' | 'DELETE'
/** Called in the request's first turn, with the values of the path's `:parts`. */
type Handler = (exchange: Exchange, ...parts: string[]) => void | Promise<void>
type Apis = {
  native: NativeApi
  openai: OpenAiApi
  responses: ResponsesApi
  uiChat: UiChatApi
  ops: OpsApi
  metrics: Metrics
  page: Page
}

const table = (apis: Apis): Record<string, Partial<Record<Method, Handler>>> => {
  const { native, openai, responses, uiChat, ops, metrics, page } = apis
  return {
    '/': { GET: (x) => page.index(x) },
    '/rejoin.js': { GET: (x) => page.client(x) },
    '/assets/:name': { GET: (x, name = '') => page.asset(x, name) },
    '/healthz': { GET: (x) => ops.health(x) },
    '/readyz': { GET: (x) => ops.readiness(x) },
    '/metrics': { GET: (x) => metrics.get(x) },
    '/v1/models': { GET: (x) => ops.models(x) },
    '/v1/models/:model': { GET: (x, model = '') => ops.model(x, model) },
    '/v1/tasks': { GET: (x) => native.list(x), POST: (x) => native.submit(x) },
    '/v1/tasks/:id': { GET: (x, id = '') => native.task(x, id), DELETE: (x, id = '') => native.cancel(x, id) },
    '/v1/tasks/:id/events': { GET: (x, id = '') => native.events(x, id) },
    '/v1/tasks/:id/artifacts/:name': { GET: (x, id = '', name = '') => native.artifact(x, id, name) },
    '/v1/chat/completions': { POST: (x) => openai.chatCompletion(x) },
    '/v1/completions': { POST: (x) => openai.completion(x) },
    '/v1/embeddings': { POST: (x) => openai.embeddings(x) },
    '/v1/responses': { POST: (x) => responses.create(x) },
    '/v1/responses/:id': {
      GET: (x, id = '') => responses.retrieve(x, id),
      DELETE: (x, id = '') => responses.remove(x, id),
    },
    '/v1/responses/:id/cancel': { POST: (x, id = '') => responses.cancel(x, id) },
    '/api/chat': { POST: (x) => uiChat.send(x) },
    '/api/chat/:id/stream': { GET: (x, id = '') => uiChat.resume(x, id) },
    '/api/chat/:id/stop': { POST: (x, id = '') => uiChat.stop(x, id) },
    '/v1/ws': {
      GET: (x) => x.fail(new RejoinError('upgrade_required', '/v1/ws is for WebSockets'), [['Upgrade', 'websocket']]),
    },
  }
}

export function route(app: TemplatedApp, apis: Apis, logger: Logger): void {
  for (const [pattern, methods] of Object.entries(table(apis))) {
    const parts = pattern.split('/').filter((part) => part.startsWith(':')).length
    const served = new Map<string, Handler>(Object.entries(methods))
    if (methods.GET) served.set('HEAD', methods.GET)
    const allowed = [...served.keys()].join(', ')
    app.any(pattern, (res, req) => {
      const given = Array.from({ length: parts }, (_, index) => req.getParameter(index))
      const exchange = new Exchange(res, req)
      const handler = served.get(exchange.method)
      if (handler) return answer(exchange, logger, () => handler(exchange, ...given))
      const message = `${exchange.method} ${exchange.path} is not allowed; allowed: ${allowed}`
      exchange.fail(new RejoinError('method_not_allowed', message), [['Allow', allowed]])
    })
  }
  app.any('/*', (res: HttpResponse, req: HttpRequest) => {
    const exchange = new Exchange(res, req)
    exchange.fail(new RejoinError('not_found', `no path ${exchange.path.slice(0, MAX_SHOWN)}`))
  })
}

async function answer(exchange: Exchange, logger: Logger, handle: () => void | Promise<void>): Promise<void> {
  try {
    await handle()
  } catch (error) {
    if (error instanceof RejoinError) return exchange.fail(error)
    logger.error({ err: error, requestId: exchange.requestId, path: exchange.path }, 'a request was not handled')
    exchange.fail(new RejoinError('internal', `the gateway has a defect; request ${exchange.requestId}`))
  }
}
