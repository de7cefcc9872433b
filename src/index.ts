/**
 * `import { start } from 'rejoin'`: a gateway within your own process.
 *
 * Puts the parts together from one config and owns their life: nothing here decides anything.
 */
import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { EmbeddedBackend, type Opened } from './backend/embedded/embedded.js'
import { type Config, options } from './config.js'
import type { Logger } from './core/logger.js'
import { ConfigError } from './core/options.js'
import { Gateway, type GatewayOptions } from './gateway/gateway.js'
import { signingKey } from './gateway/webhook-client.js'
import type { ModelSource } from './model/model.js'
import { type NamedModel, parseModel, planSource } from './model/source.js'
import { Server } from './server/server.js'

export type { Config } from './config.js'
export type { ErrorCode } from './core/errors.js'
export { ERRORS, RejoinError } from './core/errors.js'
export type { TaskEvent } from './core/event.js'
export type { TaskId } from './core/id.js'
export type { Logger } from './core/logger.js'
export { ConfigError } from './core/options.js'

export type Running = {
  /** `http://HOST:PORT`, with the port that was taken. */
  url: string
  gateway: Gateway
  /** Where tasks are kept, absolute; null when they are not. */
  dataDir: string | null
  /** How each model is run, and in how much memory. */
  models: readonly { source: ModelSource; workers: number }[]
  /** Resolves when every model is loaded; rejects when one cannot be. */
  ready: Promise<void>
  /** Refuses new tasks, gives running ones `drain-ms`, then closes everything. */
  close(): Promise<void>
}

const SILENT: Logger = { info: () => {}, warn: () => {}, error: () => {} }
const MIB = 1_048_576
// From dist/src to the package's own folder.
const BUILTIN_MODEL = fileURLToPath(new URL('../../models/default', import.meta.url))

/**
 * Listens at once; the models load meanwhile, and tasks wait for them.
 * @param given options by their flag's name; the rest have their defaults
 * @throws ConfigError when an option is wrong or a model cannot be served; Error when the port cannot be had
 */
export async function start(given: Partial<Config> = {}, logger: Logger = SILENT): Promise<Running> {
  const config = options.check(given)
  const models = modelSources(config).map((source) => ({ source, workers: config.workers }))
  const webhooks = webhookOptions(config)
  const { backend, ...left } = await openBackend(config, logger)
  const gateway = new Gateway(
    {
      models,
      maxQueue: config['max-queue'],
      maxQueueBytes: config['max-queue-bytes'],
      maxAttempts: config['max-attempts'],
      maxInFlight: config['max-in-flight'],
      stallMs: config['stall-ms'],
      maxRingEvents: config['max-ring-events'],
      maxReaders: config['max-readers'],
      maxMergeMs: config['max-merge-ms'],
      disconnectGraceMs: config['disconnect-grace-ms'],
      webhooks,
      retentionMs: config['retention-ms'],
      maxCachedBytes: config['log-cache-mb'] * MIB,
    },
    backend,
    logger,
  )
  // Before anybody can ask: who comes back must find its task.
  gateway.recover(left)
  const server = new Server(
    {
      host: config.host,
      port: config.port,
      maxBodyBytes: config['max-body-bytes'],
      maxFrameBytes: config['max-frame-bytes'],
      maxSockets: config['max-sockets'],
      maxSubscriptions: config['max-subscriptions'],
      maxUnsentBytes: config['max-unsent-bytes'],
      keepAliveMs: config['keep-alive-ms'],
      openaiGraceMs: config['openai-grace-ms'],
    },
    gateway,
    logger,
  )
  let port: number
  try {
    port = await server.listen()
  } catch (error) {
    await gateway.close()
    throw error
  }
  const host = config.host.includes(':') ? `[${config.host}]` : config.host
  return {
    url: `http://${host}:${port}`,
    gateway,
    dataDir: config.durability === 'none' ? null : resolve(config['data-dir']),
    models,
    ready: gateway.open(),
    async close() {
      await gateway.drain(config['drain-ms'])
      await server.close()
      await gateway.close()
    },
  }
}

/** @throws Error when the data directory cannot be used */
async function openBackend(config: Config, logger: Logger): Promise<Opened> {
  const bounds = {
    maxQueue: config['max-queue'],
    maxQueueBytes: config['max-queue-bytes'],
    maxIdempotencyKeys: config['max-idempotency-keys'],
    maxRingEvents: config['max-ring-events'],
    retentionMs: config['retention-ms'],
    retentionBytes: config['retention-bytes'],
  }
  const { durability } = config
  if (durability === 'none') {
    return { backend: new EmbeddedBackend(bounds), recovered: [], deliveries: [], nextOrdinal: 1 }
  }
  return EmbeddedBackend.open(bounds, {
    path: config['data-dir'],
    durability,
    journalBytes: config['journal-mb'] * MIB,
    onTrouble: (err) => {
      if (err) logger.error({ err, dir: config['data-dir'] }, 'the data directory takes nothing: no task is accepted')
      else logger.warn({ dir: config['data-dir'] }, 'the data directory takes what is written again')
    },
  })
}

/** @throws ConfigError */
function webhookOptions(config: Config): GatewayOptions['webhooks'] {
  const secret = config['webhook-secret']
  if (secret === '') return null
  try {
    signingKey(secret)
  } catch (error) {
    throw new ConfigError(`--webhook-secret: ${(error as Error).message}`)
  }
  return { secret, allowPrivate: config['webhook-private'] === 'allow', maxPending: config['max-webhooks'] }
}

/** @throws ConfigError */
function modelSources(config: Config): ModelSource[] {
  const named: NamedModel[] = []
  for (const text of config.model) {
    const model = orConfigError(text, () => parseModel(text, BUILTIN_MODEL))
    if (named.some(({ name }) => name === model.name)) {
      throw new ConfigError(`--model ${text}: two models are named ${model.name}; use NAME=DIR`)
    }
    named.push(model)
  }
  const files = modelFiles(config['model-file'], named)
  return named.map((model, i) => {
    const { name } = model
    if (model.type === 'scripted') return { ...model, slots: config['scripted-slots'] }
    const options = {
      slots: config.slots,
      file: files.get(name) ?? null,
      maxKvBytes: config['kv-memory-mb'] * MIB,
      prefixCacheBytes: config['prefix-cache-mb'] * MIB,
      prefillChunk: config['prefill-chunk'],
      threads: config.threads,
    }
    return orConfigError(config.model[i] as string, () => planSource(name, model.dir, options))
  })
}

function orConfigError<T>(model: string, make: () => T): T {
  try {
    return make()
  } catch (error) {
    throw new ConfigError(`--model ${model}: ${(error as Error).message}`)
  }
}

/** `NAME=FILE` is for one model, `FILE` for all that have none of their own. */
function modelFiles(texts: string[], models: NamedModel[]): Map<string, string> {
  const names = models.map(({ name }) => name)
  const split = texts.map((text) => {
    const name = names.find((name) => text.startsWith(`${name}=`))
    return name === undefined ? { names, file: text } : { names: [name], file: text.slice(name.length + 1) }
  })
  // Those for one model last: they win.
  split.sort((one, other) => other.names.length - one.names.length)
  return new Map(split.flatMap(({ names, file }) => names.map((name) => [name, file] as const)))
}
