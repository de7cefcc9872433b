/**
 * What the parts need of a log: structured lines by level. Never a prompt or an answer.
 */
type Line = (fields: Record<string, unknown>, message: string) => void

export type Logger = { info: Line; warn: Line; error: Line }
