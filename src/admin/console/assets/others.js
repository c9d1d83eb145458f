// Browser sessions, and the audit log.

import { at, get, remove } from "./api.js";
import { closes } from "./connections.js";
import { ask, button, say } from "./dialogs.js";
import { count, h, moment } from "./dom.js";
import { list } from "./list.js";
import { objectLink, tenantLink } from "./overview.js";

const isSession = ({ grant }) => grant.startsWith("session");

async function endOne({ id, tenant }, again) {
    const done = await ask({
        title: "End this session?", action: "End the session", danger: true,
        text: [`${tenant ?? "Somebody who is no tenant any more"} has to log in again in that browser.`, tenant ? `What rests on it is closed: some of this. ${await closes(tenant, isSession)}` : ""],
        act: () => remove(at`sessions/${id}`),
    });
    if (done) again();
}

async function endAll(tenant, again) {
    const done = await ask({
        title: `End all sessions of ${tenant}?`, action: "End the sessions", danger: true,
        text: [`${tenant} has to log in again in every browser.`, await closes(tenant, isSession)],
        act: () => remove(`sessions?tenant=${encodeURIComponent(tenant)}`),
    });
    if (!done) return;
    say(`${count(done.ended, "session was", "sessions were")} ended.`);
    again();
}

/** Browser sessions; of one tenant if a name is given. */
export function sessionList(username, query = {}) {
    const shown = list({
        title: username ? "Browser sessions" : "Who is logged in",
        filters: username ? [] : [{ name: "tenant", label: "Tenant", value: query.tenant ?? "" }],
        columns: ["Session", "Tenant", "Begun", "Last used", ""],
        empty: "No browser is logged in.",
        load: async ({ tenant }, after) => {
            const found = await get("sessions", { tenant: username ?? tenant, after, limit: 50 });
            return { items: found.sessions, next: found.next };
        },
        actions: ({ filter, items }) => {
            const tenant = username ?? filter.tenant;
            return tenant && items.length > 0 ? [button("End all…", "operate", () => endAll(tenant, shown.again), { class: "danger" })] : [];
        },
        cells: (session) => [
            h("code", null, session.id), session.tenant ? tenantLink(session.tenant) : "no tenant any more", moment(session.created), moment(session.seen),
            button("End…", "operate", () => endOne(session, shown.again), { class: "danger", "aria-label": `End session ${session.id}` }),
        ],
    });
    return shown;
}

export function sessions(root, { query }) {
    const shown = sessionList(null, query);
    root.append(shown.element);
    shown.reload();
    return shown.stop;
}

/** What changed, as JSON in small. */
function difference({ before, after }) {
    if (before === undefined && after === undefined) return "–";
    const text = (value) => JSON.stringify(value ?? {}, null, 1);
    return h("details", null, h("summary", null, "Show"),
        before === undefined ? null : [h("h3", null, "Before"), h("pre", { tabindex: 0 }, text(before))],
        after === undefined ? null : [h("h3", null, "After"), h("pre", { tabindex: 0 }, text(after))]);
}

export function audit(root, { query }) {
    const shown = list({
        title: "Who changed what, the newest first",
        filters: [
            { name: "who", label: "Operator or tenant", value: query.who ?? "" },
            { name: "object", label: "Changed", value: query.object ?? "", hint: "As in tenant/mike or plan/small." },
        ],
        columns: ["At", "Who", "What", "To", "From", "Changed"],
        empty: "No such entry.",
        load: async ({ who, object }, after) => {
            const found = await get("audit", { who: who.trim(), object: object.trim(), after, limit: 50 });
            return { items: found.entries, next: found.next };
        },
        cells: (entry) => [moment(entry.at), entry.by === "tenant" ? `${entry.who} (tenant)` : entry.who, entry.verb, objectLink(entry.object), entry.client, difference(entry)],
    });
    root.append(shown.element);
    shown.reload();
    return shown.stop;
}
