/**
 * Forms in which a worker thread may tell of its tokens: how the worker writes some events, and how the main thread reads them.
 */
export const IN_FLIGHT = 1024

type Token = { handle: number; text: string; id: number }
export type OnEvent = (handle: number, text: string, id: number) => void

export interface Form<Message> {
  title: string
  /** Events in a message. */
  size: number
  write(from: number): Message
  /** @returns how many events there were */
  read(message: Message, onEvent: OnEvent): number
}

const TASKS = 100
const token = (i: number): Token => ({ handle: i % TASKS, text: ` word${i % 1000}`, id: i % 32_000 })

const readToken = ({ handle, text, id }: Token, onEvent: OnEvent): void => onEvent(handle, text, id)

const object: Form<Token> = {
  title: 'an object',
  size: 1,
  write: token,
  read: (message, onEvent) => {
    readToken(message, onEvent)
    return 1
  },
}

const objects: Form<Token[]> = {
  title: '32 objects',
  size: 32,
  write: (from) => Array.from({ length: 32 }, (_, i) => token(from + i)),
  read: (message, onEvent) => {
    for (const one of message) readToken(one, onEvent)
    return message.length
  },
}

const FLUSH = 256

const flat: Form<(number | string)[]> = {
  title: `a flat array of ${FLUSH} events`,
  size: FLUSH,
  write: (from) => {
    const cells: (number | string)[] = []
    for (let i = from; i < from + FLUSH; i++) {
      const { handle, text, id } = token(i)
      cells.push(handle, text, id)
    }
    return cells
  },
  read: (cells, onEvent) => {
    for (let i = 0; i < cells.length; i += 3)
      onEvent(cells[i] as number, cells[i + 1] as string, cells[i + 2] as number)
    return cells.length / 3
  },
}

const typed: Form<{ numbers: Float64Array; texts: string }> = {
  title: `a typed array and a string of ${FLUSH} events`,
  size: FLUSH,
  write: (from) => {
    const numbers = new Float64Array(3 * FLUSH)
    let texts = ''
    for (let i = 0; i < FLUSH; i++) {
      const { handle, text, id } = token(from + i)
      texts += text
      numbers.set([handle, texts.length, id], 3 * i)
    }
    return { numbers, texts }
  },
  read: ({ numbers, texts }, onEvent) => {
    let start = 0
    for (let i = 0; i < numbers.length; i += 3) {
      const end = numbers[i + 1] as number
      onEvent(numbers[i] as number, texts.slice(start, end), numbers[i + 2] as number)
      start = end
    }
    return numbers.length / 3
  },
}

export const forms = { object, objects, flat, typed }
export type FormName = keyof typeof forms
