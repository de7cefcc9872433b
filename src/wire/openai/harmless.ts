/**
 * Fields of OpenAI's API that this gateway does not have, told apart by what they ask for.
 *
 * Clients send many fields with values that ask for nothing (`tools: []`, `n: 1`, null). Those are dropped; any other
 * value is refused by the field's name, because an answer that silently lacks what was asked for is a wrong answer.
 */
import { isDeepStrictEqual } from 'node:util'
import { RejoinError } from '../../core/errors.js'
import { shown } from '../shown.js'

/** The values of a field that ask for nothing but what happens anyway; `label`: it says who or what for, and changes no answer. */
export type Harmless = Readonly<Record<string, readonly unknown[] | 'label'>>

/** What the request asks for: without nulls, which mean "absent" throughout that API, and without what is harmless.
 * @param path of the object within the request, ending in a dot
 * @throws RejoinError `unsupported_field` */
export function withoutHarmless(
  value: Record<string, unknown>,
  harmless: Harmless,
  path = '',
): Record<string, unknown> {
  const asked: [string, unknown][] = []
  for (const [name, given] of Object.entries(value)) {
    if (given === null || given === undefined) continue
    const values = Object.hasOwn(harmless, name) ? harmless[name] : undefined
    if (values === undefined) asked.push([name, given])
    else if (values !== 'label' && !values.some((each) => isDeepStrictEqual(each, given))) {
      throw unsupported(`${path}${name}`, given, values)
    }
  }
  return Object.fromEntries(asked)
}

function unsupported(param: string, given: unknown, values: readonly unknown[]): RejoinError {
  const only = values.length === 0 ? '' : `; only ${values.map((each) => JSON.stringify(each)).join(' or ')} is`
  return new RejoinError('unsupported_field', `\`${param}\` (${shown(given)}) is not supported${only}`, { param })
}
