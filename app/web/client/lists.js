// Lists by pages: of posts, people, follows, blocks.
import {useEffect, useMemo} from "../vendor/hooks.mjs"
import {page} from "./api.js"
import {applied, onChange} from "./changes.js"
import {Store, useStore} from "./store.js"

const KEPT = 20
const kept = new Map() // by key, so that going back shows a list as it was left

class List {
    store = new Store({items: [], next: null, isLoading: false, isLoaded: false, error: null})
    #prepare

    constructor(path, prepare) {
        this.store.state.next = path
        this.#prepare = prepare
        this.end = onChange((name, data) => this.store.set({items: applied(this.store.state.items, name, data)}))
    }

    more = async () => {
        const {next, isLoading} = this.store.state
        if (!next || isLoading) return
        this.store.set({isLoading: true, error: null})
        try {
            const read = await page(next)
            await this.#prepare?.(read.items)
            const items = [...this.store.state.items, ...read.items]
            const once = [...new Map(items.map(item => [item.id, item])).values()]
            this.store.set({items: once, next: read.next, isLoading: false, isLoaded: true})
        } catch (error) {
            this.store.set({isLoading: false, error})
        }
    }
}

// The list at `path` as {items, next, isLoading, isLoaded, error, more}. `key` is of the entry of the history.
export function useList(path, key, prepare) {
    const list = useMemo(() => {
        const name = `${key} ${path}`
        if (!kept.has(name)) kept.set(name, new List(path, prepare))
        while (kept.size > KEPT) {
            const [oldest, list] = kept.entries().next().value
            list.end()
            kept.delete(oldest)
        }
        return kept.get(name)
    }, [path, key])
    useEffect(() => void (list.store.state.isLoaded || list.more()), [list])
    return {...useStore(list.store), more: list.more}
}
