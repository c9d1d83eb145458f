// How this server is, live.

import { get } from "./api.js";
import { chart } from "./chart.js";
import { bytes, card, clock, count, duration, facts, h, number, rate, row, table } from "./dom.js";
import { listen, perSecond, seconds } from "./feed.js";

const TAIL_MAX = 20;
/** Whoever watches for days is told of many: what is older does not come again. */
const KNOWN_MAX = 500;
const REPLICAS_EVERY_MS = 5000;
const REFUSAL_COLUMNS = ["At", "Status", "Code", "Tenant", "Client", "Path", "Why"];
const AUDIT_COLUMNS = ["At", "Who", "What", "To", "From"];
const MESSAGES = [["from clients", "messages_from_client"], ["from runtimes", "messages_from_runtime"]];
const BYTES = [["from clients", "bytes_from_client"], ["from runtimes", "bytes_from_runtime"]];

const read = (series) => series.map(([name, member]) => [name, (second) => perSecond(second, member)]);

export function tenantLink(name) {
    return name ? h("a", { href: `#/tenants/${encodeURIComponent(name)}` }, name) : "–";
}

/** A refusal's cells. */
export function refusalCells({ at, status, code, tenant, client, path, handshake, why }) {
    return [clock(at), String(status), h("code", null, code), tenantLink(tenant), client, [h("code", null, path), handshake ? " handshake" : ""], why];
}

export { REFUSAL_COLUMNS };

/** A tail: the newest rows of a table, more of them on top. */
function tail(caption, columns, empty) {
    const drawn = table(caption, columns, []);
    const body = drawn.querySelector("tbody");
    const none = h("p", { class: "hint" }, empty);
    const known = new Set();
    const add = (items, key, cells) => {
        const fresh = items.filter((item) => !known.has(key(item)));
        for (const item of fresh.reverse()) {
            known.add(key(item));
            body.prepend(row(columns, cells(item)));
        }
        while (known.size > KNOWN_MAX) known.delete(known.values().next().value);
        while (body.rows.length > TAIL_MAX) body.lastElementChild.remove();
        none.hidden = body.rows.length > 0;
    };
    return { element: h("div", { tabindex: 0, role: "region", "aria-label": caption, class: "tail" }, drawn, none), add };
}

function counters() {
    const body = h("p", { class: "chips" });
    let first = null;
    const draw = (refusals) => {
        first ??= refusals;
        const codes = Object.entries(refusals).sort(([, one], [, other]) => other - one);
        body.replaceChildren(...codes.map(([code, total]) => {
            const fresh = total - (first[code] ?? 0);
            return h("span", { class: "chip" }, h("code", null, code), ` ${number(total)}`, fresh > 0 ? h("b", null, ` +${number(fresh)}`) : "");
        }));
    };
    return { element: body, draw };
}

function replicaRows(replicas) {
    return replicas.map((replica) => [
        [replica.host, " ", replica.this ? h("span", { class: "chip" }, "this server") : ""],
        h("code", null, replica.id), replica.version, duration((Date.now() - Date.parse(replica.since)) / 1000),
        replica.listen.join(" "), number(replica.connections), number(replica.exchanges), replica.draining ? "draining" : "serving",
    ]);
}

export function overview(root) {
    const status = h("div");
    const messages = chart("Messages per second", read(MESSAGES), rate);
    const traffic = chart("Bytes per second", read(BYTES), bytes, 1024);
    const handshakes = chart("Handshakes and plain requests per second", [["handshakes", (second) => perSecond(second, "handshakes")], ["requests", (second) => perSecond(second, "exchanges")]], rate);
    const live = chart("Live connections", [["connections", (second) => second.connections]], number);
    const charts = [messages, traffic, handshakes, live];
    const codes = counters();
    const refusals = tail("Refusals", REFUSAL_COLUMNS, "Nothing was refused lately.");
    const changes = tail("Changes", AUDIT_COLUMNS, "Nothing was changed yet.");
    const replicas = h("div");
    const allOf = h("p", { class: "hint" });
    root.append(
        card("This server", null, status),
        card("Throughput of this server", null, h("div", { class: "charts" }, charts.map(({ element }) => element))),
        card("Refusals of this server", null, h("p", { class: "hint" }, "By code since the start, with how many came while this page was open."), codes.element, refusals.element),
        card("Replicas", null, allOf, replicas),
        card("Changes", h("a", { href: "#/audit" }, "The audit log"), changes.element),
    );

    let known = null;
    const drawStatus = (second) => {
        if (!known) return;
        const { registry } = second ?? known;
        const ready = second?.ready ?? known.ready;
        const draining = second?.draining ?? known.draining;
        status.replaceChildren(facts([
            ["State", h("span", { class: `chip ${draining || !ready ? "bad" : "good"}` }, draining ? "draining" : ready ? "ready" : "not ready")],
            ["Live connections", second ? number(second.connections) : "–"],
            ["Plain requests", second ? number(second.exchanges) : "–"],
            ["Registry", [h("span", { class: `chip ${registry.standing === "current" ? "good" : "bad"}` }, registry.standing), registry.age_ms > 1000 ? ` ${duration(registry.age_ms / 1000)} old` : ""]],
            ["Up for", duration(Math.floor((Date.now() - known.began) / 1000))],
            ["Version", known.version], ["Process", String(known.pid)], ["Admin tokens", number(known.admin_tokens)],
        ]));
    };
    const told = (second) => {
        if (second === null) return;
        drawStatus(second);
        for (const one of charts) one.draw(seconds);
        codes.draw(second.refusals);
        refusals.add(second.refused, ({ number: id }) => id, refusalCells);
        changes.add(second.audit, ({ id }) => id, auditCells);
    };
    const look = async () => {
        try {
            const found = await get("replicas");
            const sum = (member) => found.replicas.reduce((total, replica) => total + replica[member], 0);
            const columns = ["Host", "Id", "Version", "Up for", "Listens on", "Connections", "Requests", "State"];
            replicas.replaceChildren(table("Replicas", columns, replicaRows(found.replicas)));
            allOf.textContent = `${count(sum("connections"), "live connection")} and ${count(sum("exchanges"), "plain request")} on ${count(found.replicas.length, "replica")}; others' numbers are up to 15 seconds old.`;
        } catch (error) {
            allOf.textContent = error.message;
        }
    };
    const first = async () => {
        try {
            const [said, refused, audit] = await Promise.all([get("status"), get("refusals", { limit: TAIL_MAX }), get("audit", { limit: TAIL_MAX })]);
            known = { ...said, began: Date.now() - said.uptime_seconds * 1000 };
            drawStatus(seconds.at(-1));
            refusals.add(refused.refusals, ({ number: id }) => id, refusalCells);
            changes.add(audit.entries, ({ id }) => id, auditCells);
        } catch (error) {
            status.replaceChildren(h("p", { class: "notice bad", role: "alert" }, error.message));
        }
    };
    const stopListening = listen(told);
    if (seconds.length > 0) told(seconds.at(-1));
    first();
    look();
    const timer = setInterval(look, REPLICAS_EVERY_MS);
    return () => {
        stopListening();
        clearInterval(timer);
    };
}

function auditCells({ at, who, by, verb, object, client }) {
    return [clock(at), by === "tenant" ? `${who} (tenant)` : who, verb, objectLink(object), client];
}

/** What an entry is about, with a way there. */
export function objectLink(object) {
    const [kind, name] = object.split("/");
    return kind === "tenant" && name ? [h("span", { class: "hint" }, "tenant "), tenantLink(name)] : object;
}
