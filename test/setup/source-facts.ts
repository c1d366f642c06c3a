// What one source file says, as far as the architecture cares: what it imports, and which globals of time and chance it
// touches. Owns the reading of syntax; knows no rule. Reads the syntax tree, so comments and strings never count.

import { parseSync } from 'oxc-parser'

/** What a file reaches for that makes two runs differ. */
export type Door = 'clock' | 'timers' | 'chance'

export interface ImportFact {
  readonly specifier: string
  readonly line: number
}

export interface DoorFact {
  readonly door: Door
  /** As written, such as `Date.now`. */
  readonly text: string
  readonly line: number
}

export interface SourceFacts {
  /** Static, dynamic, type-only, re-exporting, and by `require`: every way of naming another module counts. */
  readonly imports: readonly ImportFact[]
  /** Imports that are exported again: what a barrel consists of. */
  readonly reexports: readonly ImportFact[]
  readonly doors: readonly DoorFact[]
}

const GLOBALS: ReadonlyMap<string, Door> = new Map([
  ['setTimeout', 'timers'],
  ['setInterval', 'timers'],
  ['setImmediate', 'timers'],
])

const MEMBERS: ReadonlyMap<string, Door> = new Map([
  ['Date.now', 'clock'],
  ['performance.now', 'clock'],
  ['performance.timeOrigin', 'clock'],
  ['process.hrtime', 'clock'],
  ['process.uptime', 'clock'],
  ['AbortSignal.timeout', 'timers'],
  ['Math.random', 'chance'],
])

/** Of node:crypto and of the global object alike, whatever the object is called. */
const RANDOM_NAMES: ReadonlySet<string> = new Set([
  'randomUUID',
  'randomBytes',
  'randomInt',
  'randomFill',
  'randomFillSync',
  'getRandomValues',
])

/** Nodes whose `key` or `property` is a name and no reference, unless computed. */
const NAMING_FIELDS: ReadonlySet<string> = new Set(['key', 'property', 'imported', 'exported'])

interface SyntaxNode {
  readonly type: string
  readonly start: number
  readonly [field: string]: unknown
}

/** @throws where the text is not TypeScript. */
export function readSource(path: string, text: string): SourceFacts {
  const { program, module, errors } = parseSync(path, text)
  const first = errors[0]
  if (first !== undefined) throw new Error(`${path} cannot be parsed: ${first.message}`)
  const lineAt = (position: number): number => text.slice(0, position).split('\n').length

  const imports: ImportFact[] = []
  const reexports: ImportFact[] = []
  const doors: DoorFact[] = []
  for (const found of module.staticImports) {
    imports.push({ specifier: found.moduleRequest.value, line: lineAt(found.start) })
  }
  for (const found of module.staticExports) {
    for (const { moduleRequest } of found.entries) {
      if (moduleRequest === null || moduleRequest === undefined) continue
      const fact = { specifier: moduleRequest.value, line: lineAt(found.start) }
      if (reexports.some((known) => known.specifier === fact.specifier && known.line === fact.line)) continue
      reexports.push(fact)
      imports.push(fact)
    }
  }
  walk(program, (node) => {
    const specifier = specifierOf(node)
    if (specifier !== undefined) imports.push({ specifier, line: lineAt(node.start) })
    const door = doorOf(node)
    if (door !== undefined) doors.push({ ...door, line: lineAt(node.start) })
  })
  return { imports, reexports, doors }
}

function walk(value: unknown, visit: (node: SyntaxNode) => void): void {
  if (Array.isArray(value)) {
    for (const element of value) walk(element, visit)
    return
  }
  if (!isNode(value)) return
  visit(value)
  for (const [field, child] of Object.entries(value)) {
    const isName = NAMING_FIELDS.has(field) && value['computed'] !== true
    // In `{ setTimeout }` key and value are the same name, and the value is the reference.
    if (isName && isNode(child) && child.type === 'Identifier') continue
    walk(child, visit)
  }
}

/** The module that an expression or a type names: `import('x')`, `require('x')`, `typeof import('x')`. */
function specifierOf(node: SyntaxNode): string | undefined {
  if (node.type === 'ImportExpression' || node.type === 'TSImportType') {
    const source = node['source'] ?? node['argument']
    return literalOf(source)
  }
  if (node.type !== 'CallExpression' || !Array.isArray(node['arguments'])) return undefined
  // createRequire() gives a function that people call require, requireNative and the like.
  return /require/i.test(nameOf(node['callee']) ?? '') ? literalOf(node['arguments'][0]) : undefined
}

function doorOf(node: SyntaxNode): Pick<DoorFact, 'door' | 'text'> | undefined {
  if (node.type === 'Identifier') {
    const text = nameOf(node) ?? ''
    const door = GLOBALS.get(text)
    return door === undefined ? undefined : { door, text }
  }
  if (node.type === 'ImportSpecifier') {
    const text = nameOf(node['imported']) ?? ''
    return RANDOM_NAMES.has(text) ? { door: 'chance', text } : undefined
  }
  if (node.type === 'MemberExpression') {
    const object = nameOf(node['object'])
    const property = nameOf(node['property']) ?? literalOf(node['property']) ?? ''
    const text = `${object ?? '…'}.${property}`
    const ofGlobal = object === 'globalThis' ? GLOBALS.get(property) : undefined
    const door = MEMBERS.get(text) ?? ofGlobal ?? (RANDOM_NAMES.has(property) ? 'chance' : undefined)
    return door === undefined ? undefined : { door, text }
  }
  const isDate = nameOf(node['callee']) === 'Date'
  const isNow = node.type === 'CallExpression' || (node.type === 'NewExpression' && isEmpty(node['arguments']))
  return isDate && isNow ? { door: 'clock', text: node.type === 'CallExpression' ? 'Date()' : 'new Date()' } : undefined
}

function isNode(value: unknown): value is SyntaxNode {
  return typeof value === 'object' && value !== null && 'type' in value && typeof value.type === 'string'
}

function nameOf(value: unknown): string | undefined {
  return isNode(value) && value.type === 'Identifier' && typeof value['name'] === 'string' ? value['name'] : undefined
}

function literalOf(value: unknown): string | undefined {
  if (!isNode(value)) return undefined
  if (value.type === 'TSLiteralType') return literalOf(value['literal'])
  return value.type === 'Literal' && typeof value['value'] === 'string' ? value['value'] : undefined
}

function isEmpty(value: unknown): boolean {
  return Array.isArray(value) && value.length === 0
}
