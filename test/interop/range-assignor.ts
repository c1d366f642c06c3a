// The range assignor as Kafka has it, for clients that come without one: members in the order of their names, each topic
// by itself, the first members get one more where it does not come out even.

interface Wish {
  readonly member: string
  readonly topics: readonly string[]
}

/** By member: the partitions of each topic. */
export function rangeOf(
  wishes: readonly Wish[],
  partitions: ReadonlyMap<string, readonly number[]>,
): ReadonlyMap<string, Record<string, number[]>> {
  const shares = new Map<string, Record<string, number[]>>(wishes.map(({ member }) => [member, {}]))
  for (const [topic, some] of partitions) {
    const members = wishes.filter(({ topics }) => topics.includes(topic)).map(({ member }) => member)
    const ascending = some.toSorted((a, b) => a - b)
    const each = Math.floor(ascending.length / members.length)
    const more = ascending.length % members.length
    let at = 0
    for (const [index, member] of members.toSorted().entries()) {
      const end = at + each + (index < more ? 1 : 0)
      const share = shares.get(member)
      if (share !== undefined) share[topic] = ascending.slice(at, end)
      at = end
    }
  }
  return shares
}
