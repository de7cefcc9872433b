#!/usr/bin/env -S node --initial-heap-size=256
/**
 * The command line: argv and environment to a running gateway, or to a client or a load test of one; signals to an
 * orderly end.
 *
 * The size of the heap at the start keeps V8 from collecting all of it every other second while it is small: that is a
 * pause of 20 ms for every stream. (It can only be given to the process; `npm start` does the same.)
 *
 * Exit codes: 0 after an orderly end, 1 when the gateway cannot run, 2 when an option is wrong. A user's mistake is
 * one line, never a stack trace.
 */
import { pino } from 'pino'
import { type Config, helpText, options } from './config.js'
import { ConfigError } from './core/options.js'
import { type Running, start } from './index.js'
import { loadTest } from './load/command.js'
import { clientCommand, isClientCommand } from './terminal/command.js'

const SAMPLE_PROMPT = 'Tell me a story about a fox who lost a kite.'
const EXIT = { failed: 1, usage: 2 } as const

// Whoever reads our lines may go away; the gateway stays.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {})

try {
  const [command, ...argv] = process.argv.slice(2)
  if (command === 'load') process.exitCode = await loadTest(argv, process.env)
  else if (isClientCommand(command)) process.exitCode = await clientCommand(command, argv, process.env)
  else await gateway(command === 'serve' ? argv : process.argv.slice(2))
} catch (error) {
  // One line, also where a path or a library's message has more.
  process.stderr.write(`rejoin: ${(error as Error).message.replaceAll(/\s*\n\s*/g, ' ')}\n`)
  process.exit(error instanceof ConfigError ? EXIT.usage : EXIT.failed)
}

async function gateway(argv: string[]): Promise<void> {
  const { help, ...config } = options.read(argv, process.env)
  if (help) process.stdout.write(helpText())
  else await serve(config)
}

async function serve(config: Config): Promise<void> {
  const logger = pino({ level: config['log-level'] }, pino.destination({ fd: 2, sync: false }))
  const running = await start(config, logger)
  obeySignals(running)
  greet(running)
  await running.ready
  process.stdout.write('Ready.\n')
}

function greet({ url, gateway, models, dataDir }: Running): void {
  process.stdout.write(`Rejoin listens on ${url}\nModels: ${gateway.models.join(', ')}\n${models.map(memory).join('')}`)
  process.stdout.write(`Data:   ${dataDir ?? 'in memory, gone with this process'}\n`)
  if (gateway.defaultModel === null) return
  const prompt = gateway.defaultModel === 'scripted' ? '{\\"tokens\\":50,\\"rate\\":10}' : SAMPLE_PROMPT
  process.stdout.write(`Chat:   ${url}/\n`)
  process.stdout.write(`Try:    curl -N ${url}/v1/tasks -H 'Accept: text/event-stream' -d '{"prompt":"${prompt}"}'
`)
}

/** One line for a model that has memory to speak of. */
function memory({ source, workers }: Running['models'][number]): string {
  if (source.type !== 'onnx') return ''
  const { name, file, slots, contextTokens, cacheBytes, prefixCacheBytes } = source
  const rows = `${workers} x ${slots} slots of ${contextTokens} tokens`
  return `        ${name}, ${file}: ${rows}, KV cache ${workers} x ${mib(cacheBytes)} MiB, prefix cache up to ${workers} x ${mib(prefixCacheBytes)} MiB\n`
}

function mib(bytes: number): string {
  const mib = bytes / 1_048_576
  return mib.toFixed(mib < 10 ? 1 : 0)
}

/** The first SIGTERM or SIGINT drains; a second one ends the process at once. */
function obeySignals(running: Running): void {
  let stopping = false
  const onSignal = (): void => {
    // Not `exit`: it ends the worker threads first, and ONNX Runtime aborts when that happens within a step.
    if (stopping) process.kill(process.pid, 'SIGKILL')
    stopping = true
    void stop(running)
  }
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, onSignal)
}

async function stop(running: Running): Promise<void> {
  process.stdout.write('Stopping: running tasks are given time to end.\n')
  await running.close()
  const hung = running.gateway.dispatchers.reduce((sum, { engine }) => sum + engine.hung, 0)
  if (hung > 0) {
    // `exit` would wait for the end of every thread, which for one that hangs in native code may never come.
    process.stderr.write(`rejoin: ${hung} worker threads hang and cannot be ended: the process kills itself\n`)
    process.kill(process.pid, 'SIGKILL')
  }
  process.exit(0)
}
