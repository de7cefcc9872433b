/**
 * The options of `rejoin load`.
 */
import { integer, Options, type OptionTable, type ValuesOf } from '../core/options.js'

export const PROTOCOLS = ['sse', 'ws', 'ws-msgpack', 'poll', 'openai'] as const

const MAX_SECONDS = 86_400

export const LOAD_OPTIONS = {
  url: {
    kind: 'text',
    value: 'URL',
    default: 'http://127.0.0.1:8080',
    help: 'The gateway, or the OpenAI-compatible server.',
  },
  protocol: {
    kind: 'text',
    value: 'KIND',
    default: 'sse',
    allowed: PROTOCOLS,
    help: 'How each answer is followed: `sse`, `ws` (JSON), `ws-msgpack`, `poll` (long poll) or `openai` (`/v1/chat/completions` of any server that has it).',
  },
  clients: integer(
    'N',
    50,
    1,
    1_000_000,
    'Clients at once, each with a connection of its own and one answer at a time.',
  ),
  arrivals: {
    kind: 'text',
    value: 'KIND',
    default: 'closed',
    allowed: ['closed', 'uniform', 'poisson'],
    help: 'When a task is begun: `closed`, as soon as its client has the last answer; `uniform` or `poisson`, at `--rate`, whether or not the server keeps up.',
  },
  rate: {
    kind: 'number',
    value: 'TASKS/S',
    default: 0,
    min: 0,
    max: 1_000_000,
    help: 'Tasks begun a second, for arrivals other than `closed`.',
  },
  tasks: integer('N', 0, 0, 1_000_000_000, 'Ends after so many tasks; 0: no bound.'),
  duration: {
    kind: 'number',
    value: 'SECONDS',
    default: 10,
    min: 0.1,
    max: MAX_SECONDS,
    help: 'How long it is measured.',
  },
  warmup: {
    kind: 'number',
    value: 'SECONDS',
    default: 1,
    min: 0,
    max: MAX_SECONDS,
    help: 'Before that, not measured; none where `--tasks` is given.',
  },
  'cut-every': {
    kind: 'number',
    value: 'SECONDS',
    default: 0,
    min: 0,
    max: MAX_SECONDS,
    help: 'Mean time after which each connection is cut at random, to come back with its position; 0: never.',
  },
  'slow-readers': integer(
    'PERCENT',
    0,
    0,
    100,
    'Of the clients, those that take 2 KB a second and no more; they are not in the percentiles.',
  ),
  model: { kind: 'text', value: 'NAME', default: '', defaultShown: 'the server’s', help: 'The model to ask.' },
  prompt: {
    kind: 'text',
    value: 'TEXT',
    default: '',
    defaultShown: 'a story; for the model `scripted` 200 stamped tokens at 50 a second',
    help: 'What is asked. A scripted model takes its JSON; with `"stamp":true` lateness is measured, on the same machine.',
  },
  'max-tokens': integer('N', 200, 1, 1_000_000, 'Longest answer.'),
  'api-key': {
    kind: 'text',
    value: 'KEY',
    default: '',
    defaultShown: 'none',
    help: 'Sent as `Authorization: Bearer KEY`.',
  },
  seed: integer('N', 1, 0, 2 ** 32 - 1, 'Of all random decisions: arrivals and cuts.'),
  report: {
    kind: 'text',
    value: 'FILE.html',
    default: '',
    defaultShown: 'none',
    help: 'Writes a page with plots, in one file.',
  },
  json: { kind: 'flag', value: '', default: false, help: 'The result as JSON instead of the table.' },
} as const satisfies OptionTable

export type LoadOptions = ValuesOf<typeof LOAD_OPTIONS>

export const loadOptions = new Options(LOAD_OPTIONS, 'REJOIN_LOAD_')

export const loadHelp = (): string => `Usage: rejoin load [options]

Sends tasks, follows every answer, and tells how fast and how whole they came. The exit code is 1 when an event was lost or
repeated, or no task ended.

${loadOptions.helpRows()}
`
