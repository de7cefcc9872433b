import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { helpText, OPTIONS, options } from '../src/config.js'
import { ConfigError } from '../src/core/options.js'

const NAMES = Object.keys(OPTIONS) as (keyof typeof OPTIONS)[]

const read = (argv: string[], env: Record<string, string> = {}): ReturnType<typeof options.read> =>
  options.read(argv, env)

const refusal = (argv: string[], env: Record<string, string> = {}): string => {
  try {
    read(argv, env)
  } catch (error) {
    assert.ok(error instanceof ConfigError, `threw ${error}`)
    return error.message
  }
  throw new Error(`accepted: ${argv.join(' ')}`)
}

test('without flags and variables every option has its default', () => {
  const { help, ...config } = read([])

  assert.equal(help, false)
  assert.deepEqual(config, options.check({}))
  assert.deepEqual(Object.keys(config), NAMES)
  assert.deepEqual([config.port, config.host, config.model], [8080, '127.0.0.1', ['default']])
})

test('a flag wins over its variable, which wins over the default', () => {
  const env = { REJOIN_PORT: '1', REJOIN_MAX_QUEUE: '2', UNRELATED: 'x' }

  const config = read(['--port', '3'], env)

  assert.deepEqual([config.port, config['max-queue'], config['max-readers']], [3, 2, 100_000])
})

test('an empty variable is none', () => {
  assert.equal(read([], { REJOIN_PORT: '' }).port, 8080)
})

test('a flag given twice counts the last time, a repeatable one every time', () => {
  const config = read(['--port', '1', '--port=2', '--model', 'scripted', '--model', 'm=./dir'])

  assert.deepEqual([config.port, config.model], [2, ['scripted', 'm=./dir']])
})

test('a repeatable variable has its values between commas', () => {
  assert.deepEqual(read([], { REJOIN_MODEL: 'scripted,default' }).model, ['scripted', 'default'])
})

describe('every option', () => {
  for (const name of NAMES) {
    const option: { kind: string; min?: number; max?: number; allowed?: readonly string[] } = OPTIONS[name]
    const { kind, min = 0, max = 0, allowed } = option

    test(`--${name} is read from its flag and from its variable`, () => {
      const given = kind === 'integer' ? String(max) : (allowed?.at(-1) ?? 'given')
      const expected = kind === 'integer' ? max : kind === 'texts' ? [given] : given

      assert.deepEqual(read([`--${name}`, given])[name], expected)
      assert.deepEqual(read([], { [options.envName(name)]: given })[name], expected)
    })

    test(`--${name} is in the help and in the README's table, with its variable`, () => {
      assert.match(helpText(), new RegExp(`^ {2}--${name} ${OPTIONS[name].value} `, 'm'))
      assert.ok(
        options.markdownTable().includes(`\n| \`--${name} ${OPTIONS[name].value}\` | \`${options.envName(name)}\` | `),
      )
      assert.match(options.envName(name), /^REJOIN_[A-Z_]+$/)
    })

    if (kind !== 'integer') continue
    test(`--${name} is refused outside of ${min} to ${max}, with its name, its range and what was given`, () => {
      const outside = [max + 1, ...(min > 0 ? [min - 1] : []), '1.5', 'abc', '0x10', '1e3', ' 1', '']
      for (const given of outside) {
        const expected = `--${name} must be a whole number from ${min} to ${max}, got ${JSON.stringify(String(given))}`
        assert.equal(refusal([`--${name}=${given}`]), expected)
        if (given !== '') assert.equal(refusal([], { [options.envName(name)]: String(given) }), expected)
      }
    })
  }
})

test('a default of every number is within its own range', () => {
  for (const [name, value] of Object.entries(options.check({}))) {
    if (typeof value === 'number') assert.equal(read([`--${name}=${value}`])[name as 'port'], value)
  }
})

test('a wrong flag is refused in one line', () => {
  const wrong: [string[], RegExp][] = [
    [['--prot', '1'], /^Unknown option '--prot'/],
    [['-p', '1'], /^Unknown option '-p'/],
    [['serve'], /^Unexpected argument "serve"$/],
    [['--port'], /--port/],
    [['--port', '-1'], /--port/],
    [['--port', '--host'], /--port/],
    [['--help=yes'], /--help/],
    [['--no-port'], /--no-port/],
    [['--log-level', 'loud'], /^--log-level must be one of silent, error, warn, info, got "loud"$/],
    [['--host='], /^--host must not be empty$/],
    [['--port', '1\n2'], /^--port must be a whole number/],
  ]

  for (const [argv, message] of wrong) {
    const refused = refusal(argv)
    assert.match(refused, message)
    assert.doesNotMatch(refused, /\n/, JSON.stringify(refused))
  }
})

test('help is asked for with --help or -h', () => {
  assert.deepEqual([read(['--help']).help, read(['-h']).help, read([]).help], [true, true, false])
})

test('the help says once how variables are named, and fits each option into one line', () => {
  const lines = helpText().trimEnd().split('\n')

  assert.match(lines[0] ?? '', /^Usage: rejoin \[options\]/)
  assert.equal(lines.filter((line) => line.startsWith('  --')).length, NAMES.length)
  assert.equal(lines.at(-1), 'Every option is an environment variable, too: --max-queue is REJOIN_MAX_QUEUE.')
})

test('a program that starts a gateway is told of a wrong option, like a user of the command line', () => {
  assert.throws(() => options.check({ models: ['scripted'] } as never), { message: 'no option is named models' })
  assert.throws(() => options.check({ port: 'abc' } as never), {
    message: '--port must be a whole number from 0 to 65535, got "abc"',
  })
  assert.throws(() => options.check({ model: 'scripted' } as never), {
    message: 'model must be a list, got "scripted"',
  })
  assert.equal(options.check({ port: 0 }).port, 0)
})
