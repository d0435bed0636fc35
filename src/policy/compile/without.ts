/** What of a set is not in another. (Sets have it of their own only from Node 22 on.) */
export function without<Item>(items: ReadonlySet<Item>, others: ReadonlySet<Item>): readonly Item[] {
  const left: Item[] = []
  for (const item of items) if (!others.has(item)) left.push(item)
  return left
}
