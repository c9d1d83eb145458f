// Runtimes that flowgate owns: how they are, and what is done to them.

import { at, get, post, remove } from "./api.js";
import { closes } from "./connections.js";
import { ask, button, say, show } from "./dialogs.js";
import { card, count, duration, facts, h, number } from "./dom.js";
import { list } from "./list.js";
import { tenantLink } from "./overview.js";

const EVERY_MS = 2000;
const STATES = ["asleep", "starting", "ready", "failing", "stopping"];
const KINDS = { ready: "good", failing: "bad" };

const stateOf = ({ state }) => h("span", { class: `chip ${KINDS[state] ?? ""}` }, state);
const times = (failures) => (failures > 1 ? `, ${failures} times in a row` : "");

/** What is wrong with it, or what keeps it awake. */
function why({ why: wrong, failures, awake_because: because, starting_for_seconds: since, usual_start_seconds: usual }) {
    const lines = wrong ? [`${wrong}${times(failures)}`] : [];
    if (typeof since === "number") lines.push(`for ${duration(since)}${typeof usual === "number" ? `; it usually takes ${duration(usual)}` : ""}`);
    const all = [...lines, ...because];
    return all.length > 0 ? all.map((line) => h("div", null, line)) : "–";
}

function next({ sleeps_in_seconds: sleeps, retry_in_seconds: retry }) {
    if (typeof retry === "number") return `may start in ${duration(retry)}`;
    return typeof sleeps === "number" ? `sleeps in ${duration(sleeps)}` : "–";
}

async function start(tenant, again) {
    await post(at`tenants/${tenant}/runtime/start`);
    say(`The runtime of ${tenant} is being started.`);
    again();
}

async function stop(tenant, again) {
    const done = await ask({
        title: `Stop the runtime of ${tenant}?`, action: "Stop the runtime", danger: true,
        text: ["Its next caller wakes it, and one that is always on is started again within a minute: to keep it down, disable the tenant.", await closes(tenant)],
        act: () => post(at`tenants/${tenant}/runtime/stop`),
    });
    if (!done) return;
    say(`The runtime of ${tenant} is being stopped.`);
    again();
}

async function restart(tenant, again) {
    const done = await ask({
        title: `Restart the runtime of ${tenant}?`, action: "Restart the runtime", danger: true,
        text: ["Who calls meanwhile waits. One that sleeps is left asleep.", await closes(tenant)],
        act: () => post(at`tenants/${tenant}/runtime/restart`),
    });
    if (!done) return;
    say(`The runtime of ${tenant} is being restarted.`);
    again();
}

async function log(tenant) {
    const { log_tail: tail } = await get(at`tenants/${tenant}/runtime/log`);
    await show(`What the runtime of ${tenant} wrote last`,
        tail ? h("pre", { class: "tail", tabindex: 0 }, tail) : h("p", { class: "hint" }, "It wrote nothing."));
}

/** The runtimes; a tenant's own if a name is given. */
export function runtimeList(username, query = {}) {
    const shown = list({
        title: username ? "Runtime, run by flowgate" : "Runtimes that flowgate runs",
        filters: username ? [] : [{ name: "state", label: "State", options: [["", "any"], ...STATES.map((state) => [state, state])], value: query.state ?? "" }],
        columns: ["Tenant", "State", "Why", "Next", ""],
        every: EVERY_MS, empty: "There is none.",
        load: async ({ state }, after) => {
            const found = username ? { runtimes: [await get(at`tenants/${username}/runtime`)] } : await get("runtimes", { state, after, limit: 50 });
            return { items: found.runtimes.map((one) => ({ ...one, id: one.tenant })), next: found.next };
        },
        cells: (runtime) => {
            const { tenant } = runtime;
            const act = (label, role, run, properties) => button(label, role, () => run(tenant, shown.again), { ...properties, "aria-label": `${label.replace("…", "")} the runtime of ${tenant}` });
            return [
                username ? tenant : tenantLink(tenant), stateOf(runtime), why(runtime), next(runtime),
                [act("Start", "operate", start), " ", act("Restart…", "operate", restart, { class: "danger" }), " ", act("Stop…", "operate", stop, { class: "danger" }), " ",
                    button("Log", "operate", () => log(tenant), { "aria-label": `Log of the runtime of ${tenant}` })],
            ];
        },
    });
    return shown;
}

const whole = (text) => Number(text.trim() || 0);

async function restartAll(again) {
    const done = await ask({
        title: "Restart all runtimes?", action: "Restart all", danger: true,
        text: "Those that run are restarted on all replicas, a few at a time; their connections are told 1012. Those that sleep start anew when they wake.",
        fields: [
            { name: "at_once", label: "At once", type: "number", min: 1, max: 16, required: true, value: "1" },
            { name: "pause_seconds", label: "Seconds of rest after each", type: "number", min: 0, max: 3600, value: "0" },
            { name: "failures_max", label: "Failures after which it still goes on", type: "number", min: 0, value: "0", hint: "With one more it halts." },
        ],
        act: (given) => post("runtimes/restart", { at_once: whole(given.at_once), pause_seconds: whole(given.pause_seconds), failures_max: whole(given.failures_max) }),
    });
    if (!done) return;
    say(`${count(done.total, "runtime is", "runtimes are")} restarted.`);
    again();
}

async function halt(again) {
    await remove("runtimes/restart");
    say("No further runtime is restarted; what has begun is finished.");
    again();
}

/** The restart of all, as far as it has come. */
function rollout() {
    const beside = h("div", { class: "row" });
    const body = h("div", { role: "status" });
    let turn = 0;
    let drawn = "";
    const draw = (said) => {
        // What is drawn anew is read out anew.
        const same = said && JSON.stringify({ ...said, told_unix_ms: 0 });
        if (drawn === same) return;
        drawn = same;
        const runs = said?.stage === "running";
        const actions = [button("Restart all…", "admin", () => restartAll(again), { class: "danger" })];
        if (runs) actions.push(button("Halt", "operate", () => halt(again)));
        // Else whoever is about to press one would lose it.
        if (beside.children.length !== actions.length) beside.replaceChildren(...actions);
        if (!said) {
            body.replaceChildren(h("p", { class: "hint" }, "There was no restart of all runtimes within a week."));
            return;
        }
        const { stage, by, total, restarted, skipped, failed, failures } = said;
        body.replaceChildren(
            h("progress", { max: Math.max(total, 1), value: total > 0 ? restarted + skipped + failed : 1, "aria-label": "Restarted" }),
            facts([["State", h("span", { class: `chip ${stage === "done" ? "good" : runs ? "" : "bad"}` }, stage)], ["By", by], ["Restarted", `${number(restarted)} of ${number(total)}`],
                ["Skipped, as they slept", number(skipped)], ["Not back", number(failed)]]),
            failures.length > 0 ? h("ul", null, failures.map(({ tenant, why: wrong }) => h("li", null, tenantLink(tenant), `: ${wrong}`))) : "");
    };
    const again = async () => {
        const mine = turn += 1;
        const said = await get("runtimes/restart").catch((error) => {
            if (error.status === 404) return null;
            throw error;
        });
        if (mine === turn) draw(said);
    };
    const look = () => again().catch((error) => body.replaceChildren(h("p", { class: "notice bad" }, error.message)));
    // A browser complains of each 404: where there was none it is asked again when one begins here.
    const timer = setInterval(() => { if (drawn && document.visibilityState === "visible") look(); }, EVERY_MS);
    look();
    return { element: card("All at once", beside, body), stop: () => { clearInterval(timer); turn += 1; } };
}

export function runtimes(root, { query }) {
    const shown = runtimeList(null, query);
    const all = rollout();
    root.append(shown.element, all.element);
    shown.reload();
    return () => {
        shown.stop();
        all.stop();
    };
}
