/**
 * Who is calling. The one place where keys and tickets will be read: until then everybody is `anyone`.
 */
export type Caller = string

export const authenticate = (): Caller => 'anyone'
