// The followers of a person, or those that the person follows.
import {html} from "../client/html.js"
import {day, t} from "../client/i18n.js"
import {useList} from "../client/lists.js"
import {Empty, More, PersonRow} from "../client/parts.js"
import {know, nameOf, people, useProfile} from "../client/people.js"
import {session} from "../client/session.js"
import {useStore} from "../client/store.js"

const CALLS = {followers: "friend/followers", following: "friend/list"}

export function Follows({id, kind, entry}) {
    const users = useStore(people)
    const {user} = useProfile(id)
    const knowAll = follows => know(follows.map(follow => follow.id))
    const {items, isLoaded, ...list} = useList(`${CALLS[kind]}/${id}?limit=50`, entry, knowAll)
    const whose = id === session.state.userId ? "me" : "other"
    return html`
        <header class="bar">
            <p class="quiet"><a href="#/person/${id}">${nameOf(user) || t("profile")}</a></p>
            <h1 tabindex="-1">${t(`${kind}_title`)}</h1>
            <nav class="tabs" aria-label=${t("follows")}>${Object.keys(CALLS).map(each =>
                html`<a key=${each} href="#/person/${id}/${each}"
                    aria-current=${each === kind ? "page" : undefined}>${t(`${each}_title`)}</a>`)}</nav>
        </header>
        <ul class="rows">${items.map(follow => html`<${PersonRow} key=${follow.id}
            user=${{...users[follow.id], ...follow}}
            about=${t(`${kind}_since`, {day: day(follow.followed_at)})} />`)}</ul>
        ${isLoaded && !items.length && !list.next
            ? html`<${Empty} title=${t(`${kind}_empty`)} text=${t(`${kind}_empty_${whose}`)} />`
            : html`<${More} ...${list} />`}`
}
