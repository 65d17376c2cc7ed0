// What this person changes, and what live events say, told to all lists on the screen.
const listeners = new Set()

export function onChange(listener) {
    listeners.add(listener)
    return () => listeners.delete(listener)
}

// "edited" (the post), "deleted" ({id}), "written" (own new post), "left" ({id} of an author who is not followed now),
// "unclear" (a change failed after it was shown: read again).
export function announce(name, data) {
    for (const listener of listeners) listener(name, data)
}

export function applied(items, name, data) {
    if (name === "edited") return items.map(item => (item.id === data.id ? {...item, ...data} : item))
    if (name === "deleted") return items.filter(item => item.id !== data.id)
    return items
}
