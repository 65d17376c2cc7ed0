// Words for errors of the API.
import {network} from "./api.js"
import {has, t} from "./i18n.js"
import {session} from "./session.js"

const BLOCKED = 1017, SUSPENDED = 1020, WRONG_CREDENTIALS = 1003
const TAKEN = 409 // the status for a username

// Return what to tell the person. `wait`: the seconds until it makes sense to try again.
// `unanswered`: the key of the words for no response.
export function explain(error, wait = error.retryAfter, unanswered = "error_no_response") {
    const {status, code} = error
    if (status === undefined) return t("error_here")
    if (status === 0 && !network.state.isOnline) return t("error_offline")
    if (status === 0) return t(unanswered)
    if (code === BLOCKED) return t("error_blocked")
    if (code === SUSPENDED) return t("error_suspended")
    if (code === WRONG_CREDENTIALS) return t(session.state.token ? "error_password" : "error_credentials")
    if (status === 429 || status === 503) return t(`error_${status}${wait > 0 ? "_wait" : ""}`, {n: wait})
    if (error.fields.length || status === TAKEN) return t("error_fields")
    return has(`error_${status}`) ? t(`error_${status}`) : t("error_other", {id: error.requestId ?? status})
}

// Return the words for a field that was refused, or undefined.
export function fieldError(error, name) {
    if (name === "username" && error?.status === TAKEN) return t("error_409")
    return error?.fields?.includes(name) ? t(has(`wrong_${name}`) ? `wrong_${name}` : "wrong_value") : undefined
}
