/**
 * A wrong value as an error message shows it: short, whatever it is.
 *
 * Only plain values are spelt out. Walking an object would follow a client's nesting until the stack ends.
 */
const MAX_CHARACTERS = 80

export function shown(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return JSON.stringify(value.length > MAX_CHARACTERS ? `${value.slice(0, MAX_CHARACTERS)}…` : value)
    case 'undefined':
      return 'nothing'
    case 'object':
      return value === null ? 'null' : Array.isArray(value) ? `an array of ${value.length}` : 'an object'
    default:
      return String(value)
  }
}
