// The feed as it is shown: pages, live events, and the person's own posts among them.
//
// `shown` is newest first, down to `floor`. Posts that arrive wait in `arrived` until they are asked for.
import {call, page} from "./api.js"
import {announce, applied, onChange} from "./changes.js"
import {isNewer, merge} from "./ids.js"
import {know, remember} from "./people.js"
import {session} from "./session.js"
import {Store} from "./store.js"

const PAGE = 30
const MAX_PAGE = 1000
const RETRY_SECONDS = 5
const AT_TOP = 300 // pixels scrolled
const NOTHING = "0" // a floor below all posts

export class Timeline {
    store = new Store({
        ...{shown: [], arrived: [], own: []},
        ...{floor: null, next: null, seen: null, isLoading: false, error: null},
    })
    #ownNext = `post/list/${session.state.userId}?limit=50`
    #first = null
    #turn = Promise.resolve() // the end of the last action: one at a time
    #isRereadDue = false
    #marked = NOTHING

    constructor() {
        this.end = onChange((name, data) => this.#onChange(name, data))
    }

    get isComplete() {
        return this.store.state.floor !== null && !this.store.state.next
    }

    // Posts of others and own ones, in one list.
    posts() {
        const {shown, own, floor} = this.store.state
        const reached = this.isComplete ? NOTHING : floor
        return merge(shown, own.filter(post => post.isNew || (reached !== null && isNewer(post.id, reached))))
    }

    load() {
        return (this.#first ??= this.#inTurn(async () => {
            const first = this.#take(`post/feed?limit=${PAGE}&expand=author`)
            const [unread] = await Promise.all([call("GET", "post/feed/unread"), first])
            this.#marked = unread.seen ?? NOTHING
            this.store.set({seen: unread.seen})
        }, () => (this.#first = null)))
    }

    async more() {
        const {next, isLoading} = this.store.state
        if (next && !isLoading) await this.#inTurn(() => this.#take(this.store.state.next))
    }

    reveal() {
        const {shown, arrived} = this.store.state
        this.store.set({shown: merge(arrived, shown), arrived: []})
    }

    // Tell the server up to where the person has read.
    async markSeen() {
        const newest = this.store.state.shown[0]?.id
        if (!newest || !isNewer(newest, this.#marked)) return
        this.#marked = newest
        await call("PUT", "post/feed/seen", {id: newest}).catch(() => (this.#marked = NOTHING))
    }

    // Apply a live event, after the pages that are under way: they may be older.
    apply(name, data) {
        if (name === "edited" || name === "deleted") this.#turn = this.#turn.then(() => announce(name, data))
        else if (name === "posted") this.#turn = this.#turn.then(() => this.#arrive(data))
        else if (this.#first) this.reread(name === "changed" && scrollY < AT_TOP)
    }

    // Read the part that is shown again, and leave it where it is: posts that are newer wait, unless `isAsked`, for the
    // person has just followed their author.
    reread(isAsked = false) {
        if (this.#isRereadDue) return
        this.#isRereadDue = true
        this.#inTurn(async () => {
            this.#isRereadDue = false
            const {shown, arrived} = this.store.state
            const number = Math.min(MAX_PAGE, Math.max(PAGE, shown.length + arrived.length))
            const {items, next} = await page(`post/feed?limit=${number}&expand=author`)
            this.#remember(items)
            const newest = this.store.state.shown[0]?.id ?? null
            const isArrival = post => !isAsked && newest !== null && isNewer(post.id, newest)
            this.store.set({
                arrived: items.filter(isArrival),
                shown: items.filter(post => !isArrival(post)),
                ...ending(items, next),
            })
            await this.#loadOwn()
        }, error => setTimeout(() => this.reread(), 1000 * (error.retryAfter || RETRY_SECONDS)))
    }

    async #take(path) {
        const {items, next} = await page(path)
        this.#remember(items)
        this.store.set({shown: merge(this.store.state.shown, items), ...ending(items, next)})
        await this.#loadOwn()
    }

    // Own posts are not in the feed: load those that belong between the ones shown.
    async #loadOwn() {
        for (;;) {
            const {own, floor} = this.store.state
            const loaded = own.filter(post => !post.isNew)
            const isEnough = loaded.length && !this.isComplete && !isNewer(loaded.at(-1).id, floor)
            if (!this.#ownNext || isEnough) return
            const {items, next} = await page(this.#ownNext)
            this.#ownNext = next
            this.store.set({own: merge(items, own)})
        }
    }

    async #arrive(post) {
        await know([post.author_user_id]).catch(() => null)
        const {shown, arrived, floor} = this.store.state
        if (floor === null || shown.some(({id}) => id === post.id) || !isNewer(post.id, floor)) return
        if (shown.length && isNewer(post.id, shown[0].id)) this.store.set({arrived: merge([post], arrived)})
        else this.store.set({shown: merge([post], shown)})
    }

    #onChange(name, data) {
        const {shown, arrived, own} = this.store.state
        if (name === "written") this.store.set({own: merge([data], own)})
        else if (name === "left") {
            const stays = post => post.author_user_id !== data.id
            this.store.set({shown: shown.filter(stays), arrived: arrived.filter(stays)})
        } else if (name === "unclear") this.reread()
        else {
            const change = posts => applied(posts, name, data)
            this.store.set({shown: change(shown), arrived: change(arrived), own: change(own)})
        }
    }

    #remember(items) {
        remember(...items.map(post => post.author).filter(Boolean))
    }

    #inTurn(action, failed = () => null) {
        return (this.#turn = this.#turn.then(() => this.#attempt(action, failed)))
    }

    async #attempt(action, failed) {
        this.store.set({isLoading: true, error: null})
        try {
            await action()
            this.store.set({isLoading: false})
        } catch (error) {
            this.store.set({isLoading: false, error})
            failed(error)
        }
    }
}

function ending(items, next) {
    return {next, floor: next ? items.at(-1)?.id ?? NOTHING : NOTHING}
}
