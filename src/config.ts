/**
 * Every option, in one table: flags, environment, `--help` and the README's table come from it.
 *
 * A flag wins over its variable, which wins over the default. What cannot be read is refused with one line that
 * names the option, its range and the value given; nothing falls back in silence. Read once, by `cli.ts`.
 */
import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'

type Kind = 'integer' | 'text' | 'texts'

type Option = {
  kind: Kind
  /** As it is shown: what the value stands for. */
  value: string
  default: number | string | string[]
  /** How the default is shown, where its value depends on the machine. */
  defaultShown?: string
  min?: number
  max?: number
  allowed?: readonly string[]
  help: string
}

const MIB = 1_048_576
const DAY_MS = 86_400_000
const BILLION = 1_000_000_000
export const DURABILITIES = ['process', 'disk', 'none'] as const
export const LOG_LEVELS = ['silent', 'error', 'warn', 'info'] as const

const integer = (
  value: string,
  fallback: number,
  min: number,
  max: number,
  help: string,
): Option & { kind: 'integer' } => ({
  kind: 'integer',
  value,
  default: fallback,
  min,
  max,
  help,
})

export const OPTIONS = {
  port: integer('N', 8080, 0, 65_535, 'Port to listen on; 0 takes any free one.'),
  host: { kind: 'text', value: 'ADDRESS', default: '127.0.0.1', help: 'Address to listen on.' },
  'data-dir': {
    kind: 'text',
    value: 'DIR',
    default: './data',
    help: 'Where tasks and what they said are kept; one gateway has it at a time.',
  },
  durability: {
    kind: 'text',
    value: 'KIND',
    default: 'process',
    allowed: DURABILITIES,
    help: 'What a task that was accepted, and what was shown of it, survives: `process` the end of the process, `disk` a loss of power, too, `none` neither (nothing is written).',
  },
  'journal-mb': integer(
    'MB',
    64,
    1,
    1_000_000,
    'Length of the journal, about, past which tasks that run for long are written anew so that it can be shortened.',
  ),
  model: {
    kind: 'texts',
    value: 'MODEL',
    default: ['default'],
    help: 'A model to serve, repeatable, the first is the default: `default` (built in), `scripted`, `DIR` or `NAME=DIR`.',
  },
  'model-file': {
    kind: 'texts',
    value: 'FILE',
    default: [],
    defaultShown: 'onnx/model.onnx',
    help: 'The graph to run, in the model’s directory: `FILE` for every model, `NAME=FILE` for one.',
  },
  workers: {
    ...integer('N', Math.min(4, availableParallelism()), 1, 256, 'Worker threads per model; each loads it once.'),
    defaultShown: 'cores, at most 4',
  },
  threads: integer('N', 1, 1, 256, 'Threads of one call of ONNX Runtime, per worker thread.'),
  slots: integer('N', 24, 1, 1024, 'Tasks at once per worker thread of an ONNX model: rows of one batch.'),
  'kv-memory-mb': integer(
    'MB',
    1024,
    1,
    BILLION,
    'Memory for keys and values per worker thread; where it is too small for all slots, it decides slots and context.',
  ),
  'prefix-cache-mb': integer(
    'MB',
    128,
    0,
    BILLION,
    'Of that, for prompts and answers whose beginning may come again; the least recently used go first.',
  ),
  'prefill-chunk': integer(
    'TOKENS',
    64,
    1,
    65_536,
    'Tokens of prompts that are computed between two tokens of a running stream: of short prompts together, and of a long one.',
  ),
  'scripted-slots': integer('N', 4096, 1, 65_536, 'Tasks at once per worker thread of the scripted model.'),
  'max-attempts': integer(
    'N',
    3,
    1,
    100,
    'Attempts in a row that bring no token, because a worker died or a step failed, before a task fails.',
  ),
  'stall-ms': integer(
    'MS',
    60_000,
    1000,
    DAY_MS,
    'How long a worker with tasks may give no sign of life, longer than a step takes; then another takes its place.',
  ),
  'max-queue': integer('N', 10_000, 1, BILLION, 'Tasks that may wait; more are refused with `queue_full`.'),
  'max-queue-bytes': integer('BYTES', 256 * MIB, 1, 1024 * BILLION, 'Bytes of requests that may wait.'),
  'max-idempotency-keys': integer('N', 100_000, 1, BILLION, 'Idempotency keys kept (24 h each).'),
  'max-body-bytes': integer('BYTES', MIB, 1, BILLION, 'Largest HTTP body.'),
  'max-frame-bytes': integer('BYTES', MIB, 1, BILLION, 'Largest WebSocket frame from a client.'),
  'max-readers': integer('N', 100_000, 1, BILLION, 'Readers at once: streams, subscriptions and waiting requests.'),
  'max-sockets': integer('N', 20_000, 1, BILLION, 'WebSockets at once.'),
  'max-subscriptions': integer('N', 10_000, 1, BILLION, 'Tasks that one WebSocket may follow.'),
  'max-unsent-bytes': integer(
    'BYTES',
    32_768,
    1024,
    1_073_741_824,
    'Bytes that wait for a client that does not read, about, per stream or socket; the rest is only a position.',
  ),
  'max-ring-events': integer(
    'N',
    1_048_576,
    16,
    16_777_216,
    'Events per task whose borders are kept (12 bytes each, as they come); older text stays, merged.',
  ),
  'max-in-flight': integer('N', 1024, 1, MIB, 'Token events on their way from a worker before it waits.'),
  'max-merge-ms': integer(
    'MS',
    25,
    0,
    10_000,
    'When writes to readers come late, how long they wait, at most, for more tokens to go into each; never a first token.',
  ),
  'retention-ms': integer(
    'MS',
    DAY_MS,
    1,
    365 * DAY_MS,
    'How long an ended task is kept, and a paused one that nobody reads.',
  ),
  'retention-bytes': integer(
    'BYTES',
    1024 * MIB,
    0,
    1024 * BILLION,
    'Bytes of ended tasks that are kept, on disk (in memory with `--durability none`); the oldest go first.',
  ),
  'log-cache-mb': integer('MB', 64, 0, BILLION, 'Memory for ended tasks that were read or written last.'),
  'disconnect-grace-ms': integer(
    'MS',
    5000,
    0,
    DAY_MS,
    'How long a task with `on_disconnect: "cancel"` waits for the next reader when its last one has left.',
  ),
  'drain-ms': integer(
    'MS',
    10_000,
    0,
    DAY_MS,
    'Time that running tasks get to end after SIGTERM; those that do not go on after the next start.',
  ),
  'webhook-secret': {
    kind: 'text',
    value: 'SECRET',
    default: '',
    defaultShown: 'none: webhooks are refused',
    help: 'Signs webhooks: `whsec_` and base64 (Standard Webhooks), or any text, of 24 bytes or more. Better as a variable than as a flag.',
  },
  'webhook-private': {
    kind: 'text',
    value: 'WHAT',
    default: 'refuse',
    allowed: ['refuse', 'allow'],
    help: 'Whether webhooks may go to addresses that are not public: `refuse` or `allow`.',
  },
  'max-webhooks': integer('N', 100_000, 1, BILLION, 'Webhooks that may wait for their delivery (a day each, at most).'),
  'keep-alive-ms': integer(
    'MS',
    15_000,
    100,
    DAY_MS,
    'How often every SSE stream gets a comment and every WebSocket a ping.',
  ),
  'log-level': {
    kind: 'text',
    value: 'LEVEL',
    default: 'warn',
    allowed: LOG_LEVELS,
    help: 'What goes to stderr, as JSON lines: `silent`, `error`, `warn` or `info`.',
  },
} as const satisfies Record<string, Option>

export type OptionName = keyof typeof OPTIONS

type ValueOf<K extends Kind> = K extends 'integer' ? number : K extends 'texts' ? string[] : string

/** A checked value for every option, by its flag's name. */
export type Config = { -readonly [N in OptionName]: ValueOf<(typeof OPTIONS)[N]['kind']> }

/** An option or value that cannot be used: one line for the user. */
export class ConfigError extends Error {}

export const NAMES = Object.keys(OPTIONS) as OptionName[]

export const envName = (name: OptionName): string => `REJOIN_${name.toUpperCase().replaceAll('-', '_')}`

/** Values by name, as a program gives them; the rest have their defaults.
 * @throws ConfigError */
export function checkConfig(given: Partial<Config>): Config {
  const unknown = Object.keys(given).find((name) => !(name in OPTIONS))
  if (unknown !== undefined) throw new ConfigError(`no option is named ${unknown}`)
  return read((name) => {
    const value: unknown = given[name]
    if (value === undefined) return undefined
    if (OPTIONS[name].kind !== 'texts') return [String(value)]
    if (Array.isArray(value)) return value.map(String)
    throw new ConfigError(`${name} must be a list, got ${JSON.stringify(value)}`)
  })
}

/** @throws ConfigError */
export function readConfig(argv: string[], env: Record<string, string | undefined>): Config & { help: boolean } {
  const { help, values } = parseFlags(argv)
  return { ...read((name) => values.get(name) ?? fromEnv(name, env)), help }
}

export function helpText(): string {
  const rows = NAMES.map((name) => [
    `--${name} ${OPTIONS[name].value}`,
    `${OPTIONS[name].help} [${shownDefault(name)}]`,
  ])
  const width = Math.max(...rows.map(([flag = '']) => flag.length))
  const lines = rows.map(([flag = '', help = '']) => `  ${flag.padEnd(width)}  ${help}`)
  return `Usage: rejoin [options]\n\n${lines.join('\n')}\n\nEvery option is an environment variable, too: --max-queue is REJOIN_MAX_QUEUE.\n`
}

/** The README's table. */
export function markdownTable(): string {
  const rows = NAMES.map(
    (name) =>
      `| \`--${name} ${OPTIONS[name].value}\` | \`${envName(name)}\` | \`${shownDefault(name)}\` | ${OPTIONS[name].help} |`,
  )
  return ['| option | variable | default | |', '| --- | --- | --- | --- |', ...rows].join('\n')
}

function shownDefault(name: OptionName): string {
  const option: Option = OPTIONS[name]
  return option.defaultShown ?? String(option.default)
}

function parseFlags(argv: string[]): { help: boolean; values: Map<OptionName, string[]> } {
  const options = Object.fromEntries(NAMES.map((name) => [name, { type: 'string', multiple: true } as const]))
  try {
    const { values } = parseArgs({ args: argv, options: { ...options, help: { type: 'boolean', short: 'h' } } })
    const given: { [name: string]: unknown } = values
    const named = NAMES.flatMap((name) => (given[name] ? [[name, given[name] as string[]] as const] : []))
    return { help: given.help === true, values: new Map(named) }
  } catch (error) {
    // Node's message is a paragraph with advice; its first sentence says it.
    throw new ConfigError((error as Error).message.split(/\.\s/)[0])
  }
}

function fromEnv(name: OptionName, env: Record<string, string | undefined>): string[] | undefined {
  const value = env[envName(name)]
  if (value === undefined || value === '') return undefined
  return OPTIONS[name].kind === 'texts' ? value.split(',') : [value]
}

function read(given: (name: OptionName) => string[] | undefined): Config {
  const entries = NAMES.map((name) => [name, check(name, given(name))])
  // One value of its option's kind for every name: `check` made them so.
  return Object.fromEntries(entries) as Config
}

function check(name: OptionName, given: string[] | undefined): number | string | string[] {
  const option: Option = OPTIONS[name]
  if (given === undefined) return option.default
  if (option.kind === 'texts') return given
  // Given twice, the last one counts, as in most programs.
  const text = given.at(-1) as string
  if (option.kind === 'integer') return checkInteger(name, option, text)
  // Where that is the default it stands for none.
  if (text === '' && option.default !== '') throw new ConfigError(`--${name} must not be empty`)
  if (option.allowed && !option.allowed.includes(text)) {
    throw new ConfigError(`--${name} must be one of ${option.allowed.join(', ')}, got ${JSON.stringify(text)}`)
  }
  return text
}

function checkInteger(name: OptionName, { min = 0, max = Number.MAX_SAFE_INTEGER }: Option, text: string): number {
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN
  if (value >= min && value <= max) return value
  throw new ConfigError(`--${name} must be a whole number from ${min} to ${max}, got ${JSON.stringify(text)}`)
}
