/**
 * Options of a command, in one table: flags, environment, `--help` and the README's table come from it.
 *
 * A flag wins over its variable, which wins over the default. What cannot be read is refused with one line that
 * names the option, its range and the value given; nothing falls back in silence.
 */
import { parseArgs } from 'node:util'

/** `number` may have a fraction; a `flag` has no value and is off by default; `texts` may be given several times. */
type Kind = 'integer' | 'number' | 'text' | 'texts' | 'flag'

export type Option = {
  kind: Kind
  /** As it is shown: what the value stands for. */
  value: string
  default: number | string | string[] | boolean
  /** How the default is shown, where its value depends on the machine. */
  defaultShown?: string
  min?: number
  max?: number
  allowed?: readonly string[]
  help: string
}

export type OptionTable = Record<string, Option>

type Values = { integer: number; number: number; text: string; texts: string[]; flag: boolean }

type ValueOf<O extends Option> = O extends { allowed: readonly (infer A)[] } ? A : Values[O['kind']]

/** A checked value for every option of a table, by its flag's name. */
export type ValuesOf<T extends OptionTable> = { -readonly [N in keyof T]: ValueOf<T[N]> }

export type Environment = Record<string, string | undefined>

/** An option or value that cannot be used: one line for the user. */
export class ConfigError extends Error {}

export const integer = (
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

export class Options<T extends OptionTable> {
  readonly #table: OptionTable
  readonly #envPrefix: string

  constructor(table: T, envPrefix: string) {
    this.#table = table
    this.#envPrefix = envPrefix
  }

  /** Values by name, as a program gives them; the rest have their defaults.
   * @throws ConfigError */
  check(given: Partial<ValuesOf<T>>): ValuesOf<T> {
    const unknown = Object.keys(given).find((name) => !(name in this.#table))
    if (unknown !== undefined) throw new ConfigError(`no option is named ${unknown}`)
    const values: Record<string, unknown> = given
    return this.#read((name) => {
      const value = values[name]
      if (value === undefined) return undefined
      if (this.#option(name).kind !== 'texts') return [String(value)]
      if (Array.isArray(value)) return value.map(String)
      throw new ConfigError(`${name} must be a list, got ${JSON.stringify(value)}`)
    })
  }

  /** @throws ConfigError */
  read(argv: string[], env: Environment): ValuesOf<T> & { help: boolean } {
    const { help, values } = this.readWords(argv, env, 0)
    return { ...values, help }
  }

  /** As `read`, for a command that takes words beside its options. @throws ConfigError */
  readWords(
    argv: string[],
    env: Environment,
    maxWords: number,
  ): { help: boolean; words: string[]; values: ValuesOf<T> } {
    const { help, words, flags } = this.#parseFlags(argv)
    const extra = words[maxWords]
    if (extra !== undefined) throw new ConfigError(`Unexpected argument ${JSON.stringify(extra)}`)
    return { help, words, values: this.#read((name) => flags.get(name) ?? this.#fromEnv(name, env)) }
  }

  /** The rows of `--help`. */
  helpRows(): string {
    const rows = this.#names.map((name) => [
      this.#usage(name),
      `${this.#option(name).help} [${this.#shownDefault(name)}]`,
    ])
    const width = Math.max(...rows.map(([flag = '']) => flag.length))
    return rows.map(([flag = '', help = '']) => `  ${flag.padEnd(width)}  ${help}`).join('\n')
  }

  /** The README's table. */
  markdownTable(): string {
    const rows = this.#names.map((name) => {
      const cells = [this.#usage(name), this.envName(name), this.#shownDefault(name)].map((cell) => `\`${cell}\``)
      return `| ${[...cells, this.#option(name).help].join(' | ')} |`
    })
    return ['| option | variable | default | |', '| --- | --- | --- | --- |', ...rows].join('\n')
  }

  envName(name: string): string {
    return `${this.#envPrefix}${name.toUpperCase().replaceAll('-', '_')}`
  }

  get #names(): string[] {
    return Object.keys(this.#table)
  }

  #option(name: string): Option {
    return this.#table[name] as Option
  }

  #usage(name: string): string {
    const { kind, value } = this.#option(name)
    return kind === 'flag' ? `--${name}` : `--${name} ${value}`
  }

  #shownDefault(name: string): string {
    const { kind, default: fallback, defaultShown } = this.#option(name)
    return defaultShown ?? (kind === 'flag' ? 'off' : String(fallback))
  }

  #parseFlags(argv: string[]): { help: boolean; words: string[]; flags: Map<string, string[]> } {
    const options = Object.fromEntries(
      this.#names.map((name) => {
        const type = this.#option(name).kind === 'flag' ? ('boolean' as const) : ('string' as const)
        return [name, { type, multiple: true }]
      }),
    )
    try {
      const { values, positionals } = parseArgs({
        args: argv,
        options: { ...options, help: { type: 'boolean', short: 'h' } },
        allowPositionals: true,
      })
      const given: { [name: string]: unknown } = values
      const named = this.#names.flatMap((name) => {
        const texts = given[name] as (string | boolean)[] | undefined
        return texts ? [[name, texts.map(String)] as const] : []
      })
      return { help: given.help === true, words: positionals, flags: new Map(named) }
    } catch (error) {
      // Node's message is a paragraph with advice; its first sentence says it.
      throw new ConfigError((error as Error).message.split(/\.\s/)[0])
    }
  }

  #fromEnv(name: string, env: Environment): string[] | undefined {
    const value = env[this.envName(name)]
    if (value === undefined || value === '') return undefined
    return this.#option(name).kind === 'texts' ? value.split(',') : [value]
  }

  #read(given: (name: string) => string[] | undefined): ValuesOf<T> {
    const entries = this.#names.map((name) => [name, check(name, this.#option(name), given(name))])
    // One value of its option's kind for every name: `check` made them so.
    return Object.fromEntries(entries) as ValuesOf<T>
  }
}

function check(name: string, option: Option, given: string[] | undefined): Option['default'] {
  if (given === undefined) return option.default
  if (option.kind === 'texts') return given
  // Given twice, the last one counts, as in most programs.
  const text = given.at(-1) as string
  switch (option.kind) {
    case 'integer':
      return checkNumber(name, option, text, /^\d+$/, 'a whole number')
    case 'number':
      return checkNumber(name, option, text, /^\d+(\.\d+)?$/, 'a number')
    case 'flag':
      if (text === 'true' || text === 'false') return text === 'true'
      throw new ConfigError(`--${name} must be true or false, got ${JSON.stringify(text)}`)
    case 'text':
      return checkText(name, option, text)
    default:
      return option.kind satisfies never
  }
}

function checkText(name: string, option: Option, text: string): string {
  // Where that is the default it stands for none.
  if (text === '' && option.default !== '') throw new ConfigError(`--${name} must not be empty`)
  if (option.allowed && !option.allowed.includes(text)) {
    throw new ConfigError(`--${name} must be one of ${option.allowed.join(', ')}, got ${JSON.stringify(text)}`)
  }
  return text
}

function checkNumber(name: string, option: Option, text: string, form: RegExp, what: string): number {
  const { min = 0, max = Number.MAX_SAFE_INTEGER } = option
  const value = form.test(text) ? Number(text) : Number.NaN
  if (value >= min && value <= max) return value
  throw new ConfigError(`--${name} must be ${what} from ${min} to ${max}, got ${JSON.stringify(text)}`)
}
