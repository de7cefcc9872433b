/**
 * `rejoin run`, `tail`, `tasks` and `cancel`: a gateway's client at the terminal.
 *
 * stdout has what was asked for and nothing else; what happens on the way is told on stderr, where a person reads it.
 */
import { type ConnectionState, Rejoin, RejoinError } from '../client/index.js'
import { ConfigError, type Environment, type Options, type OptionTable } from '../core/options.js'
import { follow } from './follow.js'
import { cancelOptions, runOptions, tailOptions, tasksOptions } from './options.js'
import { readPrompt, taskRequest } from './prompt.js'
import { tasksTable } from './tasks-table.js'

const PATIENCE_MS = 5000

const USAGE = {
  run: [
    'rejoin run [options] PROMPT',
    'Asks for an answer and prints it as it comes; - or no PROMPT: reads it from stdin.',
  ],
  tail: ['rejoin tail [options] TASK', 'Prints what a task says, from the beginning or after an event.'],
  tasks: ['rejoin tasks [options]', 'Lists tasks, newest first.'],
  cancel: ['rejoin cancel [options] TASK', 'Ends a task.'],
} as const

export type ClientCommand = keyof typeof USAGE

export const isClientCommand = (name: string | undefined): name is ClientCommand =>
  name !== undefined && Object.hasOwn(USAGE, name)

/** Returns the exit code: 0; 1 when the task failed or was refused; 130 when it was left by Ctrl-C.
 * @throws ConfigError when an option is wrong */
export async function clientCommand(command: ClientCommand, argv: string[], env: Environment): Promise<number> {
  try {
    switch (command) {
      case 'run':
        return await run(argv, env)
      case 'tail':
        return await tail(argv, env)
      case 'tasks':
        return await tasks(argv, env)
      case 'cancel':
        return await cancel(argv, env)
      default:
        return command satisfies never
    }
  } catch (error) {
    if (!(error instanceof RejoinError)) throw error
    process.stderr.write(`rejoin: ${error.message} (${error.code})\n`)
    return 1
  }
}

async function run(argv: string[], env: Environment): Promise<number> {
  const { help, words, values } = runOptions.readWords(argv, env, 1)
  if (help) return usage('run', runOptions)
  const request = taskRequest(await readPrompt(words[0], process.stdin), values)
  return follow(values, (rejoin, signal) => rejoin.run(request, { signal }))
}

async function tail(argv: string[], env: Environment): Promise<number> {
  const { help, words, values } = tailOptions.readWords(argv, env, 1)
  if (help) return usage('tail', tailOptions)
  const task = named(words)
  const { after } = values
  return follow(values, (rejoin, signal) => rejoin.attach(task, { after, signal }))
}

async function tasks(argv: string[], env: Environment): Promise<number> {
  const { help, values } = tasksOptions.readWords(argv, env, 0)
  if (help) return usage('tasks', tasksOptions)
  const { status, limit, json } = values
  const found = await ask(values, async (rejoin, signal) => {
    const tasks = []
    for await (const task of rejoin.tasks({ signal, ...(status === 'any' ? {} : { status }) })) {
      tasks.push(task)
      if (tasks.length === limit) break
    }
    return tasks
  })
  if (json) for (const task of found) process.stdout.write(`${JSON.stringify(task)}\n`)
  else process.stdout.write(tasksTable(found, Date.now(), process.stdout.columns))
  return 0
}

async function cancel(argv: string[], env: Environment): Promise<number> {
  const { help, words, values } = cancelOptions.readWords(argv, env, 1)
  if (help) return usage('cancel', cancelOptions)
  const id = named(words)
  const task = await ask(values, (rejoin, signal) => rejoin.cancel(id, signal))
  const ended =
    task.status === 'queued' || task.status === 'running' ? 'is being canceled' : `has ended: ${task.status}`
  process.stdout.write(`${task.id} ${ended}\n`)
  return 0
}

/** Asks once, and not for ever. @throws Error when nobody answers */
async function ask<T>(
  { url, 'api-key': apiKey }: { url: string; 'api-key': string },
  question: (rejoin: Rejoin, signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const patience = AbortSignal.timeout(PATIENCE_MS)
  let reason: string | null = null
  const onState = (state: ConnectionState): void => {
    reason = state.reason ?? reason
  }
  const rejoin = new Rejoin({ url, apiKey, onState })
  try {
    return await question(rejoin, patience)
  } catch (error) {
    if (!patience.aborted) throw error
    throw new Error(`${url} does not answer: ${reason ?? 'no connection'}`)
  } finally {
    rejoin.close()
  }
}

/** @throws ConfigError */
function named([task]: string[]): string {
  if (task === undefined) throw new ConfigError('TASK is missing: the id of a task, see `rejoin tasks`')
  return task
}

function usage(command: ClientCommand, options: Options<OptionTable>): number {
  const [line, sentence] = USAGE[command]
  process.stdout.write(`Usage: ${line}\n\n${sentence}\n\n${options.helpRows()}\n`)
  return 0
}
