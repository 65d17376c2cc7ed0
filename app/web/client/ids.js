// Ids have 64 bits, so they stay text. Compare by length first.
export function compare(one, other) {
    return one.length - other.length || (one < other ? -1 : one > other ? 1 : 0)
}

export function isNewer(one, other) {
    return compare(one, other) > 0
}

// Newest first, each once; of two with one id the first is taken.
export function merge(...lists) {
    const byId = new Map(lists.flat().reverse().map(item => [item.id, item]))
    return [...byId.values()].sort((one, other) => compare(other.id, one.id))
}
