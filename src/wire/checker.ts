/**
 * A schema's check of a request, with an answer that a person can act on.
 *
 * The first thing wrong is named with the field, the bound and the value given; a field that the protocol does not have
 * is refused, because ignoring a misspelt `max_token` costs its sender money in silence.
 */
import type Type from 'typebox'
import { Compile } from 'typebox/compile'
import { RejoinError } from '../core/errors.js'
import { isObject } from './object.js'
import { shown } from './shown.js'

export type Rules = {
  /** What is checked, for messages: `a task request`. */
  noun: string
  /** Items of what has many. */
  maxItems?: Readonly<Record<string, number>>
  /** What may stand where a union is, in words: of a union the schema's own check only says that no member fits. */
  allowed?: Readonly<Record<string, string>>
}

/** Returns the value as what it is. @throws RejoinError `invalid_request` or `unknown_field` */
export type Check<T> = (value: unknown) => T

export function checker<S extends Type.TObject>(schema: S, rules: Rules): Check<Type.Static<S>> {
  const compiled = Compile(schema)
  return (value) => {
    checkSizes(value, schema, rules)
    if (compiled.Check(value)) return value as Type.Static<S>
    throw firstFault(value, compiled.Errors(value), rules)
  }
}

type Faults = ReturnType<ReturnType<typeof Compile>['Errors']>

/**
 * What can be long is looked at first, and by hand: the schema's own check lists what is wrong with every item, which
 * for a megabyte of them takes a quarter of a second.
 */
function checkSizes(value: unknown, schema: Type.TObject, { noun, maxItems = {} }: Rules): void {
  if (!isObject(value)) return
  for (const [name, given] of Object.entries(value)) {
    if (!Object.hasOwn(schema.properties, name)) throw unknownField(name, noun)
    const max = Object.hasOwn(maxItems, name) ? (maxItems[name] as number) : Number.POSITIVE_INFINITY
    if (typeof given !== 'object' || given === null) continue
    const count = Object.keys(given).length
    if (count <= max) continue
    throw new RejoinError('invalid_request', `\`${name}\` must not have more than ${max} items, got ${count}`, {
      param: name,
    })
  }
}

const unknownField = (name: string, noun: string): RejoinError => {
  const param = name.slice(0, 200)
  return new RejoinError('unknown_field', `\`${param}\` is not a field of ${noun}`, { param })
}

/** What is wrong, as an error that names the field. Only called with a value that the check refused. */
function firstFault(value: unknown, faults: Faults, { noun, allowed = {} }: Rules): RejoinError {
  // An unknown field says more than the errors beside it; a union's own error comes after those of its members.
  for (const fault of faults) {
    if (fault.keyword !== 'additionalProperties') continue
    return unknownField(dotted(fault.instancePath, fault.params.additionalProperties[0]), noun)
  }
  const fault = faults.find((error) => error.keyword === 'anyOf') ?? faults[0]
  if (fault === undefined) return new RejoinError('invalid_request', 'the request does not fit its schema')
  if (fault.keyword === 'required') {
    const name = dotted(fault.instancePath, fault.params.requiredProperties[0])
    return new RejoinError('invalid_request', `\`${name}\` is missing`, { param: name })
  }
  const name = dotted(fault.instancePath)
  const message =
    fault.keyword === 'anyOf'
      ? `must be ${allowed[name] ?? 'one of its allowed values'}`
      : fault.keyword === 'enum'
        ? `must be one of ${fault.params.allowedValues.join(', ')}`
        : fault.message
  const what = name === '' ? 'the request' : `\`${name}\``
  return new RejoinError('invalid_request', `${what} ${message}, got ${shown(at(value, fault.instancePath))}`, {
    ...(name === '' ? {} : { param: name }),
  })
}

const dotted = (path: string, last?: string): string =>
  [...path.split('/').slice(1).map(unescaped), ...(last === undefined ? [] : [last])].join('.')

// JSON Pointer, RFC 6901 section 4.
const unescaped = (part: string): string => part.replaceAll('~1', '/').replaceAll('~0', '~')

function at(value: unknown, path: string): unknown {
  let found = value
  for (const part of path.split('/').slice(1)) found = (found as Record<string, unknown> | null)?.[unescaped(part)]
  return found
}
