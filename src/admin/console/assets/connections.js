// Live connections: of this server, or of one tenant on all replicas.

import { at, get, post, remove } from "./api.js";
import { ask, button, say, show } from "./dialogs.js";
import { bytes, count, facts, h, moment, number } from "./dom.js";
import { list } from "./list.js";
import { tenantLink } from "./overview.js";

const EVERY_MS = 5000;
const GRANTS = { anonymous: "anonymous", password: "password", session: "browser session" };

function grantOf(connection) {
    if (connection.key_name) return `key ${connection.key_name}`;
    if (connection.grant === "key:default") return "default key";
    return GRANTS[connection.grant.split(":")[0]] ?? connection.grant;
}

/** What runs for a tenant that `fits`, on all replicas, as a text; and whether that may be too little. */
export async function running(username, fits, query = {}) {
    const page = await get(at`tenants/${username}/connections`, { ...query, limit: 1000 });
    const found = fits ? page.connections.filter(fits).length : page.total;
    const vague = page.incomplete.length > 0 || (fits && page.next !== undefined);
    return { found, text: `${vague ? "at least " : ""}${count(found, "connection or plain request", "connections and plain requests")}` };
}

/** The sentence that a dialog says about it. */
export async function closes(username, fits, query) {
    try {
        const { found, text } = await running(username, fits, query);
        return found === 0 ? "Nothing rests on it at present: no connection will be closed." : `This closes ${text} on all replicas.`;
    } catch (error) {
        return `How many connections it closes could not be found out: ${error.message}`;
    }
}

function inspect(connection) {
    const { id, kind, tenant, path, grant, client, since, closing } = connection;
    return show("A connection", facts([
        ["Tenant", tenant], ["Path", h("code", null, path)], ["Kind", kind === "exchange" ? "plain request" : "connection"],
        ["Rests on", grantOf(connection)], ["Grant", h("code", null, grant)], ["Client", client], ["Open since", moment(since)],
        ["Messages from the client", number(connection.messages_from_client)], ["Messages from the runtime", number(connection.messages_from_runtime)],
        ["Bytes from the client", bytes(connection.bytes_from_client)], ["Bytes from the runtime", bytes(connection.bytes_from_runtime)],
        ["Id", h("code", null, id)], ["Request id, as in the log", h("code", null, connection.request_id)], closing ? ["Closing", closing] : null,
    ]));
}

async function closeOne({ id, tenant, path, client }, again) {
    const done = await ask({
        title: "Close this connection?", action: "Close one connection", danger: true,
        text: `It is ${tenant}'s to ${path}, from ${client}. It is told 1008, "closed by an operator". One connection will be closed.`,
        act: () => remove(at`tenants/${tenant}/connections/${id}`),
    });
    if (done) again();
}

/** Closes all that a filter wants; `found` says how many those are. */
async function closeMany(filter, found, again) {
    const wanted = Object.fromEntries(Object.entries(filter).filter(([, value]) => value));
    const where = wanted.tenant ? "on all replicas" : "on this server";
    const done = await ask({
        title: "Close all of these connections?", action: `Close ${found}`, danger: true,
        text: [`This closes ${found} ${where}: those ${Object.entries(wanted).map(([name, value]) => `of ${name} ${value}`).join(" and ")}.`, "Clients may come back at once: to keep a tenant out, disable them."],
        act: () => post("connections/close", wanted),
    });
    if (!done) return;
    say(`${count(done.closed, "connection was", "connections were")} closed. ${done.incomplete.join("; ")}`);
    again();
}

/** The list; of one tenant's if `username` is given. */
export function connectionList(username, query) {
    const columns = ["Path", ...(username ? [] : ["Tenant"]), "Rests on", "Client", "Since", "Messages in / out", "Bytes in / out", ""];
    const filters = [
        { name: "path", label: "Path and below", value: query.path ?? "" },
        { name: "key", label: "Key id, or default", value: query.key ?? "" },
    ];
    if (!username) filters.unshift({ name: "tenant", label: "Tenant", value: query.tenant ?? "" });
    const shown = list({
        title: username ? "Live connections on all replicas" : "Live connections of this server",
        hint: username ? "What other replicas have is up to a second old." : "With a tenant's name, that tenant's. A tenant's own page shows those on all replicas.",
        filters, columns, every: EVERY_MS, empty: "Nothing runs.",
        load: async ({ tenant, key, path }, after) => {
            const found = await get(username ? at`tenants/${username}/connections` : "connections", { tenant, key, path, after, limit: 50 });
            const note = username && found.incomplete.length > 0 ? `Not all could be seen: ${found.incomplete.join("; ")}` : `${number(found.total)} in all.`;
            return { items: found.connections, next: found.next, total: found.total, note };
        },
        actions: (state) => {
            const { tenant, key, path } = state.filter;
            const wanted = { tenant: username ?? tenant, key, path };
            const isFiltered = key || path;
            const act = async () => {
                const fits = isFiltered ? () => true : null;
                const found = wanted.tenant ? (await running(wanted.tenant, fits, { key, path })).text : count(state.total, "connection or plain request", "connections and plain requests");
                await closeMany(wanted, found, shown.again);
            };
            const canClose = (wanted.tenant || wanted.path) && state.items.length > 0;
            return [
                button("Refresh", "read", () => shown.again()),
                canClose ? button("Close all of these…", "operate", act, { class: "danger" }) : null,
            ].filter((one) => one);
        },
        cells: (connection) => [
            [h("code", null, connection.path), connection.kind === "exchange" ? " plain request" : "", connection.closing ? h("span", { class: "chip bad" }, "closing") : ""],
            ...(username ? [] : [tenantLink(connection.tenant)]),
            grantOf(connection), connection.client, moment(connection.since),
            `${number(connection.messages_from_client)} / ${number(connection.messages_from_runtime)}`,
            `${bytes(connection.bytes_from_client)} / ${bytes(connection.bytes_from_runtime)}`,
            [button("Inspect", "read", () => inspect(connection)), " ", button("Close…", "operate", () => closeOne(connection, shown.again), { class: "danger" })],
        ],
    });
    return shown;
}

export function connections(root, { query }) {
    const shown = connectionList(null, query);
    root.append(shown.element);
    shown.reload();
    return shown.stop;
}
