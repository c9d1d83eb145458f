// The admin API: the operator's token, requests, and what the token may do.

const KEPT_AS = "flowgate-admin-token";
const ROLES = ["read", "operate", "admin"];

/** A refusal, as the server says it. */
export class Problem extends Error {
    constructor(status, code, detail, requestId) {
        super(detail);
        Object.assign(this, { status, code, requestId });
    }
}

/** Who asks; the token lives as long as this tab does. */
export const operator = { name: "", role: "" };

let expelled = () => {};

/** Says what is done once the token is none any more. */
export function onExpelled(act) {
    expelled = act;
}

export const hasToken = () => sessionStorage.getItem(KEPT_AS) !== null;

export function forget() {
    sessionStorage.removeItem(KEPT_AS);
    Object.assign(operator, { name: "", role: "" });
}

/** Takes a token, if it is one. */
export async function enter(token) {
    if (token !== null) sessionStorage.setItem(KEPT_AS, token);
    try {
        Object.assign(operator, await get("whoami"));
    } catch (error) {
        if (error.status === 401 || error.status === 403) forget();
        throw error;
    }
}

/** Whether the token's role is enough. */
export const may = (role) => ROLES.indexOf(operator.role) >= ROLES.indexOf(role);

/** Asks `/admin/v1/{path}`; returns its JSON, and whether it was made, with its ETag. */
export async function send(method, path, body, headers = {}) {
    const request = { method, headers: { ...headers, Authorization: `Bearer ${sessionStorage.getItem(KEPT_AS)}` }, cache: "no-store", credentials: "omit" };
    if (body !== undefined) {
        request.headers["Content-Type"] = "application/json";
        request.body = JSON.stringify(body);
    }
    let response;
    try {
        response = await fetch(`/admin/v1/${path}`, request);
    } catch {
        throw new Problem(0, "unreachable", "The server does not answer.");
    }
    const said = await response.json().catch(() => ({}));
    if (!response.ok) {
        const problem = new Problem(response.status, said.code, said.detail ?? `The server answered ${response.status}.`, said.request_id);
        if (response.status === 401 && operator.role) expelled(problem);
        throw problem;
    }
    return said;
}

export const get = (path, query) => send("GET", path + search(query));
export const post = (path, body) => send("POST", path, body);
export const remove = (path, headers) => send("DELETE", path, undefined, headers);
export const put = (path, body, headers) => send("PUT", path, body, headers);

/** A path of words that may hold anything. */
export const at = (strings, ...inner) => String.raw({ raw: strings }, ...inner.map(encodeURIComponent));

function search(query = {}) {
    const known = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "");
    return known.length > 0 ? `?${new URLSearchParams(known)}` : "";
}

/** All of a list that has pages; at most `most`. */
export async function all(path, member, query = {}, most = 10_000) {
    const found = [];
    let after;
    do {
        const page = await get(path, { ...query, limit: 1000, after });
        found.push(...page[member]);
        after = page.next;
    } while (after !== undefined && found.length < most);
    return found;
}
