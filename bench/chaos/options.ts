/**
 * The options of `npm run chaos`, and the command that repeats a run.
 */

import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

export type Options = {
  kills: number
  minutes: number
  seed: number
  tasks: number
  readers: number
  model: 'scripted' | 'default'
  /** Null: the gateway's own default. */
  durability: string | null
  /** Null: the gateway of this build. */
  gateway: string | null
  /** A gateway with so many violations has been found out, and the run ends. */
  enough: number
}

export class OptionError extends Error {}

const CLI = fileURLToPath(new URL('../../src/cli.js', import.meta.url))
/** Of an uninterrupted long run: a kill every so often. */
const MINUTES_PER_KILL = 0.08
const ENOUGH = 500
const LONG = { minutes: 18, tasks: 60 }
const CI = { minutes: 0.9, kills: 20, tasks: 40 }
/** Four for each slot: it computes what it says, and is never idle. */
const EMBEDDED_TASKS = 32

export const HELP = `Usage: npm run chaos -- [options]

Kills and restarts a gateway under load, and checks that nothing is lost and nothing comes twice. Exit code 1 when it is not so.

  --ci                20 kills in less than a minute, instead of some 200 within 18 minutes
  --kills N           how many kill -9; with 0 only connections are cut and workers die  [12 a minute, at least 200 if no --minutes]
  --minutes M         bounds the run; fewer kills than asked for in that time are reported, and exit code 1  [18]
  --seed S            repeats the decisions of a run  [any]
  --tasks N           tasks alive at once  [60; 40 with --ci; 32 with --model default]
  --readers N         readers of each task  [3]
  --model MODEL       scripted, or default: the embedded model  [scripted]
  --durability D      handed on to the gateway: process, disk or none  [its own default]
  --gateway FILE      a JavaScript file to run in place of the gateway, with the same arguments  [dist/src/cli.js]
`

/** Null when help is asked for. @throws OptionError */
export function readOptions(args: string[], anySeed: () => number): Options | null {
  const text = { type: 'string' } as const
  const flag = { type: 'boolean' } as const
  const options = {
    ci: flag,
    help: { type: 'boolean', short: 'h' },
    kills: text,
    minutes: text,
    seed: text,
    tasks: text,
    readers: text,
    model: text,
    durability: text,
    gateway: text,
  } as const
  const values = parse(() => parseArgs({ args, options }).values)
  if (values.help) return null
  const { model = 'scripted', durability = null, gateway = null } = values
  if (model !== 'scripted' && model !== 'default')
    throw new OptionError(`--model must be scripted or default, got ${model}`)
  const minutes = number('minutes', values.minutes, values.ci ? CI.minutes : LONG.minutes, 0.05, 24 * 60)
  const kills = values.ci ? CI.kills : Math.ceil(minutes / MINUTES_PER_KILL)
  const tasks = model === 'default' ? EMBEDDED_TASKS : values.ci ? CI.tasks : LONG.tasks
  return {
    minutes,
    kills: whole('kills', values.kills, kills, 0, 100_000),
    seed: whole('seed', values.seed, anySeed(), 0, 2 ** 32 - 1),
    tasks: whole('tasks', values.tasks, tasks, 1, 1000),
    readers: whole('readers', values.readers, 3, 1, 20),
    model,
    durability,
    gateway,
    enough: ENOUGH,
  }
}

/** What the gateway is run with. */
export function gatewayArgs({ model, tasks, durability }: Options): string[] {
  // Fewer slots than tasks: some wait. More attempts than there are crashes: a task must not fail for its neighbours.
  const [workers, slots] = model === 'scripted' ? [2, tasks * 0.35] : [1, tasks * 0.25]
  const served = ['--workers', String(workers), model === 'scripted' ? '--scripted-slots' : '--slots']
  return [
    ...['--model', model, ...served, String(Math.ceil(slots)), '--max-attempts', '100'],
    // All tasks of a run are there at its end.
    ...['--retention-bytes', String(2 ** 33)],
    // Short, so that it is shortened under load, too.
    ...['--journal-mb', '1'],
    ...(durability === null ? [] : ['--durability', durability]),
  ]
}

export const gatewayFile = ({ gateway }: Options): string => gateway ?? CLI

/** The command that makes the same decisions again. */
export function commandOf({ enough: _, ...options }: Options): string {
  const flags = Object.entries(options)
  return `npm run chaos -- ${flags.flatMap(([name, value]) => (value === null ? [] : [`--${name} ${value}`])).join(' ')}`
}

function parse<T>(read: () => T): T {
  try {
    return read()
  } catch (error) {
    // Node's message is a paragraph with advice; its first sentence says it.
    throw new OptionError((error as Error).message.split(/\.\s/)[0])
  }
}

function number(name: string, text: string | undefined, fallback: number, min: number, max: number): number {
  if (text === undefined) return fallback
  const value = /^\d+(\.\d+)?$/.test(text) ? Number(text) : Number.NaN
  if (value >= min && value <= max) return value
  throw new OptionError(`--${name} must be a number from ${min} to ${max}, got ${JSON.stringify(text)}`)
}

function whole(name: string, text: string | undefined, fallback: number, min: number, max: number): number {
  const value = number(name, text, fallback, min, max)
  if (Number.isInteger(value)) return value
  throw new OptionError(`--${name} must be a whole number, got ${JSON.stringify(text)}`)
}
