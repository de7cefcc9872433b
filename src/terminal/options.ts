/**
 * The options of the commands that are a gateway's client.
 */
import { integer, Options, type OptionTable } from '../core/options.js'

const MAX_TOKENS = 1_000_000
const STATUSES = ['any', 'queued', 'running', 'completed', 'failed', 'canceled'] as const

const COMMON = {
  url: { kind: 'text', value: 'URL', default: 'http://127.0.0.1:8080', help: 'The gateway.' },
  'api-key': {
    kind: 'text',
    value: 'KEY',
    default: '',
    defaultShown: 'none',
    help: 'Sent as `Authorization: Bearer`. Better as a variable than as a flag.',
  },
} as const satisfies OptionTable

const JSON_LINES = { kind: 'flag', value: '', default: false, help: 'Every event as one line of JSON.' } as const

const RUN = {
  ...COMMON,
  model: { kind: 'text', value: 'NAME', default: '', defaultShown: 'the first one', help: 'Which model answers.' },
  system: {
    kind: 'text',
    value: 'TEXT',
    default: '',
    defaultShown: 'none',
    help: 'What the model is told before the prompt.',
  },
  'max-tokens': {
    ...integer('N', 0, 0, MAX_TOKENS, 'How long the answer may get.'),
    defaultShown: 'the gateway’s',
  },
  temperature: {
    kind: 'text',
    value: 'T',
    default: '',
    defaultShown: 'the model’s',
    help: '0 takes the likeliest token each time.',
  },
  json: JSON_LINES,
  'cancel-on-exit': {
    kind: 'flag',
    value: '',
    default: false,
    help: 'Ctrl-C ends the task. Otherwise it only leaves it, and the task goes on.',
  },
} as const satisfies OptionTable

const TAIL = {
  ...COMMON,
  after: integer('SEQ', 0, 0, Number.MAX_SAFE_INTEGER, 'Goes on after this event; 0: from the beginning.'),
  json: JSON_LINES,
} as const satisfies OptionTable

const TASKS = {
  ...COMMON,
  status: { kind: 'text', value: 'STATUS', default: 'any', allowed: STATUSES, help: `One of ${STATUSES.join(', ')}.` },
  limit: integer('N', 20, 1, 100_000, 'How many, newest first.'),
  json: { ...JSON_LINES, help: 'Every task as one line of JSON.' },
} as const satisfies OptionTable

const PREFIX = 'REJOIN_CLIENT_'

export const runOptions = new Options(RUN, PREFIX)
export const tailOptions = new Options(TAIL, PREFIX)
export const tasksOptions = new Options(TASKS, PREFIX)
export const cancelOptions = new Options(COMMON, PREFIX)
