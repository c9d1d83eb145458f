// Plans: named limits.

import { at, get, put, remove } from "./api.js";
import { ask, button, say } from "./dialogs.js";
import { bytes, duration, h, number } from "./dom.js";
import { list } from "./list.js";

const limit = (value, write = number) => (value === undefined ? "no limit" : write(value));

// Of a rate that says both: how much comes back, and how much may come at once.
const rate = (quota) => (quota === undefined ? "no limit" : typeof quota === "object"
    ? `${number(quota.limit)} (${number(quota.burst)} at once)` : number(quota));

const RATES = [
    ["messages_per_second", "Messages per second"], ["messages_per_minute", "Messages per minute"],
    ["messages_per_day", "Messages per day"], ["bytes_per_second", "Bytes per second"],
    ["bytes_per_minute", "Bytes per minute"], ["bytes_per_day", "Bytes per day"],
    ["handshakes_per_minute", "Handshakes per minute"], ["requests_per_second", "Requests per second"],
];

function quotaOf(text) {
    const [limit, burst] = text.split(",").map((part) => Number(part.trim()));
    return burst === undefined ? limit : { limit, burst };
}

function limitsOf(wanted) {
    const limits = { over: wanted.over };
    if (wanted.sleep_after_seconds) limits.sleep_after_seconds = Number(wanted.sleep_after_seconds);
    if (wanted.always_on) limits.always_on = true;
    if (wanted.connections) limits.connections = Number(wanted.connections);
    if (wanted.message_bytes) limits.message_bytes = Number(wanted.message_bytes);
    for (const [name] of RATES) if (wanted[name]?.trim()) limits[name] = quotaOf(wanted[name]);
    return limits;
}

async function edit(plan, again) {
    const limits = plan?.limits ?? {};
    const given = (value) => (value === undefined ? "" : String(value));
    const written = (quota) => (typeof quota === "object" ? `${quota.limit}, ${quota.burst}` : given(quota));
    const done = await ask({
        title: plan ? `Limits of ${plan.name}` : "New plan", action: plan ? "Save the limits" : "Create the plan",
        text: ["Empty: no limit. Rates and the message size count at once, the number of connections for new ones."],
        fields: [
            ...(plan ? [] : [{ name: "name", label: "Name", required: true }]),
            { name: "connections", label: "Live connections at once", type: "number", min: 1, value: given(limits.connections) },
            { name: "message_bytes", label: "Bytes of one message", type: "number", min: 0, value: given(limits.message_bytes) },
            ...RATES.map(([name, label]) => ({ name, label: `${label} (or: limit, at once)`, value: written(limits[name]) })),
            { name: "over", label: "What becomes of messages over that", options: [["pace", "they wait: reading pauses"], ["drop", "they are left out, and the client is told"], ["close", "the connection is closed with 4008"]], value: limits.over ?? "pace" },
            { name: "sleep_after_seconds", label: "Seconds without use after which a runtime of flowgate's own sleeps", type: "number", min: 1, value: given(limits.sleep_after_seconds), hint: "Empty: it never does." },
            { name: "always_on", label: "Such runtimes are started at once and never sleep", type: "checkbox", value: limits.always_on },
        ],
        act: (wanted) => put(at`plans/${plan?.name ?? wanted.name.trim()}`, limitsOf(wanted), plan ? { "If-Match": `"${plan.revision}"` } : { "If-None-Match": "*" }),
    });
    if (!done) return;
    say(`The plan ${done.name} is saved.`);
    again();
}

async function removePlan(plan, again) {
    const done = await ask({
        title: `Remove ${plan.name}?`, action: "Remove the plan", danger: true,
        text: "No connection is closed. A plan that a tenant has cannot be removed.",
        act: () => remove(at`plans/${plan.name}`, { "If-Match": `"${plan.revision}"` }),
    });
    if (!done) return;
    say(`The plan ${plan.name} is removed.`);
    again();
}

export function plans(root) {
    const shown = list({
        title: "Limits by name",
        columns: ["Plan", "Connections", "Message", "Messages per second", "Per minute", "Over", "Sleeps after", ""],
        empty: "There is no plan: no tenant has limits.",
        load: async (_, after) => {
            const found = await get("plans", { after, limit: 50 });
            return { items: found.plans, next: found.next };
        },
        actions: () => [button("New plan…", "admin", () => edit(null, shown.again), { class: "primary" })],
        cells: (plan) => [
            plan.name, limit(plan.limits.connections), limit(plan.limits.message_bytes, bytes), rate(plan.limits.messages_per_second),
            rate(plan.limits.messages_per_minute), plan.limits.over ?? "pace",
            plan.limits.always_on ? "never: always on" : plan.limits.sleep_after_seconds === undefined ? "never" : duration(plan.limits.sleep_after_seconds),
            [h("a", { href: `#/tenants?plan=${encodeURIComponent(plan.name)}` }, "Tenants"), " ",
                button("Change…", "admin", () => edit(plan, shown.again), { "aria-label": `Change ${plan.name}` }), " ",
                button("Remove…", "admin", () => removePlan(plan, shown.again), { class: "danger", "aria-label": `Remove ${plan.name}` })],
        ],
    });
    root.append(shown.element);
    shown.reload();
    return shown.stop;
}
