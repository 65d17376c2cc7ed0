// People to follow. The API has no call for it, so they are found by others: the person's followers, the followees of
// followees, and the search by single letters.
import {useEffect} from "../vendor/hooks.mjs"
import {follow, unfollow} from "./actions.js"
import {call, page} from "./api.js"
import {html} from "./html.js"
import {t} from "./i18n.js"
import {Button, PersonRow} from "./parts.js"
import {nameOf, people, remember} from "./people.js"
import {session} from "./session.js"
import {Store, useStore} from "./store.js"

const SHOWN = 5, TRIED = 8
const LETTERS = [..."amsejlамседк"]
const found = new Store({ids: null})

async function find() {
    const me = session.state.userId
    found.set({ids: []})
    const calls = [page(`friend/followers/${me}?limit=20`), page(`friend/list/${me}?limit=100`)]
    const [followers, followees] = await Promise.all(calls)
    const known = new Set([me, ...followees.items.map(user => user.id)])
    const ids = new Set()
    const take = users => users.filter(user => !known.has(user.id)).forEach(user => ids.add(user.id))
    take(followers.items)
    for (const {id} of followees.items.slice(0, 3)) take((await page(`friend/list/${id}?limit=10`)).items)
    for (const letter of LETTERS) {
        if (ids.size >= TRIED) break
        take((await page(`user/search?q=${encodeURIComponent(letter)}&limit=2`)).items)
    }
    const profiles = await Promise.all([...ids].slice(0, TRIED).map(id => call("GET", `user/get/${id}`)))
    remember(...profiles)
    const best = profiles.filter(user => !user.is_followed && !user.is_blocked)
    best.sort((one, other) => other.followers - one.followers)
    found.set({ids: best.slice(0, SHOWN).map(user => user.id)})
}

export function Suggestions() {
    const {ids} = useStore(found)
    const users = useStore(people)
    useEffect(() => void (ids ?? find().catch(() => found.set({ids: null}))), [])
    if (!ids?.length) return null
    return html`<section class="suggestions" aria-labelledby="suggestions-title">
        <h2 id="suggestions-title">${t("suggestions")}</h2>
        <ul class="rows">${ids.map(id => html`<${PersonRow} key=${id} user=${users[id]}
            about=${t("followers_n", {n: users[id].followers})}>
            <${FollowButton} user=${users[id]} />
        <//>`)}</ul>
    </section>`
}

export function FollowButton({user}) {
    const isFollowed = user.is_followed
    return html`<${Button} kind=${isFollowed ? "" : "main"}
        aria-label=${t(isFollowed ? "unfollow_name" : "follow_name", {name: nameOf(user)})}
        onClick=${() => (isFollowed ? unfollow : follow)(user.id)}>${t(isFollowed ? "following" : "follow")}<//>`
}
