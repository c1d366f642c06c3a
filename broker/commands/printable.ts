// Text that somebody else chose (the name that a client gives itself, a message of another broker), as a terminal may show it: what
// would move the cursor, begin a line or change colours is spelled out. Pure.

const CONTROL = /\p{Cc}/gu

/** Of one line. */
export function printable(text: string): string {
  return text.replace(CONTROL, (letter) => `\\x${letter.charCodeAt(0).toString(16).padStart(2, '0')}`)
}
