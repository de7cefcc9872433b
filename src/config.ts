/**
 * The options of the gateway. Read once, by `cli.ts`, and passed down as values.
 */
import { availableParallelism } from 'node:os'
import { integer, Options, type OptionTable, type ValuesOf } from './core/options.js'

const MIB = 1_048_576
const DAY_MS = 86_400_000
const BILLION = 1_000_000_000

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
    allowed: ['process', 'disk', 'none'],
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
  'max-in-flight': integer('N', 512, 1, MIB, 'Token events on their way from a worker before it waits.'),
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
  'openai-grace-ms': integer(
    'MS',
    30_000,
    0,
    DAY_MS,
    'How long an answer that was asked for by OpenAI’s protocol goes on when its client has gone and nobody else reads it.',
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
    allowed: ['silent', 'error', 'warn', 'info'],
    help: 'What goes to stderr, as JSON lines: `silent`, `error`, `warn` or `info`.',
  },
} as const satisfies OptionTable

/** A checked value for every option, by its flag's name. */
export type Config = ValuesOf<typeof OPTIONS>

export const options = new Options(OPTIONS, 'REJOIN_')

export const helpText = (): string => `Usage: rejoin [options]           a gateway
       rejoin run PROMPT          an answer of one, see rejoin run --help
       rejoin tail TASK           follows a task
       rejoin tasks               lists tasks
       rejoin cancel TASK         ends a task
       rejoin load [options]      a load test of one, see rejoin load --help

${options.helpRows()}

Every option is an environment variable, too: --max-queue is ${options.envName('max-queue')}.
`
