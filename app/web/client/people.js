// Names of people, asked for once each.
import {useEffect, useState} from "../vendor/hooks.mjs"
import {call} from "./api.js"
import {Store, useStore} from "./store.js"

const MAX_IDS = 100
export const people = new Store({})

// Add what is known of users now. A user without news stays the same object.
export function remember(...users) {
    const isNews = user => Object.keys(user).some(key => people.state[user.id]?.[key] !== user[key])
    people.set(Object.fromEntries(users.filter(isNews).map(user => [user.id, {...people.state[user.id], ...user}])))
}

// Load those that are not known yet. Unknown people stay unknown: their accounts are gone.
export async function know(ids) {
    const missing = [...new Set(ids)].filter(id => !people.state[id])
    for (let start = 0; start < missing.length; start += MAX_IDS)
        remember(...(await call("GET", `user/list?ids=${missing.slice(start, start + MAX_IDS)}`)))
}

export function nameOf(user) {
    return user ? `${user.first_name} ${user.second_name}` : ""
}

// A profile with its counts: {user, error, load}. `user` is null until they are there.
export function useProfile(id) {
    const users = useStore(people)
    const [error, setError] = useState(null)
    const load = () => {
        setError(null)
        call("GET", `user/get/${encodeURIComponent(id)}`).then(user => remember(user), setError)
    }
    useEffect(load, [id])
    return {user: users[id] && "followers" in users[id] ? users[id] : null, error, load}
}
