/** The client at the terminal: the real command line, against a real gateway. */
import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import type { TaskEvent } from '../../src/client/index.js'
import { Cli } from '../cli-process.js'
import { scripted, startGateway, submit, type TaskObject } from '../server/harness.js'
import { until } from '../until.js'

const HELLO = JSON.stringify({ text: 'Hello, wörld 👋!', tokens: 6 })
const ENDLESS = JSON.stringify({ tokens: 1_000_000, rate: 100 })

/** `rejoin` with the gateway named by its variable, as a user's shell would have it. */
const rejoin = (t: TestContext, url: string, args: string[], input = ''): Cli =>
  new Cli(t, args, { REJOIN_CLIENT_URL: url }, input)

const statusOf = async (url: string, id: string): Promise<string> =>
  ((await (await fetch(`${url}/v1/tasks/${id}`)).json()) as TaskObject).status

const tasksOf = async (url: string): Promise<TaskObject[]> =>
  ((await (await fetch(`${url}/v1/tasks`)).json()) as { data: TaskObject[] }).data

describe('the client at the terminal', { concurrency: 4 }, () => {
  test('run prints the answer and nothing else, from the command line or from a pipe', async (t) => {
    const { url } = await startGateway(t)

    const given = rejoin(t, url, ['run', HELLO])
    const piped = rejoin(t, url, ['run'], HELLO)
    const dashed = rejoin(t, url, ['run', '-'], HELLO)

    for (const cli of [given, piped, dashed]) {
      assert.deepEqual([await cli.exit(), cli.stdout, cli.stderr], [0, 'Hello, wörld 👋!\n', ''])
    }
  })

  test('run passes on what is asked for', async (t) => {
    const { url, gateway } = await startGateway(t)
    const options = ['--model', 'scripted', '--system', 'Be kind.', '--max-tokens', '3', '--temperature', '0.5']

    const cli = rejoin(t, url, ['run', ...options, ENDLESS])
    const code = await cli.exit()
    const { records } = await gateway.list('anyone', Number.POSITIVE_INFINITY, 1, null)

    assert.deepEqual([code, cli.stdout.trim().split(' ').length], [0, 3])
    const { spec } = records[0]?.task ?? {}
    assert.deepEqual(
      [spec?.model, spec?.maxTokens, spec?.sampling.temperature, spec?.prompt],
      [
        'scripted',
        3,
        0.5,
        {
          type: 'chat',
          messages: [
            { role: 'system', content: 'Be kind.' },
            { role: 'user', content: ENDLESS },
          ],
        },
      ],
    )
  })

  test('--json prints every event as a line', async (t) => {
    const { url } = await startGateway(t)

    const cli = rejoin(t, url, ['run', '--json', HELLO])
    await cli.exit()
    const events = cli.stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as TaskEvent)

    assert.deepEqual([events[0]?.type, events[0]?.seq, events.at(-1)?.type], ['queued', 1, 'completed'])
  })

  test('Ctrl-C leaves the task, which goes on, and says how to come back; that prints the rest', async (t) => {
    const { url } = await startGateway(t)
    const script = JSON.stringify({ tokens: 150, rate: 100 })

    const cli = rejoin(t, url, ['run', script])
    await cli.said('w20 ')
    cli.child.kill('SIGINT')
    const code = await cli.exit()
    const [, command = ''] = /\n {2}rejoin (tail .*)\n/.exec(cli.stderr) ?? []
    const rest = rejoin(t, url, command.split(' '))
    const restCode = await rest.exit()

    assert.deepEqual([code, restCode], [130, 0])
    const words = Array.from({ length: 150 }, (_, at) => `w${at} `).join('')
    assert.equal(`${cli.stdout}${rest.stdout}`.trimEnd(), words.trimEnd())
  })

  test('with --cancel-on-exit Ctrl-C ends the task', async (t) => {
    const { url } = await startGateway(t)

    const cli = rejoin(t, url, ['run', '--cancel-on-exit', ENDLESS])
    await cli.said('w5 ')
    cli.child.kill('SIGINT')
    const code = await cli.exit()
    const [task] = await tasksOf(url)

    assert.deepEqual([code, task?.status], [130, 'canceled'])
    assert.match(cli.stderr, /canceled by client/)
  })

  test('a reader of the output that goes away ends the command in silence, and not the task', async (t) => {
    const { url } = await startGateway(t)

    const cli = rejoin(t, url, ['run', ENDLESS])
    await cli.said('w1 ')
    cli.child.stdout.destroy()
    const code = await cli.exit()
    const [task] = await tasksOf(url)

    assert.deepEqual([code, cli.stderr, task?.status], [0, '', 'running'])
  })

  test('tail follows a task from its beginning or after an event, running or ended', async (t) => {
    const { url } = await startGateway(t)
    const { id } = await submit(url, scripted({ tokens: 3 }))

    const whole = rejoin(t, url, ['tail', id])
    assert.deepEqual([await whole.exit(), whole.stdout], [0, 'w0 w1 w2 \n'])
    const end = rejoin(t, url, ['tail', id, '--after', '2', '--json'])
    await end.exit()

    assert.equal((JSON.parse(end.stdout.split('\n')[0] ?? '') as TaskEvent).seq > 2, true)
  })

  test('tasks are listed newest first, with status and text, as many as asked for', async (t) => {
    const { url } = await startGateway(t)
    const ids: string[] = []
    for (let at = 0; at < 3; at++) {
      const { id } = await submit(url, scripted({ text: `answer ${at}`, tokens: 2 }))
      await until('the end', async () => (await statusOf(url, id)) === 'completed')
      ids.unshift(id)
    }

    const all = rejoin(t, url, ['tasks'])
    const two = rejoin(t, url, ['tasks', '--limit', '2', '--json'])
    const none = rejoin(t, url, ['tasks', '--status', 'failed'])
    await Promise.all([all, two, none].map((cli) => cli.exit()))

    const [head, ...lines] = all.stdout.trimEnd().split('\n')
    assert.match(head ?? '', /^TASK +STATUS +MODEL +AGE +TOKENS +TEXT$/)
    assert.deepEqual(
      lines.map((line) => [line.split(/\s+/)[0], line.includes('completed'), /answer \d$/.exec(line)?.[0]]),
      ids.map((id, at) => [id, true, `answer ${2 - at}`]),
    )
    assert.deepEqual(
      two.stdout
        .trimEnd()
        .split('\n')
        .map((line) => (JSON.parse(line) as TaskObject).id),
      ids.slice(0, 2),
    )
    assert.equal(none.stdout.split('\n').length, 2)
  })

  test('cancel ends a task, and says of one that has ended that it has', async (t) => {
    const { url } = await startGateway(t)
    const { id } = await submit(url, JSON.stringify({ prompt: ENDLESS }))

    const first = rejoin(t, url, ['cancel', id])
    assert.deepEqual([await first.exit(), first.stdout], [0, `${id} is being canceled\n`])
    await until('the end', async () => (await statusOf(url, id)) === 'canceled')
    const second = rejoin(t, url, ['cancel', id])
    assert.deepEqual([await second.exit(), second.stdout], [0, `${id} has ended: canceled\n`])
  })

  test('what fails or is refused is one line, and exit code 1', async (t) => {
    const { url } = await startGateway(t, { 'max-attempts': 1 })

    const failing = rejoin(t, url, ['run', JSON.stringify({ tokens: 3, fail_at: 'always' })])
    const refused = rejoin(t, url, ['run', '--model', 'other', 'x'])
    const missing = rejoin(t, url, ['tail', 'task_none'])
    const codes = await Promise.all([failing, refused, missing].map((cli) => cli.exit()))

    assert.deepEqual(codes, [1, 1, 1])
    assert.match(failing.stderr, /the task failed: .* \(model_failed\)/)
    assert.match(refused.stderr, /^rejoin: .*other.* \(model_not_found\)\n$/)
    assert.match(missing.stderr, /\(task_not_found\)\n$/)
  })

  test('where nobody listens a question ends with the reason, and a run says what it waits for', async (t) => {
    const url = 'http://127.0.0.1:1'

    const asking = rejoin(t, url, ['tasks'])
    const running = rejoin(t, url, ['run', HELLO])
    await until('a word of what it waits for', () => running.stderr.includes('no connection yet'))
    running.child.kill('SIGINT')

    assert.deepEqual([await asking.exit(), await running.exit()], [1, 130])
    assert.match(asking.stderr, /^rejoin: http:\/\/127\.0\.0\.1:1 does not answer: .+\n$/)
    assert.match(running.stderr, /left before the task was accepted/)
  })

  test('a command that is used wrongly says so, with exit code 2; --help explains it', async (t) => {
    const wrong = [['tail'], ['cancel'], ['run'], ['run', 'a', 'b'], ['tasks', '--status', 'odd'], ['run', '--x', 'a']]

    for (const args of wrong) {
      const cli = new Cli(t, args)
      assert.deepEqual([args, await cli.exit(), cli.stderr.split('\n').length], [args, 2, 2])
    }
    const help = new Cli(t, ['run', '--help'])
    assert.equal(await help.exit(), 0)
    assert.match(help.stdout, /^Usage: rejoin run \[options\] PROMPT\n[\s\S]*--cancel-on-exit/)
  })
})
