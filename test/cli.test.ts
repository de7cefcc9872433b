import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { helpText } from '../src/config.js'
import { Cli, tempFolder } from './cli-process.js'
import { MODEL_DIR } from './model/answer.js'
import { openSocket, post, scripted, sseEvents, textOf } from './server/harness.js'
import { until } from './until.js'

/** Ready to work, with the scripted model. */
async function serve(t: TestContext, ...args: string[]): Promise<{ cli: Cli; url: string }> {
  const cli = new Cli(t, ['--port', '0', '--model', 'scripted', '--workers', '1', ...args])
  await cli.said('Ready.')
  return { cli, url: await cli.url() }
}

describe('the command line', { concurrency: 4 }, () => {
  test('--help prints the options and ends', async (t) => {
    const cli = new Cli(t, ['--help'])

    const code = await cli.exit()

    assert.deepEqual([code, cli.stdout, cli.stderr], [0, helpText(), ''])
  })

  const MISTAKES: [args: string[], line: RegExp][] = [
    [['--prot', '1'], /^rejoin: Unknown option '--prot'\n$/],
    [['--port', '70000'], /^rejoin: --port must be a whole number from 0 to 65535, got "70000"\n$/],
    [['--port', '-1'], /^rejoin: .*--port.*\n$/],
    [['--po\nrt'], /^rejoin: Unknown option '--po rt'.*\n$/],
    [['--model', ''], /^rejoin: --model : .*\n$/],
    [['--model', '/no\nsuch'], /^rejoin: --model .*does not exist\n$/],
    [['--model', '/nonexistent'], /^rejoin: --model \/nonexistent: model directory \/nonexistent does not exist\n$/],
    [['--model', 'scripted', '--model', 'scripted'], /^rejoin: --model scripted: two models are named scripted.*\n$/],
  ]
  for (const [args, line] of MISTAKES) {
    test(`\`${JSON.stringify(args).slice(1, -1)}\` is one line on stderr and exit code 2`, async (t) => {
      const cli = new Cli(t, args)

      const code = await cli.exit()

      assert.deepEqual([code, cli.stdout], [2, ''])
      assert.match(cli.stderr, line)
    })
  }

  test('a variable that cannot be read is a mistake like a flag', async (t) => {
    const cli = new Cli(t, [], { REJOIN_DRAIN_MS: 'soon' })

    const code = await cli.exit()

    assert.equal(code, 2)
    assert.match(cli.stderr, /^rejoin: --drain-ms must be a whole number from 0 to 86400000, got "soon"\n$/)
  })

  test('a model directory that lacks a file is named with the file, exit code 2', async (t) => {
    const folder = tempFolder(t)
    writeFileSync(join(folder, 'config.json'), '{}')

    const cli = new Cli(t, ['--port', '0', '--model', `mine=${folder}`])
    const code = await cli.exit()

    assert.deepEqual(
      [code, cli.stderr],
      [2, `rejoin: --model mine=${folder}: model directory ${folder} has no tokenizer.json\n`],
    )
  })

  test('a model that does not load is one line and exit code 1', async (t) => {
    const folder = tempFolder(t)
    for (const file of ['config.json', 'tokenizer.json', 'tokenizer_config.json']) {
      symlinkSync(join(MODEL_DIR, file), join(folder, file))
    }
    mkdirSync(join(folder, 'onnx'))
    writeFileSync(join(folder, 'onnx/model.onnx'), 'no graph')

    const cli = new Cli(t, ['--port', '0', '--model', `mine=${folder}`, '--log-level', 'silent'])
    const code = await cli.exit()

    assert.equal(code, 1)
    assert.match(cli.stderr, /^rejoin: model mine: .+\n$/)
  })

  test('a port in use is one line and exit code 1', async (t) => {
    const other = createServer().listen(0, '127.0.0.1')
    t.after(() => other.close())
    await once(other, 'listening')
    const { port } = other.address() as { port: number }

    const cli = new Cli(t, ['--port', String(port), '--model', 'scripted'])
    const code = await cli.exit()

    assert.deepEqual([code, cli.stdout], [1, ''])
    assert.match(cli.stderr, new RegExp(`^rejoin: .*127\\.0\\.0\\.1:${port}.*\n$`))
  })

  test('two gateways do not share a port in silence', async (t) => {
    const { url } = await serve(t)

    const second = new Cli(t, ['--port', new URL(url).port, '--model', 'scripted'])

    assert.equal(await second.exit(), 1)
  })

  test('it says where it listens, and when it is ready, and works', async (t) => {
    const { cli, url } = await serve(t)

    const ready = await fetch(`${url}/readyz`)
    const events = await sseEvents(await post(url, scripted({ tokens: 3 }), { accept: 'text/event-stream' }))

    assert.match(
      cli.stdout,
      /^Rejoin listens on http:\/\/127\.0\.0\.1:\d+\nModels: scripted\nData: +\/.*\/data\nChat: +http:\/\/127\.0\.0\.1:\d+\/\nTry: .*\nReady\.\n$/,
    )
    assert.equal(ready.status, 200)
    assert.equal(textOf(events), 'w0 w1 w2 ')
    assert.equal(cli.stderr, '')
  })

  test('variables are read, and a flag wins', async (t) => {
    const cli = new Cli(t, ['--model', 'scripted'], { REJOIN_PORT: '0', REJOIN_MODEL: 'default' })

    await cli.said('Ready.')

    assert.match(cli.stdout, /^Models: scripted$/m)
    assert.doesNotMatch(cli.stdout, /:8080/)
  })

  test('on SIGTERM nothing new comes in, what runs ends, sockets close with 1012, and the exit code is 0', async (t) => {
    const { cli, url } = await serve(t, '--drain-ms', '30000')
    const socket = await openSocket(t, url)
    const closed = once(socket, 'close')
    const running = await post(url, scripted({ tokens: 300, rate: 200 }), { accept: 'text/event-stream' })
    const events = sseEvents(running)

    cli.child.kill('SIGTERM')
    await cli.said('Stopping')
    const ready = await fetch(`${url}/readyz`)
    const refused = await post(url, scripted({}))
    const error = (await refused.json()) as { error: { code: string } }

    assert.equal(ready.status, 503)
    assert.deepEqual([refused.status, error.error.code, refused.headers.get('retry-after')], [503, 'draining', '1'])
    const all = await events
    assert.equal(all.at(-1)?.type, 'completed')
    assert.equal(textOf(all), Array.from({ length: 300 }, (_, i) => `w${i} `).join(''))
    assert.equal(((await closed) as [number])[0], 1012)
    assert.equal(await cli.exit(), 0)
  })

  test('without a journal, what runs longer than --drain-ms is canceled by `shutdown`, and its stream says so', async (t) => {
    const { cli, url } = await serve(t, '--drain-ms', '200', '--durability', 'none')
    const running = await post(url, scripted({ tokens: 100_000, rate: 100 }), { accept: 'text/event-stream' })
    const events = sseEvents(running)

    cli.child.kill('SIGINT')

    const last = (await events).at(-1)
    assert.deepEqual([last?.type, last?.type === 'canceled' && last.by], ['canceled', 'shutdown'])
    assert.equal(await cli.exit(), 0)
  })

  test('a gateway that is stopped while its model loads ends with 0', async (t) => {
    const cli = new Cli(t, ['--port', '0', '--model', 'default', '--workers', '1'])
    await cli.url()

    cli.child.kill('SIGTERM')

    assert.deepEqual([await cli.exit(), cli.stderr], [0, ''])
  })

  test('a gateway with a thread that hangs goes on, and ends in order', async (t) => {
    const { cli, url } = await serve(t, '--stall-ms', '1000')

    const response = await post(url, scripted({ tokens: 20, hang_at: 3 }), { accept: 'text/event-stream' })
    const events = await sseEvents(response)
    cli.child.kill('SIGTERM')

    assert.equal(textOf(events), Array.from({ length: 20 }, (_, i) => `w${i} `).join(''))
    assert.equal(await cli.exit(), 0)
  })

  test('a second signal ends it at once, by SIGKILL', async (t) => {
    const { cli, url } = await serve(t, '--drain-ms', '86400000')
    await post(url, scripted({ tokens: 1_000_000, rate: 10 }))

    cli.child.kill('SIGTERM')
    await cli.said('Stopping')
    cli.child.kill('SIGINT')

    assert.equal(await cli.exit(), null)
    assert.equal(cli.child.signalCode, 'SIGKILL')
  })

  test('a gateway whose worker died keeps serving', async (t) => {
    const { cli, url } = await serve(t)

    const response = await post(url, scripted({ tokens: 20, crash_at: 5 }), { accept: 'text/event-stream' })
    const events = await sseEvents(response)

    assert.equal(textOf(events), Array.from({ length: 20 }, (_, i) => `w${i} `).join(''))
    await until('the log', () => cli.stderr.includes('\n'))
    // What the log has of it: one line of JSON, without a prompt.
    const [line] = cli.stderr.split('\n')
    assert.match((JSON.parse(line ?? '') as { msg: string }).msg, /worker was lost/)
  })
})

describe('rejoin load', () => {
  test('tests a gateway, with a table, a page, and 0 when all was well', async (t) => {
    const gateway = new Cli(t, ['--port', '0', '--model', 'scripted', '--workers', '1'])
    const url = await gateway.url()
    const report = join(tempFolder(t), 'report.html')
    const prompt = '{"tokens":20,"rate":100,"stamp":true}'

    const load = new Cli(t, [
      'load',
      '--url',
      url,
      '--clients',
      '5',
      '--tasks',
      '10',
      '--prompt',
      prompt,
      '--report',
      report,
    ])
    const code = await load.exit()

    assert.equal(code, 0, load.stderr)
    assert.match(load.stdout, /^events +0 +lost +0 +repeated$/m)
    assert.match(readFileSync(report, 'utf8'), /<h1>Load test of 127\.0\.0\.1/)
  })

  test('gives its numbers as JSON, with variables for options and a signal as its end', async (t) => {
    const gateway = new Cli(t, ['--port', '0', '--model', 'scripted', '--workers', '1'])
    const env = { REJOIN_LOAD_URL: await gateway.url(), REJOIN_LOAD_JSON: 'true', REJOIN_LOAD_MODEL: 'scripted' }

    const load = new Cli(t, ['load', '--warmup', '0', '--clients', '2'], env)
    await once(load.child.stderr, 'data')
    load.child.kill('SIGINT')
    const code = await load.exit()

    const summary = JSON.parse(load.stdout)
    assert.equal(code, 0)
    assert.deepEqual([summary.lost, summary.repeated, summary.tasks.unfinished], [0, 0, 2])
    assert.ok(summary.seconds < 10 && summary.tokensPerS > 0)
  })

  test('tells of its options, and of a wrong one in one line with code 2', async (t) => {
    const help = new Cli(t, ['load', '--help'])
    const wrong = new Cli(t, ['load', '--clients', 'many'])
    const together = new Cli(t, ['load', '--rate', '5'])

    const codes = await Promise.all([help.exit(), wrong.exit(), together.exit()])

    assert.deepEqual(codes, [0, 2, 2])
    assert.match(help.stdout, /^Usage: rejoin load \[options\]\n/)
    assert.match(help.stdout, /^ {2}--cut-every SECONDS /m)
    assert.equal(wrong.stderr, 'rejoin: --clients must be a whole number from 1 to 1000000, got "many"\n')
    assert.equal(together.stderr, 'rejoin: --rate needs --arrivals uniform or poisson\n')
  })

  test('ends with 1 when there is nothing to test', async (t) => {
    const load = new Cli(t, ['load', '--url', 'http://127.0.0.1:1', '--warmup', '0', '--duration', '0.3'])

    assert.equal(await load.exit(), 1)
    assert.match(load.stdout, /^errors +ECONNREFUSED \d+$/m)
  })
})
